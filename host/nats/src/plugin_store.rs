//! The plugin store: components under their digests, and for each plugin the record of what it runs.
//!
//! A component is an object of the object store `plugins`, and never changes. The record of a plugin is one key of the
//! bucket `plugins`. Each revision of it is one switch. A host runs what the record says ([`Following`]). An operator
//! first has hosts get ready for a version ([`preparation`]), and then switches ([`PluginStore::switch`]).

pub mod activation;
mod following;
mod journal;
pub mod preparation;

use std::collections::BTreeMap;
use std::io::Cursor;

use async_nats::jetstream::object_store::{GetErrorKind, ObjectStore};
use pelton_core::id::{Name, Sequence};
use pelton_core::store::Unavailable;
use pelton_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::io::AsyncReadExt;

use crate::connection::Nats;
use crate::subjects::{self, PLUGINS};
use crate::wire::{self, PublishError, StoredMessage};
use activation::{Activation, Cause, PluginVersion};

pub use following::Following;
pub use journal::{Act, Entry, Verdict};

/// The number of records that are read at a time.
const PAGE_RECORDS: usize = 500;

/// A component that was pushed for a plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// The plugin's name in configurations.
    pub plugin: Name,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// The version's name, from the operator who pushed it.
    pub version: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The roles that it exports, by their names in the contract.
    pub roles: Vec<String>,
    /// Who pushed it.
    pub by: String,
    /// When it was pushed.
    pub at: Timestamp,
    /// The verdict of `pelton test` on it, in the form of its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<serde_json::Value>,
}

/// Why a call of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store did not answer, or cannot at the moment.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// There is no such component.
    #[error("the plugin store has no component {digest}: `pelton plugin push` brings it there")]
    Missing {
        /// Its digest.
        digest: String,
    },
    /// The stored bytes have another digest than the component that was asked for.
    #[error("the plugin store's component {digest} is damaged: its bytes are {is}; push it again")]
    Damaged {
        /// The digest that was asked for.
        digest: String,
        /// The digest of the stored bytes.
        is: String,
    },
    /// Another operator, or a host, has switched the plugin meanwhile.
    #[error(
        "somebody else has switched the plugin {plugin} meanwhile, and nothing was changed: `pelton plugin show {plugin}` says to what"
    )]
    Switched {
        /// The plugin.
        plugin: Name,
    },
}

/// The plugin store of a server.
#[derive(Clone)]
pub struct PluginStore {
    nats: Nats,
    components: ObjectStore,
    replicated: bool,
}

impl PluginStore {
    /// The store on this server. `replicated` says that it has replicas, which may be behind.
    ///
    /// # Errors
    ///
    /// The server does not answer, or has no store: [`crate::Topology::plugin_store`] makes it.
    pub async fn open(nats: &Nats, replicated: bool) -> Result<Self, Unavailable> {
        let components = nats.jetstream().get_object_store(PLUGINS).await;
        let components = components.map_err(|error| away("opening the plugin store", &error))?;
        Ok(Self { nats: nats.clone(), components, replicated })
    }

    /// Stores a component under its digest, and its record for the plugin. If the plugin has it already, only another
    /// verdict is stored. Returns whether it was new.
    ///
    /// # Errors
    ///
    /// The store is away or full. Whatever was stored before that does no harm.
    pub async fn push(&self, component: &Component, bytes: &[u8]) -> Result<bool, StoreError> {
        match self.fetch(&component.digest).await {
            Ok(_) => {}
            Err(StoreError::Missing { .. } | StoreError::Damaged { .. }) => {
                let stored = self.components.put(hex(&component.digest), &mut Cursor::new(bytes)).await;
                stored.map_err(|error| away("storing a component", &error))?;
            }
            Err(error) => return Err(error),
        }
        let subject = subjects::component_record(&component.plugin, hex(&component.digest));
        let payload = encode(component)?;
        // A record that was removed is still the last message of its subject.
        let last = wire::leader_last(&self.nats, &subjects::bucket_stream(PLUGINS), &subject).await?;
        let expected = last.as_ref().map_or(0, |message| message.sequence.0);
        if let Some(message) = last.filter(|message| !is_removed(message)) {
            let known: Component = decode(&message)?;
            if component.verdict.is_none() || component.verdict == known.verdict {
                return Ok(false);
            }
            let payload = encode(&Component { verdict: component.verdict.clone(), ..known })?;
            let kept = wire::publish(&self.nats, &subject, wire::expecting(expected), payload.into()).await;
            return match kept {
                Ok(_) | Err(PublishError::WrongSequence(_)) => Ok(false),
                Err(error) => Err(away("storing a component's verdict", &error).into()),
            };
        }
        match wire::publish(&self.nats, &subject, wire::expecting(expected), payload.into()).await {
            Ok(_) => Ok(true),
            Err(PublishError::WrongSequence(_)) => Ok(false),
            Err(error) => Err(away("storing a component's record", &error).into()),
        }
    }

    /// The components that were pushed for a plugin, or for all plugins, the latest last.
    pub async fn components(&self, plugin: Option<&Name>) -> Result<Vec<Component>, StoreError> {
        let mut found: Vec<Component> = self.records(&subjects::component_records(plugin)).await?;
        found.sort_by(|a, b| (a.at, &a.digest).cmp(&(b.at, &b.digest)));
        Ok(found)
    }

