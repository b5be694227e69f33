//! The reaction of an instance to one input, on one page: load the instance, has it handled the input before, react, store
//! what follows in one write, send the commands.
//!
//! The write replaces the instance as a whole and expects it to be as it was loaded: its state, its timers, the commands on
//! their way, and what it has handled change together or not at all. So an input takes effect once, although hosts crash,
//! pause and lose answers:
//!
//! 1. Whoever has the input again finds in the instance that it was handled.
//! 2. Two hosts that have it at the same time write on the same revision, and one of them fails.
//! 3. The commands stand in the instance until they were sent. Their ids follow from the instance and the input alone, so
//!    what is sent twice is one command. [`run`] lets go of an input only when they were sent; a host that takes over meets
//!    the input again, and sends what may not have been.
//! 4. A timer that goes off counts only if the instance has it armed, under the key that it was armed with.

pub mod drain;
mod floor;
pub mod input;
pub mod instance;
pub mod lead;
pub mod model;
mod outbox;
pub mod ports;
mod prepare;
mod reaction;
mod read;
mod retry;
pub mod run;
mod set_aside;
mod timers;
mod trial;

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use crate::contract::{MAX_INSTANCE_BYTES, MAX_TIMER_CHANGES};
use crate::dead_letter::{OnFailure, Retries};
use crate::id::{InstanceId, Name, Sequence};
use crate::message::RecordedEvent;
use crate::plugin::PluginFault;
use crate::retry::{NotProcessed, RetryPolicy, Verdict};
use crate::saga::input::Input;
use crate::saga::instance::Instance;
use crate::saga::model::{Migrated, Relation};
use crate::saga::ports::{SagaPlugin, SagaStore};
use crate::store::CommitError;
use crate::trial::{OnTrial, Version};
use drain::SagaVersions;
use prepare::{Next, Prepared};

/// The most tries of one write, each after another host changed the instance.
const MAX_CONFLICTS: u32 = 8;
/// The most commands of an instance without a final outcome.
pub const MAX_OPEN_COMMANDS: usize = 500;
/// The most timers of an instance that are set at a time.
pub const MAX_TIMERS: usize = MAX_TIMER_CHANGES;

/// A saga at work.
#[derive(Debug)]
pub struct SagaFlow<P, S, L> {
    /// What the saga is known by on the server and in the ids of its commands, whatever its name is.
    pub id: Name,
    /// The stream of its events, by its name in the configuration.
    pub stream: Arc<str>,
    /// The plugin that reacts.
    pub plugin: P,
    /// The same with the version before, which reacts where this one breaks, if this one is on trial.
    pub on_trial: Option<OnTrial<Arc<Self>>>,
    /// The same with the versions for instances in other forms.
    pub draining: Vec<Arc<Self>>,
    /// The store of its instances.
    pub store: Arc<S>,
    /// The store of the inputs that cannot be handled.
    pub dead_letters: Arc<L>,
    /// How failures are retried.
    pub retry: RetryPolicy,
    /// Whether an instance is quarantined after an input was set aside, or goes on without it.
    pub on_failure: OnFailure,
    /// The most reactions of sagas that may lead to one another without a pause.
    pub max_depth: u32,
}

/// An instance as this host has last read or written it, and the commands of which it has sent.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    instance: Instance,
    revision: u64,
}

impl Loaded {
    /// About how much memory it takes.
    fn bytes(&self) -> usize {
        let state = self.instance.state.as_ref().map_or(0, Vec::len);
        state + self.instance.outbox.iter().map(|command| command.data.len()).sum::<usize>()
    }
}

/// What a try of an input has come to.
enum Turn {
    /// The instance has handled it, now or before.
    Done,
    /// Another host has changed the instance meanwhile.
    Conflict,
}

