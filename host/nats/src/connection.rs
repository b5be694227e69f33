//! The connection to NATS: made once, kept for the life of the host, and shared as [`Nats`].

mod address;
mod reading;
mod version;

use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::jetstream;
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, ServerAddr, ServerError};
use bytes::Bytes;
use futures::StreamExt;
use pelton_core::store::Unavailable;
use tokio::sync::watch;
use tokio::time::Instant;

use address::without_password;
use reading::Reading;
pub use version::{MIN_VERSION, Version};

/// The longest wait between two tries to connect.
pub const MAX_RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// The number of refusals by NATS permissions that are kept for the errors that they cause.
const MAX_DENIALS: usize = 32;
/// The longest wait for the flush by which [`Nats::is_closed`] checks the connection.
const ALIVE_TIMEOUT: Duration = Duration::from_millis(250);

/// How to reach NATS.
#[derive(Debug, Clone)]
pub struct ConnectSettings {
    /// Servers of one cluster, such as `nats://127.0.0.1:4222`. User info in them (`nats://user:password@host`,
    /// `nats://token@host`) replaces `credentials`, which must be none then.
    pub urls: Vec<String>,
    /// The name of the connection in the server's list.
    pub name: String,
    /// The identity of the host.
    pub credentials: Credentials,
    /// The longest wait for an answer. The request may still take effect after that.
    pub request_timeout: Duration,
    /// The longest wait for the first connection. `None`: no limit.
    pub start_deadline: Option<Duration>,
}

impl ConnectSettings {
    /// One server, no credentials, 5 s for an answer, no deadline for the start.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            urls: vec![url.into()],
            name: "pelton".to_owned(),
            credentials: Credentials::None,
            request_timeout: Duration::from_secs(5),
            start_deadline: None,
        }
    }
}

/// The identity of the host for NATS. Secrets do not show in debug output.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// The server requires no credentials.
    #[default]
    None,
    /// A `.creds` file with a JWT and a seed.
    File(PathBuf),
    /// A user with a password.
    User {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
}

impl Credentials {
    fn is_none(&self) -> bool {
        *self == Self::None
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::File(path) => write!(f, "File({})", path.display()),
            Self::User { user, .. } => write!(f, "User({user}, …)"),
            Self::Token(_) => f.write_str("Token(…)"),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// An address cannot be read.
    #[error("{url:?} is not an address of a NATS server: {cause}")]
    Url {
        /// The address.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The credentials cannot be read.
    #[error("the credentials file {path}: {cause}", path = .path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// The cause.
        cause: std::io::Error,
    },
    /// The server refuses the credentials. Trying again does not help.
    #[error("the NATS server at {urls} refuses the credentials: {cause}")]
    Refused {
        /// The servers.
        urls: String,
        /// The server's answer.
        cause: String,
    },
    /// The server is too old. Trying again does not help until it is updated.
    #[error("{urls}: {cause}")]
    TooOld {
        /// The servers.
        urls: String,
        /// The server's version and the required one.
        cause: String,
    },
    /// No server answered within the deadline.
    #[error("no NATS server at {urls} within {after:?}: {cause}")]
    Away {
        /// The servers.
        urls: String,
        /// The deadline.
        after: Duration,
        /// The error of the last try.
        cause: String,
    },
}

/// A connection to NATS. Clones share it.
///
/// It reconnects by itself after the server was unavailable. Messages that other clients may have written are read over
/// other connections ([`crate::PullConsumer`], [`crate::StreamFeed`], [`crate::StreamIngress`] and direct reads have
/// their own), because a message with unreadable headers breaks the connection that it comes over. A message that is
/// published while the server is unavailable is sent after the reconnect, even if the publisher has stopped waiting: a
/// timeout means "unknown", never "failed".
#[derive(Clone)]
pub struct Nats {
    client: Client,
    jetstream: jetstream::Context,
    settings: Arc<ConnectSettings>,
    signs: Signs,
    reading: Arc<Reading>,
}

impl fmt::Debug for Nats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nats({})", self.client.connection_state())
    }
}

impl Nats {
    /// Connects, and waits for a server that is unavailable. Logs when the wait begins, when its cause changes and when
    /// it ends.
    pub async fn connect(settings: &ConnectSettings) -> Result<Self, ConnectError> {
        Self::connect_to(settings, &[]).await
    }

