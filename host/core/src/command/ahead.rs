//! Deciding ahead: while many commands of one entity wait, the events of the first are folded before they are stored, the
//! next is decided on them, and so on; then all of them are stored in one batch on the state that the first was decided
//! on. Each command has an outcome of its own.
//!
//! It is a way to be fast, never a way to be right: whatever is in its way, the commands are handled one by one.
//!
//! A command that is decided ahead is accepted on a state that nobody else can see yet, so another host may reject a copy
//! of it on the state that there is. Therefore its id is claimed first, with the sequence that the batch will be stored
//! on: until the entity has moved beyond that, nobody records a rejection.

use std::collections::HashSet;

use futures::future::join_all;

use super::{CommandFlow, Decision};
use crate::command::decision;
use crate::command::entity::LiveEntity;
use crate::command::outcome::{Ahead, Answer, Claim, Revision};
use crate::command::ports::{AppendError, CommandStore, EventToStore, HandlerPlugin, StoredEvent};
use crate::dead_letter::DeadLetters;
use crate::id::Sequence;
use crate::message::{Command, NewEvent};
use crate::retry::NotProcessed;
use crate::time::Timestamp;

/// The most commands that are decided ahead at a time.
pub const MAX_AHEAD_COMMANDS: usize = 128;
/// The most events that are stored for them in one batch; a server takes 1,000 messages.
const MAX_AHEAD_EVENTS: usize = 500;

/// A command whose id was claimed; none where that did not work, or it is unclear.
type Claimed<'a> = Option<(&'a Command, Revision)>;

/// A command that was decided, with what it leads to.
struct Planned<'a> {
    command: &'a Command,
    claim: Revision,
    events: Vec<StoredEvent>,
}

impl<P: HandlerPlugin, S: CommandStore, L: DeadLetters> CommandFlow<P, S, L> {
    /// Whether the plugin allows it.
    pub fn decides_ahead(&self) -> bool {
        self.plugin.descriptor().decides_ahead
    }

    /// Handles the first of these waiting commands of one entity together. Answers how many have ended; none have where
    /// they have to be handled one by one.
    pub async fn handle_ahead(&self, commands: &[&Command]) -> usize {
        self.decide_ahead(commands).await.unwrap_or_else(|stop| {
            tracing::debug!(handler = %self.name, "not decided ahead: {stop}");
            0
        })
    }

    async fn decide_ahead(&self, commands: &[&Command]) -> Result<usize, NotProcessed> {
        let Some(&first) = commands.first() else { return Ok(0) };
        // Where the entity waits behind its dead letters, each command is parked by itself.
        if self.last_letter(&first.entity).await?.is_some() {
            return Ok(0);
        }
        let Some(mut entity) = self.entities.take(&first.entity) else { return Ok(0) };
        let fresh = self.fresh(&entity, commands);
        let (claims, events) = match self.decide_first(&mut entity, &fresh).await? {
            Some(events) => (self.claim_ahead(&entity, &fresh).await, events),
            None => (Vec::new(), Vec::new()),
        };
        if claims.is_empty() {
            self.entities.put(first.entity.clone(), entity);
            return Ok(0);
        }
        let (planned, to_store) = match self.plan(&mut entity, &claims, events).await {
            Ok(planned) => planned,
            Err(stop) => {
                self.release(&claims).await;
                return Err(stop);
            }
        };
        match self.store.append(&first.entity, entity.at(), &to_store).await {
            Ok(sequences) => Ok(self.ended(entity, planned, &sequences).await),
            Err(AppendError::Refused(_)) => {
                self.release(&claims).await;
                Ok(0)
            }
            // The state went ahead of the stream, or perhaps did not: it is dropped. After a conflict the claims are
            // void by themselves; while it is unclear they must stand.
            Err(AppendError::Conflict | AppendError::Unclear(_)) => Ok(0),
        }
    }

