//! Subjects: the conversion of an entity's tokens and an event's type into a subject, and back.
//!
//! The subject of an event is `<entity prefix>.<event type>.v<version>`. The entity's prefix comes from a template in
//! the configuration, for example `booking.{room}.{day}`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::id::{TokenError, check_token};

/// The most tokens that an entity's prefix may have.
pub const MAX_TEMPLATE_TOKENS: usize = 8;

/// An entity's address.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Entity {
    prefix: Arc<str>,
    id_at: usize,
}

impl Entity {
    /// The entity's tokens joined by `.`, for example `1.2022-12-12`: the id that the plugin sees.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.prefix[self.id_at..]
    }

    /// The beginning of every subject of its events, for example `booking.1.2022-12-12`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The subject of an event of this type.
    #[must_use]
    pub fn event_subject(&self, r#type: &str, version: u32) -> String {
        [&*self.prefix, ".", r#type, ".v", &version.to_string()].concat()
    }
}

impl fmt::Debug for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entity({})", self.prefix)
    }
}

/// The template of a handler's entity prefixes: literal tokens first, then tokens to fill in.
///
/// The literals come first, so that the tokens after them are the entity's id within its handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityTemplate {
    literals: Vec<String>,
    names: Vec<String>,
}

/// What is wrong with a template, and where. `at` is an offset in bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A token is empty: two dots in a row, or one at an end.
    #[error("has an empty token")]
    EmptyToken {
        /// The offset.
        at: usize,
    },
    /// A token is neither `{name}` nor a literal that a subject may have.
    #[error(
        "token {token:?} {cause}; write a literal such as `booking` or a name in braces such as `{{room}}`"
    )]
    BadToken {
        /// The offset.
        at: usize,
        /// The token.
        token: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A literal follows a name.
    #[error("literal {token:?} follows a name in braces; literals come first")]
    LiteralAfterName {
        /// The offset.
        at: usize,
        /// The literal.
        token: String,
    },
    /// There is no literal, or no name.
    #[error("needs at least one literal token and one name in braces, such as `booking.{{room}}`")]
    Incomplete,
    /// A name occurs twice.
    #[error("name {name:?} occurs twice")]
    Repeated {
        /// The offset of the second occurrence.
        at: usize,
        /// The name.
        name: String,
    },
    /// There are more than [`MAX_TEMPLATE_TOKENS`] tokens.
    #[error("has {0} tokens; at most {MAX_TEMPLATE_TOKENS} are allowed")]
    TooMany(usize),
}

impl TemplateError {
    /// Where the mistake is, as an offset in bytes.
    #[must_use]
    pub fn at(&self) -> usize {
        match self {
            Self::EmptyToken { at }
            | Self::BadToken { at, .. }
            | Self::LiteralAfterName { at, .. }
            | Self::Repeated { at, .. } => *at,
            Self::Incomplete | Self::TooMany(_) => 0,
        }
    }
}

