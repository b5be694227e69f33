//! Converts between serde's enums and the type, version and JSON data of the wire.
//!
//! The name of a variant is the type: `room-booked`, or `room-booked.v2` for a version other than 1. The content of the
//! variant is the data. JSON is read straight from the bytes and written straight into them.

mod decode;
mod encode;
mod probe;

pub(crate) use decode::{DecodeError, decode_command, decode_event};
pub(crate) use encode::{Encoded, encode};
pub(crate) use probe::variants;

/// The type and version of a variant's name: `room-booked.v2` is version 2 of `room-booked`, `room-booked` is version
/// 1.
pub(crate) fn split_variant(name: &str) -> (&str, u32) {
    name.rsplit_once('.')
        .and_then(|(kind, version)| Some((kind, parse_version(version.strip_prefix('v')?)?)))
        .filter(|(kind, _)| !kind.is_empty())
        .unwrap_or((name, 1))
}

/// Parses a version, written as JSON writes numbers: without a sign or a leading zero.
fn parse_version(text: &str) -> Option<u32> {
    if text.starts_with(['0', '+']) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Event {
        Opened,
        Moved {
            to: u8,
            by: Option<String>,
        },
        Weighed(f64),
        Paired(u8, u8),
        Named(Name),
        #[serde(rename = "named.v2")]
        NamedAgain(Name),
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Name {
        name: String,
    }

    fn read(kind: &str, version: u32, data: &str) -> Result<Event, DecodeError> {
        decode_event(kind, version, data.as_bytes())
    }

    #[test]
    fn every_kind_of_variant_goes_there_and_back() {
        let name = || Name { name: "n".into() };
        let cases = [
            (Event::Opened, "opened", 1, "{}"),
            (Event::Moved { to: 1, by: None }, "moved", 1, r#"{"to":1,"by":null}"#),
            (Event::Weighed(1.5), "weighed", 1, "1.5"),
            (Event::Paired(1, 2), "paired", 1, "[1,2]"),
            (Event::Named(name()), "named", 1, r#"{"name":"n"}"#),
            (Event::NamedAgain(name()), "named", 2, r#"{"name":"n"}"#),
        ];
        for (event, kind, version, data) in cases {
            let wire = encode(&event).expect("it has a wire form");
            assert_eq!(split_variant(wire.name), (kind, version));
            assert_eq!(String::from_utf8_lossy(&wire.data), data);
            assert_eq!(read(kind, version, data).expect("it is read"), event);
        }
    }

    #[test]
    fn a_unit_variant_takes_an_object_null_or_nothing() {
        for data in ["{}", " { } ", "null", "", r#"{"later":1}"#] {
            assert_eq!(read("opened", 1, data).expect("it is read"), Event::Opened);
        }
        for data in ["{", "1", "[]", "{} {}", "\u{0}"] {
            assert!(matches!(read("opened", 1, data), Err(DecodeError::Unreadable(_))), "{data}");
        }
    }

    #[test]
    fn types_and_versions_outside_the_enum_are_unknown() {
        for (kind, version) in
            [("closed", 1), ("opened", 2), ("named", 3), ("named.v2", 1), ("", 1), ("opened", 0)]
        {
            assert!(matches!(read(kind, version, "{}"), Err(DecodeError::Unknown)), "{kind} {version}");
        }
    }

    #[test]
    fn commands_have_no_versions() {
        assert!(matches!(decode_command("opened", b"{}"), Ok(Event::Opened)));
        assert!(matches!(decode_command("named.v2", br#"{"name":"n"}"#), Ok(Event::NamedAgain(_))));
        assert!(matches!(decode_command::<Event>("opened.v1", b"{}"), Err(DecodeError::Unknown)));
    }

    #[test]
    fn unreadable_data_is_an_error_that_says_where() {
        let cases = [
            ("moved", "{}", "missing field `to` at line 1 column 2"),
            ("moved", "{\n \"to\": 300}", "invalid value: integer `300`, expected u8 at line 2 column 10"),
            ("moved", r#"{"to":1,"to":2}"#, "duplicate field `to` at line 1 column 12"),
            ("moved", r#"{"to":1} x"#, "trailing characters at line 1 column 10"),
            ("named", "\u{ff}", "expected value at line 1 column 1"),
            (
                "paired",
                "[1]",
                "invalid length 1, expected tuple variant Event::Paired with 2 elements at line 1 column 3",
            ),
        ];
        for (kind, data, message) in cases {
            let error = read(kind, 1, data).expect_err("it cannot be read");
            assert_eq!(error.to_string(), message, "{kind} {data}");
        }
        let deep = "[".repeat(100_000);
        assert!(matches!(read("weighed", 1, &deep), Err(DecodeError::Unreadable(_))));
        assert!(matches!(
            decode_event::<Event>("named", 1, b"{\"name\":\"\xff\"}"),
            Err(DecodeError::Unreadable(_))
        ));
    }

    #[test]
    fn the_variants_are_those_of_the_enum() {
        assert_eq!(
            variants::<Event>(),
            Some(&["opened", "moved", "weighed", "paired", "named", "named.v2"][..])
        );
        assert_eq!(variants::<Name>(), None);
    }

    #[test]
    fn an_enum_with_a_tag_of_its_own_is_no_wire_enum() {
        #[derive(Serialize, Deserialize)]
        #[serde(tag = "type")]
        enum Tagged {
            A { x: u8 },
        }
        assert_eq!(variants::<Tagged>(), None);
        assert!(encode(&Tagged::A { x: 1 }).is_err());
        assert!(decode_event::<Tagged>("A", 1, b"{}").is_err());
    }

    #[test]
    fn a_version_is_a_plain_number_after_the_last_v() {
        assert_eq!(split_variant("a"), ("a", 1));
        assert_eq!(split_variant("a.v12"), ("a", 12));
        assert_eq!(split_variant("a.v1"), ("a", 1));
        for whole in ["a.v0", "a.v02", "a.v+2", "a.vx", ".v2", "a.v", "a.v4294967296"] {
            assert_eq!(split_variant(whole), (whole, 1));
        }
    }
}
