//! The headers of a request, read once and strictly.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, HeaderName, IF_MATCH};
use axum::http::{HeaderMap, HeaderValue};
use pelton_core::cloudevents::is_json;
use pelton_core::id::Sequence;

use crate::refusal::Refusal;
use crate::state::Settings;

const PREFER: HeaderName = HeaderName::from_static("prefer");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Refuses a body that is not JSON in UTF-8: `application/json`, or any media type that ends in `+json`.
pub(crate) fn require_json(headers: &HeaderMap) -> Result<(), Refusal> {
    let given = headers.get(CONTENT_TYPE).map(text).transpose().ok().flatten();
    let utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    };
    match given {
        Some(media_type) if is_json(media_type) && media_type.split(';').skip(1).all(utf8) => Ok(()),
        _ => Err(Refusal::MediaType),
    }
}

/// The id in `Idempotency-Key`: bare, as most clients send it, or in quotes, as in its specification.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let refusal = || Refusal::Header { name: "Idempotency-Key", wanted: "one id, in UTF-8" };
    let Some(value) = only(headers, &IDEMPOTENCY_KEY).map_err(|()| refusal())? else {
        return Ok(None);
    };
    let key = text(value).map_err(|_| refusal())?.trim();
    Ok(Some(key.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(key)))
}

/// The sequence that the client expects the entity to be at.
pub(crate) fn expected_sequence(headers: &HeaderMap) -> Result<Option<Sequence>, Refusal> {
    let refusal = || Refusal::Header {
        name: "If-Match",
        wanted: "sequence of the entity in quotes, as `ETag` gives it, for example `\"42\"`",
    };
    let Some(value) = only(headers, &IF_MATCH).map_err(|()| refusal())? else {
        return Ok(None);
    };
    let digits = (value.to_str().ok())
        .and_then(|tag| tag.trim().strip_prefix('"')?.strip_suffix('"'))
        .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|digits| digits.parse().ok()).map(|sequence| Some(Sequence(sequence))).ok_or_else(refusal)
}

/// The trace that the request belongs to. A malformed header counts as absent (W3C Trace Context, section 3.2.2.3).
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let value = only(headers, &TRACEPARENT).ok().flatten()?.to_str().ok()?.trim();
    let mut parts = value.split('-');
    let mut hex = |length: usize| {
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        parts.next().filter(|part| part.len() == length && part.bytes().all(digit))
    };
    let (version, trace, parent, _flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    // Version 00 ends here; a later version may have more.
    let complete = version != "00" || parts.next().is_none();
    (version != "ff" && !zero(trace) && !zero(parent) && complete).then_some(value)
}

/// The time to wait for an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) duration: Duration,
    /// Whether the client asked for this time.
    asked: bool,
}

impl Wait {
    /// The time of `Prefer: wait=N`, within the settings (RFC 7240). A value that cannot be read is ignored, as are
    /// other preferences. Of several values only the first counts.
    pub(crate) fn of(headers: &HeaderMap, settings: &Settings) -> Self {
        let first = (headers.get_all(PREFER).iter())
            .filter_map(|value| text(value).ok())
            .flat_map(|value| split_unquoted(value, ','))
            .filter_map(|preference| split_unquoted(preference, ';').next())
            .map(|preference| preference.split_once('=').unwrap_or((preference, "")))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"));
        let asked = first.and_then(|(_, value)| seconds(value.trim().trim_matches('"')));
        let duration = asked.map_or(settings.default_wait, Duration::from_secs).min(settings.max_wait);
        Self { duration, asked: asked.is_some() }
    }

    /// The value of `Preference-Applied`, if the client asked for a wait.
    pub(crate) fn applied(self) -> Option<HeaderValue> {
        let value = format!("wait={}", self.duration.as_secs());
        self.asked.then(|| HeaderValue::try_from(value).expect("letters and digits are a header value"))
    }
}

/// `delta-seconds`: digits. A number that does not fit becomes the largest one (RFC 9111, section 1.2.2).
fn seconds(digits: &str) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    all_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}

fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return c == separator && !quoted,
        }
        false
    })
}

/// The value of a header that may occur once at most.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, ()> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (_, Some(_)) => Err(()),
        (value, None) => Ok(value),
    }
}

fn text(value: &HeaderValue) -> Result<&str, std::str::Utf8Error> {
    std::str::from_utf8(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_is_read_as_rfc_7240_says() {
        let settings = Settings::default();
        for (values, expected, applied) in [
            (&[][..], 5, None),
            (&["wait=2"], 2, Some("wait=2")),
            (&["wait=0"], 0, Some("wait=0")),
            (&["WAIT = 7"], 7, Some("wait=7")),
            (&["wait=\"7\""], 7, Some("wait=7")),
            (&["respond-async, wait=3; foo=\"a,b\""], 3, Some("wait=3")),
            (&["foo=\"x, wait=9\"; bar, wait=3"], 3, Some("wait=3")),
            (&["return=minimal", "wait=4"], 4, Some("wait=4")),
            (&["wait=1, wait=2"], 1, Some("wait=1")),
            (&["wait=600"], 60, Some("wait=60")),
            (&["wait=99999999999999999999999"], 60, Some("wait=60")),
            (&["wait"], 5, None),
            (&["wait="], 5, None),
            (&["wait=-1"], 5, None),
            (&["wait=+1"], 5, None),
            (&["wait=1.5"], 5, None),
            (&["wait=soon, wait=1"], 5, None),
            (&["\"wait=1"], 5, None),
            (&[", ;;=,\\"], 5, None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(PREFER, HeaderValue::from_static(value));
            }
            let wait = Wait::of(&headers, &settings);
            assert_eq!(wait.duration, Duration::from_secs(expected), "{values:?}");
            assert_eq!(wait.applied().as_ref().map(|v| v.to_str().unwrap()), applied, "{values:?}");
        }
    }

    #[test]
    fn only_a_well_formed_traceparent_goes_on() {
        let trace = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331";
        for (value, passed) in [
            (format!("00-{trace}-01"), true),
            (format!("01-{trace}-01-more"), true),
            (format!("00-{trace}-01-more"), false),
            (format!("ff-{trace}-01"), false),
            (format!("00-{trace}"), false),
            (format!("00-{}-01", trace.to_uppercase()), false),
            ("00-00000000000000000000000000000000-b7ad6b7169203331-01".to_owned(), false),
            ("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01".to_owned(), false),
            (String::new(), false),
        ] {
            let headers = HeaderMap::from_iter([(TRACEPARENT, HeaderValue::try_from(&value).unwrap())]);
            assert_eq!(traceparent(&headers), passed.then_some(&value[..]), "{value}");
        }
    }
}
