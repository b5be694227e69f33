//! `[plugins.X]`: a component, and the limits of its instances.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pelton_core::id::Name;
use pelton_kit::NotTested;
use pelton_wasm::{Activation, Limits, PluginSettings, Tier};

use super::text::key::{Count, Key, Optional, Or, Parsed, Size, Table, Text, Time, Words, milliseconds};
use super::text::problem::{At, Problem, Problems};
use super::text::reader::Reader;
use super::typed::Typed;
use crate::plugin::conformance::Needed;

static SOURCE: Key<Words<PluginSource>, Or<PluginSource>> = Key {
    name: "source",
    form: Words(&[("file", PluginSource::File), ("store", PluginSource::Store)]),
    default: Or(|| PluginSource::File),
    example: "\"store\"",
    doc: "Where `pelton run` gets the component: from its file, or from the plugin store on the NATS server, where \
          `pelton plugin activate` says which version runs with which settings.",
};
static COMPONENT: Key<Text, Optional> = Key {
    name: "component",
    form: Text("path, relative to the configuration"),
    default: Optional("none, which needs `source = \"store\"`"),
    example: "\"booking.wasm\"",
    doc: "The component's file: what runs, what `pelton build` makes, and what `pelton plugin push` pushes.",
};
static CRATE: Key<Text, Optional> = Key {
    name: "crate",
    form: Text("path, relative to the configuration"),
    default: Optional("none: `pelton build` leaves the component alone"),
    example: "\"plugins/booking\"",
    doc: "The folder of the crate that `pelton build` makes the component of. Only that command looks at it.",
};
static SHA256: Key<Parsed<String>, Optional> = Key {
    name: "sha256",
    form: Parsed {
        unit: "64 lower-case hexadecimal digits",
        help: "write 64 lower-case hexadecimal digits; `sha256sum FILE` prints them",
        parse: digest,
        show: |digest| format!("{digest:?}"),
    },
    default: Optional("any digest"),
    example: "\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"",
    doc: "What the file's SHA-256 has to be.",
};

static TIER: Key<Words<Tier>, Or<Tier>> = Key {
    name: "tier",
    form: Words(&[("pure", Tier::Pure), ("deterministic", Tier::Deterministic)]),
    default: Or(Tier::default),
    example: "\"deterministic\"",
    doc: "What the component may import: the interfaces of the contract, or also WASI 0.2, where the clock shows the \
          message's time, random numbers follow from its id, and there are no files, no network and no environment. \
          JavaScript and Python need the latter.",
};

static VERDICT: Key<Words<Needed>, Or<Needed>> = Key {
    name: "verdict",
    form: Words(&[("off", Needed::Off), ("warn", Needed::Warn), ("required", Needed::Required)]),
    default: Or(|| Needed::Warn),
    example: "\"required\"",
    doc: "What `pelton plugin activate` needs of `pelton test`: `required`, that the verdict that was pushed with the component says \
          that it passed, under the limits and settings that it will have; `warn`, that it is said if not; `off`, nothing.",
};
static NOT_TESTED: Key<Words<NotTested>, Or<NotTested>> = Key {
    name: "not-tested",
    form: Words(&[("warn", NotTested::Warn), ("refuse", NotTested::Refuse)]),
    default: Or(|| NotTested::Warn),
    example: "\"refuse\"",
    doc: "Whether a verdict counts in which rules had nothing to test: `warn`, it does; `refuse`, it does not.",
};

fn digest(text: &str) -> Result<String, String> {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    let right = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if right { Ok(hex.to_owned()) } else { Err("is not a SHA-256".to_owned()) }
}

pub(super) static TABLE: Table = Table {
    name: "plugins",
    header: "[plugins.booking]",
    doc: "A plugin: a WebAssembly component that exports one or more roles of the contract.",
    keys: &[&SOURCE, &COMPONENT, &CRATE, &SHA256, &TIER, &VERDICT, &NOT_TESTED],
    tables: &[&SETTINGS, &LIMITS],
    free: None,
};

type Counted = Key<Count<usize>, Or<usize>>;
type Sized = Key<Size, Or<usize>>;

/// From 64 KiB, a page of WebAssembly, to 4 GiB, its address space.
const SIZES: Size = Size(64 << 10..=4 << 30);

