//! The objects on the server: streams, consumers and buckets, by name and with their settings.
//!
//! [`Topology::ensure`] creates what is missing and compares what exists. It changes what exists only if it is told to,
//! and then only adds to it, because a limit that changes unnoticed leads to loss of data. [`Topology::plan`] lists every
//! change with its meaning, and [`Plan::carry_out`] makes them.

mod compare;
mod entities;
mod meaning;
mod objects;
mod plan;
mod requests;
mod rivals;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use pelton_core::id::{CommandType, Name};
use pelton_core::intake::CommandRoute;
use pelton_core::partition::Partitions;
use pelton_core::store::Unavailable;

use crate::connection::Nats;
use crate::wire;

pub use plan::{Change, Effect, Plan};

/// The time that `ensure` keeps asking a server that does not answer, for example while a cluster elects its leader.
const PATIENCE: Duration = Duration::from_secs(30);
/// The time that JetStream may be off before `ensure` fails: a server that is just starting may need a moment.
const OFF_PATIENCE: Duration = Duration::from_secs(3);
/// The wait between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// The server's storage of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Storage {
    /// On disk.
    #[default]
    File,
    /// In memory: lost when the server ends. For tests and experiments.
    Memory,
}

/// An event stream.
#[derive(Debug, Clone)]
pub struct EventStream {
    /// Its name in the configuration, and on the server.
    pub name: Name,
    /// The subjects that the stream captures, such as `booking.>`.
    pub subjects: Vec<String>,
    /// How much it may hold.
    pub limits: StreamLimits,
}

/// How much a stream may hold, and how the server keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StreamLimits {
    /// The most bytes. `None`: no limit.
    pub max_bytes: Option<u64>,
    /// The most messages. `None`: no limit.
    pub max_messages: Option<u64>,
    /// How long a message stays. `None`: for good.
    pub max_age: Option<Duration>,
    /// What a full stream does.
    pub when_full: WhenFull,
    /// Where it is kept. `None`: where all streams are.
    pub storage: Option<Storage>,
    /// Its replicas. `None`: as many as all streams have.
    pub replicas: Option<u8>,
}

/// What a full stream does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WhenFull {
    /// It refuses new messages: whoever stores them waits, and tries again.
    #[default]
    Refuse,
    /// It deletes its oldest messages.
    DeleteOldest,
}

/// A handler's consumers on the log of commands, one for each partition.
#[derive(Debug, Clone)]
pub struct HandlerConsumer {
    /// What the handler is known by on the server.
    pub id: Name,
    /// The command types that it takes, each with how its commands find their entity. No two handlers share one.
    pub commands: BTreeMap<CommandType, CommandRoute>,
    /// Into how many partitions its entities are divided.
    pub partitions: Partitions,
    /// How many of its commands may be in work at once, over all hosts and partitions.
    pub max_ack_pending: u32,
}

/// A view's bucket.
#[derive(Debug, Clone)]
pub struct View {
    /// The view's name.
    pub name: Name,
    /// The version of the form of the view.
    pub version: u32,
}

/// All objects that a host needs on the server.
#[derive(Debug, Clone)]
pub struct Topology {
    /// The storage of all streams.
    pub storage: Storage,
    /// The number of servers that keep each stream: 1, 3 or 5.
    pub replicas: u8,
    /// The time that the server remembers message ids. This is an optimisation, never a guarantee.
    pub duplicate_window: Duration,
    /// The time that entries about dead letters are kept.
    pub audit_retention: Duration,
    /// The time after which the server redelivers a message that is neither settled nor reported as in progress.
    pub ack_wait: Duration,
    /// The most bytes of the log of commands; a full one refuses commands. `None`: no limit.
    pub log_bytes: Option<u64>,
    /// The event streams.
    pub streams: Vec<EventStream>,
    /// The handlers.
    pub handlers: Vec<HandlerConsumer>,
    /// The views.
    pub views: Vec<View>,
    /// The ids of the sagas. Each has a stream of its own.
    pub sagas: Vec<Name>,
    /// Whether plugins come from the plugin store.
    pub plugin_store: bool,
}