impl<P: SagaPlugin, S: SagaStore, L: Retries> SagaFlow<P, S, L> {
    /// The same with other versions of the plugin.
    #[must_use]
    pub fn with(
        &self,
        SagaVersions { runs: Version { plugin, on_trial }, draining }: SagaVersions<P>,
    ) -> Self {
        let draining: Vec<_> =
            draining.into_iter().map(|version| Arc::new(self.with_plugin(version, Vec::new()))).collect();
        let on_trial = on_trial.map(|OnTrial { trial, before }| {
            let before = Arc::new(self.with_plugin(before, draining.clone()));
            OnTrial { trial, before }
        });
        Self { on_trial, ..self.with_plugin(plugin, draining) }
    }

    fn with_plugin(&self, plugin: P, draining: Vec<Arc<Self>>) -> Self {
        Self {
            plugin,
            on_trial: None,
            draining,
            id: self.id.clone(),
            stream: self.stream.clone(),
            store: self.store.clone(),
            dead_letters: self.dead_letters.clone(),
            ..*self
        }
    }

    /// Handles one input of an instance. Inputs of one instance come one after the other, in order. Answers after which time
    /// it is to be tried again; `None`: it is settled. `faults` counts how often the plugin has failed on it.
    ///
    /// `floor` tells for a stream up to where every input was settled.
    pub async fn handle(
        &self,
        id: &InstanceId,
        input: &Input,
        floor: impl Fn(&str) -> Sequence + Send + Sync,
        known: &mut Option<Loaded>,
        faults: &mut u32,
    ) -> Option<Duration> {
        let span = input.span(&self.id, &self.plugin, Some(id));
        let handle = async {
            let stop = match self.advance(id, input, &floor, known, false).await {
                Ok(()) => return None,
                Err(stop) => stop,
            };
            let Err(stop) = self.advance_by_version_before(id, input, &floor, known, stop).await else {
                return None;
            };
            match self.retry.verdict(&stop, retry::attempt(&stop, faults)) {
                Verdict::Retry(delay) => {
                    tracing::warn!(?delay, "will be tried again: {}", stop.in_short());
                    Some(delay)
                }
                Verdict::SetAside => self.set_aside(id, input, &stop).await,
            }
        };
        handle.instrument(span).await
    }

    /// Advances an instance past an input. If the instance is quarantined, parks the input instead, unless this is the retry
    /// of the first dead letter in its queue.
    async fn advance(
        &self,
        id: &InstanceId,
        input: &Input,
        floor: &(impl Fn(&str) -> Sequence + Send + Sync),
        known: &mut Option<Loaded>,
        is_retry: bool,
    ) -> Result<(), NotProcessed> {
        for _ in 0..MAX_CONFLICTS {
            let mut loaded = match known.take() {
                Some(loaded) => loaded,
                None => self.load(id, floor).await?,
            };
            if loaded.instance.has_handled(input.message.stream.as_str(), input.position) {
                *known = Some(loaded);
                return Ok(());
            }
            if !is_retry
                && loaded.instance.quarantined_by.is_some()
                && !self.is_free(id, input, &mut loaded).await?
            {
                *known = Some(loaded);
                return Ok(());
            }
            if let Turn::Done = self.turn_in_its_version(id, input, &mut loaded).await? {
                *known = Some(loaded);
                return Ok(());
            }
        }
        Err(NotProcessed::Contended(MAX_CONFLICTS))
    }

    /// Reads the instance, and sends the commands that a host may not have sent before it crashed.
    async fn load(
        &self,
        id: &InstanceId,
        floor: &(impl Fn(&str) -> Sequence + Send + Sync),
    ) -> Result<Loaded, NotProcessed> {
        let (instance, revision) = self.store.load(id).await?;
        let instance = instance.unwrap_or_default();
        if let Some(place) = &instance.outbox_of
            && place.sequence > floor(&place.stream)
        {
            self.send(id, &instance).await?;
        }
        Ok(Loaded { instance, revision })
    }

