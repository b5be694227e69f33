//! `pelton test` and `pelton can-i-activate`

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, ValueEnum};
use pelton_wasm::Tier;

use super::common::ConfigArgs;

/// The component that is tested, and how it will run.
#[derive(Debug, Args)]
pub(crate) struct SubjectArgs {
    /// The component
    #[arg(value_name = "PLUGIN.wasm", required_unless_present_any = ["list_rules", "schema"])]
    pub(crate) component: Option<PathBuf>,
    /// Files of cases, or folders with them
    #[arg(value_name = "CASES")]
    pub(crate) cases: Vec<PathBuf>,
    /// Use the tier, settings and limits of this plugin of the configuration
    #[arg(long = "as", value_name = "NAME", conflicts_with_all = ["tier", "settings"])]
    pub(crate) as_plugin: Option<String>,
    /// The configuration for `--as`.
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// The imports that the component may have, as `tier` in the configuration
    #[arg(long, value_name = "TIER", default_value = Tier::default().name(), value_parser = tiers())]
    pub(crate) tier: Tier,
    /// A setting of the plugin, as `[plugins.X.settings]` has it; may be given several times
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = setting)]
    pub(crate) settings: Vec<(String, String)>,
    /// Fail if the plugin declares something that no case uses and no file of cases leaves out with a reason
    #[arg(long)]
    pub(crate) strict: bool,
    /// Make fewer tries, for a quick check between two changes
    #[arg(long)]
    pub(crate) quick: bool,
    /// Keep compiled code in this folder, which is created if missing
    #[arg(long, value_name = "DIR", env = "PELTON_COMPILED_CODE")]
    pub(crate) compiled_code: Option<PathBuf>,
}

/// `pelton test`
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// The component.
    #[command(flatten)]
    pub(crate) subject: SubjectArgs,
    /// Test this rule only, by id or name; may be given several times
    #[arg(long = "rule", value_name = "RULE")]
    pub(crate) rules: Vec<String>,
    /// Print every rule, why it matters, and how to mend a plugin that breaks it
    #[arg(long)]
    pub(crate) list_rules: bool,
    /// Print the JSON Schema of files of cases, for editors
    #[arg(long)]
    pub(crate) schema: bool,
    /// The seed of everything random; without it, a new one each time
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,
    /// Stop at the first rule that is broken
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Replace what the cases expect by what they gave, in their files
    #[arg(long)]
    pub(crate) update: bool,
    /// Test again whenever the component or a case is saved
    #[arg(long, conflicts_with = "update")]
    pub(crate) watch: bool,
    /// Replay a recording of `pelton record`: decide its commands again on the recorded states, and fold its events; the
    /// rules use them, too; may be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) replay: Vec<PathBuf>,
    /// Compare the replay with this version of the component
    #[arg(long, value_name = "OLD.wasm", requires = "replay")]
    pub(crate) against: Option<PathBuf>,
    /// Print the report as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Also write the report to a file, as json, tap, junit, ctrf, markdown or html; may be given several times
    #[arg(long = "report", value_name = "FORM=FILE", value_parser = report)]
    pub(crate) reports: Vec<(ReportForm, PathBuf)>,
}

/// `pelton can-i-activate`
#[derive(Debug, Args)]
pub(crate) struct CanIActivateArgs {
    /// The component.
    #[command(flatten)]
    pub(crate) subject: SubjectArgs,
    /// Whether a rule that had nothing to test is accepted
    #[arg(long, value_enum, default_value = "warn")]
    pub(crate) not_tested: NotTestedArg,
    // `SubjectArgs` asks for a component unless one of these is given.
    #[arg(long, hide = true)]
    list_rules: bool,
    #[arg(long, hide = true)]
    schema: bool,
}

/// The reaction to rules that had nothing to test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum NotTestedArg {
    /// Warn.
    Warn,
    /// Refuse the plugin.
    Refuse,
}

/// The format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportForm {
    /// Everything, as JSON.
    Json,
    /// The Test Anything Protocol.
    Tap,
    /// JUnit XML.
    Junit,
    /// Common Test Report Format.
    Ctrf,
    /// Markdown.
    Markdown,
    /// A page.
    Html,
}

fn report(text: &str) -> Result<(ReportForm, PathBuf), String> {
    let (form, file) = text.split_once('=').ok_or("it is FORM=FILE, such as junit=report.xml")?;
    match (ReportForm::from_str(form, false), file) {
        (Ok(_), "") => Err("the file is missing".to_owned()),
        (Ok(form), file) => Ok((form, file.into())),
        (Err(_), _) => {
            Err(format!("there is no form {form:?}; there are json, tap, junit, ctrf, markdown, html"))
        }
    }
}

fn setting(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("it is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn tiers() -> impl TypedValueParser<Value = Tier> {
    let names = PossibleValuesParser::new(Tier::ALL.map(Tier::name));
    names.map(|name| Tier::of_name(&name).unwrap_or_default())
}
