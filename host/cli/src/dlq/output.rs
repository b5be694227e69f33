//! The output of `pelton dlq`: columns for people, or one JSON object per line for programs.

use std::fmt::Write as _;

use base64::Engine;
use pelton_core::message::Incoming;
use pelton_nats::dead_letters::{Entry, Happening, KeptDeadLetter};
use serde_json::{Map, Value, json};

use super::causes::{short, tell_apart};
use crate::terminal::{escaped, say, table};

const COLUMNS: [&str; 8] =
    ["SEQUENCE", "KEPT", "KIND", "CONSUMER", "KEY", "COMMAND OR SUBJECT", "ATTEMPTS", "CAUSE"];

/// The output format.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    pub(super) json: bool,
}

impl Output {
    pub(super) fn list(self, dead_letters: &[KeptDeadLetter]) {
        if self.json {
            dead_letters
                .iter()
                .for_each(|dead_letter| say(&Value::Object(described(dead_letter)).to_string()));
            return;
        }
        let causes = tell_apart(
            dead_letters
                .iter()
                .map(|kept| (kept.dead_letter.cause.as_str(), kept.dead_letter.digest.as_deref())),
        );
        let rows = dead_letters.iter().zip(causes).map(|(kept, cause)| row(kept, cause).to_vec());
        if let Some(listed) = table(&COLUMNS, rows) {
            say(listed.trim_end());
        }
    }

    pub(super) fn show(self, kept: &KeptDeadLetter, journal: &[Entry]) {
        if self.json {
            say(&json(kept, journal).to_string());
        } else {
            // Causes, headers and payloads are foreign text.
            say(escaped(&text(kept, journal)).trim_end());
        }
    }
}

fn row(kept: &KeptDeadLetter, cause: String) -> [String; COLUMNS.len()] {
    let dead_letter = &kept.dead_letter;
    [
        kept.sequence.to_string(),
        kept.kept_at.to_string(),
        dead_letter.kind.as_str().to_owned(),
        dead_letter.consumer.clone(),
        dead_letter.key.clone().unwrap_or_else(|| "-".to_owned()),
        kept.command().unwrap_or(&dead_letter.message.subject).to_owned(),
        dead_letter.message.attempt.to_string(),
        cause,
    ]
}

/// A dead letter in a listing. A missing value is null.
pub(super) fn described(kept: &KeptDeadLetter) -> Map<String, Value> {
    let dead_letter = &kept.dead_letter;
    let members = [
        ("sequence", json!(kept.sequence)),
        ("keptAt", json!(kept.kept_at)),
        ("kind", json!(dead_letter.kind.as_str())),
        ("consumer", json!(dead_letter.consumer)),
        ("key", json!(dead_letter.key)),
        ("command", json!(kept.command())),
        ("stream", json!(dead_letter.message.stream)),
        ("streamSequence", json!(dead_letter.message.sequence)),
        ("subject", json!(dead_letter.message.subject)),
        ("attempts", json!(dead_letter.message.attempt)),
        ("cause", json!(dead_letter.cause)),
        ("digest", json!(dead_letter.digest)),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn json(kept: &KeptDeadLetter, journal: &[Entry]) -> Value {
    let message = &kept.dead_letter.message;
    let mut members = described(kept);
    let headers: Vec<_> = message.headers.iter().collect();
    members.insert("storedAt".to_owned(), json!(message.stored_at));
    members.insert("headers".to_owned(), json!(headers));
    match std::str::from_utf8(&message.payload) {
        Ok(text) => members.insert("payload".to_owned(), text.into()),
        Err(_) => members.insert("payloadBase64".to_owned(), base64(message).into()),
    };
    members.insert("history".to_owned(), json!(journal));
    Value::Object(members)
}

fn base64(message: &Incoming) -> String {
    base64::engine::general_purpose::STANDARD.encode(&message.payload)
}

fn text(kept: &KeptDeadLetter, journal: &[Entry]) -> String {
    let dead_letter = &kept.dead_letter;
    let message = &dead_letter.message;
    let nothing = || "-".to_owned();
    let mut text = format!("dead letter {}\n", kept.sequence);
    let came = format!("{} of {}, stored {}", message.sequence, message.stream, message.stored_at);
    let facts = [
        (
            "kept",
            format!("{}, {} after {} attempts", kept.kept_at, dead_letter.kind.as_str(), message.attempt),
        ),
        ("consumer", dead_letter.consumer.clone()),
        ("key", dead_letter.key.clone().unwrap_or_else(nothing)),
        ("command", kept.command().map_or_else(nothing, str::to_owned)),
        ("subject", message.subject.clone()),
        ("message", came),
        ("plugin", dead_letter.digest.clone().unwrap_or_else(nothing)),
    ];
    for (name, fact) in facts {
        let _ = writeln!(text, "  {name:<9} {fact}");
    }
    let headers = message.headers.iter().map(|(name, value)| format!("{name}: {value}"));
    let payload = match std::str::from_utf8(&message.payload) {
        Ok(payload) => payload.to_owned(),
        Err(_) => format!("(not text; base64) {}", base64(message)),
    };
    let sections = [
        ("cause".to_owned(), dead_letter.cause.clone()),
        ("headers".to_owned(), headers.collect::<Vec<_>>().join("\n")),
        (format!("payload, {} bytes", message.payload.len()), payload),
        ("history".to_owned(), journal.iter().map(happened).collect::<Vec<_>>().join("\n")),
    ];
    for (title, lines) in sections {
        let _ = writeln!(text, "{title}:");
        for line in lines.lines() {
            let _ = writeln!(text, "  {line}");
        }
    }
    text
}

fn happened(entry: &Entry) -> String {
    let what = match &entry.what {
        Happening::Kept { kind, cause } => format!("kept as {kind}: {}", short(cause, None)),
        Happening::Retried { by } => format!("retried by {by}"),
        Happening::FailedAgain { cause } => format!("failed again: {}", cause.replace('\n', "\n  ")),
        Happening::Settled { outcome } => format!("settled: {outcome}"),
        Happening::Dropped { by, reason } => format!("dropped by {by}: {reason}"),
    };
    format!("{} {what}", entry.at)
}
