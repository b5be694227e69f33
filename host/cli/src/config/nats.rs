//! `[nats]`: the server's address, and the settings of what Pelton creates there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pelton_nats::topology::Storage;

use super::text::key::{
    DAY, Key, OneOf, Optional, Or, Table, Text, Texts, Time, Words, milliseconds, seconds,
};
use super::text::problem::Problem;
use super::text::reader::Reader;

const DEFAULT_URL: &str = "nats://127.0.0.1:4222";

static URL: Key<Texts, Optional> = Key {
    name: "url",
    form: Texts { unit: "URL, or an array of URLs", hint: "\"nats://127.0.0.1:4222\"" },
    default: Optional("`\"nats://127.0.0.1:4222\"`"),
    example: "[\"nats://a:4222\", \"nats://b:4222\"]",
    doc: "The servers of one cluster. `PELTON_NATS_URL` and `--nats` win over it; `pelton dev` uses its own server.",
};
static CREDENTIALS: Key<Text, Optional> = Key {
    name: "credentials",
    form: Text("path, relative to the configuration"),
    default: Optional("none"),
    example: "\"host.creds\"",
    doc: "A `.creds` file. It has to exist.",
};
static CONNECT_TIMEOUT: Key<Time, Optional> = Key {
    name: "connect-timeout",
    form: seconds(1, DAY),
    default: Optional("as long as it takes"),
    example: "\"30s\"",
    doc: "How long the start waits for a server that is away.",
};
static REQUEST_TIMEOUT: Key<Time, Or<Duration>> = Key {
    name: "request-timeout",
    form: milliseconds(100, 60_000),
    default: Or(|| Duration::from_secs(5)),
    example: "\"5s\"",
    doc: "How long the server may take to answer a request.",
};
static REPLICAS: Key<OneOf, Or<u8>> = Key {
    name: "replicas",
    form: OneOf(&[1, 3, 5]),
    default: Or(|| 1),
    example: "3",
    doc: "Replicas of every stream and bucket; 3 or 5 need a cluster of that many servers.",
};
static STORAGE: Key<Words<Storage>, Or<Storage>> = Key {
    name: "storage",
    form: Words(&[("file", Storage::File), ("memory", Storage::Memory)]),
    default: Or(|| Storage::File),
    example: "\"file\"",
    doc: "Where the server keeps every stream and bucket. With `memory`, all is lost when the server stops.",
};
static DUPLICATE_WINDOW: Key<Time, Or<Duration>> = Key {
    name: "duplicate-window",
    form: milliseconds(100, 86_400_000),
    default: Or(|| Duration::from_secs(120)),
    example: "\"2m\"",
    doc: "How long the server remembers message ids. This is an optimisation; correctness does not depend on it.",
};

pub(super) static TABLE: Table = Table {
    name: "nats",
    header: "[nats]",
    doc: "How to reach the NATS server, and how it keeps what Pelton makes there.",
    keys: &[&URL, &CREDENTIALS, &CONNECT_TIMEOUT, &REQUEST_TIMEOUT, &REPLICAS, &STORAGE, &DUPLICATE_WINDOW],
    tables: &[],
    free: None,
};

/// `[nats]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsSettings {
    /// The servers of one cluster.
    pub urls: Vec<String>,
    /// A `.creds` file.
    pub credentials: Option<PathBuf>,
    /// The time that a start waits for an unreachable server. `None`: no limit.
    pub connect_timeout: Option<Duration>,
    /// The longest time that a request to the server takes.
    pub request_timeout: Duration,
    /// A setting of every stream and bucket.
    pub replicas: u8,
    /// A setting of every stream and bucket.
    pub storage: Storage,
    /// The time that the server remembers message ids.
    pub duplicate_window: Duration,
}

impl NatsSettings {
    pub(super) fn read(table: &Reader<'_>, base: &Path) -> Self {
        let credentials = table.at(&CREDENTIALS).map(|path| {
            let file = base.join(&path.value);
            if !file.is_file() {
                table.add(Problem::new(path.span, format!("there is no file {}", file.display())));
            }
            file
        });
        Self {
            urls: urls(table).unwrap_or_else(|| vec![DEFAULT_URL.to_owned()]),
            credentials,
            connect_timeout: table.at(&CONNECT_TIMEOUT).map(|timeout| timeout.value),
            request_timeout: table.get(&REQUEST_TIMEOUT),
            replicas: table.get(&REPLICAS),
            storage: table.get(&STORAGE),
            duplicate_window: table.get(&DUPLICATE_WINDOW),
        }
    }
}

fn urls(table: &Reader<'_>) -> Option<Vec<String>> {
    let urls = table.at(&URL)?;
    for url in &urls.value {
        if let Err(wrong) = check_nats_url(&url.value) {
            table.add(
                Problem::new(url.span, format!("`url` {wrong}"))
                    .help("write a URL such as \"nats://127.0.0.1:4222\""),
            );
        }
    }
    Some(urls.value.into_iter().map(|url| url.value).collect())
}

/// Checks the URL of a server. The error ends a sentence that begins with the URL.
pub fn check_nats_url(url: &str) -> Result<(), String> {
    let Some((scheme, rest)) = url.split_once("://") else { return Err("has no scheme".to_owned()) };
    if !matches!(scheme, "nats" | "tls") {
        return Err(format!("has the scheme `{scheme}`; it can be `nats` or `tls`"));
    }
    let host = rest.rsplit('@').next().unwrap_or(rest);
    let host = host.strip_suffix('/').unwrap_or(host);
    if host.is_empty() || host.starts_with(':') || host.contains(['/', ' ', '?', '#']) {
        return Err("names no host".to_owned());
    }
    Ok(())
}
