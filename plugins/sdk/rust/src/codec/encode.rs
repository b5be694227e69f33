//! Writes an enum as the name of a variant and JSON data.

use serde::ser::{
    Error as _, Impossible, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleVariant,
};
use serde::{Serialize, Serializer};
use serde_json::Error;

/// The wire form of one variant.
pub(crate) struct Encoded {
    /// The variant's name, with a version if it has one.
    pub(crate) name: &'static str,
    pub(crate) data: Vec<u8>,
}

/// The wire form of `value`.
///
/// Fails if `value` is not an enum with serde's default tagging, and if JSON cannot hold its content, such as a map
/// whose keys are not strings. These are mistakes in the type; no input causes them.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Encoded, Error> {
    let mut json = serde_json::Serializer::new(Vec::with_capacity(512));
    let name = value.serialize(Wire { json: &mut json })?;
    Ok(Encoded { name, data: json.into_inner() })
}

type Json = serde_json::Serializer<Vec<u8>>;

/// Serializes the content of a variant into `json` and returns the variant's name.
struct Wire<'a> {
    json: &'a mut Json,
}

/// A variant's name and the serializer of its content.
struct Named<T> {
    name: &'static str,
    content: T,
}

fn no_variant<T>() -> Result<T, Error> {
    Err(Error::custom("commands and events must be enums without serde's `tag`, `content` or `untagged`"))
}

macro_rules! refuse {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, _value: $type) -> Result<&'static str, Error> {
            no_variant()
        })*
    };
}

impl<'a> Serializer for Wire<'a> {
    type Ok = &'static str;
    type Error = Error;
    type SerializeSeq = Impossible<&'static str, Error>;
    type SerializeTuple = Impossible<&'static str, Error>;
    type SerializeTupleStruct = Impossible<&'static str, Error>;
    type SerializeTupleVariant = Named<<&'a mut Json as Serializer>::SerializeTuple>;
    type SerializeMap = Impossible<&'static str, Error>;
    type SerializeStruct = Impossible<&'static str, Error>;
    type SerializeStructVariant = Named<<&'a mut Json as Serializer>::SerializeStruct>;

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<&'static str, Error> {
        SerializeStruct::end(self.json.serialize_struct(variant, 0)?)?;
        Ok(variant)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<&'static str, Error> {
        value.serialize(self.json)?;
        Ok(variant)
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, Error> {
        Ok(Named { name: variant, content: self.json.serialize_tuple(len)? })
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, Error> {
        Ok(Named { name: variant, content: self.json.serialize_struct(variant, len)? })
    }

    refuse! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_f32: f32,
        serialize_f64: f64, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_unit_struct: &'static str,
    }

    fn serialize_none(self) -> Result<&'static str, Error> {
        no_variant()
    }

    fn serialize_unit(self) -> Result<&'static str, Error> {
        no_variant()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _value: &T) -> Result<&'static str, Error> {
        no_variant()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _value: &T,
    ) -> Result<&'static str, Error> {
        no_variant()
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self::SerializeSeq, Error> {
        no_variant()
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self::SerializeTuple, Error> {
        no_variant()
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleStruct, Error> {
        no_variant()
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Self::SerializeMap, Error> {
        no_variant()
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Self::SerializeStruct, Error> {
        no_variant()
    }
}

impl<C: SerializeTuple<Ok = (), Error = Error>> SerializeTupleVariant for Named<C> {
    type Ok = &'static str;
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.content.serialize_element(value)
    }

    fn end(self) -> Result<&'static str, Error> {
        self.content.end()?;
        Ok(self.name)
    }
}

impl<C: SerializeStruct<Ok = (), Error = Error>> SerializeStructVariant for Named<C> {
    type Ok = &'static str;
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), Error> {
        self.content.serialize_field(key, value)
    }

    fn skip_field(&mut self, key: &'static str) -> Result<(), Error> {
        self.content.skip_field(key)
    }

    fn end(self) -> Result<&'static str, Error> {
        self.content.end()?;
        Ok(self.name)
    }
}
