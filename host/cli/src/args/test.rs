//! `pelton test`

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use pelton_wasm::Tier;

/// `pelton test`
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The component
    #[arg(value_name = "PLUGIN.wasm", required_unless_present = "list_rules")]
    pub(crate) component: Option<PathBuf>,
    /// Files of cases, or folders with them
    #[arg(value_name = "CASES")]
    pub(crate) cases: Vec<PathBuf>,
    /// What the component may import, as `tier` in its table in the configuration
    #[arg(long, value_name = "TIER", default_value = Tier::default().name(), value_parser = tiers())]
    pub(crate) tier: Tier,
    /// Test this rule only, by id or name; may be given several times
    #[arg(long = "rule", value_name = "RULE")]
    pub(crate) rules: Vec<String>,
    /// Print every rule, with why it matters and what to do where it is broken
    #[arg(long)]
    pub(crate) list_rules: bool,
    /// What is left to chance follows from this number; without it, another one each time
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Fail where the plugin declares what no case uses and no file of cases leaves out with a reason
    #[arg(long)]
    pub(crate) strict: bool,
    /// Stop at the first rule that is broken
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn tiers() -> impl TypedValueParser<Value = Tier> {
    let names = PossibleValuesParser::new(Tier::ALL.map(Tier::name));
    names.map(|name| Tier::of_name(&name).unwrap_or_default())
}
