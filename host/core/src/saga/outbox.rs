//! Sends the commands of an instance. Sending one again is harmless: its id is the same.

use super::SagaFlow;
use super::instance::Instance;
use super::ports::{SagaPlugin, SagaStore, Sent};
use crate::cloudevents::DEPTH;
use crate::dead_letter::Retries;
use crate::id::{InstanceId, source_of_saga};
use crate::intake::CommandMessage;
use crate::message::Metadata;
use crate::outcomes::{CommandReport, CommandResult};
use crate::retry::NotProcessed;
use crate::store::CommitError;

impl<P: SagaPlugin, S: SagaStore, L: Retries> SagaFlow<P, S, L> {
    /// Sends the commands of the instance's outbox, in order.
    pub(super) async fn send(&self, id: &InstanceId, instance: &Instance) -> Result<(), NotProcessed> {
        for command in &instance.outbox {
            let extensions: Metadata = instance.process.iter().chain(&command.extensions).cloned().collect();
            let message = CommandMessage {
                id: &command.id,
                r#type: &command.r#type,
                source: &source_of_saga(&self.id, id),
                time: None,
                datacontenttype: &command.datacontenttype,
                extensions: &extensions,
                reply_to: None,
                expected: None,
                reference: command.reference.as_deref(),
            };
            match self.store.send(message.headers(), &command.r#type, &command.id, command.data.clone()).await
            {
                Ok(Sent::Logged) => {}
                Ok(Sent::NobodyTakes) => {
                    let cause = format!("no handler takes commands of type {}", command.r#type);
                    tracing::error!(command = %command.id, "{cause}");
                    let depth = extensions.iter().find(|(name, _)| name == DEPTH);
                    let report = CommandReport {
                        command_id: command.id.clone(),
                        r#type: command.r#type.clone(),
                        reference: command.reference.clone(),
                        depth: depth.and_then(|(_, depth)| depth.parse().ok()).unwrap_or_default(),
                        result: CommandResult::Failed(cause),
                    };
                    self.store.report(&report).await?;
                }
                Err(CommitError::Unclear(away)) => return Err(away.into()),
                Err(refused) => {
                    return Err(self.plugin.fault(format!("its command {}: {refused}", command.id)).into());
                }
            }
        }
        Ok(())
    }
}
