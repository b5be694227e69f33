//! How a saga's command ended, stored as an input of the saga.

use pelton_core::outcomes::CommandReport;
use pelton_core::saga::input::OwnInput;
use pelton_core::store::Unavailable;

use crate::connection::Nats;
use crate::subjects;
use crate::wire::{self, PublishError, header};

/// Stores a report, once for each command and whether it is final. A saga whose stream is gone is told nothing.
pub(crate) async fn report(nats: &Nats, report: &CommandReport) -> Result<(), Unavailable> {
    let doing = || format!("telling the saga how its command {} ended", report.command_id);
    let away = |cause: String| Unavailable { doing: doing(), cause };
    let Some((saga, _)) = report.command_id.sender() else {
        return Err(away("its id names no saga".to_owned()));
    };
    let subject = subjects::saga_outcome(&saga, &report.command_id, report.result.is_final());
    let payload = OwnInput::Outcome(report.clone()).to_bytes().map_err(away)?;
    let mut headers = wire::expecting(0);
    headers.insert(header::EXPECTED_STREAM, subjects::saga_stream(&saga));
    match wire::publish(nats, &subject, headers, payload).await {
        Ok(_) | Err(PublishError::WrongSequence(_)) => Ok(()),
        Err(PublishError::NobodyTakes(unclear)) => match wire::takes(nats, &subject).await? {
            true => Err(unclear),
            false => {
                tracing::warn!(command = %report.command_id, "no stream is left of the saga that sent it: nobody is told");
                Ok(())
            }
        },
        Err(error) => Err(away(error.to_string())),
    }
}
