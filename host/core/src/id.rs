//! Names that become parts of NATS subjects, checked once at the border.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest token, in bytes. An entity may have several tokens; the subject of them all stays far below the server's
/// default `max_control_line` of 4,096 bytes.
pub const MAX_TOKEN_BYTES: usize = 256;

/// Stands between a name and a partition. No command type has it.
pub const SEPARATOR: char = '@';

/// Why a text cannot be a token of a subject.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// The text is empty.
    #[error("is empty")]
    Empty,
    /// The text has more than [`MAX_TOKEN_BYTES`].
    #[error("has {0} bytes; at most {MAX_TOKEN_BYTES} are allowed")]
    TooLong(usize),
    /// The text has a character that would change the subject.
    #[error(
        "contains {character:?} at byte {at}; `.`, `*`, `>`, blanks and control characters would change the subject"
    )]
    Character {
        /// The first such character.
        character: char,
        /// Its offset in bytes.
        at: usize,
    },
    /// The text is the type of a command and has a [`SEPARATOR`].
    #[error("contains {SEPARATOR:?} at byte {at}, which stands between a type and a partition in subjects")]
    Separator {
        /// Its offset in bytes.
        at: usize,
    },
}

/// Checks the rule for every text that becomes a token of a subject.
///
/// Source: NATS subject-based messaging, "Characters allowed and recommended for subject names".
pub fn check_token(text: &str) -> Result<(), TokenError> {
    if text.is_empty() {
        return Err(TokenError::Empty);
    }
    if text.len() > MAX_TOKEN_BYTES {
        return Err(TokenError::TooLong(text.len()));
    }
    // Nearly every token is plain, and checking bytes is several times as fast as checking characters.
    if text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'.' | b'*' | b'>')) {
        return Ok(());
    }
    let changes_subject = |c: char| matches!(c, '.' | '*' | '>') || c.is_whitespace() || c.is_control();
    match text.char_indices().find(|(_, c)| changes_subject(*c)) {
        Some((at, character)) => Err(TokenError::Character { character, at }),
        None => Ok(()),
    }
}

/// Checks a command type: it is part of a subject beside the partition of the command's entity.
fn check_command_type(text: &str) -> Result<(), TokenError> {
    check_token(text)?;
    match text.find(SEPARATOR) {
        Some(at) => Err(TokenError::Separator { at }),
        None => Ok(()),
    }
}

