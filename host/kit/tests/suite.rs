//! Right plugins pass, and wrong ones fail at the rule that names their mistake.

#[path = "../../wasm/tests/it/guests.rs"]
#[allow(dead_code, reason = "the sandbox's tests use the rest")]
mod guests;

use std::path::{Path, PathBuf};

use guests::{handler, one_event, projection};
use pelton_kit::{CaseFile, Effort, Finding, Report, Suite, Untestable};
use pelton_wasm::{Limits, Plugins, Settings};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

async fn tested(component: Vec<u8>, cases: &[CaseFile]) -> Result<Report, Untestable> {
    let sandbox = Plugins::new(&Settings::default()).expect("a sandbox");
    let suite = Suite {
        sandbox: &sandbox,
        component,
        name: "tested".to_owned(),
        activation: Limits::default().into(),
        files: cases.to_vec(),
        seed: 7,
        effort: Effort { calls: 1_500, decisions: 60, histories: 24, hostile: 150 },
        strict: false,
        fail_fast: false,
    };
    suite.run(&[]).await
}

#[tokio::test]
async fn the_examples_pass() {
    let built =
        std::env::var_os("PELTON_PLUGINS").map_or_else(|| root().join("target/plugins"), PathBuf::from);
    for (component, cases, tested_rules) in [
        ("library-books", "library/books/cases/books.toml", 7),
        ("library-readers", "library/readers/cases/readers.toml", 5),
        ("library-waiting", "library/waiting/cases/waiting.toml", 4),
        ("payment-order", "payment/order/cases/order.toml", 8),
    ] {
        let bytes = std::fs::read(built.join(component).with_extension("wasm")).expect("run: make plugins");
        let file = CaseFile::read(&root().join("plugins").join(cases)).expect("cases");
        let report = tested(bytes, &[file]).await.expect("a plugin");
        assert!(report.passed(), "{component}:\n{}", report.terminal());
        let passed =
            report.rules.iter().filter(|result| matches!(result.finding, Finding::Passed { .. })).count();
        assert!(passed >= tested_rules, "{component} was tested by {passed} rules:\n{}", report.terminal());
    }
}

/// Two commands on an entity, one of them with two events behind it.
const CASES: &str = r#"
[[case]]
name = "it does"
when = { command = "do", data = { n = 1 } }

[[case]]
name = "it does again"
given = [{ event = "done", data = { n = 1 } }, { event = "done", data = { n = 2 } }]
when = { command = "do", data = { n = 3 } }
"#;

#[tokio::test]
async fn a_mistake_is_found_by_the_rule_that_names_it() {
    let cases = [CaseFile::parse(Path::new("cases.toml"), CASES).expect("cases")];
    assert!(tested(handler(&[]), &cases).await.expect("a plugin").passed(), "without a mistake");
    let event = one_event(*b"done", 10);
    let undeclared = one_event(*b"gone", 10);
    // The event is written where other answers are read: one without events lies elsewhere, where all is zero.
    // Counts calls in a word of the memory that all entities of an instance share.
    let count =
        |at: u32| format!("(i32.store (i32.const {at}) (i32.add (i32.load (i32.const {at})) (i32.const 1)))");
    let when =
        |condition: &str| format!("(if (result i32) {condition} (then {event}) (else (i32.const 60000)))");
    let after_many =
        format!("{} {}", count(256), when("(i32.gt_u (i32.load (i32.const 256)) (i32.const 500))"));
    let every_second =
        format!("{} {}", count(256), when("(i32.and (i32.load (i32.const 256)) (i32.const 1))"));
    let evolve_counts = format!("{} (i32.const 512)", count(260));
    let by_calls = when("(i32.eq (i32.load (i32.const 260)) (i32.const 1))");
    for (mistake, parts, rule) in [
        ("decide traps", vec![("decide", "(unreachable)")], "CH-01"),
        ("an event that it does not declare", vec![("decide", undeclared.as_str())], "CH-01"),
        ("it tires", vec![("decide", after_many.as_str())], "CH-02"),
        ("to decide changes the state", vec![("decide", every_second.as_str())], "CH-03"),
        (
            "it counts calls and not events",
            vec![("evolve", evolve_counts.as_str()), ("decide", by_calls.as_str())],
            "CH-04",
        ),
        ("evolve traps", vec![("evolve", "(unreachable)")], "CH-01"),
        (
            "a snapshot that it does not take back",
            vec![("snapshot", SNAPSHOT), ("restore", "(unreachable)")],
            "CH-06",
        ),
    ] {
        let report = tested(handler(&parts), &cases).await.expect("a plugin");
        let failed = |id: &str| {
            report
                .rules
                .iter()
                .any(|result| result.rule.id == id && matches!(result.finding, Finding::Failed { .. }))
        };
        assert!(failed(rule), "{mistake}: {rule} does not say so:\n{}", report.terminal());
        assert!(!report.passed() && report.terminal().contains("why it matters"), "{mistake}");
    }
}

/// A snapshot of four bytes.
const SNAPSHOT: &str =
    "(i32.store8 (i32.const 512) (i32.const 1)) (i32.store (i32.const 516) (i32.const 1024))
    (i32.store (i32.const 520) (i32.const 4)) (i32.const 512)";

#[tokio::test]
async fn what_had_nothing_to_test_says_so_and_a_wrong_case_is_named() {
    let report = tested(projection(&[]), &[]).await.expect("a plugin");
    assert!(report.passed());
    let not_tested = |id: &str| {
        report
            .rules
            .iter()
            .any(|result| result.rule.id == id && matches!(result.finding, Finding::NotTested { .. }))
    };
    assert!(
        ["CH-01", "PR-01", "PR-03", "SG-01", "AL-02"].into_iter().all(not_tested),
        "{}",
        report.terminal()
    );
    let cases = [CaseFile::parse(Path::new("cases.toml"), CASES).expect("cases")];
    let error = tested(projection(&[]), &cases).await.expect_err("a projection takes no command").to_string();
    assert!(error.starts_with("cases.toml: the case \"it does\": a command is for a handler"), "{error}");
    let expects = CASES.replace(
        "\n[[case]]\nname = \"it does again\"",
        "then.rejection = \"no\"\n\n[[case]]\nname = \"it does again\"",
    );
    let cases = [CaseFile::parse(Path::new("cases.toml"), &expects).expect("cases")];
    let report = tested(handler(&[]), &cases).await.expect("a plugin");
    assert!(!report.passed());
    assert!(report.terminal().contains("expected rejection no, got events []"), "{}", report.terminal());
}
