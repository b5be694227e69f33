//! *saga*: a saga kept by hand, a guarded write and a publish for every event.
//!
//! It does: read the event, count it in the state in memory, store the state with an expectation on the account's last
//! sequence, send the command that follows with a message id, acknowledge. Writes of one account are in order; 256 events of
//! different accounts are worked on at once.
//!
//! It leaves out: the command in the stored state, so that a crash between the two writes loses it; what tells an event that
//! is delivered twice, which would be counted twice; timers, outcomes, causation, and reading the states back after a restart.

use anyhow::{Context, anyhow};
use async_nats::jetstream;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream;
use serde::Serialize;

use crate::lanes::{Consumer, Side};
use crate::ledger::Deposited;
use crate::{COMMANDS, LEDGER};

/// The number of events that are worked on at once.
const IN_FLIGHT: i64 = 256;
/// The stream of the states.
const STATES: &str = "BONUS";

#[derive(Debug)]
pub(crate) struct Saga {
    jetstream: jetstream::Context,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    deposits: u64,
    /// The sequence of its last write; 0 if it has none.
    at: u64,
}

/// The command.
#[derive(Debug, Serialize)]
struct Bonus<'a> {
    account: &'a str,
    amount: u64,
    note: &'a str,
}

/// Every deposit in the ledger.
pub(crate) async fn events(jetstream: &jetstream::Context) -> anyhow::Result<Consumer> {
    let config = pull::Config {
        durable_name: Some("saga".to_owned()),
        filter_subject: "ledger.*.deposited.v1".to_owned(),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: IN_FLIGHT,
        ..pull::Config::default()
    };
    Ok(jetstream.create_consumer_on_stream(config, LEDGER).await?)
}

impl Saga {
    pub(crate) async fn open(jetstream: jetstream::Context) -> anyhow::Result<Self> {
        let config = stream::Config {
            name: STATES.to_owned(),
            subjects: vec!["bonus.*".to_owned()],
            max_messages_per_subject: 1,
            ..stream::Config::default()
        };
        jetstream.create_stream(config).await?;
        Ok(Self { jetstream })
    }
}

impl Side for Saga {
    type Input = (Deposited, Message);
    type Account = State;

    fn read(&self, message: Message) -> anyhow::Result<(String, Self::Input)> {
        let event: Deposited = serde_json::from_slice(&message.payload)?;
        Ok((event.account.clone(), (event, message)))
    }

    async fn handle(&self, state: &mut State, (event, message): Self::Input) -> anyhow::Result<()> {
        let deposits = state.deposits + 1;
        let data = serde_json::to_vec(&Bonus { account: &event.account, amount: deposits, note: "bonus" })?;
        let kept = PublishMessage::build()
            .payload(deposits.to_string().into())
            .expected_stream(STATES)
            .expected_last_subject_sequence(state.at);
        let kept = self.jetstream.send_publish(format!("bonus.{}", event.account), kept).await?;
        *state = State { deposits, at: kept.await.context("the state was not stored")?.sequence };
        let id = format!("{}-{}", event.account, state.deposits);
        let command = PublishMessage::build()
            .payload(data.into())
            .message_id(&id)
            .expected_stream(COMMANDS)
            .header("ce-specversion", "1.0")
            .header("ce-id", id.as_str())
            .header("ce-source", "/bonus")
            .header("ce-type", "deposit-in-thirds")
            .header("ce-datacontenttype", "application/json");
        let sent = self.jetstream.send_publish(format!("command.deposit-in-thirds.{id}"), command).await?;
        sent.await.context("the command was not stored")?;
        message.ack().await.map_err(|error| anyhow!(error))
    }
}
