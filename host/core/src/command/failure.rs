//! What becomes of a command that was not processed: tried again, parked behind its entity's dead letters, or set aside.
//!
//! A command that is set aside has its dead letter first and its mark second. So at every instant there is one of them,
//! and whoever sees the mark finds the dead letter.

use super::{CommandFlow, Wanted};
use crate::command::outcome::{Answer, Outcome, ParkedCommand};
use crate::command::ports::{CommandStore, HandlerPlugin};
use crate::command::report::report_of_unreadable;
use crate::consumer::Settlement;
use crate::dead_letter::{DeadLetter, DeadLetterKind, Parking, RETRY_OF, Retries};
use crate::id::Sequence;
use crate::intake::REPLY_TO;
use crate::message::{Command, Incoming};
use crate::plugin::FaultKind;
use crate::retry::{NotProcessed, Verdict};
use crate::text::bounded;

impl<P: HandlerPlugin, S: CommandStore, L: Retries> CommandFlow<P, S, L> {
    /// What a message asks for: a decision, or another one after a dead letter.
    pub(super) async fn wanted(
        &self,
        message: &Incoming,
        command: &Command,
    ) -> Result<Wanted<'static>, NotProcessed> {
        if message.headers.get(RETRY_OF).is_some() {
            let key = command.entity.prefix();
            if Box::pin(self.dead_letters.is_retry(&self.name, key, message, self.settings.on_failure))
                .await?
            {
                return Ok(Wanted::Retry);
            }
        }
        Ok(Wanted::Decision)
    }

    pub(super) async fn not_processed(
        &self,
        message: &Incoming,
        command: Option<&Command>,
        stop: NotProcessed,
    ) -> Settlement {
        if matches!(&stop, NotProcessed::Plugin(fault) if fault.kind == FaultKind::NoRoom) {
            self.entities.drop_half();
        }
        match self.settings.retry.verdict(&stop, self.failures.count(&stop, message.sequence, message)) {
            Verdict::Retry(delay) => {
                tracing::warn!(?delay, "will be tried again: {}", stop.in_short());
                Settlement::RetryAfter(delay)
            }
            Verdict::SetAside => match self.set_aside(message, command, &stop).await {
                Ok(()) => Settlement::Terminate(stop.to_string()),
                Err(away) => {
                    tracing::warn!("will be tried again: {away}");
                    Settlement::RetryAfter(self.settings.retry.delay(message.attempt))
                }
            },
        }
    }

    async fn set_aside(
        &self,
        message: &Incoming,
        command: Option<&Command>,
        stop: &NotProcessed,
    ) -> Result<(), NotProcessed> {
        tracing::error!("set aside: {stop}");
        let cause = stop.to_string();
        let dead_letter = self.dead_letter(message, command, DeadLetterKind::Failed, cause.clone());
        let at = self.dead_letters.keep(dead_letter).await?;
        let Some(command) = command else {
            return self.tell_of_unreadable(message, &cause).await;
        };
        // The entity itself cannot be read, so there is nothing that a mark could be stored on.
        if matches!(stop, NotProcessed::Damaged(_)) {
            let failed = Outcome::Failed { cause: bounded(&cause).to_owned() };
            self.tell(command, self.ended(command, failed)).await?;
            return Ok(());
        }
        let answer = self.end(message, command, Wanted::Failure { cause: &cause }).await?;
        if let Answer::Ended(record) = &answer
            && !matches!(record.outcome, Outcome::Failed { .. })
        {
            tracing::info!("another host came to an end with it: its dead letter {at} is taken out");
            self.dead_letters.settle(at).await?;
        }
        self.tell(command, answer).await?;
        Ok(())
    }

    /// Keeps the command behind the last dead letter of its entity. None: it is no longer the last one. The command has
    /// not ended, so it has no mark.
    pub(super) async fn park(
        &self,
        message: &Incoming,
        command: &Command,
        last: Sequence,
    ) -> Result<Option<Answer>, NotProcessed> {
        let cause = format!("it waits behind dead letter {last} of its entity");
        let dead_letter = self.dead_letter(message, Some(command), DeadLetterKind::Parked, cause.clone());
        match self.dead_letters.keep_behind(dead_letter, last).await? {
            Parking::Parked => {
                tracing::warn!("parked: {cause}");
                Ok(Some(Answer::Parked(ParkedCommand { command_id: command.id.clone(), cause })))
            }
            Parking::Overtaken => Ok(None),
            Parking::Failed(cause) => Err(NotProcessed::Failed(cause)),
        }
    }

    /// Tells a client that waits.
    pub(super) async fn reply(&self, command: &Command, answer: &Answer) {
        if let Some(reply_to) = &command.reply_to {
            self.store.reply(reply_to, answer).await;
        }
    }

    /// Tells whoever sent a message that is no command.
    async fn tell_of_unreadable(&self, message: &Incoming, cause: &str) -> Result<(), NotProcessed> {
        if let Some(report) = report_of_unreadable(message, cause) {
            self.store.report(&report).await?;
        }
        if let Some(reply_to) = message.headers.get(REPLY_TO) {
            self.store.reply(reply_to, &Answer::unreadable(message, cause)).await;
        }
        Ok(())
    }

    fn dead_letter(
        &self,
        message: &Incoming,
        command: Option<&Command>,
        kind: DeadLetterKind,
        cause: String,
    ) -> DeadLetter {
        DeadLetter {
            consumer: self.name.to_string(),
            key: command.map(|c| c.entity.prefix().to_owned()),
            kind,
            message: message.clone(),
            cause,
            digest: Some(self.plugin.digest().to_owned()),
        }
    }
}