impl Default for Topology {
    fn default() -> Self {
        Self {
            storage: Storage::File,
            replicas: 1,
            duplicate_window: Duration::from_secs(120),
            audit_retention: Duration::from_secs(14 * 24 * 3600),
            ack_wait: Duration::from_secs(30),
            log_bytes: None,
            streams: Vec::new(),
            handlers: Vec::new(),
            views: Vec::new(),
            sagas: Vec::new(),
            plugin_store: false,
        }
    }
}

/// Why the server does not match the configuration.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// The server did not answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// JetStream is off. Asking again does not help until it is turned on.
    #[error(
        "JetStream is off at the NATS server {server}: start nats-server with -js, or put `jetstream {{}}` into its \
         configuration (and `jetstream: enabled` into the account that this host uses)"
    )]
    NoJetStream {
        /// Name, host and port of the server.
        server: String,
    },
    /// Existing objects differ from the configuration. Holds all differences at once.
    #[error(transparent)]
    Differs(Differences),
}

/// The differences, object by object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Differences(pub Vec<Change>);

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the NATS server is not as the configuration wants it:")?;
        for change in &self.0 {
            write!(f, "\n  {change}")?;
        }
        f.write_str(
            "\nchange the configuration, or have `pelton apply` change the server: it shows what each change means, \
             and asks first",
        )?;
        if self.0.iter().all(|change| change.effect == Effect::Additive) {
            f.write_str("; all of it only adds, so `pelton run --apply=additive` makes it, too")?;
        }
        Ok(())
    }
}

/// What a start changes on the server, besides creating what is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Apply {
    /// Nothing that exists.
    Nothing,
    /// What only adds: a command, a subject, a longer retention.
    Additive,
}

impl Apply {
    fn makes(self, change: &Change) -> bool {
        match self {
            Self::Nothing => false,
            Self::Additive => change.effect == Effect::Additive,
        }
    }
}

impl Topology {
    /// Creates what is missing and compares what exists. Several hosts may do so at once. Keeps asking for 30 s while
    /// the server does not answer.
    pub async fn ensure(&self, nats: &Nats) -> Result<(), TopologyError> {
        self.ensure_with(nats, Apply::Nothing).await
    }

    /// The same, and makes the changes that `apply` allows, if it allows all that are needed.
    pub async fn ensure_with(&self, nats: &Nats, apply: Apply) -> Result<(), TopologyError> {
        patiently(nats, async || {
            let plan = compare::plan(nats, &self.objects()).await?;
            // A start that is refused must leave the server as it was.
            if !plan.differences().all(|change| apply.makes(change)) {
                return Err(TopologyError::Differs(Differences(plan.differences().cloned().collect())));
            }
            plan.carry_out(nats).await
        })
        .await
    }

    /// Creates the plugin store, if there is none. Nothing else is looked at: a host has to know its plugins before it can say
    /// what else it needs.
    pub async fn ensure_plugin_store(&self, nats: &Nats) -> Result<(), TopologyError> {
        patiently(nats, async || {
            let plan = compare::plan(nats, &self.plugin_store_objects()).await?;
            plan.only_missing().carry_out(nats).await
        })
        .await
    }

    /// What would have to be changed. Changes nothing.
    pub async fn plan(&self, nats: &Nats) -> Result<Plan, TopologyError> {
        patiently(nats, async || Ok(compare::plan(nats, &self.objects()).await?)).await
    }
}

/// Asks again while the server does not answer, or JetStream is still starting.
async fn patiently<T>(
    nats: &Nats,
    ask: impl AsyncFn() -> Result<T, TopologyError>,
) -> Result<T, TopologyError> {
    let began = tokio::time::Instant::now();
    let mut told = false;
    loop {
        let away = match ask().await {
            Err(TopologyError::Unavailable(away)) => away,
            done => return done,
        };
        if began.elapsed() > OFF_PATIENCE && wire::is_jetstream_off(nats).await {
            let info = nats.client().server_info();
            let server = format!("{} at {}:{}", info.server_name, info.host, info.port);
            return Err(TopologyError::NoJetStream { server });
        }
        if began.elapsed() > PATIENCE {
            return Err(away.into());
        }
        if !told {
            tracing::warn!("JetStream does not answer yet: {away}");
            told = true;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
