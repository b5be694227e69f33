//! `[gateway]`: commands and views over HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use pelton_gateway::Settings;

use super::text::key::{Address, Count, Key, Or, Size, Table, Time, milliseconds};
use super::text::reader::Reader;

static LISTEN: Key<Address, Or<SocketAddr>> = Key {
    name: "listen",
    form: Address,
    default: Or(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 3000))),
    example: "\"[::]:8080\"",
    doc: "Address and port; port 0 takes a free one. `PELTON_LISTEN` and `--listen` win over it.",
};
static MAX_BODY_BYTES: Key<Size, Or<usize>> = Key {
    name: "max-body-bytes",
    form: Size(1..=8 << 20),
    default: Or(|| Settings::default().max_body_bytes),
    example: "\"64KiB\"",
    doc: "The largest body of a request.",
};
static WAIT: Key<Time, Or<Duration>> = Key {
    name: "wait",
    form: milliseconds(0, 3_600_000),
    default: Or(|| Settings::default().default_wait),
    example: "\"2s\"",
    doc: "How long a request waits for its outcome when it does not say `Prefer: wait=N`.",
};
static MAX_WAIT: Key<Time, Or<Duration>> = Key {
    name: "max-wait",
    form: milliseconds(0, 3_600_000),
    default: Or(|| Settings::default().max_wait),
    example: "\"1m\"",
    doc: "The longest wait that a request can ask for.",
};
static HEAD_TIMEOUT: Key<Time, Or<Duration>> = Key {
    name: "head-timeout",
    form: milliseconds(100, 3_600_000),
    default: Or(|| Settings::default().head_timeout),
    example: "\"10s\"",
    doc: "How long a client may take to send the head of a request, and how long its connection may lie idle.",
};
static BODY_TIMEOUT: Key<Time, Or<Duration>> = Key {
    name: "body-timeout",
    form: milliseconds(100, 3_600_000),
    default: Or(|| Settings::default().body_timeout),
    example: "\"10s\"",
    doc: "How long a client may take to send the body of a request.",
};
static MAX_CONNECTIONS: Key<Count<usize>, Or<usize>> = Key {
    name: "max-connections",
    form: Count::new(1..=1_000_000),
    default: Or(|| Settings::default().max_connections),
    example: "1_000",
    doc: "The most connections at a time; more wait to be accepted.",
};

pub(super) static TABLE: Table = Table {
    name: "gateway",
    header: "[gateway]",
    doc: "Commands and views over HTTP.",
    keys: &[&LISTEN, &MAX_BODY_BYTES, &WAIT, &MAX_WAIT, &HEAD_TIMEOUT, &BODY_TIMEOUT, &MAX_CONNECTIONS],
    tables: &[],
    free: None,
};

/// `[gateway]`
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// The gateway's address.
    pub listen: SocketAddr,
    /// The other settings of the gateway.
    pub http: Settings,
}

impl GatewaySettings {
    pub(super) fn read(table: &Reader<'_>) -> Self {
        let (default_wait, max_wait) = table.in_order(&WAIT, &MAX_WAIT);
        Self {
            listen: table.get(&LISTEN),
            http: Settings {
                max_body_bytes: table.get(&MAX_BODY_BYTES),
                default_wait,
                max_wait,
                head_timeout: table.get(&HEAD_TIMEOUT),
                body_timeout: table.get(&BODY_TIMEOUT),
                max_connections: table.get(&MAX_CONNECTIONS),
            },
        }
    }
}