static MEMORY_BYTES: Sized = Key {
    name: "memory-bytes",
    form: SIZES,
    default: Or(|| Limits::default().memory_bytes),
    example: "\"32MiB\"",
    doc: "The linear memories of an instance together.",
};
static TOTAL_BYTES: Key<Size, Optional> = Key {
    name: "total-bytes",
    form: Size(1 << 20..=1 << 40),
    default: Optional("half of `memory-bytes` in `[wasm]`"),
    example: "\"512MiB\"",
    doc: "The memories and tables of all instances of the plugin together. Where they are used up, its commands and \
          events wait until there is room again.",
};
static CALL_TIMEOUT: Key<Time, Or<Duration>> = Key {
    name: "call-timeout",
    form: milliseconds(1, 600_000),
    default: Or(|| Limits::default().call_time),
    example: "\"250ms\"",
    doc: "How long one call may take by the clock on the wall.",
};
static RESULT_BYTES: Sized = Key {
    name: "result-bytes",
    form: SIZES,
    default: Or(|| Limits::default().result_bytes),
    example: "\"1MiB\"",
    doc: "What one call may hand to the host.",
};
static COMPONENT_BYTES: Sized = Key {
    name: "component-bytes",
    form: SIZES,
    default: Or(|| Limits::default().component_bytes),
    example: "\"16MiB\"",
    doc: "The largest file.",
};
static MEMORIES: Counted = Key {
    name: "memories",
    form: Count::new(1..=1_000),
    default: Or(|| Limits::default().memories),
    example: "8",
    doc: "The linear memories of an instance. Each takes 4 GiB of the process's address space.",
};
static TABLES: Counted = Key {
    name: "tables",
    form: Count::new(1..=1_000),
    default: Or(|| Limits::default().tables),
    example: "32",
    doc: "The tables of an instance.",
};
static TABLE_ELEMENTS: Counted = Key {
    name: "table-elements",
    form: Count::new(1..=100_000_000),
    default: Or(|| Limits::default().table_elements),
    example: "65_536",
    doc: "The elements of an instance's tables together. Each takes 8 bytes of the host.",
};
static CORE_INSTANCES: Counted = Key {
    name: "core-instances",
    form: Count::new(1..=10_000),
    default: Or(|| Limits::default().core_instances),
    example: "64",
    doc: "The core instances that make up one instance.",
};
static HANDLES: Counted = Key {
    name: "handles",
    form: Count::new(1..=10_000_000),
    default: Or(|| Limits::default().handles),
    example: "10_000",
    doc: "The resource handles of an instance. Entities that share an instance take at most half of them.",
};
static RETIRE_AFTER_CALLS: Key<Count<u32>, Or<u32>> = Key {
    name: "retire-after-calls",
    form: Count::new(1..=4_294_967_295),
    default: Or(|| Limits::default().retire_after_calls),
    example: "100_000",
    doc: "A warm instance of a projection or saga is replaced after this many calls. Entities leave a shared instance \
          that imports WASI after this many.",
};
static RETIRE_AFTER_BYTES: Sized = Key {
    name: "retire-after-bytes",
    form: SIZES,
    default: Or(|| Limits::default().retire_after_bytes),
    example: "\"16MiB\"",
    doc: "The same after this many bytes of payloads were passed in: some runtimes never free them.",
};
static RETIRE_AT_BYTES: Sized = Key {
    name: "retire-at-bytes",
    form: SIZES,
    default: Or(|| Limits::default().retire_at_bytes),
    example: "\"32MiB\"",
    doc: "A warm instance of a projection or saga is replaced when its memories hold this much. An instance that \
          entities share takes no more of them then, and they leave it halfway from there to `memory-bytes`.",
};

static LIMITS: Table = Table {
    name: "limits",
    header: "[plugins.booking.limits]",
    doc: "What each instance of the plugin may use. The last nine are seldom of use.",
    keys: &[
        &MEMORY_BYTES,
        &TOTAL_BYTES,
        &CALL_TIMEOUT,
        &RESULT_BYTES,
        &COMPONENT_BYTES,
        &MEMORIES,
        &TABLES,
        &TABLE_ELEMENTS,
        &CORE_INSTANCES,
        &HANDLES,
        &RETIRE_AFTER_CALLS,
        &RETIRE_AFTER_BYTES,
        &RETIRE_AT_BYTES,
    ],
    tables: &[],
    free: None,
};

static SETTINGS: Table = Table {
    name: "settings",
    header: "[plugins.booking.settings]",
    doc: "What the plugin reads as its settings: at most 64 texts, of at most 4 KiB each with their names. They are part of \
          what makes a version of the plugin, and are shown beside its digest. Which names it reads, the plugin decides.",
    keys: &[],
    tables: &[],
    free: Some("deadline = \"15m\""),
};

/// The source from which `pelton run` loads a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginSource {
    /// The component's file.
    File,
    /// The plugin store, according to the plugin's record.
    Store,
}

/// The table as it was typed.
#[derive(Debug, Clone)]
pub(crate) struct Plugin {
    pub(crate) name: At<Name>,
    pub(crate) source: PluginSource,
    /// The file's path, resolved from the configuration's folder.
    pub(crate) component: Option<At<PathBuf>>,
    pub(crate) crate_dir: Option<PathBuf>,
    /// The expected SHA-256 of the file: 64 lower-case hexadecimal digits.
    pub(crate) sha256: Option<At<String>>,
    pub(crate) tier: Tier,
    verdict: Needed,
    not_tested: NotTested,
    pub(crate) settings: PluginSettings,
    pub(crate) limits: Limits,
}

