//! Plugins with one mistake each are caught, by the rule that names it; right ones raise no alarm.
//!
//! `make mutants` tries all of them, and prints the table.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;

use pelton_kit::{CaseFile, Effort, Level, Report, Suite};
use pelton_wasm::{Activation, PluginSettings, Plugins, Settings};

/// How many mistakes of one rule are tried without `ALL=1`.
const OF_A_RULE: usize = 1;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn built(name: &str) -> Vec<u8> {
    let plugins =
        std::env::var_os("PELTON_PLUGINS").map_or_else(|| root().join("target/plugins"), PathBuf::from);
    std::fs::read(plugins.join(name).with_extension("wasm")).expect("run: make plugins")
}

/// As the operator sets it: the mistake, and something besides.
fn activation(mistake: &str) -> Activation {
    let mut settings = PluginSettings::default();
    settings.set("mistake", mistake).expect("allowed");
    settings.set("else", "10").expect("allowed");
    Activation { settings, ..Activation::default() }
}

/// Whether all mistakes are tried, and not only the first of each rule.
fn all_of_them() -> bool {
    std::env::var_os("ALL").is_some_and(|all| !all.is_empty())
}

/// One run of a suite.
struct Run {
    plugin: String,
    mistake: String,
    rule: String,
    component: Vec<u8>,
    cases: CaseFile,
}

/// What came of it: the first rule that is broken, or `case`; and the first line.
struct Caught {
    plugin: String,
    mistake: String,
    expected: String,
    by: String,
    line: String,
    report: Report,
}

fn all(queue: &Mutex<VecDeque<Run>>, sandbox: &Plugins, seed: u64) -> Vec<Caught> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut caught = Vec::new();
    loop {
        let Some(run) = queue.lock().expect("nobody panicked").pop_front() else { return caught };
        let mut suite = Suite {
            sandbox,
            component: run.component,
            name: run.plugin.clone(),
            activation: activation(&run.mistake),
            files: vec![run.cases],
            recordings: &[],
            seed,
            effort: Effort::QUICK,
            strict: false,
            fail_fast: true,
        };
        let mut report = runtime.block_on(suite.run(&[])).expect("a plugin");
        if caught_by(&report) != run.rule {
            // What a quick look misses.
            suite.effort = Effort::default();
            report = runtime.block_on(suite.run(&[])).expect("a plugin");
        }
        caught.push(Caught {
            plugin: run.plugin,
            mistake: run.mistake,
            expected: run.rule,
            by: caught_by(&report),
            line: report.first_mistake().unwrap_or_default(),
            report,
        });
    }
}

/// The first required rule that is broken, or `case`, or else the first recommended rule; nothing where all is well.
fn caught_by(report: &Report) -> String {
    let rule = |level| report.failed().find(|result| result.rule.level == level).map(|result| result.rule.id);
    let case = || report.cases.iter().any(|case| !case.differences.is_empty()).then_some("case");
    let by = rule(Level::Required).or_else(case).or_else(|| rule(Level::Recommended));
    by.unwrap_or_default().to_owned()
}

#[test]
fn wrong_plugins_are_caught_by_the_rule_that_names_the_mistake() {
    let table = std::fs::read_to_string(root().join("plugins/mutants/mutants.toml")).expect("the table");
    let table: BTreeMap<String, BTreeMap<String, String>> = toml::from_str(&table).expect("a table");
    let mut queue = VecDeque::new();
    let all_of_them = all_of_them();
    let only = std::env::var("ONLY").unwrap_or_default();
    for (plugin, mistakes) in &table {
        let component = built(&format!("mutants-{plugin}"));
        let mut of_rule: BTreeMap<&str, usize> = BTreeMap::new();
        let cases =
            CaseFile::read(&root().join(format!("plugins/mutants/cases/{plugin}.toml"))).expect("cases");
        for (mistake, rule) in std::iter::once((&"none".to_owned(), &String::new())).chain(mistakes) {
            let nth = of_rule.entry(rule).or_default();
            *nth += 1;
            if !format!("{plugin}/{mistake}").contains(&only) || (*nth > OF_A_RULE && !all_of_them) {
                continue;
            }
            queue.push_back(Run {
                plugin: plugin.clone(),
                mistake: mistake.clone(),
                rule: rule.clone(),
                component: component.clone(),
                cases: cases.clone(),
            });
        }
    }
    let queue = Mutex::new(queue);
    let compiled = tempfile::tempdir().expect("a folder");
    let settings = Settings { cache_dir: Some(compiled.path().join("compiled")), ..Settings::default() };
    let sandbox = Plugins::new(&settings).expect("a sandbox");
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    let mut caught: Vec<Caught> = thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(|| all(&queue, &sandbox, seed))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("it ends")).collect()
    });
    caught.sort_by(|one, other| (&one.plugin, &one.mistake).cmp(&(&other.plugin, &other.mistake)));
    let right: Vec<_> = caught.iter().filter(|caught| caught.mistake == "none").collect();
    for caught in &right {
        assert!(
            caught.report.passed(),
            "a right {} raises an alarm:\n{}",
            caught.plugin,
            caught.report.terminal()
        );
        assert_eq!(caught.report.failed().count(), 0, "{}", caught.report.terminal());
    }
    let wrong: Vec<_> = caught.iter().filter(|caught| caught.mistake != "none").collect();
    // A recommended rule that is broken warns.
    let passed = wrong.iter().filter(|caught| caught.by.is_empty());
    let missed: Vec<_> = passed.map(|caught| format!("{}/{}", caught.plugin, caught.mistake)).collect();
    let named: Vec<_> = wrong.iter().filter(|caught| caught.by == caught.expected).collect();
    for Caught { plugin, mistake, expected, by, line, .. } in &wrong {
        let mark = match () {
            () if by.is_empty() => "MISSED",
            () if by == expected => "ok",
            () => "OTHER",
        };
        println!("{mark:<6} {:<38} {expected:<6} {by:<6} {line}", format!("{plugin}/{mistake}"));
    }
    println!(
        "{} wrong plugins: {} caught, {} by the rule that names the mistake",
        wrong.len(),
        wrong.len() - missed.len(),
        named.len()
    );
    assert!(missed.is_empty(), "not caught: {missed:?}");
    let others: Vec<_> = wrong
        .iter()
        .filter(|caught| caught.by != caught.expected)
        .map(|caught| {
            format!(
                "{}/{}: {} and not {}: {}",
                caught.plugin, caught.mistake, caught.by, caught.expected, caught.line
            )
        })
        .collect();
    assert!(others.is_empty(), "caught by another rule:\n{}", others.join("\n"));
}
