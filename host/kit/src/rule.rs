//! Rules, which every plugin has to keep because the host relies on them.

use crate::rules;
use crate::run::Subject;

/// One rule.
pub struct Rule {
    /// Its id, for example `CH-02`.
    pub id: &'static str,
    /// Its name, for example `decide-pure`.
    pub name: &'static str,
    /// Whether a plugin that breaks it may run.
    pub level: Level,
    /// What it asserts of a plugin.
    pub asserts: &'static str,
    /// What happens in production if it is broken.
    pub why: &'static str,
    /// How to mend a plugin that breaks it.
    pub mend: &'static str,
    /// The ids of rules that have to hold for this one to say anything.
    pub after: &'static [&'static str],
    pub(crate) test: fn(&Subject<'_>) -> Finding,
}

/// Whether a plugin that breaks a rule may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The plugin must not run.
    Required,
    /// The plugin may run, but will be a nuisance.
    Recommended,
}

impl Level {
    /// The level's name.
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

/// The finding of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The rule held on everything that was tried.
    Passed {
        /// What was tried.
        tried: String,
    },
    /// The rule is broken.
    Failed {
        /// How it is broken.
        how: String,
    },
    /// There was nothing to try it on.
    NotTested {
        /// What is missing.
        why: String,
    },
    /// The rule does not apply: the plugin lacks the role or the ability.
    NotApplicable {
        /// What the plugin lacks.
        why: String,
    },
    /// A rule that has to hold for this one is broken or blocked.
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
