//! Rules: what every plugin keeps, because the host counts on it.

use crate::rules;
use crate::run::Subject;

/// One rule.
pub struct Rule {
    /// Its id, for example `CH-02`.
    pub id: &'static str,
    /// Its name, for example `decide-pure`.
    pub name: &'static str,
    /// What it means that it is broken.
    pub level: Level,
    /// What is held.
    pub asserts: &'static str,
    /// What happens in production where it is not kept.
    pub why: &'static str,
    /// What to do about it.
    pub mend: &'static str,
    /// Rules without which this one says nothing.
    pub after: &'static [&'static str],
    pub(crate) test: fn(&Subject<'_>) -> Finding,
}

/// What it means that a rule is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The plugin must not run.
    Required,
    /// The plugin may run, and will be a nuisance.
    Recommended,
}

impl Level {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Recommended => "recommended",
        }
    }
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.id, self.name)
    }
}

/// What a rule has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It is kept, as far as so much was tried.
    Passed {
        /// What was tried.
        tried: String,
    },
    /// It is broken.
    Failed {
        /// How.
        how: String,
    },
    /// There was nothing to try it on.
    NotTested {
        /// What is missing.
        why: String,
    },
    /// It is not about this plugin, which lacks the role or the ability.
    NotApplicable {
        /// What the plugin lacks.
        why: String,
    },
    /// Another rule is broken, without which this one says nothing.
    Blocked {
        /// The other rule's id.
        by: &'static str,
    },
}

/// All rules, in the order in which they are tested.
#[must_use]
pub fn all() -> &'static [&'static Rule] {
    rules::ALL
}

/// The rule with this id or name.
#[must_use]
pub fn find(id: &str) -> Option<&'static Rule> {
    all().iter().find(|rule| rule.id == id || rule.name == id).copied()
}
