//! CloudEvents 1.0 on NATS messages.
//!
//! Events are written in binary mode: attributes in headers that begin with `ce-`, the data as the payload. Binary and
//! structured mode are read. Source: CloudEvents 1.0.2, its JSON event format, and its NATS protocol binding 1.0.3. The
//! binding keeps `datacontenttype` in `ce-datacontenttype` and calls a message structured if its `content-type` begins
//! with `application/cloudevents`. Header values are percent-encoded as in the HTTP binding, section 3.1.3.2.

use std::borrow::Cow;

use bytes::Bytes;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::contract::{MAX_ATTRIBUTE_BYTES, MAX_EXTENSIONS, RESERVED_PREFIX};
use crate::message::{Event, Headers, Metadata};
use crate::time::Timestamp;

/// The extension attribute that carries the version of the form of `data`.
pub const DATA_VERSION: &str = "dataversion";
/// The extension attribute that names the process.
pub const CORRELATION_ID: &str = "correlationid";
/// The extension attribute that names the cause.
pub const CAUSATION_ID: &str = "causationid";
/// The extension attribute of the CloudEvents distributed tracing extension.
pub const TRACEPARENT: &str = "traceparent";
/// The extension attribute with how many reactions of sagas led to a message, one after the other. Missing: none.
pub const DEPTH: &str = "peltondepth";

/// The most extension attributes of a stored event: the plugin's, and four of the host.
const MAX_STORED_EXTENSIONS: usize = MAX_EXTENSIONS + 4;

const PREFIX: &str = "ce-";
const STRUCTURED: &str = "application/cloudevents";
const STRUCTURED_JSON: &str = "application/cloudevents+json";
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'%');

/// Why a message is not a CloudEvent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloudEventError {
    /// There is neither a `ce-specversion` header nor a structured content type.
    #[error(
        "is not a CloudEvent: it has neither `ce-` headers (binary mode) nor a content type of \
         `application/cloudevents+json` (structured mode)"
    )]
    Neither,
    /// A required attribute is missing or empty.
    #[error("lacks the CloudEvents attribute `{0}`")]
    Missing(&'static str),
    /// An attribute cannot be read.
    #[error("has a bad CloudEvents attribute `{name}`: {cause}")]
    Attribute {
        /// Its name.
        name: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The structured payload cannot be read.
    #[error("is not a CloudEvent in structured mode: {0}")]
    Structured(String),
}

/// A CloudEvent's attributes, without its data.
#[derive(Debug, Clone, Copy)]
pub struct Attributes<'a> {
    /// Unique within `source`.
    pub id: &'a str,
    /// A URI reference.
    pub source: &'a str,
    /// The type, without the version.
    pub r#type: &'a str,
    /// The version of the form of the data, from 1.
    pub version: u32,
    /// The entity's id, in events that Pelton wrote.
    pub subject: Option<&'a str>,
    /// When the event happened.
    pub time: Option<Timestamp>,
    /// The media type of the data.
    pub datacontenttype: Option<&'a str>,
    /// The URI of the schema of the data.
    pub dataschema: Option<&'a str>,
    /// Every other attribute.
    pub extensions: &'a [(String, String)],
}

impl<'a> From<&'a Event> for Attributes<'a> {
    fn from(event: &'a Event) -> Self {
        Self {
            id: &event.id,
            source: &event.source,
            r#type: &event.r#type,
            version: event.version,
            subject: event.subject.as_deref(),
            time: event.time,
            datacontenttype: event.datacontenttype.as_deref(),
            dataschema: event.dataschema.as_deref(),
            extensions: &event.extensions,
        }
    }
}

/// The headers of an event in binary mode. The payload is its data.
#[must_use]
pub fn encode<'a>(attributes: impl Into<Attributes<'a>>) -> Headers {
    headers(attributes).collect()
}

