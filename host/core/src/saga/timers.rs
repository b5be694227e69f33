//! The timers of an instance: which is due, and how a reaction changes them.
//!
//! The server hands timers over when they are due. Those that were due during an outage come in any order. So the
//! message of a timer only says that it is time: the instance first handles the armed timers that were due before it,
//! earliest first.

use std::collections::BTreeMap;

use crate::dead_letter::Retries;
use crate::id::{InputKey, InstanceId};
use crate::plugin::PluginFault;
use crate::retry::NotProcessed;
use crate::saga::input::{FIRED_BY, FiredTimer, Input, timer};
use crate::saga::instance::{ArmedTimer, Instance};
use crate::saga::model::{Timer, TimerChange};
use crate::saga::ports::{SagaPlugin, SagaStore, TimerWrite};
use crate::saga::{Loaded, MAX_TIMERS, SagaFlow};
use crate::store::CommitError;
use crate::text::excerpt;

/// What a timer's message leads to.
pub(super) enum Due {
    /// This timer goes off.
    Now { timer: Timer, key: InputKey, is_last: bool },
    /// The timer was cancelled or set again, has gone off before, or its instance has ended.
    Never(&'static str),
    /// The timer is not due yet: the server's clock was wrong. It is armed again.
    Later,
}

impl<P: SagaPlugin, S: SagaStore, L: Retries> SagaFlow<P, S, L> {
    /// The timer that goes off next, once the message of one has come.
    pub(super) async fn due(
        &self,
        id: &InstanceId,
        instance: &Instance,
        fired: &FiredTimer,
        input: &Input,
    ) -> Result<Due, NotProcessed> {
        let at = input.message.stored_at;
        let armed = match instance.timers.get(&fired.id) {
            Some(armed) if armed.key == fired.armed.key => armed,
            Some(_) => return Ok(Due::Never("the timer was set again since")),
            None if instance.state.is_none() => return Ok(Due::Never(super::prepare::missing(instance))),
            None => return Ok(Due::Never("the timer was cancelled, or has gone off before")),
        };
        if at < armed.due && input.message.headers.get(FIRED_BY).is_none() {
            return Ok(Due::Later);
        }
        for (other, earlier) in before(instance, &fired.id, armed.due.min(at)) {
            match self.store.timer_data(id, other, earlier).await? {
                Some(data) => {
                    let (timer, key) = (timer(other, earlier, data), earlier.key.clone());
                    return Ok(Due::Now { timer, key, is_last: false });
                }
                // This timer cannot go off, and must not hold up the others.
                None => tracing::error!(timer = other, "the message of an armed timer is lost"),
            }
        }
        Ok(Due::Now { timer: fired.to_timer(), key: armed.key.clone(), is_last: true })
    }

    /// Arms a timer again that went off too soon.
    pub(super) async fn arm_again(
        &self,
        id: &InstanceId,
        fired: &FiredTimer,
        loaded: &mut Loaded,
    ) -> Result<(), NotProcessed> {
        tracing::error!(timer = fired.id, due = %fired.armed.due, "the server handed a timer over before it was due");
        let FiredTimer { id: timer, armed, data, .. } = fired.clone();
        let again = TimerWrite::Set { id: timer, armed, data };
        match self.store.save(id, &loaded.instance, &[again], loaded.revision).await {
            Ok(revision) => loaded.revision = revision,
            Err(CommitError::Unclear(away)) => return Err(away.into()),
            Err(error) => return Err(self.plugin.fault(format!("its timer: {error}")).into()),
        }
        Ok(())
    }

    /// The timers that are set, with their data.
    pub(super) async fn armed(
        &self,
        id: &InstanceId,
        instance: &Instance,
    ) -> Result<Vec<Timer>, NotProcessed> {
        let mut timers = Vec::new();
        for (name, armed) in &instance.timers {
            if let Some(data) = self.store.timer_data(id, name, armed).await? {
                timers.push(timer(name, armed, data));
            }
        }
        Ok(timers)
    }

    /// Replaces the instance's timers with these.
    pub(super) fn replace_timers(
        &self,
        instance: &mut Instance,
        timers: Vec<Timer>,
    ) -> Result<Vec<TimerWrite>, PluginFault> {
        let gone: Vec<_> = instance
            .timers
            .keys()
            .filter(|id| timers.iter().all(|timer| timer.id != **id))
            .cloned()
            .collect();
        let changes =
            gone.into_iter().map(TimerChange::Cancel).chain(timers.into_iter().map(TimerChange::Set));
        self.change_timers(instance, changes.collect())
    }

    /// Changes the instance's timers as a reaction says, and returns the writes for it: of several changes of one
    /// timer, the last.
    pub(super) fn change_timers(
        &self,
        instance: &mut Instance,
        changes: Vec<TimerChange>,
    ) -> Result<Vec<TimerWrite>, PluginFault> {
        let mut writes = BTreeMap::new();
        for change in changes {
            match change {
                TimerChange::Set(Timer { id, r#type, due, data }) => {
                    if !self.plugin.descriptor().timers.contains(&r#type) {
                        return Err(self.plugin.fault(format!(
                            "it sets a timer of type {:?}, which its descriptor does not list",
                            excerpt(&r#type)
                        )));
                    }
                    let number = instance.number();
                    let life =
                        instance.life.clone().unwrap_or_else(|| InputKey::of_event("", Default::default()));
                    let armed = ArmedTimer { r#type, due, key: InputKey::of_timer(&life, number) };
                    instance.timers.insert(id.clone(), armed.clone());
                    writes.insert(id.clone(), TimerWrite::Set { id, armed, data });
                }
                TimerChange::Cancel(id) => {
                    if instance.timers.remove(&id).is_some() {
                        writes.insert(id.clone(), TimerWrite::Cancel { id });
                    }
                }
            }
        }
        if instance.timers.len() > MAX_TIMERS {
            let count = instance.timers.len();
            return Err(self
                .plugin
                .fault(format!("it has {count} timers set; at most {MAX_TIMERS} are allowed")));
        }
        Ok(writes.into_values().collect())
    }
}

/// The timers of an instance that are due by this time and before the timer `but`, earliest first.
fn before<'a>(
    instance: &'a Instance,
    but: &str,
    by: crate::time::Timestamp,
) -> Vec<(&'a String, &'a ArmedTimer)> {
    let this = instance.timers.get(but).map(|armed| (armed.due, but));
    let is_earlier = |(id, armed): &(&'a String, &'a ArmedTimer)| {
        armed.due <= by && this.is_none_or(|this| (armed.due, id.as_str()) < this)
    };
    let mut earlier: Vec<_> =
        instance.timers.iter().filter(|(id, _)| id.as_str() != but).filter(is_earlier).collect();
    earlier.sort_by_key(|(id, armed)| (armed.due, id.as_str()));
    earlier
}
