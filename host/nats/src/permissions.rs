//! What a client of the server may do, as NATS permissions: who sends commands, who pushes components, who releases them, and a host.
//!
//! Source: NATS documentation, "Authorization".

use std::fmt::{self, Write};

use crate::hosts;
use crate::plugin_store::preparation;
use crate::subjects::{AUDIT, PLUGINS, bucket_stream, component_stream};

/// A client of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Sends commands and waits for their outcomes.
    Client,
    /// Pushes components into the plugin store. What runs is not up to it.
    Publisher,
    /// Says which version a plugin runs, and reads what the gate looks at. It pushes nothing.
    Releaser,
    /// Runs handlers, projections and sagas. It pushes no components.
    Host,
}

/// The subjects that a client may use.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Permissions {
    /// Where it may publish.
    pub publish: Vec<String>,
    /// Where it may not, although `publish` says so.
    pub never: Vec<String>,
    /// What it may subscribe to.
    pub subscribe: Vec<String>,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Client, Self::Publisher, Self::Releaser, Self::Host];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Publisher => "publisher",
            Self::Releaser => "releaser",
            Self::Host => "host",
        }
    }

    /// What it may do.
    #[must_use]
    pub fn permissions(self) -> Permissions {
        let inbox = vec!["_INBOX.>".to_owned()];
        match self {
            Self::Client => Permissions {
                publish: vec!["command.*.*".to_owned()],
                subscribe: inbox,
                ..Permissions::default()
            },
            Self::Publisher => {
                let own = [
                    format!("$O.{PLUGINS}.>"),
                    format!("$KV.{PLUGINS}.component.*.*"),
                    "audit.plugin.*.*".to_owned(),
                    format!("$JS.API.STREAM.PURGE.{}", component_stream()),
                ];
                let reads = [AUDIT.to_owned(), component_stream(), bucket_stream(PLUGINS)];
                let publish = own.into_iter().chain(reads.iter().flat_map(|stream| reading(stream)));
                Permissions { publish: connecting(publish), subscribe: inbox, ..Permissions::default() }
            }
            Self::Releaser => {
                let own = [
                    format!("$KV.{PLUGINS}.active.*"),
                    "audit.plugin.*.*".to_owned(),
                    preparation::SUBJECT.to_owned(),
                    hosts::SUBJECT.to_owned(),
                ];
                let publish = own.into_iter().chain(reading("*"));
                Permissions { publish: connecting(publish), subscribe: inbox, ..Permissions::default() }
            }
            Self::Host => Permissions {
                publish: vec![">".to_owned()],
                never: vec![
                    format!("$O.{PLUGINS}.>"),
                    format!("$KV.{PLUGINS}.component.>"),
                    "$JS.API.STREAM.DELETE.>".to_owned(),
                    "$SYS.>".to_owned(),
                ],
                subscribe: vec![">".to_owned()],
            },
        }
    }
}

fn connecting(more: impl Iterator<Item = String>) -> Vec<String> {
    ["$JS.API.INFO".to_owned()].into_iter().chain(more).collect()
}

/// What reads a stream.
fn reading(stream: &str) -> Vec<String> {
    [
        format!("$JS.API.STREAM.INFO.{stream}"),
        format!("$JS.API.STREAM.MSG.GET.{stream}"),
        format!("$JS.API.DIRECT.GET.{stream}"),
        format!("$JS.API.DIRECT.GET.{stream}.>"),
        format!("$JS.API.CONSUMER.CREATE.{stream}"),
        format!("$JS.API.CONSUMER.CREATE.{stream}.>"),
        format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.*"),
        format!("$JS.API.CONSUMER.DELETE.{stream}.*"),
        format!("$JS.API.CONSUMER.INFO.{stream}.*"),
        format!("$JS.FC.{stream}.>"),
    ]
    .into()
}

/// As the server's configuration has it, in a user or in an account's defaults.
impl fmt::Display for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |subjects: &[String]| {
            let mut text = String::new();
            for subject in subjects {
                let _ = write!(text, "\n      {subject:?}");
            }
            text
        };
        writeln!(f, "permissions {{\n  publish {{\n    allow: [{}\n    ]", list(&self.publish))?;
        if !self.never.is_empty() {
            writeln!(f, "    deny: [{}\n    ]", list(&self.never))?;
        }
        writeln!(f, "  }}\n  subscribe {{\n    allow: [{}\n    ]\n  }}\n}}", list(&self.subscribe))
    }
}