/// The names and values of the headers that [`encode`] writes, values in printable ASCII. A name is borrowed unless a
/// plugin or a sender chose it.
pub fn headers<'a>(
    attributes: impl Into<Attributes<'a>>,
) -> impl Iterator<Item = (Cow<'static, str>, Cow<'a, str>)> {
    let attributes = attributes.into();
    let text = |value: &'a str| Cow::from(utf8_percent_encode(value, ENCODED));
    let required = [
        ("ce-specversion", Cow::Borrowed("1.0")),
        ("ce-id", text(attributes.id)),
        ("ce-source", text(attributes.source)),
        ("ce-type", text(attributes.r#type)),
    ];
    let optional = [
        (attributes.version != 1).then(|| ("ce-dataversion", attributes.version.to_string().into())),
        attributes.subject.map(|subject| ("ce-subject", text(subject))),
        attributes.time.map(|time| ("ce-time", String::from(time).into())),
        attributes.datacontenttype.map(|media_type| ("ce-datacontenttype", text(media_type))),
        attributes.dataschema.map(|schema| ("ce-dataschema", text(schema))),
    ];
    let fixed = required.into_iter().chain(optional.into_iter().flatten());
    let extensions = attributes.extensions.iter().map(move |(name, value)| (extension(name), text(value)));
    fixed.map(|(name, value)| (Cow::Borrowed(name), value)).chain(extensions)
}

/// A text in printable ASCII, for a header of Pelton's own.
#[must_use]
pub fn header_value(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// The text in such a header.
#[must_use]
pub fn from_header_value(value: &str) -> String {
    percent_decode_str(value).decode_utf8_lossy().into_owned()
}

/// The header of an extension attribute.
fn extension(name: &str) -> Cow<'static, str> {
    match name {
        CORRELATION_ID => "ce-correlationid".into(),
        CAUSATION_ID => "ce-causationid".into(),
        TRACEPARENT => "ce-traceparent".into(),
        DEPTH => "ce-peltondepth".into(),
        _ => [PREFIX, name].concat().into(),
    }
}

/// Reads an event in either mode.
pub fn decode(headers: &Headers, payload: &Bytes) -> Result<Event, CloudEventError> {
    match headers.get("content-type") {
        Some(content_type) if content_type.to_ascii_lowercase().starts_with(STRUCTURED) => {
            structured(content_type, payload)
        }
        _ => binary(headers, payload),
    }
}

fn binary(headers: &Headers, payload: &Bytes) -> Result<Event, CloudEventError> {
    let mut event = Draft::default();
    let mut any = false;
    for (name, value) in headers.iter() {
        let Some((prefix, name)) = name.split_at_checked(PREFIX.len()) else { continue };
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            continue;
        }
        any = true;
        let name = match name.bytes().any(|b| b.is_ascii_uppercase()) {
            true => Cow::from(name.to_ascii_lowercase()),
            false => Cow::from(name),
        };
        let text = percent_decode_str(value)
            .decode_utf8()
            .map_err(|e| CloudEventError::Attribute { name: name.to_string(), cause: e.to_string() })?;
        event.attribute(&name, text)?;
    }
    if !any {
        return Err(CloudEventError::Neither);
    }
    if event.datacontenttype.is_none() {
        event.datacontenttype = headers.get("content-type").map(str::to_owned);
    }
    event.finish(payload.clone())
}

fn structured(content_type: &str, payload: &Bytes) -> Result<Event, CloudEventError> {
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    // sdk-go writes `application/cloudevents` without the suffix. The JSON format is the only one that it can mean
    // here.
    if media_type != STRUCTURED_JSON && media_type != STRUCTURED {
        return Err(CloudEventError::Structured(format!(
            "content type {content_type:?} is not supported; use {STRUCTURED_JSON}"
        )));
    }
    let mut event = Draft::default();
    let mut data = None;
    let members: Members<'_> =
        serde_json::from_slice(payload).map_err(|e| CloudEventError::Structured(e.to_string()))?;
    for (name, value) in members.0 {
        match name.as_str() {
            "data" => data = Some(Data::Json(value)),
            "data_base64" => data = Some(Data::Base64(value)),
            _ => {
                if let Some(text) = attribute_text(value)
                    .map_err(|cause| CloudEventError::Attribute { name: name.clone(), cause })?
                {
                    event.attribute(&name, text.into())?;
                }
            }
        }
    }
    let bytes = match data {
        None => Bytes::new(),
        Some(data) => data.bytes(event.datacontenttype.as_deref())?,
    };
    if event.datacontenttype.is_none() {
        // JSON event format, section 3.1.1: without the attribute the data is JSON.
        event.datacontenttype = Some("application/json".to_owned());
    }
    event.finish(bytes)
}

/// The members of a JSON object, in order. The values stay raw, so that data keeps its bytes.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Visitor).map(Members)
    }
}

fn attribute_text(value: &RawValue) -> Result<Option<String>, String> {
    match serde_json::from_str(value.get()).map_err(|e| e.to_string())? {
        serde_json::Value::Null => Ok(None),
        serde_json::Value::String(text) => Ok(Some(text)),
        serde_json::Value::Bool(value) => Ok(Some(value.to_string())),
        serde_json::Value::Number(number) => Ok(Some(number.to_string())),
        _ => Err("an attribute is a text, a number or a boolean".to_owned()),
    }
}

