//! *view*: a view kept by hand, one put to the key-value bucket for every event, as people usually write it.
//!
//! It does: read the event, fold it into the value in memory, put the value under the account's key, acknowledge. Puts
//! of one key are in order; 256 puts of different keys are pending at once.
//!
//! It leaves out: the position of the view, any protection against two writers or against an event that is delivered
//! twice (the value would count it twice), and reading the values back after a restart.

use anyhow::anyhow;
use async_nats::jetstream;
use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::kv::Store;
use serde::Serialize;

use crate::lanes::{Consumer, Side};
use crate::ledger::Deposited;
use crate::{BUCKET, LEDGER};

/// The number of pending puts.
const IN_FLIGHT: i64 = 256;

#[derive(Debug)]
pub(crate) struct View {
    bucket: Store,
}

/// The value under an account's name.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Account {
    account: String,
    balance: u64,
    deposits: u64,
}

/// Every event of the ledger.
pub(crate) async fn events(jetstream: &jetstream::Context) -> anyhow::Result<Consumer> {
    let config = pull::Config {
        durable_name: Some("view".to_owned()),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: IN_FLIGHT,
        ..pull::Config::default()
    };
    Ok(jetstream.create_consumer_on_stream(config, LEDGER).await?)
}

impl View {
    pub(crate) async fn open(jetstream: &jetstream::Context) -> anyhow::Result<Self> {
        Ok(Self { bucket: jetstream.get_key_value(BUCKET).await? })
    }
}

impl Side for View {
    type Input = (Deposited, Message);
    type Account = Account;

    fn read(&self, message: Message) -> anyhow::Result<(String, Self::Input)> {
        let event: Deposited = serde_json::from_slice(&message.payload)?;
        Ok((event.account.clone(), (event, message)))
    }

    async fn handle(&self, value: &mut Account, (event, message): Self::Input) -> anyhow::Result<()> {
        let Deposited { account, balance, .. } = event;
        *value = Account { account, balance, deposits: value.deposits + 1 };
        self.bucket.put(&value.account, serde_json::to_vec(value)?.into()).await?;
        message.ack().await.map_err(|error| anyhow!(error))
    }
}