macro_rules! token_type {
    ($(#[$doc:meta])* $name:ident) => {
        token_type! { $(#[$doc])* $name, check_token }
    };
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks the text; see [`check_token`].
            pub fn new(text: impl AsRef<str>) -> Result<Self, TokenError> {
                $check(text.as_ref())?;
                Ok(Self(Arc::from(text.as_ref())))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = TokenError;
            fn try_from(text: String) -> Result<Self, TokenError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }
    };
}

token_type! {
    /// The id of a command, unique for ever. The sender chooses it, and uses it again for every retry.
    CommandId
}
token_type! {
    /// The id of one run of a saga.
    InstanceId
}
token_type! {
    /// The type of a command, for example `book-room`. It has no [`SEPARATOR`].
    CommandType, check_command_type
}
token_type! {
    /// A name in the configuration: of a stream, plugin, handler, projection, saga or view.
    Name
}

/// The prefix of the ids of commands that sagas send. A client may not choose such an id; otherwise it could take the
/// id of a command that a saga is about to send.
const OF_SAGAS: &str = "saga:";

impl CommandId {
    /// The id of the n-th command that an instance of a saga sends on an input: `saga:<saga>:<instance>:<input>:<n>`. The
    /// saga is named by its id, which has no colon. The input is `<stream>:<place>`, see [`InputKey`].
    pub fn of_saga(
        saga: &Name,
        instance: &InstanceId,
        input: &InputKey,
        n: usize,
    ) -> Result<Self, TokenError> {
        Self::of_instance(saga, instance, &format!("{input}:{n}"))
    }

    /// The id whose [`Self::in_instance`] is this.
    pub fn of_instance(saga: &Name, instance: &InstanceId, in_instance: &str) -> Result<Self, TokenError> {
        Self::new(format!("{OF_SAGAS}{saga}:{instance}:{in_instance}"))
    }

    /// Whether only a saga may send a command with this id.
    #[must_use]
    pub fn is_of_saga(&self) -> bool {
        self.0.starts_with(OF_SAGAS)
    }

    /// Whether a saga's instance with this source gives its commands such ids.
    #[must_use]
    pub fn is_of_saga_at(&self, source: &str) -> bool {
        let sender = source.strip_prefix('/').and_then(|source| source.split_once('/'));
        self.parts().zip(sender).is_some_and(|((saga, instance, _), sender)| sender == (saga, instance))
    }

    /// The saga and the instance that sent the command. `None` if no saga did.
    #[must_use]
    pub fn sender(&self) -> Option<(Name, InstanceId)> {
        let (saga, instance, _) = self.parts()?;
        Some((Name::new(saga).ok()?, InstanceId::new(instance).ok()?))
    }

    /// What tells a command of an instance from its others: the input and the command's place in the reaction.
    #[must_use]
    pub fn in_instance(&self) -> Option<&str> {
        self.parts().map(|(_, _, rest)| rest)
    }

    /// Saga, instance and `<stream>:<place>:<n>`. Only an instance's id may have colons.
    fn parts(&self) -> Option<(&str, &str, &str)> {
        let (saga, rest) = self.0.strip_prefix(OF_SAGAS)?.split_once(':')?;
        let (at, _) = rest.rmatch_indices(':').nth(2)?;
        Some((saga, &rest[..at], &rest[at + 1..]))
    }
}

/// What tells an input of an instance from all its others, in every life of that instance: `<stream>:<place>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InputKey(Arc<str>);

impl InputKey {
    /// An event, by its place in its stream.
    #[must_use]
    pub fn of_event(stream: &str, position: Position) -> Self {
        Self(format!("{stream}:{position}").into())
    }

    /// The n-th timer that the instance has set since it was started by the input `life`.
    #[must_use]
    pub fn of_timer(life: &Self, n: u64) -> Self {
        Self(format!("{life}t{n}").into())
    }

    /// The n-th outcome that the instance has got since it was started by the input `life`.
    #[must_use]
    pub fn of_outcome(life: &Self, n: u64) -> Self {
        Self(format!("{life}o{n}").into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InputKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The source of the commands of a saga's instance (`ce-source`).
#[must_use]
pub fn source_of_saga(saga: &Name, instance: &InstanceId) -> String {
    format!("/{saga}/{instance}")
}

/// A position in a stream, from 1. [`Sequence::NONE`] stands for "before the first".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sequence(pub u64);

impl Sequence {
    /// Before the first message: the expected sequence of an entity that has no events.
    pub const NONE: Self = Self(0);
}

/// Where an event lies: the message that holds it, and which of the events that an upcaster made of it this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Position {
    /// The position of the message in its stream.
    pub sequence: Sequence,
    /// From 0; 0 for an event as it is stored.
    pub part: u32,
}

impl fmt::Display for Position {
    /// `<sequence>`, or `<sequence>-<part>` for a later part than the first.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            0 => self.sequence.fmt(f),
            part => write!(f, "{}-{part}", self.sequence),
        }
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_a_sagas_command_tells_who_sends_it() {
        let (saga, instance) = (Name::new("cleaning").unwrap(), InstanceId::new("1:2022-12-12").unwrap());
        let of = |input: &InputKey| CommandId::of_saga(&saga, &instance, input, 0).unwrap();
        let event = |part| InputKey::of_event("hotel", Position { sequence: Sequence(7), part });
        let id = of(&event(0));
        assert_eq!(id.as_str(), "saga:cleaning:1:2022-12-12:hotel:7:0");
        assert_eq!(of(&event(2)).as_str(), "saga:cleaning:1:2022-12-12:hotel:7-2:0");
        for input in [event(0), InputKey::of_timer(&event(0), 3), InputKey::of_outcome(&event(1), 12)] {
            let id = of(&input);
            assert_eq!(id.sender(), Some((saga.clone(), instance.clone())), "{id}");
            assert_eq!(id.in_instance(), Some(format!("{input}:0").as_str()));
        }
        assert!(id.is_of_saga() && id.is_of_saga_at(&source_of_saga(&saga, &instance)));
        for other in
            ["/gateway", "cleaning/1:2022-12-12", "/cleaning/1:2022-12", "/cleanin/g:1", "/cleaning/2", ""]
        {
            assert!(!id.is_of_saga_at(other), "{other}");
        }
        let other = CommandId::new("sagas-c1").unwrap();
        assert!(!other.is_of_saga() && other.sender().is_none());
        assert!(CommandId::new("saga:a:b:c").unwrap().sender().is_none());
    }

    #[test]
    fn tokens_that_would_change_a_subject_are_refused_where_they_do() {
        let long = "x".repeat(257);
        let cases: [(&str, Result<(), TokenError>); 10] = [
            ("1", Ok(())),
            ("2022-12-12", Ok(())),
            ("zimmer-größe", Ok(())),
            ("", Err(TokenError::Empty)),
            (&long, Err(TokenError::TooLong(257))),
            ("a.b", Err(TokenError::Character { character: '.', at: 1 })),
            ("*", Err(TokenError::Character { character: '*', at: 0 })),
            ("ab>", Err(TokenError::Character { character: '>', at: 2 })),
            ("é b", Err(TokenError::Character { character: ' ', at: 2 })),
            ("a\u{7}", Err(TokenError::Character { character: '\u{7}', at: 1 })),
        ];
        for (text, expected) in cases {
            assert_eq!(check_token(text), expected, "{text:?}");
        }
    }
}
