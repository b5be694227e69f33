//! `pelton check`

use std::path::PathBuf;

use clap::Args;

use super::common::{ConfigArgs, nats_url};

/// `pelton check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The configuration.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Print every configuration key with its unit, default, meaning and an example, and check nothing
    #[arg(long)]
    pub(crate) reference: bool,
    /// Compare the NATS server with the configuration as well, and change nothing; without a URL, that of PELTON_NATS_URL,
    /// else of a running `pelton dev`, else the configured one
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "", value_parser = nats_url_or_none)]
    pub(crate) nats: Option<String>,
    /// The store of a `pelton dev`: while it runs, its server is compared instead of the configured one
    #[arg(long, value_name = "DIR", default_value = ".pelton")]
    pub(crate) store: PathBuf,
}

impl CheckArgs {
    /// The servers to compare. An empty list means those of the configuration, or of a running `pelton dev`. `None`: compare nothing.
    pub(crate) fn servers(&self) -> Result<Option<Vec<String>>, String> {
        let Some(given) = &self.nats else { return Ok(None) };
        let urls = match given.as_str() {
            "" => std::env::var("PELTON_NATS_URL").unwrap_or_default(),
            given => given.to_owned(),
        };
        let urls = urls.split(',').filter(|url| !url.is_empty()).map(nats_url);
        urls.collect::<Result<_, _>>().map(Some)
    }
}

fn nats_url_or_none(text: &str) -> Result<String, String> {
    text.split(',')
        .filter(|url| !url.is_empty())
        .try_for_each(|url| nats_url(url).map(drop))
        .map(|()| text.to_owned())
}
