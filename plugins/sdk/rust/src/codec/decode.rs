//! Reads an enum from a type, a version and JSON data.

use std::fmt::{self, Display};

use serde::de::value::StrDeserializer;
use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, IntoDeserializer,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::split_variant;

/// Why decoding failed.
#[derive(Debug)]
pub(crate) enum DecodeError {
    /// The enum has no such variant.
    Unknown,
    /// The data does not fit the variant. The message says where.
    Unreadable(serde_json::Error),
}

impl Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::Unknown => f.write_str("unknown type or version"),
            DecodeError::Unreadable(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DecodeError {}

impl serde::de::Error for DecodeError {
    fn custom<T: Display>(message: T) -> Self {
        DecodeError::Unreadable(serde_json::Error::custom(message))
    }
}

/// The event of this type and version, with `data` as its content.
pub(crate) fn decode_event<T: DeserializeOwned>(
    kind: &str,
    version: u32,
    data: &[u8],
) -> Result<T, DecodeError> {
    T::deserialize(Wire { is_wanted: |name: &str| split_variant(name) == (kind, version), data })
}

/// The command of this type, with `data` as its content. Commands have no versions.
pub(crate) fn decode_command<T: DeserializeOwned>(kind: &str, data: &[u8]) -> Result<T, DecodeError> {
    T::deserialize(Wire { is_wanted: |name: &str| name == kind, data })
}

struct Wire<'a, F> {
    is_wanted: F,
    data: &'a [u8],
}

impl<'de, F: Fn(&str) -> bool> Deserializer<'de> for Wire<'de, F> {
    type Error = DecodeError;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match variants.iter().find(|name| (self.is_wanted)(name)) {
            Some(variant) => visitor.visit_enum(Variant { name: variant, content: Content(self.data) }),
            None => Err(DecodeError::Unknown),
        }
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, DecodeError> {
        Err(DecodeError::custom(
            "commands and events must be enums without serde's `tag`, `content` or `untagged`",
        ))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Variant<'de> {
    name: &'static str,
    content: Content<'de>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = DecodeError;
    type Variant = Content<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Content<'de>), DecodeError> {
        let name: StrDeserializer<'static, DecodeError> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self.content))
    }
}

struct Content<'de>(&'de [u8]);

impl<'de> Content<'de> {
    /// Reads one JSON value. Only white space may follow it.
    fn read<T>(
        self,
        read: impl FnOnce(
            &mut serde_json::Deserializer<serde_json::de::SliceRead<'de>>,
        ) -> Result<T, serde_json::Error>,
    ) -> Result<T, DecodeError> {
        let mut json = serde_json::Deserializer::from_slice(self.0);
        let value = read(&mut json).map_err(DecodeError::Unreadable)?;
        json.end().map_err(DecodeError::Unreadable)?;
        Ok(value)
    }
}

impl<'de> VariantAccess<'de> for Content<'de> {
    type Error = DecodeError;

    fn unit_variant(self) -> Result<(), DecodeError> {
        if self.0.is_empty() {
            return Ok(());
        }
        self.read(|json| json.deserialize_any(Nothing))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, DecodeError> {
        self.read(|json| seed.deserialize(json))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, DecodeError> {
        self.read(|json| json.deserialize_tuple(len, visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        self.read(|json| json.deserialize_struct("", fields, visitor))
    }
}

/// The content of a unit variant: null, or an object whose fields belong to a later version.
struct Nothing;

impl<'de> Visitor<'de> for Nothing {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or null")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}