    /// Connects to one of the servers of the settings, or to another server of their cluster.
    async fn connect_to(settings: &ConnectSettings, others: &[ServerAddr]) -> Result<Self, ConnectError> {
        let urls = settings.urls.iter().map(|url| without_password(url)).collect::<Vec<_>>().join(", ");
        let (mut addresses, credentials) = address::read(&settings.urls, &settings.credentials)?;
        addresses
            .extend(others.iter().filter(|other| !addresses.contains(other)).cloned().collect::<Vec<_>>());
        let signs = Signs::default();
        let options = options(settings, &credentials, &signs).await?;
        let started = Instant::now();
        let mut last_cause = String::new();
        loop {
            let error = match options.clone().connect(addresses.as_slice()).await {
                Ok(client) => {
                    Version::check(&client.server_info().version)
                        .map_err(|cause| ConnectError::TooOld { urls, cause })?;
                    return Ok(Self::over(client, settings, signs));
                }
                Err(error) => error,
            };
            let cause = match std::error::Error::source(&error) {
                Some(source) => format!("{}: {source}", error.kind()),
                None => error.kind().to_string(),
            };
            if matches!(
                error.kind(),
                ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation
            ) {
                return Err(ConnectError::Refused { urls, cause });
            }
            if let Some(after) = settings.start_deadline.filter(|deadline| started.elapsed() >= *deadline) {
                return Err(ConnectError::Away { urls, after, cause });
            }
            if cause != last_cause {
                tracing::warn!(%urls, "waiting for NATS: {cause}");
                last_cause = cause;
            }
            tokio::time::sleep(MAX_RECONNECT_DELAY / 4).await;
        }
    }

    fn over(client: Client, settings: &ConnectSettings, signs: Signs) -> Self {
        let mut jetstream = jetstream::new(client.clone());
        jetstream.set_timeout(settings.request_timeout);
        let info = client.server_info();
        tracing::info!(server = %info.server_name, version = %info.version, host = %info.host, port = info.port, "connected to NATS");
        Self { client, jetstream, settings: Arc::new(settings.clone()), signs, reading: Arc::default() }
    }

    /// The client of the client library.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// JetStream over this connection.
    #[must_use]
    pub fn jetstream(&self) -> &jetstream::Context {
        &self.jetstream
    }

    /// The longest wait for an answer.
    #[must_use]
    pub fn request_timeout(&self) -> Duration {
        self.settings.request_timeout
    }

    /// Waits until the server has read everything that was published before, including acknowledgements of messages.
    pub async fn flush(&self) -> Result<(), Unavailable> {
        let doing = "flushing the connection to NATS";
        let inbox = self.client.new_inbox();
        let echo = async {
            let mut subscriber = self.client.subscribe(inbox.clone()).await.map_err(|e| e.to_string())?;
            self.client.publish(inbox.clone(), Bytes::new()).await.map_err(|e| e.to_string())?;
            subscriber.next().await.ok_or_else(|| "the connection is closed".to_owned())
        };
        match tokio::time::timeout(self.request_timeout(), echo).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(cause)) => Err(Unavailable { doing: doing.to_owned(), cause }),
            Err(_) => Err(self.timed_out(doing.to_owned(), &inbox)),
        }
    }

    /// Flushes, then closes the connection for all clones.
    pub async fn close(&self) -> Result<(), Unavailable> {
        let flushed = self.flush().await;
        self.reading.close().await;
        if let Err(error) = self.client.drain().await {
            tracing::debug!("the connection to NATS was closed before: {error}");
        }
        flushed
    }

    /// Opens a separate connection to the same cluster, for messages that may break a connection: see
    /// [`crate::consumer`]. The server of the settings may be the unavailable one, so the servers that this connection
    /// has learned of count too.
    pub(crate) async fn another(&self, purpose: &str) -> Result<Self, ConnectError> {
        let name = format!("{} {purpose}", self.settings.name);
        let learned = self.client.server_info().connect_urls;
        let learned: Vec<ServerAddr> = learned.iter().filter_map(|url| url.parse().ok()).collect();
        Self::connect_to(&ConnectSettings { name, ..ConnectSettings::clone(&self.settings) }, &learned).await
    }

    /// Returns when the host can only end, and says why. Either the connection is closed for good, which only
    /// [`Nats::close`] or a bug in the client library does, or it came up again at a server that is too old.
    pub async fn ended(&self) -> String {
        loop {
            if self.is_closed().await {
                return "the connection to NATS has ended for good".to_owned();
            }
            if let Err(cause) = Version::check(&self.client.server_info().version) {
                return format!("the connection to NATS came up at another server: {cause}");
            }
            tokio::time::sleep(MAX_RECONNECT_DELAY).await;
        }
    }

    /// Whether the connection is closed for good. A lost connection that is retried is not closed.
    pub async fn is_closed(&self) -> bool {
        let flushed = tokio::time::timeout(ALIVE_TIMEOUT, self.client.flush()).await;
        matches!(flushed, Ok(Err(_)))
    }

    /// The number of times that the connection came up. Requests to the server from before must be repeated after.
    pub(crate) fn connects(&self) -> watch::Receiver<u64> {
        self.signs.connects.subscribe()
    }

    /// The error for an answer that did not come, with the server's refusal if its permissions are the cause.
    pub(crate) fn timed_out(&self, doing: String, subject: &str) -> Unavailable {
        let cause = match self.signs.denial_of(subject) {
            Some(denial) => format!("the NATS permissions of this connection do not allow it: {denial}"),
            None => format!("no answer within {:?}", self.request_timeout()),
        };
        Unavailable { doing, cause }
    }
}