impl EntityTemplate {
    /// Reads a template such as `booking.{room}.{day}`.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut template = Self { literals: Vec::new(), names: Vec::new() };
        let mut at = 0;
        for token in text.split('.') {
            template.push(token, at)?;
            at += token.len() + 1;
        }
        let tokens = template.literals.len() + template.names.len();
        if tokens > MAX_TEMPLATE_TOKENS {
            return Err(TemplateError::TooMany(tokens));
        }
        if template.literals.is_empty() || template.names.is_empty() {
            return Err(TemplateError::Incomplete);
        }
        Ok(template)
    }

    fn push(&mut self, token: &str, at: usize) -> Result<(), TemplateError> {
        let bad =
            |cause: &str| TemplateError::BadToken { at, token: token.to_owned(), cause: cause.to_owned() };
        if token.is_empty() {
            return Err(TemplateError::EmptyToken { at });
        }
        if let Some(name) = token.strip_prefix('{') {
            let name = name.strip_suffix('}').ok_or_else(|| bad("has no closing brace"))?;
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
                return Err(bad("is not a name of letters, digits, `-` and `_`"));
            }
            if self.names.iter().any(|n| n == name) {
                return Err(TemplateError::Repeated { at, name: name.to_owned() });
            }
            self.names.push(name.to_owned());
            return Ok(());
        }
        if token.contains(['{', '}']) {
            return Err(bad("has a brace inside"));
        }
        check_token(token).map_err(|e| bad(&e.to_string()))?;
        if token.starts_with('$') {
            return Err(bad("begins with `$`, which is the server's own"));
        }
        if !self.names.is_empty() {
            return Err(TemplateError::LiteralAfterName { at, token: token.to_owned() });
        }
        self.literals.push(token.to_owned());
        Ok(())
    }

    /// The names to fill in, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The literal tokens, with which the subjects of all events of these entities begin, for example `booking`.
    #[must_use]
    pub fn literals(&self) -> String {
        self.literals.join(".")
    }

    /// The entity with these tokens. The error names the token at fault.
    pub fn entity(&self, tokens: &BTreeMap<&str, String>) -> Result<Entity, (String, TokenError)> {
        let mut prefix = self.literals.join(".");
        let id_at = prefix.len() + 1;
        for name in &self.names {
            let token = tokens.get(name.as_str()).map_or("", String::as_str);
            check_token(token).map_err(|e| (name.clone(), e))?;
            prefix.push('.');
            prefix.push_str(token);
        }
        Ok(Entity { prefix: prefix.into(), id_at })
    }

    /// The entity whose subjects begin with this prefix, if it is one of this template.
    #[must_use]
    pub fn entity_at(&self, prefix: &str) -> Option<Entity> {
        let tokens: Vec<&str> =
            prefix.strip_prefix(&self.literals())?.strip_prefix('.')?.split('.').collect();
        if tokens.len() != self.names.len() {
            return None;
        }
        let tokens = self.names().zip(tokens.into_iter().map(str::to_owned)).collect();
        self.entity(&tokens).ok()
    }
}

impl fmt::Display for EntityTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.literals.join("."))?;
        self.names.iter().try_for_each(|name| write!(f, ".{{{name}}}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_makes_entities_and_their_subjects() {
        let template = EntityTemplate::parse("booking.{room}.{day}").unwrap();
        let tokens = BTreeMap::from([("room", "1".to_owned()), ("day", "2022-12-12".to_owned())]);
        let entity = template.entity(&tokens).unwrap();
        assert_eq!(entity.id(), "1.2022-12-12");
        assert_eq!(entity.event_subject("room-booked", 1), "booking.1.2022-12-12.room-booked.v1");
        assert_eq!(template.to_string(), "booking.{room}.{day}");
        assert_eq!(template.entity_at("booking.1.2022-12-12"), Some(entity));
        for other in ["booking.1", "booking.1.2022-12-12.x", "bookings.1.2022-12-12", "booking.*.2022-12-12"]
        {
            assert_eq!(template.entity_at(other), None, "{other}");
        }
    }

    #[test]
    fn a_token_that_would_change_the_subject_makes_no_entity() {
        let template = EntityTemplate::parse("booking.{room}").unwrap();
        for bad in ["", "1.2", "*", ">", "a b", "a\tb"] {
            let (name, _) = template.entity(&BTreeMap::from([("room", bad.to_owned())])).unwrap_err();
            assert_eq!(name, "room", "{bad:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_template_is_said_with_its_place() {
        for (text, at, part) in [
            ("", 0, "empty token"),
            ("a..{b}", 2, "empty token"),
            ("a.{b", 2, "no closing brace"),
            ("a.{}", 2, "is not a name"),
            ("a.x{b}", 2, "brace inside"),
            ("a.*.{b}", 2, "would change the subject"),
            ("a.{b}.c", 6, "literals come first"),
            ("a.{b}.{b}", 6, "occurs twice"),
            ("$KV.{b}", 0, "server's own"),
            ("a.b", 0, "needs at least"),
            ("a.{b}.{c}.{d}.{e}.{f}.{g}.{h}.{i}", 0, "at most 8"),
        ] {
            let error = EntityTemplate::parse(text).unwrap_err();
            assert_eq!(error.at(), at, "{text}");
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }
}