    /// Has the instance react to everything that the input stands for.
    async fn turn(&self, id: &InstanceId, input: &Input, loaded: &mut Loaded) -> Result<Turn, NotProcessed> {
        loop {
            let Some(Next { prepared, is_last }) = self.prepare(id, input, loaded).await? else {
                return Ok(Turn::Done);
            };
            if let Turn::Conflict = self.react(id, input, prepared, is_last, loaded).await? {
                return Ok(Turn::Conflict);
            }
            if is_last {
                return Ok(Turn::Done);
            }
        }
    }

    /// One call of the plugin, and the write of what follows from it.
    async fn react(
        &self,
        id: &InstanceId,
        input: &Input,
        prepared: Prepared,
        is_last: bool,
        loaded: &mut Loaded,
    ) -> Result<Turn, NotProcessed> {
        let mut next = loaded.instance.clone();
        let mut timers = self.migrate(id, &mut next).await?;
        let Prepared { input: given, context, .. } = &prepared;
        let reaction = self.plugin.react(id, next.state.as_deref(), given, context).await?;
        let reaction = reaction.map_err(|failure| failure.into_fault(&self.plugin))?;
        timers.extend(self.follow(id, &mut next, prepared, reaction, input)?);
        if is_last {
            next.handled.insert(input.message.stream.to_string(), input.position);
        }
        match self.store.save(id, &next, &timers, loaded.revision).await {
            Ok(revision) => *loaded = Loaded { instance: next, revision },
            Err(CommitError::Conflict) => return Ok(Turn::Conflict),
            Err(CommitError::Unclear(away)) => return Err(away.into()),
            Err(CommitError::Refused(why)) => {
                return Err(self.plugin.fault(format!("its state: {why}")).into());
            }
        }
        if loaded.instance.outbox_of.as_ref().is_some_and(|place| input.is_at(place)) {
            self.send(id, &loaded.instance).await?;
        }
        Ok(Turn::Done)
    }

    /// Brings the state of another version into the form that the plugin has now, if the plugin can. What comes of it is
    /// stored with the reaction.
    async fn migrate(
        &self,
        id: &InstanceId,
        instance: &mut Instance,
    ) -> Result<Vec<ports::TimerWrite>, NotProcessed> {
        let (from, to) = (instance.state_version, self.plugin.descriptor().state_version);
        let Some(state) = instance.state.as_deref().filter(|_| from != to) else { return Ok(Vec::new()) };
        let timers = self.armed(id, instance).await?;
        match self.plugin.migrate(id, from, state, &timers).await? {
            None => {
                let what = format!(
                    "the instance is of version {from} of the state, and the plugin has version {to} and no migration; an \
                     instance goes on with a plugin of its version, or with one that migrates it"
                );
                Err(self.plugin.fault(what).into())
            }
            Some(Ok(Migrated { state, timers })) => {
                instance.state = Some(state);
                Ok(self.replace_timers(instance, timers)?)
            }
            Some(Err(why)) => {
                let what = format!("it cannot take over a state of version {from} for version {to}: {why}");
                Err(self.plugin.fault(what).into())
            }
        }
    }

    /// The instances that an event concerns.
    async fn correlate(&self, event: &RecordedEvent) -> Result<Vec<(InstanceId, Relation)>, NotProcessed> {
        let correlations =
            self.plugin.correlate(event).await?.map_err(|failure| failure.into_fault(&self.plugin))?;
        let checked = correlations.into_iter().map(|c| match InstanceId::new(&c.instance) {
            Ok(id) if id.as_str().len() <= MAX_INSTANCE_BYTES => Ok((id, c.relation)),
            Ok(id) => Err(self
                .plugin
                .fault(format!("the instance id {id} has more than {MAX_INSTANCE_BYTES} bytes"))),
            Err(e) => Err(self.plugin.fault(format!("the instance id {:?} {e}", c.instance))),
        });
        Ok(checked.collect::<Result<_, PluginFault>>()?)
    }
}
