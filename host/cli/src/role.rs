//! The roles that a plugin can have in a configuration.

use std::fmt::{self, Display, Formatter};

/// A role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Handler,
    Projection,
    Saga,
}

impl Role {
    /// All roles, in listing order.
    pub(crate) const ALL: [Self; 3] = [Self::Handler, Self::Projection, Self::Saga];

    /// The role's name in the contract.
    pub(crate) fn in_contract(self) -> &'static str {
        match self {
            Self::Handler => "command-handler",
            Self::Projection => "projection",
            Self::Saga => "saga",
        }
    }
}

/// The role's name in the configuration.
impl Display for Role {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Handler => "handler",
            Self::Projection => "projection",
            Self::Saga => "saga",
        })
    }
}