    /// The bytes of a component. Their digest is checked.
    pub async fn fetch(&self, digest: &str) -> Result<Vec<u8>, StoreError> {
        let missing = || StoreError::Missing { digest: digest.to_owned() };
        let mut object = match self.components.get(hex(digest)).await {
            Ok(object) => object,
            Err(error) if error.kind() == GetErrorKind::NotFound => return Err(missing()),
            Err(error) => return Err(away("fetching a component", &error).into()),
        };
        let mut bytes = Vec::with_capacity(object.info().size);
        let read = async { object.read_to_end(&mut bytes).await };
        // The client waits for the next piece without a limit.
        match tokio::time::timeout(self.nats.request_timeout() * 4, read).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return Err(away("fetching a component", &error).into()),
            Err(_) => return Err(away("fetching a component", &"the server stopped sending").into()),
        }
        let is = format!("sha256:{:x}", Sha256::digest(&bytes));
        if is == digest { Ok(bytes) } else { Err(StoreError::Damaged { digest: digest.to_owned(), is }) }
    }

    /// Removes the record of a component, and the component itself if no other plugin has it. The caller makes sure
    /// that nothing runs it.
    pub async fn remove(&self, component: &Component) -> Result<(), StoreError> {
        let subject = subjects::component_record(&component.plugin, hex(&component.digest));
        let mut headers = async_nats::HeaderMap::new();
        let (name, value) = crate::views::DELETED;
        headers.insert(name, value);
        let removed = wire::publish(&self.nats, &subject, headers, "".into()).await;
        removed.map_err(|error| away("removing a component's record", &error))?;
        let others = self.components(None).await?;
        if others.iter().all(|other| other.digest != component.digest) {
            let removed = self.components.delete(hex(&component.digest)).await;
            removed.map_err(|error| away("removing a component", &error))?;
        }
        Ok(())
    }

    /// What a plugin runs, read from the leader. `None` if nothing was activated yet.
    pub async fn active(&self, plugin: &Name) -> Result<Option<Activation>, StoreError> {
        let (stream, subject) = (subjects::bucket_stream(PLUGINS), subjects::activation(plugin));
        let message = wire::leader_last(&self.nats, &stream, &subject).await?;
        Ok(message.map(|message| activation(&message)).transpose()?)
    }

    /// What every plugin runs.
    pub async fn activations(&self) -> Result<BTreeMap<Name, Activation>, StoreError> {
        let all: Vec<Activation> = self.records(&subjects::activations()).await?;
        Ok(all.into_iter().map(|activation| (activation.plugin.clone(), activation)).collect())
    }

    /// Has the plugin run this version from now on, if it still runs `now`. One write is the whole switch.
    ///
    /// # Errors
    ///
    /// [`StoreError::Switched`] if another switch was first. If the store is away, the switch may have been made.
    pub async fn switch(
        &self,
        plugin: &Name,
        now: Option<&Activation>,
        to: PluginVersion,
        cause: Cause,
        by: &str,
    ) -> Result<Activation, StoreError> {
        let expected = now.map_or(0, |now| now.revision.0);
        let next = Activation::after(plugin, now, to, cause, by);
        let subject = subjects::activation(plugin);
        match wire::publish(&self.nats, &subject, wire::expecting(expected), encode(&next)?.into()).await {
            Ok(ack) => Ok(Activation { revision: Sequence(ack.sequence), ..next }),
            Err(PublishError::WrongSequence(_)) => Err(StoreError::Switched { plugin: plugin.clone() }),
            Err(error) => Err(away("switching a plugin", &error).into()),
        }
    }

    async fn records<T: for<'a> Deserialize<'a> + Positioned>(
        &self,
        filter: &str,
    ) -> Result<Vec<T>, StoreError> {
        let stream = subjects::bucket_stream(PLUGINS);
        let (mut records, mut next) = (Vec::new(), Some(Sequence(1)));
        while let Some(from) = next {
            let page = wire::page(&self.nats, &stream, filter, from, PAGE_RECORDS, self.replicated).await?;
            next = page.next();
            for message in page.messages.iter().filter(|message| !is_removed(message)) {
                let record: T = decode(message)?;
                records.push(record.at(message.sequence));
            }
        }
        Ok(records)
    }
}

/// A record that can be given its position in the bucket's stream.
trait Positioned {
    fn at(self, position: Sequence) -> Self;
}

impl Positioned for Component {
    fn at(self, _: Sequence) -> Self {
        self
    }
}

impl Positioned for Activation {
    fn at(self, revision: Sequence) -> Self {
        Self { revision, ..self }
    }
}

fn activation(message: &StoredMessage) -> Result<Activation, Unavailable> {
    decode::<Activation>(message).map(|activation| activation.at(message.sequence))
}

fn is_removed(message: &StoredMessage) -> bool {
    message.headers.get(crate::views::DELETED.0).is_some()
}

/// The hexadecimal digits of a digest, which name objects and records.
fn hex(digest: &str) -> &str {
    digest.trim_start_matches("sha256:")
}

fn encode(record: &impl Serialize) -> Result<Vec<u8>, Unavailable> {
    serde_json::to_vec(record).map_err(|error| away("writing to the plugin store", &error))
}

fn decode<T: for<'a> Deserialize<'a>>(message: &StoredMessage) -> Result<T, Unavailable> {
    serde_json::from_slice(&message.payload).map_err(|error| Unavailable {
        doing: format!("reading {} from the plugin store", message.subject),
        cause: format!("it holds no record: {error}"),
    })
}

fn away(doing: &str, cause: &dyn std::fmt::Display) -> Unavailable {
    Unavailable { doing: doing.to_owned(), cause: cause.to_string() }
}
