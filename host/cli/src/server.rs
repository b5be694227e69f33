//! How a command finds its server: `--nats`, else a running `pelton dev` by its store, else the configuration.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use pelton_nats::{Nats, server};

use crate::args::common::ServerArgs;
use crate::config::{self, Config};
use crate::exit::Failure;
use crate::run;

/// The connection timeout. A person waits for the answer.
const SILENCE: Duration = Duration::from_secs(5);

/// Reads the configuration and connects to the server of [`reach`]. The components are not looked at: they may be what is wrong. The returned
/// configuration is that of the server that was found.
pub(crate) async fn connect(arguments: &ServerArgs) -> Result<(Config, Nats), Failure> {
    let mut loaded =
        config::load(&arguments.config.config).map_err(|error| Failure::Unusable(error.into()))?;
    let Some(mut config) = loaded.config.take() else {
        return Err(Failure::Configuration(Box::new(loaded.into_report(Vec::new()))));
    };
    let nats = reach(&mut config, &arguments.nats, &arguments.store).await?;
    Ok((config, nats))
}

/// Connects to these servers, else to a running `pelton dev` with this store, else as the configuration says. The
/// configuration is changed to that of the server that was found.
pub(crate) async fn reach(config: &mut Config, urls: &[String], store: &Path) -> Result<Nats, Failure> {
    if !urls.is_empty() {
        config.nats.urls = urls.to_vec();
    } else if let Some(url) = server::running(store).await {
        eprintln!("this is the server of `pelton dev`: {url} (data in {})", store.display());
        let nats = &mut config.nats;
        (nats.urls, nats.credentials, nats.replicas) = (vec![url], None, 1);
    }
    let mut settings = run::host::connection(config);
    settings.start_deadline = Some(settings.start_deadline.unwrap_or(SILENCE).min(SILENCE));
    let nats = Nats::connect(&settings).await.context(
        "the server cannot be reached: start it, say where it is with --nats, or name the store of a running \
         `pelton dev` with --store",
    );
    nats.map_err(Failure::Run)
}
