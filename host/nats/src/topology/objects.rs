//! The settings of every object, in the terms of the server's API.
//!
//! A listed setting is compared, even if it is off. Settings that are not listed (descriptions, placement, compression)
//! are left to the operator, and so is metadata beside Pelton's own.

use std::collections::BTreeSet;
use std::fmt;

use pelton_core::partition::Partition;
use serde_json::{Map, Value, json};

use super::{HandlerConsumer, Storage, StreamLimits, Topology, WhenFull, entities};
use crate::consumer::pin;
use crate::subjects::{
    self, ALL_DEAD_LETTERS, AUDIT, COMMANDS, DEAD_LETTERS, PLUGINS, SNAPSHOTS, all_of_saga, bucket_stream,
    saga_stream, view_bucket,
};
use crate::wire::nanoseconds;

/// The intended settings of a stream or consumer.
#[derive(Debug, Clone)]
pub(super) struct Object {
    pub(super) kind: Kind,
    pub(super) settings: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Stream { name: String },
    Consumer { stream: String, name: String },
}

impl Topology {
    /// Streams first: consumers need them.
    pub(super) fn objects(&self) -> Vec<Object> {
        let mut objects = vec![
            self.audit(),
            self.stream(
                DEAD_LETTERS,
                &[ALL_DEAD_LETTERS.to_owned()],
                json!({
                    "max_msgs_per_subject": 1,
                    "discard": "new",
                    "discard_new_per_subject": true,
                    "allow_direct": true,
                    "allow_atomic": true,
                }),
            ),
            self.bucket(SNAPSHOTS, json!({})),
        ];
        if self.plugin_store {
            objects.extend([self.components(), self.bucket(PLUGINS, json!({}))]);
        }
        if !self.handlers.is_empty() {
            objects.push(self.log());
        }
        objects.extend(self.streams.iter().map(|stream| {
            let own = json!({
                "allow_atomic": true,
                "allow_direct": true,
                "allow_msg_ttl": true,
                "deny_delete": true,
                "deny_purge": true,
            });
            let settings = Value::Object(merged(limits(&stream.limits), own));
            self.stream(stream.name.as_str(), &stream.subjects, settings)
        }));
        objects.extend(self.views.iter().map(|view| {
            // The tombstones of deleted rows expire after a while.
            self.bucket(&view_bucket(&view.name, view.version), json!({ "allow_msg_ttl": true }))
        }));
        let partitions = |handler: &HandlerConsumer| handler.partitions.all();
        let consumers = self.handlers.iter().flat_map(|h| partitions(h).map(move |p| (h, p)));
        objects.extend(consumers.map(|(handler, partition)| self.commands_of(handler, partition)));
        objects.extend(self.sagas.iter().map(|saga| {
            // With scheduled messages the server insists on rollups and purges; only hosts may publish here.
            let settings = json!({
                "max_msgs_per_subject": 1,
                "allow_atomic": true,
                "allow_direct": true,
                "allow_msg_schedules": true,
                "allow_msg_ttl": true,
                "allow_rollup_hdrs": true,
            });
            self.stream(&saga_stream(saga), &[all_of_saga(saga)], settings)
        }));
        objects
    }

    /// A handler's consumer for one partition.
    fn commands_of(&self, handler: &HandlerConsumer, partition: Partition) -> Object {
        let filters: Vec<String> = command_filters(handler, partition).collect();
        let name = subjects::handler_consumer(&handler.id, partition);
        let of_each = u32::try_from(handler.partitions.count()).unwrap_or(u32::MAX);
        let mut consumer =
            self.consumer(COMMANDS, &name, &filters, handler.max_ack_pending.div_ceil(of_each));
        // One host at a time gets the commands, so that those of an entity keep their order.
        let one_at_a_time = json!({
            "priority_groups": [pin::GROUP],
            "priority_policy": "pinned_client",
            "priority_timeout": nanoseconds(pin::TIMEOUT),
            "metadata": entities::metadata(handler),
        });
        consumer.settings = merged(Value::Object(consumer.settings), one_at_a_time);
        consumer
    }

    /// What `pelton plugin` needs: the plugin store, and the history of what was done.
    pub(super) fn plugin_store_objects(&self) -> [Object; 3] {
        [self.audit(), self.components(), self.bucket(PLUGINS, json!({}))]
    }

    /// The object store of components, as in NATS ADR-20.
    fn components(&self) -> Object {
        let settings = json!({ "discard": "new", "allow_rollup_hdrs": true, "allow_direct": true });
        self.stream(&subjects::component_stream(), &subjects::component_filters(), settings)
    }

    fn audit(&self) -> Object {
        self.stream(
            AUDIT,
            &["audit.>".to_owned()],
            json!({
                "max_age": nanoseconds(self.audit_retention),
                "duplicate_window": nanoseconds(self.duplicate_window.min(self.audit_retention)),
                "max_msgs_per_subject": 1,
                "allow_direct": true,
                "allow_atomic": true,
                "deny_delete": true,
                "deny_purge": true,
            }),
        )
    }

    /// First write wins for an id: a retry that a client publishes itself changes nothing, and nothing is overwritten.
    fn log(&self) -> Object {
        let of_handler = |handler: &HandlerConsumer| {
            handler.partitions.all().flat_map(|p| command_filters(handler, p)).collect::<Vec<_>>()
        };
        let filters: Vec<_> = self.handlers.iter().flat_map(of_handler).collect();
        let settings = json!({
            "max_msgs_per_subject": 1,
            "discard": "new",
            "discard_new_per_subject": true,
            "allow_direct": true,
            "max_bytes": or_none(self.log_bytes),
        });
        self.stream(COMMANDS, &filters, settings)
    }

