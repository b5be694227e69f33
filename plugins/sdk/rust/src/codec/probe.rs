//! Asks a type for the names of its variants, so that the descriptor and the enum always agree.

use std::fmt::{self, Display};

use serde::de::{DeserializeOwned, Deserializer, Visitor};
use serde::forward_to_deserialize_any;

/// The names of the variants of `T` as serde knows them, aliases included. `None` if `T` is not an enum with serde's
/// default tagging.
pub(crate) fn variants<T: DeserializeOwned>() -> Option<&'static [&'static str]> {
    match T::deserialize(Probe) {
        Err(Answer::Variants(names)) => Some(names),
        Err(Answer::NoEnum) | Ok(_) => None,
    }
}

/// A deserializer that never returns a value: its error is the answer.
struct Probe;

#[derive(Debug)]
enum Answer {
    Variants(&'static [&'static str]),
    NoEnum,
}

impl Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a probe gives no value")
    }
}

impl std::error::Error for Answer {}

impl serde::de::Error for Answer {
    fn custom<T: Display>(_message: T) -> Self {
        Answer::NoEnum
    }
}

impl<'de> Deserializer<'de> for Probe {
    type Error = Answer;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Answer> {
        Err(Answer::Variants(variants))
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Answer> {
        Err(Answer::NoEnum)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
