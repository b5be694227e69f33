//! The settings that name nothing else in the file: each has a default, a unit and bounds.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use pelton_core::command::entity::CacheLimits;
use pelton_core::command::lanes;
use pelton_core::retry::RetryPolicy;
use pelton_nats::topology::Storage;

use super::problem::{At, Problem};
use super::reader::Reader;
use super::value;

const fn seconds(from: u64, to: u64) -> RangeInclusive<Duration> {
    Duration::from_secs(from)..=Duration::from_secs(to)
}

const fn milliseconds(from: u64, to: u64) -> RangeInclusive<Duration> {
    Duration::from_millis(from)..=Duration::from_millis(to)
}

const DAY: u64 = 86_400;

/// `[nats]`: how to reach the server, and how it keeps what Pelton makes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsSettings {
    /// `url`, one text or several: the servers of one cluster. Default `nats://127.0.0.1:4222`. The environment
    /// variable `PELTON_NATS_URL` and the option `--nats` win over it.
    pub urls: Vec<String>,
    /// `credentials`: a `.creds` file, relative to the configuration. Default: none.
    pub credentials: Option<PathBuf>,
    /// `connect-timeout`: how long the start waits for a server that is away. Default: as long as it takes.
    pub connect_timeout: Option<Duration>,
    /// `request-timeout`: how long the server may take to answer. Default 5 s.
    pub request_timeout: Duration,
    /// `replicas` of every stream and bucket: 1, or 3 or 5 on a cluster. Default 1.
    pub replicas: u8,
    /// `storage` of every stream and bucket: `file` or `memory`. Default `file`.
    pub storage: Storage,
    /// `duplicate-window`: how long the server remembers message ids. Default 2 min. Only an optimisation.
    pub duplicate_window: Duration,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self {
            urls: vec!["nats://127.0.0.1:4222".to_owned()],
            credentials: None,
            connect_timeout: None,
            request_timeout: Duration::from_secs(5),
            replicas: 1,
            storage: Storage::File,
            duplicate_window: Duration::from_secs(120),
        }
    }
}

/// `[gateway]`: commands and views over HTTP.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// `listen`: address and port. Default `127.0.0.1:3000`; port 0 takes a free one. The environment variable
    /// `PELTON_LISTEN` and the option `--listen` win over it.
    pub listen: SocketAddr,
    /// `max-body-bytes` (default 256 KiB); `wait` (5 s): how long a request waits for its outcome when it does not say
    /// `Prefer: wait=N`; `max-wait` (60 s): the longest wait that it can ask for; `head-timeout` and `body-timeout`
    /// (30 s): how long a client may take to send; `max-connections` (4,096).
    pub http: pelton_gateway::Settings,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 3000)),
            http: pelton_gateway::Settings::default(),
        }
    }
}

/// `[commands]`: the command stream and how it is worked on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandSettings {
    /// `max-in-flight`: how many commands of one handler this process holds at a time. Default 256.
    pub max_in_flight: usize,
    /// `max-ack-pending`: how many commands of one handler all processes hold at a time. Default 1,024, or
    /// `max-in-flight` where that is more.
    pub max_ack_pending: u32,
    /// `ack-wait`: after how long without a sign the server gives a command to somebody else. Default 30 s.
    pub ack_wait: Duration,
    /// `gather-single-events`: whether decisions of one event, and outcomes, are stored in batches with others. Worth it
    /// where the server forces every write to disk (`sync_interval: always`). Default false.
    pub gather_single_events: bool,
    /// `decide-ahead-from`: how many commands of one entity must wait for them to be decided ahead of each other and
    /// stored together. Default 16; a cluster, whose batches are cheap, gains from fewer on.
    pub decide_ahead_from: usize,
}

impl Default for CommandSettings {
    fn default() -> Self {
        Self {
            max_in_flight: 256,
            max_ack_pending: 1_024,
            ack_wait: Duration::from_secs(30),
            gather_single_events: false,
            decide_ahead_from: lanes::MIN_AHEAD,
        }
    }
}