/// The checked values.
#[derive(Debug, Clone)]
pub struct PluginConfig {
    /// The source of the component.
    pub source: PluginSource,
    /// The file. `Some` unless the source is the store.
    pub component: Option<PathBuf>,
    /// The crate that `pelton build` compiles. `None`: the component comes from elsewhere.
    pub crate_dir: Option<PathBuf>,
    /// The expected SHA-256 of the file as 64 hexadecimal digits. `None`: any.
    pub sha256: Option<String>,
    /// The tier: which imports are allowed.
    pub tier: Tier,
    /// The verdict that an activation needs.
    pub(crate) verdict: Needed,
    /// Whether a verdict counts in which rules had nothing to test.
    pub(crate) not_tested: NotTested,
    /// The plugin's settings.
    pub settings: PluginSettings,
    /// The limits of each instance.
    pub limits: Limits,
}

impl PluginConfig {
    /// The options for loading the component.
    pub(crate) fn activation(&self) -> Activation {
        Activation { limits: self.limits.clone(), settings: self.settings.clone(), tier: self.tier }
    }
}

impl Plugin {
    /// The options for loading the component.
    pub(crate) fn activation(&self) -> Activation {
        Activation { limits: self.limits.clone(), settings: self.settings.clone(), tier: self.tier }
    }

    pub(super) fn read(name: At<Name>, table: &Reader<'_>, base: &Path) -> Self {
        let (source, component) = (table.get(&SOURCE), table.at(&COMPONENT));
        if source == PluginSource::File && !table.has(COMPONENT.name) {
            table.missing(COMPONENT.name, "\"path/to/plugin.wasm\"");
        }
        Self {
            name,
            source,
            component: component.map(|path| At { value: base.join(path.value), span: path.span }),
            crate_dir: table.at(&CRATE).map(|path| base.join(path.value)),
            sha256: table.at(&SHA256),
            tier: table.get(&TIER),
            verdict: table.get(&VERDICT),
            not_tested: table.get(&NOT_TESTED),
            settings: table.table(&SETTINGS).map_or_else(PluginSettings::default, |table| settings(&table)),
            limits: table.table(&LIMITS).map_or_else(Limits::default, |table| limits(&table)),
        }
    }

    pub(super) fn used(&self) -> Option<PluginConfig> {
        Some(PluginConfig {
            source: self.source,
            component: match (&self.component, self.source) {
                (Some(component), _) => Some(component.value.clone()),
                (None, PluginSource::Store) => None,
                (None, PluginSource::File) => return None,
            },
            crate_dir: self.crate_dir.clone(),
            sha256: self.sha256.as_ref().map(|digest| digest.value.clone()),
            tier: self.tier,
            verdict: self.verdict,
            not_tested: self.not_tested,
            settings: self.settings.clone(),
            limits: self.limits.clone(),
        })
    }
}

fn settings(table: &Reader<'_>) -> PluginSettings {
    let mut settings = PluginSettings::default();
    for (name, value) in table.free_texts() {
        let Some(value) = value else { continue };
        if let Err(why) = settings.set(name.value, &value.value) {
            table.add(Problem::new(name.span, format!("the setting has {why}")));
        }
    }
    settings
}

fn limits(table: &Reader<'_>) -> Limits {
    let limits = Limits {
        component_bytes: table.get(&COMPONENT_BYTES),
        memory_bytes: table.get(&MEMORY_BYTES),
        total_bytes: table.at(&TOTAL_BYTES).map(|bytes| bytes.value),
        memories: table.get(&MEMORIES),
        tables: table.get(&TABLES),
        table_elements: table.get(&TABLE_ELEMENTS),
        core_instances: table.get(&CORE_INSTANCES),
        call_time: table.get(&CALL_TIMEOUT),
        result_bytes: table.get(&RESULT_BYTES),
        handles: table.get(&HANDLES),
        retire_after_calls: table.get(&RETIRE_AFTER_CALLS),
        retire_after_bytes: table.get(&RETIRE_AFTER_BYTES),
        retire_at_bytes: table.get(&RETIRE_AT_BYTES),
        ..Limits::default()
    };
    table.finish();
    limits
}

/// Warns of plugins that nothing uses.
pub(super) fn check_idle(typed: &Typed, problems: &Problems) {
    let used = typed.roles().map(|role| Some(role.plugin?.value.as_str()));
    // A use that could not be read may be of any plugin.
    let Some(used) = used.collect::<Option<Vec<_>>>() else { return };
    for plugin in typed.plugins.iter().filter(|plugin| !used.contains(&plugin.name.value.as_str())) {
        let title = format!("no handler, projection or saga uses the plugin `{}`", plugin.name.value);
        problems.add(Problem::new(plugin.name.span, title).warning().from_absence());
    }
}