enum Data<'a> {
    Json(&'a RawValue),
    Base64(&'a RawValue),
}

impl Data<'_> {
    fn bytes(self, datacontenttype: Option<&str>) -> Result<Bytes, CloudEventError> {
        let bad = |cause: String| CloudEventError::Structured(cause);
        match self {
            Self::Base64(value) => {
                use base64::Engine;
                let text: String =
                    serde_json::from_str(value.get()).map_err(|e| bad(format!("`data_base64`: {e}")))?;
                let bytes = base64::engine::general_purpose::STANDARD
                    .decode(text)
                    .map_err(|e| bad(format!("`data_base64`: {e}")))?;
                Ok(bytes.into())
            }
            Self::Json(value) if datacontenttype.is_none_or(is_json) => {
                Ok(Bytes::copy_from_slice(value.get().as_bytes()))
            }
            Self::Json(value) => {
                let text: String = serde_json::from_str(value.get())
                    .map_err(|_| bad("`data` that is not JSON by its `datacontenttype` must be a text or come as `data_base64`".to_owned()))?;
                Ok(text.into())
            }
        }
    }
}

/// Whether a media type is JSON: `application/json`, `text/json` or any `+json`.
#[must_use]
pub fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    let subtype = essence.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    subtype == "json" || subtype.ends_with("+json")
}