/// `[audit]`: the outcomes of commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditSettings {
    /// `keep`: how long an outcome can be read. Default 14 days.
    pub keep: Duration,
}

impl Default for AuditSettings {
    fn default() -> Self {
        Self { keep: Duration::from_secs(14 * DAY) }
    }
}

/// `[shutdown]`: how Pelton stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShutdownSettings {
    /// `deadline`: how long what is in hand may take to finish. Default 10 s.
    pub deadline: Duration,
}

impl Default for ShutdownSettings {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(10) }
    }
}

/// `[wasm]`: how plugins are run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WasmSettings {
    /// `compiled-code`: a directory, relative to the configuration, where compiled code is kept between starts; the
    /// host's alone (mode 0700). Default: none, and every start compiles; `pelton dev` keeps it in its store.
    pub compiled_code: Option<PathBuf>,
}

/// Every section of this page.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) nats: NatsSettings,
    pub(super) gateway: GatewaySettings,
    pub(super) commands: CommandSettings,
    pub(super) retry: RetryPolicy,
    pub(super) cache: CacheLimits,
    pub(super) audit: AuditSettings,
    pub(super) shutdown: ShutdownSettings,
    pub(super) wasm: WasmSettings,
}

impl Settings {
    pub(super) fn read(document: &Reader<'_>, base: &Path) -> Self {
        Self {
            nats: section(document, "nats", |table| nats(table, base)),
            gateway: section(document, "gateway", gateway),
            commands: section(document, "commands", commands),
            retry: section(document, "retry", retry),
            cache: section(document, "cache", cache),
            audit: section(document, "audit", audit),
            shutdown: section(document, "shutdown", shutdown),
            wasm: section(document, "wasm", |table| WasmSettings {
                compiled_code: table.text("compiled-code").map(|path| base.join(path.value)),
            }),
        }
    }
}