    /// The first commands that nothing is known of, and that can be decided on any state.
    fn fresh<'a>(&self, entity: &LiveEntity<P::Instance>, commands: &[&'a Command]) -> Vec<&'a Command> {
        let mut ids = HashSet::new();
        let fresh = commands.iter().copied().take(MAX_AHEAD_COMMANDS).take_while(|command| {
            command.expected.is_none()
                && entity.effect_of(command, self.plugin.digest()).is_none()
                && ids.insert(command.id.clone())
        });
        fresh.collect()
    }

    /// The events of the first, if it leads to any.
    async fn decide_first(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        commands: &[&Command],
    ) -> Result<Option<Vec<NewEvent>>, NotProcessed> {
        let [first, _, ..] = commands else { return Ok(None) };
        match self.decision(entity, first).await? {
            Decision::Store(events) => Ok(Some(events)),
            Decision::Answer(_) => Ok(None),
        }
    }

    /// Claims the ids of the commands, unless something is registered of the first.
    async fn claim_ahead<'a>(
        &self,
        entity: &LiveEntity<P::Instance>,
        commands: &[&'a Command],
    ) -> Vec<Claimed<'a>> {
        let claim = Claim { ahead: Some(Ahead { of: entity.at(), since: Timestamp::now() }) };
        let claim = async |command: &'a Command| {
            let revision = self.store.claim(&command.id, claim, Revision::NONE).await;
            Some((command, revision.ok().flatten()?))
        };
        let Some((&first, others)) = commands.split_first() else { return Vec::new() };
        // Where the first is known already, the others are not touched.
        let Some(first) = claim(first).await else { return Vec::new() };
        let mut claims = vec![Some(first)];
        claims.extend(join_all(others.iter().map(|command| claim(command))).await);
        claims
    }

    /// Nothing was stored, and nothing will be.
    async fn release(&self, claims: &[Claimed<'_>]) {
        let release = |(command, revision): &(&Command, Revision)| {
            let (id, revision) = (command.id.clone(), *revision);
            async move { self.store.claim(&id, Claim::default(), revision).await }
        };
        // A claim that stays makes a rejection wait until the entity moves on.
        drop(join_all(claims.iter().flatten().map(release)).await);
    }

    /// Decides one after the other on the events before it, up to one that leads to none, or whose id is not claimed.
    async fn plan<'a>(
        &self,
        entity: &mut LiveEntity<P::Instance>,
        claims: &[Claimed<'a>],
        first: Vec<NewEvent>,
    ) -> Result<(Vec<Planned<'a>>, Vec<EventToStore>), NotProcessed> {
        let digest = self.plugin.digest();
        let (mut planned, mut to_store) = (Vec::new(), Vec::new());
        let mut first = Some(first);
        for &(command, claim) in claims.iter().map_while(Option::as_ref) {
            let events = match first.take() {
                Some(events) => events,
                None => match self.decision(entity, command).await? {
                    Decision::Store(events) if to_store.len() + events.len() <= MAX_AHEAD_EVENTS => events,
                    _ => break,
                },
            };
            let earlier = u32::try_from(to_store.len()).unwrap_or(u32::MAX);
            let new = decision::events_to_store(
                events,
                command,
                self.name.as_str(),
                digest,
                &entity.history().after_adjacent(earlier),
            );
            let expected: Vec<_> =
                (1..=new.len() as u64).map(|n| Sequence(entity.at().0 + u64::from(earlier) + n)).collect();
            let events = self.as_stored(command, new.iter().map(|e| e.event.clone()), &expected);
            entity.fold_ahead(&events).await?;
            to_store.extend(new);
            planned.push(Planned { command, claim, events });
        }
        Ok((planned, to_store))
    }

    /// Records the outcomes of commands whose events are stored. Answers how many of the first have theirs; whatever
    /// is left is handled again and found in the history.
    async fn ended(
        &self,
        mut entity: LiveEntity<P::Instance>,
        planned: Vec<Planned<'_>>,
        sequences: &[Sequence],
    ) -> usize {
        let mut sequences = sequences.iter().copied();
        let mut ended = Vec::new();
        for Planned { command, claim, mut events } in planned {
            for (event, sequence) in events.iter_mut().zip(sequences.by_ref()) {
                event.recorded.sequence = sequence;
            }
            entity.was_stored(events);
            ended.push((command, claim));
        }
        let records = ended.iter().map(async |(command, claim)| {
            let outcome = entity.effect_of(command, self.plugin.digest())?;
            let outcome = self.record(outcome, *claim).await.ok().flatten()?;
            self.announce(command, &Answer::Ended(outcome)).await;
            Some(())
        });
        let recorded = join_all(records).await.into_iter().take_while(Option::is_some).count();
        if let Some((command, _)) = ended.first() {
            self.entities.put(command.entity.clone(), entity);
        }
        recorded
    }
}