/// Whether a text can name an extension attribute: 1 to 20 characters `a`-`z`, `0`-`9`. Source: CloudEvents 1.0.2,
/// "Naming conventions", which recommends the length; Pelton requires it.
#[must_use]
pub fn is_extension_name(name: &str) -> bool {
    (1..=20).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

/// The attributes of CloudEvents itself, and those that the host writes.
pub(crate) const RESERVED: [&str; 13] = [
    "specversion",
    "id",
    "source",
    "type",
    "subject",
    "time",
    "datacontenttype",
    "dataschema",
    "data",
    DATA_VERSION,
    CORRELATION_ID,
    CAUSATION_ID,
    TRACEPARENT,
];

/// Whether a plugin may use this name for an extension attribute of an event or the metadata of a command.
#[must_use]
pub fn is_plugin_extension(name: &str) -> bool {
    is_extension_name(name) && !RESERVED.contains(&name) && !name.starts_with(RESERVED_PREFIX)
}

#[derive(Default)]
struct Draft {
    specversion: Option<String>,
    id: Option<String>,
    source: Option<String>,
    r#type: Option<String>,
    version: Option<u32>,
    subject: Option<String>,
    time: Option<Timestamp>,
    datacontenttype: Option<String>,
    dataschema: Option<String>,
    extensions: Metadata,
}

impl Draft {
    fn attribute(&mut self, name: &str, value: Cow<'_, str>) -> Result<(), CloudEventError> {
        let bad = |cause: String| CloudEventError::Attribute { name: name.to_owned(), cause };
        if value.len() > MAX_ATTRIBUTE_BYTES {
            return Err(bad(format!("has {} bytes; at most {MAX_ATTRIBUTE_BYTES} are allowed", value.len())));
        }
        match name {
            "specversion" => self.specversion = Some(value.into_owned()),
            "id" => self.id = Some(value.into_owned()),
            "source" => self.source = Some(value.into_owned()),
            "type" => self.r#type = Some(value.into_owned()),
            "subject" => self.subject = Some(value.into_owned()),
            "datacontenttype" => self.datacontenttype = Some(value.into_owned()),
            "dataschema" => self.dataschema = Some(value.into_owned()),
            "time" => self.time = Some(Timestamp::parse(&value).map_err(bad)?),
            DATA_VERSION => {
                let version = value.parse().ok().filter(|v| *v > 0);
                self.version =
                    Some(version.ok_or_else(|| bad(format!("{value:?} is not a whole number from 1")))?);
            }
            _ if self.extensions.len() == MAX_STORED_EXTENSIONS => {
                return Err(bad(format!("there are more than {MAX_STORED_EXTENSIONS} extensions")));
            }
            _ => self.extensions.push((name.to_owned(), value.into_owned())),
        }
        Ok(())
    }

    fn finish(self, data: Bytes) -> Result<Event, CloudEventError> {
        fn required(value: Option<String>, name: &'static str) -> Result<String, CloudEventError> {
            value.filter(|v| !v.is_empty()).ok_or(CloudEventError::Missing(name))
        }
        let specversion = required(self.specversion, "specversion")?;
        if specversion != "1.0" {
            let cause = format!("{specversion:?} is not supported; this host reads 1.0");
            return Err(CloudEventError::Attribute { name: "specversion".to_owned(), cause });
        }
        Ok(Event {
            id: required(self.id, "id")?,
            source: required(self.source, "source")?,
            r#type: required(self.r#type, "type")?,
            version: self.version.unwrap_or(1),
            subject: self.subject,
            time: self.time,
            datacontenttype: self.datacontenttype,
            dataschema: self.dataschema,
            extensions: self.extensions,
            data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
            id: "c-1:0".into(),
            source: "/booking/1.2022-12-12".into(),
            r#type: "room-booked".into(),
            version: 2,
            subject: Some("1.2022-12-12".into()),
            time: Some(Timestamp(1_700_000_000_123_456_789)),
            datacontenttype: Some("application/json".into()),
            dataschema: None,
            extensions: vec![(CORRELATION_ID.into(), "grüße 100% \"x\"".into())],
            data: Bytes::from_static(b"{\"room\": 1}"),
        }
    }

    fn read(content_type: &str, payload: &str) -> Result<Event, CloudEventError> {
        let headers = Headers::from_iter([("Content-Type".to_owned(), content_type.to_owned())]);
        decode(&headers, &Bytes::copy_from_slice(payload.as_bytes()))
    }

    #[test]
    fn binary_mode_comes_back_as_it_went_with_only_printable_ascii_in_headers() {
        let headers = encode(&event());
        assert!(headers.iter().all(|(_, v)| v.bytes().all(|b| (0x21..0x7f).contains(&b))), "{headers:?}");
        assert_eq!(decode(&headers, &event().data).unwrap(), event());
    }

    // R2: an event with 64 extensions from its plugin, and the host's own beside them, was stored and could not be
    // read.
    #[test]
    fn an_event_has_room_for_the_hosts_extensions_beside_its_plugins() {
        let ours = [CORRELATION_ID, CAUSATION_ID, TRACEPARENT, DEPTH].map(str::to_owned);
        let theirs = (0..MAX_EXTENSIONS).map(|n| format!("x{n}"));
        let extensions: Metadata =
            ours.into_iter().chain(theirs).map(|name| (name, "v".to_owned())).collect();
        let full = Event { extensions, ..event() };
        assert_eq!(decode(&encode(&full), &full.data).unwrap(), full);
        let mut over = encode(&full);
        over.push("ce-onemore", "v");
        let error = decode(&over, &full.data).unwrap_err().to_string();
        assert!(error.contains("more than 68 extensions"), "{error}");
    }

    #[test]
    fn every_extension_is_written_under_its_own_name() {
        for name in [CORRELATION_ID, CAUSATION_ID, TRACEPARENT, "tenant"] {
            let headers = encode(&Event { extensions: vec![(name.into(), "x".into())], ..event() });
            assert_eq!(headers.get(&format!("ce-{name}")), Some("x"), "{headers:?}");
        }
    }

    #[test]
    fn structured_mode_keeps_the_bytes_of_json_data() {
        let text = r#"{"specversion":"1.0","id":"a","source":"/s","type":"t","n":7,"gone":null,"data":{ "b" : 1.0 }}"#;
        let event = read("application/cloudevents+json; charset=UTF-8", text).unwrap();
        assert_eq!(&event.data[..], br#"{ "b" : 1.0 }"#);
        assert_eq!(event.extensions, [("n".to_owned(), "7".to_owned())]);
        assert_eq!(event.version, 1);
    }

    #[test]
    fn structured_data_may_be_text_or_base64() {
        let with = |rest: &str| {
            read(
                STRUCTURED_JSON,
                &format!(r#"{{"specversion":"1.0","id":"a","source":"/s","type":"t",{rest}}}"#),
            )
        };
        assert_eq!(&with(r#""datacontenttype":"text/plain","data":"hi""#).unwrap().data[..], b"hi");
        assert_eq!(&with(r#""datacontenttype":"image/png","data_base64":"AAE=""#).unwrap().data[..], [0, 1]);
        assert!(with(r#""datacontenttype":"text/plain","data":{}"#).is_err());
        assert!(with(r#""data_base64":"!""#).is_err());
    }

    #[test]
    fn what_is_no_cloudevent_says_why() {
        let without = |gone: &str| -> Headers {
            encode(&event())
                .iter()
                .filter(|(n, _)| *n != gone)
                .map(|(n, v)| (n.to_owned(), v.to_owned()))
                .collect()
        };
        let check = |headers: &Headers, part: &str| {
            let error = decode(headers, &Bytes::new()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        check(&Headers::default(), "neither `ce-` headers");
        check(&without("ce-id"), "`id`");
        check(&without("ce-specversion"), "`specversion`");
        for (name, value, part) in [
            ("ce-time", "yesterday", "RFC 3339"),
            ("ce-dataversion", "0", "whole number from 1"),
            ("ce-x", "%ff", "invalid utf-8"),
        ] {
            let mut headers = encode(&event());
            headers.push(name, value);
            check(&headers, part);
        }
        let future = encode(&event())
            .iter()
            .map(|(n, v)| (n.to_owned(), if n == "ce-specversion" { "2.0" } else { v }.to_owned()))
            .collect();
        check(&future, "this host reads 1.0");
        for (content_type, payload, part) in [
            (STRUCTURED_JSON, "{", "EOF"),
            (STRUCTURED_JSON, "[]", "a JSON object"),
            (STRUCTURED_JSON, r#"{"id":{}}"#, "text, a number or a boolean"),
            ("application/cloudevents+avro", "", "not supported"),
        ] {
            let error = read(content_type, payload).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