async fn options(
    settings: &ConnectSettings,
    credentials: &Credentials,
    signs: &Signs,
) -> Result<ConnectOptions, ConnectError> {
    let mut options = match credentials {
        Credentials::None => ConnectOptions::new(),
        Credentials::User { user, password } => {
            ConnectOptions::with_user_and_password(user.clone(), password.clone())
        }
        Credentials::Token(token) => ConnectOptions::with_token(token.clone()),
        Credentials::File(path) => ConnectOptions::with_credentials_file(path)
            .await
            .map_err(|cause| ConnectError::Credentials { path: path.clone(), cause })?,
    };
    let signs = signs.clone();
    options = options
        .name(&settings.name)
        .request_timeout(Some(settings.request_timeout))
        .connection_timeout(settings.request_timeout)
        .reconnect_delay_callback(reconnect_delay)
        .event_callback(move |event| {
            report(&event, &signs);
            std::future::ready(())
        });
    Ok(options)
}

/// The wait before a reconnect: none at first, then twice as long every time, up to [`MAX_RECONNECT_DELAY`].
fn reconnect_delay(attempt: usize) -> Duration {
    let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
    match attempt {
        0 | 1 => Duration::ZERO,
        _ => Duration::from_millis(25).saturating_mul(1 << doublings).min(MAX_RECONNECT_DELAY),
    }
}

fn report(event: &Event, signs: &Signs) {
    match event {
        Event::Connected => {
            tracing::info!("the connection to NATS is up");
            signs.connects.send_modify(|count| *count += 1);
        }
        Event::Disconnected => tracing::warn!("the connection to NATS is lost; it is tried until it works"),
        Event::LameDuckMode => tracing::warn!("the NATS server is about to shut down (lame duck mode)"),
        Event::SlowConsumer(id) => tracing::warn!(
            subscription = id,
            "messages from NATS were dropped: this host reads them too slowly"
        ),
        Event::ServerError(ServerError::Other(text))
            if text.to_ascii_lowercase().contains("permissions violation") =>
        {
            tracing::error!(
                "NATS permissions: {text}; grant it to this host's user, or the host waits in vain"
            );
            signs.remember_denial(text);
        }
        Event::ServerError(error) => tracing::error!("NATS server: {error}"),
        // Every failed reconnect is such an event. The loss of the connection is logged once, above.
        Event::ClientError(error) => tracing::debug!("NATS client: {error}"),
        Event::Draining | Event::Closed => tracing::debug!("the connection to NATS: {event}"),
    }
}

/// The server's notices besides its answers.
#[derive(Clone, Default)]
struct Signs {
    /// The refusals by the server's permissions, latest last, bounded. A refused request itself gets no answer.
    denials: Arc<Mutex<VecDeque<String>>>,
    connects: watch::Sender<u64>,
}

impl Signs {
    fn remember_denial(&self, text: &str) {
        let mut texts = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        if texts.iter().any(|t| t == text) {
            return;
        }
        if texts.len() == MAX_DENIALS {
            texts.pop_front();
        }
        texts.push_back(text.to_owned());
    }

    fn denial_of(&self, subject: &str) -> Option<String> {
        let quoted = format!("\"{subject}\"");
        let texts = self.denials.lock().unwrap_or_else(PoisonError::into_inner);
        texts.iter().rev().find(|text| text.contains(&quoted)).cloned()
    }
}
