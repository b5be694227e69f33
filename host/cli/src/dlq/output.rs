//! What `pelton dlq` writes: columns for people, or one JSON object a line for programs.

use std::fmt::Write as _;
use std::io::Write;

use base64::Engine;
use pelton_core::message::Incoming;
use pelton_nats::dead_letters::{Entry, Happening, KeptLetter};
use serde_json::{Map, Value, json};

use crate::terminal::{escaped, one_line};

/// The longest cause in a listing, in characters.
const CAUSE_CHARS: usize = 80;
const COLUMNS: [&str; 8] =
    ["SEQUENCE", "KEPT", "KIND", "CONSUMER", "KEY", "COMMAND OR SUBJECT", "ATTEMPTS", "CAUSE"];

/// Writes to stdout. Who pipes it into `head` has seen enough: what cannot be written is not missed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    pub(super) json: bool,
}

impl Output {
    /// One line.
    pub(super) fn line(self, text: &str) {
        let _ = writeln!(std::io::stdout(), "{text}");
    }

    pub(super) fn list(self, letters: &[KeptLetter]) {
        if self.json {
            letters.iter().for_each(|letter| self.line(&Value::Object(described(letter)).to_string()));
        } else if !letters.is_empty() {
            let header = COLUMNS.map(str::to_owned);
            let rows = letters.iter().map(|letter| row(letter).map(|cell| one_line(&cell)));
            self.table(&[header].into_iter().chain(rows).collect::<Vec<_>>());
        }
    }

    fn table(self, rows: &[[String; COLUMNS.len()]]) {
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..COLUMNS.len()).map(width).collect();
        for row in rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            self.line(cells.collect::<Vec<_>>().join("  ").trim_end());
        }
    }

    pub(super) fn show(self, kept: &KeptLetter, journal: &[Entry]) {
        if self.json {
            self.line(&json(kept, journal).to_string());
        } else {
            // Causes, headers and payloads are others' words.
            self.line(escaped(&text(kept, journal)).trim_end());
        }
    }
}

/// The first line, not too long, without the digest that a plugin's fault begins with.
pub(super) fn short(cause: &str, digest: Option<&str>) -> String {
    let line = cause.lines().next().unwrap_or_default();
    let line = digest.map_or_else(|| line.to_owned(), |digest| line.replacen(&format!(" ({digest})"), "", 1));
    match line.char_indices().nth(CAUSE_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

fn row(kept: &KeptLetter) -> [String; COLUMNS.len()] {
    let letter = &kept.letter;
    [
        kept.sequence.to_string(),
        kept.kept_at.to_string(),
        letter.kind.as_str().to_owned(),
        letter.consumer.clone(),
        letter.key.clone().unwrap_or_else(|| "-".to_owned()),
        kept.command().unwrap_or(&letter.message.subject).to_owned(),
        letter.message.attempt.to_string(),
        short(&letter.cause, letter.digest.as_deref()),
    ]
}

/// What a listing says of a letter. What there is not is null.
pub(super) fn described(kept: &KeptLetter) -> Map<String, Value> {
    let letter = &kept.letter;
    let members = [
        ("sequence", json!(kept.sequence)),
        ("keptAt", json!(kept.kept_at)),
        ("kind", json!(letter.kind.as_str())),
        ("consumer", json!(letter.consumer)),
        ("key", json!(letter.key)),
        ("command", json!(kept.command())),
        ("stream", json!(letter.message.stream)),
        ("streamSequence", json!(letter.message.sequence)),
        ("subject", json!(letter.message.subject)),
        ("attempts", json!(letter.message.attempt)),
        ("cause", json!(letter.cause)),
        ("digest", json!(letter.digest)),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn json(kept: &KeptLetter, journal: &[Entry]) -> Value {
    let message = &kept.letter.message;
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

fn text(kept: &KeptLetter, journal: &[Entry]) -> String {
    let letter = &kept.letter;
    let message = &letter.message;
    let nothing = || "-".to_owned();
    let mut text = format!("dead letter {}\n", kept.sequence);
    let came = format!("{} of {}, stored {}", message.sequence, message.stream, message.stored_at);
    let facts = [
        ("kept", format!("{}, {} after {} attempts", kept.kept_at, letter.kind.as_str(), message.attempt)),
        ("consumer", letter.consumer.clone()),
        ("key", letter.key.clone().unwrap_or_else(nothing)),
        ("command", kept.command().map_or_else(nothing, str::to_owned)),
        ("subject", message.subject.clone()),
        ("message", came),
        ("plugin", letter.digest.clone().unwrap_or_else(nothing)),
    ];
    for (name, fact) in facts {
        let _ = writeln!(text, "  {name:<9} {fact}");
    }
    let headers = message.headers.iter().map(|(name, value)| format!("{name}: {value}"));
    let payload = match std::str::from_utf8(&message.payload) {
        Ok(payload) => payload.to_owned(),
        Err(_) => format!("(no text; base64) {}", base64(message)),
    };
    let sections = [
        ("cause".to_owned(), letter.cause.clone()),
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