fn section<T: Default>(document: &Reader<'_>, key: &'static str, read: impl FnOnce(&Reader<'_>) -> T) -> T {
    let Some(table) = document.table(key) else { return T::default() };
    let settings = read(&table);
    table.finish();
    settings
}

fn nats(table: &Reader<'_>, base: &Path) -> NatsSettings {
    let default = NatsSettings::default();
    let credentials = table.text("credentials").map(|path| {
        let file = base.join(&path.value);
        if !file.is_file() {
            table.add(Problem::new(path.span, format!("there is no file {}", file.display())));
        }
        file
    });
    NatsSettings {
        urls: urls(table).unwrap_or(default.urls),
        credentials,
        connect_timeout: table.duration("connect-timeout", seconds(1, DAY)).map(|timeout| timeout.value),
        request_timeout: plain(
            table.duration("request-timeout", milliseconds(100, 60_000)),
            default.request_timeout,
        ),
        replicas: table.choice_of_numbers("replicas", &[1, 3, 5]).unwrap_or(default.replicas),
        storage: table
            .choice("storage", &[("file", Storage::File), ("memory", Storage::Memory)])
            .unwrap_or(default.storage),
        duplicate_window: plain(
            table.duration("duplicate-window", milliseconds(100, 86_400_000)),
            default.duplicate_window,
        ),
    }
}

fn urls(table: &Reader<'_>) -> Option<Vec<String>> {
    let urls = table.texts("url", "\"nats://127.0.0.1:4222\"")?;
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

fn gateway(table: &Reader<'_>) -> GatewaySettings {
    let GatewaySettings { listen, http } = GatewaySettings::default();
    let wait = table.duration("wait", milliseconds(0, 3_600_000));
    let max_wait = table.duration("max-wait", milliseconds(0, 3_600_000));
    not_above(table, ("wait", &wait, http.default_wait), ("max-wait", &max_wait, http.max_wait));
    GatewaySettings {
        listen: table.address("listen").unwrap_or(listen),
        http: pelton_gateway::Settings {
            max_body_bytes: size(table.bytes("max-body-bytes", 1..=8 << 20), http.max_body_bytes),
            default_wait: plain(wait, http.default_wait),
            max_wait: plain(max_wait, http.max_wait),
            head_timeout: plain(
                table.duration("head-timeout", milliseconds(100, 3_600_000)),
                http.head_timeout,
            ),
            body_timeout: plain(
                table.duration("body-timeout", milliseconds(100, 3_600_000)),
                http.body_timeout,
            ),
            max_connections: size(table.number("max-connections", 1..=1_000_000), http.max_connections),
        },
    }
}

fn commands(table: &Reader<'_>) -> CommandSettings {
    let default = CommandSettings::default();
    let held = table.number("max-in-flight", 1..=65_536);
    // All processes together hold at least what one may hold.
    let pending =
        table.number("max-ack-pending", held.unwrap_or(1)..=1_000_000).and_then(|n| u32::try_from(n).ok());
    let held = size(held, default.max_in_flight);
    CommandSettings {
        max_in_flight: held,
        max_ack_pending: pending
            .unwrap_or(default.max_ack_pending)
            .max(u32::try_from(held).unwrap_or(u32::MAX)),
        ack_wait: plain(table.duration("ack-wait", seconds(1, 3_600)), default.ack_wait),
        gather_single_events: table.flag("gather-single-events").unwrap_or(default.gather_single_events),
        decide_ahead_from: size(table.number("decide-ahead-from", 2..=65_536), default.decide_ahead_from),
    }
}

fn retry(table: &Reader<'_>) -> RetryPolicy {
    let default = RetryPolicy::default();
    let first = table.duration("first-delay", milliseconds(1, 3_600_000));
    let max = table.duration("max-delay", milliseconds(1, 86_400_000));
    not_above(table, ("first-delay", &first, default.first_delay), ("max-delay", &max, default.max_delay));
    let attempts = table.number("max-attempts", 1..=1_000).and_then(|attempts| u32::try_from(attempts).ok());
    RetryPolicy {
        max_attempts: attempts.unwrap_or(default.max_attempts),
        first_delay: plain(first, default.first_delay),
        max_delay: plain(max, default.max_delay),
    }
}

fn cache(table: &Reader<'_>) -> CacheLimits {
    let default = CacheLimits::default();
    CacheLimits {
        entities: size(table.number("entities", 1..=1_000_000), default.entities),
        bytes: size(table.bytes("bytes", 1 << 20..=1 << 40), default.bytes),
    }
}

fn audit(table: &Reader<'_>) -> AuditSettings {
    AuditSettings {
        keep: plain(table.duration("keep", seconds(60, 3_650 * DAY)), AuditSettings::default().keep),
    }
}

fn shutdown(table: &Reader<'_>) -> ShutdownSettings {
    let deadline = table.duration("deadline", milliseconds(100, 3_600_000));
    ShutdownSettings { deadline: plain(deadline, ShutdownSettings::default().deadline) }
}

/// What was typed, or the default.
pub(super) fn plain<T>(typed: Option<At<T>>, default: T) -> T {
    typed.map_or(default, |typed| typed.value)
}

/// Bounds have made sure that it fits.
pub(super) fn size(typed: Option<u64>, default: usize) -> usize {
    typed.and_then(|size| usize::try_from(size).ok()).unwrap_or(default)
}

type Named<'a> = (&'a str, &'a Option<At<Duration>>, Duration);

/// Reports where the first duration is longer than the second. Either may be a default.
fn not_above(
    table: &Reader<'_>,
    (low, typed_low, low_default): Named<'_>,
    (high, typed_high, high_default): Named<'_>,
) {
    let value = |typed: &Option<At<Duration>>, default| typed.as_ref().map_or(default, |typed| typed.value);
    let (low_value, high_value) = (value(typed_low, low_default), value(typed_high, high_default));
    let Some(place) = typed_low.as_ref().or(typed_high.as_ref()).filter(|_| low_value > high_value) else {
        return;
    };
    let show = value::show_duration;
    let title = format!("`{low}` ({}) is longer than `{high}` ({})", show(low_value), show(high_value));
    let problem = Problem::new(place.span, title);
    table.add(match typed_high {
        Some(high) if high.span != place.span => problem.also(high.span, "this is the limit"),
        _ => problem,
    });
}