    fn stream(&self, name: &str, subjects: &[String], special: Value) -> Object {
        let settings = json!({
            "name": name,
            "subjects": subjects,
            "retention": "limits",
            "storage": storage(self.storage),
            "num_replicas": self.replicas,
            "max_msgs": -1,
            "max_bytes": -1,
            "max_age": 0,
            "max_msgs_per_subject": -1,
            "max_msg_size": -1,
            "max_consumers": -1,
            "discard": "old",
            "discard_new_per_subject": false,
            "duplicate_window": nanoseconds(self.duplicate_window),
            "no_ack": false,
            "sealed": false,
            "deny_delete": false,
            "deny_purge": false,
            "allow_rollup_hdrs": false,
            "allow_direct": false,
            "allow_atomic": false,
            "allow_msg_schedules": false,
            "allow_msg_ttl": false,
            "allow_msg_counter": false,
            "persist_mode": null,
            "subject_transform": null,
            "mirror": null,
            "sources": null,
        });
        Object { kind: Kind::Stream { name: name.to_owned() }, settings: merged(settings, special) }
    }

    /// A bucket with a history of one, as in NATS ADR-8, so that every client can read it; plus atomic batches.
    fn bucket(&self, name: &str, special: Value) -> Object {
        let settings = json!({
            "max_msgs_per_subject": 1,
            "discard": "new",
            "allow_rollup_hdrs": true,
            "deny_delete": true,
            "allow_direct": true,
            "allow_atomic": true,
        });
        let settings = Value::Object(merged(settings, special));
        self.stream(&bucket_stream(name), &[subjects::bucket_filter(name)], settings)
    }

    /// `max_deliver` has no limit: a store that is unavailable for an hour must not end a good command.
    fn consumer(&self, stream: &str, name: &str, filters: &[String], max_ack_pending: u32) -> Object {
        let filter = match filters {
            [] => json!({}),
            [one] => json!({ "filter_subject": one }),
            several => json!({ "filter_subjects": several }),
        };
        let settings = json!({
            "name": name,
            "durable_name": name,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "ack_wait": nanoseconds(self.ack_wait),
            "max_deliver": -1,
            "max_ack_pending": max_ack_pending,
            "replay_policy": "instant",
            "filter_subject": "",
            "filter_subjects": null,
            "backoff": null,
            "headers_only": false,
            "inactive_threshold": 0,
            "mem_storage": false,
            "num_replicas": 0,
            "deliver_subject": "",
            "priority_groups": null,
            "priority_policy": null,
            "priority_timeout": 0,
        });
        let kind = Kind::Consumer { stream: stream.to_owned(), name: name.to_owned() };
        Object { kind, settings: merged(settings, filter) }
    }
}

/// The subjects of a handler's commands in one partition. The log takes those of all handlers and no others: who publishes a command that
/// no handler takes is told so at once, for nobody answers.
fn command_filters(handler: &HandlerConsumer, partition: Partition) -> impl Iterator<Item = String> + '_ {
    handler.commands.keys().map(move |r#type| subjects::commands_of_type(r#type.as_str(), partition))
}

fn limits(limits: &StreamLimits) -> Value {
    let mut settings = json!({
        "max_bytes": or_none(limits.max_bytes),
        "max_msgs": or_none(limits.max_messages),
        "max_age": limits.max_age.map_or(0, nanoseconds),
        "discard": match limits.when_full { WhenFull::Refuse => "new", WhenFull::DeleteOldest => "old" },
    });
    if let Some(kept) = limits.storage {
        settings["storage"] = storage(kept).into();
    }
    if let Some(replicas) = limits.replicas {
        settings["num_replicas"] = replicas.into();
    }
    settings
}

/// The server writes "no limit" as -1.
fn or_none(limit: Option<u64>) -> i64 {
    limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

fn storage(storage: Storage) -> &'static str {
    match storage {
        Storage::File => "file",
        Storage::Memory => "memory",
    }
}

fn merged(settings: Value, special: Value) -> Map<String, Value> {
    let (Value::Object(mut settings), Value::Object(special)) = (settings, special) else {
        return Map::new();
    };
    settings.extend(special);
    settings
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Stream { name } => write!(f, "stream {name}"),
            Kind::Consumer { stream, name } => write!(f, "consumer {name} of stream {stream}"),
        }
    }
}

/// The filters of a consumer. The server has one field for a single filter, and another for several.
pub(super) fn filters(config: &Map<String, Value>) -> BTreeSet<String> {
    let one = config.get("filter_subject").into_iter();
    let several = config.get("filter_subjects").and_then(Value::as_array).into_iter().flatten();
    one.chain(several)
        .filter_map(Value::as_str)
        .filter(|filter| !filter.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Gives a consumer these filters.
pub(super) fn set_filters(config: &mut Map<String, Value>, filters: impl IntoIterator<Item = String>) {
    let mut filters: Vec<String> = filters.into_iter().collect();
    config.remove("filter_subject");
    config.remove("filter_subjects");
    match filters.len() {
        0 => {}
        1 => drop(config.insert("filter_subject".to_owned(), filters.remove(0).into())),
        _ => drop(config.insert("filter_subjects".to_owned(), filters.into())),
    }
}
