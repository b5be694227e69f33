//! Right plugins pass, and wrong ones fail at the rule that names their mistake.

#[path = "../../wasm/tests/it/guests.rs"]
#[allow(dead_code, reason = "the sandbox's tests use the rest")]
mod guests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use guests::{handler, one_event, projection};
use pelton_core::id::{CommandId, CommandType, Sequence};
use pelton_core::message::{Command, Event, Fingerprint, Metadata, RecordedEvent};
use pelton_core::subject::EntityTemplate;
use pelton_core::time::Timestamp;
use pelton_kit::rehearsal::{self, Sample};
use pelton_kit::{CaseFile, Effort, Finding, Report, Suite, Untestable};
use pelton_wasm::{Limits, Plugins, Settings};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

async fn tested(component: Vec<u8>, cases: &[CaseFile]) -> Result<Report, Untestable> {
    run(component, cases, false, Limits::default()).await
}

async fn strictly_tested(component: Vec<u8>, cases: &[CaseFile]) -> Result<Report, Untestable> {
    run(component, cases, true, Limits::default()).await
}

async fn run(
    component: Vec<u8>,
    cases: &[CaseFile],
    strict: bool,
    limits: Limits,
) -> Result<Report, Untestable> {
    let sandbox = Plugins::new(&Settings::default()).expect("a sandbox");
    let suite = Suite {
        sandbox: &sandbox,
        component,
        name: "tested".to_owned(),
        activation: limits.into(),
        files: cases.to_vec(),
        recordings: &[],
        seed: 7,
        effort: Effort::QUICK,
        strict,
        fail_fast: false,
    };
    suite.run(&[]).await
}

#[tokio::test]
async fn the_examples_pass() {
    let built =
        std::env::var_os("PELTON_PLUGINS").map_or_else(|| root().join("target/plugins"), PathBuf::from);
    for plugin in [
        "hotel/booking",
        "hotel/cleaning",
        "hotel/housekeeping",
        "hotel/booking-view",
        "hotel/cleaning-schedule",
        "library/books",
        "library/notices",
        "library/readers",
        "library/waiting",
        "payment/order",
        "payment/orders-view",
    ] {
        let component = built.join(plugin.replace('/', "-")).with_extension("wasm");
        let bytes = std::fs::read(component).expect("run: make plugins");
        let cases = root().join("plugins").join(plugin).join("cases");
        let mut files: Vec<_> =
            std::fs::read_dir(cases).expect("cases").map(|e| e.expect("a file").path()).collect();
        files.sort();
        let files: Vec<_> = files.iter().map(|file| CaseFile::read(file).expect("cases")).collect();
        let report = strictly_tested(bytes, &files).await.expect("a plugin");
        assert!(report.passed(), "{plugin}:\n{}", report.terminal());
        assert_eq!(report.failed().count(), 0, "{plugin}:\n{}", report.terminal());
        assert_eq!(report.not_tested().count(), 0, "{plugin}:\n{}", report.terminal());
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
        format!("{} {}", count(256), when("(i32.gt_u (i32.load (i32.const 256)) (i32.const 150))"));
    let every_second =
        format!("{} {}", count(256), when("(i32.and (i32.load (i32.const 256)) (i32.const 1))"));
    let evolve_counts = format!("{} (i32.const 512)", count(260));
    let by_calls = when("(i32.eq (i32.load (i32.const 260)) (i32.const 1))");
    for (mistake, parts, rule) in [
        ("decide traps", vec![("decide", "(unreachable)")], "AL-02"),
        ("an event that it does not declare", vec![("decide", undeclared.as_str())], "CH-01"),
        ("it tires", vec![("decide", after_many.as_str())], "CH-06"),
        ("to decide changes the state", vec![("decide", every_second.as_str())], "CH-07"),
        (
            "it counts calls and not events",
            vec![("evolve", evolve_counts.as_str()), ("decide", by_calls.as_str())],
            "CH-03",
        ),
        ("evolve traps", vec![("evolve", "(unreachable)")], "AL-02"),
        (
            "a snapshot that it does not take back",
            vec![("snapshot", SNAPSHOT), ("restore", "(unreachable)")],
            "CH-09",
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

#[tokio::test]
async fn what_is_near_a_limit_is_told() {
    let cases = [CaseFile::parse(Path::new("cases.toml"), CASES).expect("cases")];
    let short = Limits { call_time: Duration::from_nanos(1), ..Limits::default() };
    let small = Limits { memory_bytes: 8 << 20, ..Limits::default() };
    for (near, parts, limits, told) in [
        ("a call is stopped at a tick of the clock only", vec![], short, "a call of "),
        ("4.4 MiB of 8", vec![("pages", "70")], small, "an instance's memory had "),
    ] {
        let report = run(handler(&parts), &cases, false, limits).await.expect("a plugin");
        let found = report.rules.iter().find(|result| result.rule.id == "AL-07").expect("it is tested");
        assert!(
            matches!(&found.finding, Finding::Failed { how } if how.contains(told)),
            "{near}: {:?}",
            found.finding
        );
        assert!(report.passed(), "a recommendation warns: {}", report.terminal());
    }
}

/// A snapshot of four bytes.
const SNAPSHOT: &str =
    "(i32.store8 (i32.const 62000) (i32.const 1)) (i32.store (i32.const 62004) (i32.const 1024))
    (i32.store (i32.const 62008) (i32.const 4)) (i32.const 62000)";

#[tokio::test]
async fn what_had_nothing_to_test_says_so_and_a_wrong_case_is_named() {
    let report = tested(projection(&[]), &[]).await.expect("a plugin");
    assert!(report.passed());
    let finding = |id: &str| {
        let result = report.rules.iter().find(|result| result.rule.id == id).expect("a rule");
        result.finding.clone()
    };
    for id in ["PR-02", "PR-03", "AL-03"] {
        assert!(matches!(finding(id), Finding::NotTested { .. }), "{id}:\n{}", report.terminal());
    }
    for id in ["CH-01", "SG-01"] {
        assert!(matches!(finding(id), Finding::NotApplicable { .. }), "{id}:\n{}", report.terminal());
    }
    let cases = [CaseFile::parse(Path::new("cases.toml"), CASES).expect("cases")];
    let error = tested(projection(&[]), &cases).await.expect_err("a projection takes no command").to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert_eq!(lines.len(), 2, "every case is told: {error}");
    assert!(lines[0].starts_with("cases.toml: the case \"it does\": a command is for a handler"), "{error}");
    let expects = CASES.replace(
        "\n[[case]]\nname = \"it does again\"",
        "then.rejection = \"no\"\n\n[[case]]\nname = \"it does again\"",
    );
    let cases = [CaseFile::parse(Path::new("cases.toml"), &expects).expect("cases")];
    let report = tested(handler(&[]), &cases).await.expect("a plugin");
    assert!(!report.passed());
    let first = report.terminal().lines().next().expect("a line").to_owned();
    assert_eq!(first, "FAIL case \"it does\": /rejection: expected no, got accepted without events");
}

#[tokio::test]
async fn strict_names_what_no_case_uses_and_what_is_left_out_without_need() {
    let text = CASES.to_owned() + "\n[[left-out]]\nrejection = \"no\"\nreason = \"it never happens\"\n";
    let cases = [CaseFile::parse(Path::new("cases.toml"), &text).expect("cases")];
    let report = strictly_tested(handler(&[]), &cases).await.expect("a plugin");
    assert_eq!(report.strict.expect("strict"), ["no case uses the event done"]);
    let text = text.replace("rejection = \"no\"", "command = \"do\"");
    let cases = [CaseFile::parse(Path::new("cases.toml"), &text).expect("cases")];
    let report = strictly_tested(handler(&[]), &cases).await.expect("a plugin");
    assert!(!report.passed());
    assert_eq!(
        report.strict.expect("strict"),
        [
            "cases.toml: it leaves out the command do, which a case uses",
            "no case uses the event done",
            "no case uses the rejection no"
        ]
    );
}

/// A version whose states mean something else than those of the version before, under the same state version.
#[tokio::test]
async fn a_rehearsal_finds_what_breaks_and_what_is_decided_otherwise_on_a_snapshot() {
    const SNAPSHOT: &str =
        "(i32.store8 (i32.const 700) (i32.const 1)) (i32.store (i32.const 704) (i32.const 0))
        (i32.store (i32.const 708) (i32.const 4)) (i32.const 700)";
    const RESTORE: &str = "(i32.store8 (i32.const 600) (i32.const 0))
        (i32.store (i32.const 604) (call $new (i32.const 2))) (i32.const 600)";
    const FOLD: &str =
        "(if (i32.eq (local.get 0) (i32.const 2)) (then (i32.store (i32.const 800) (i32.const 1))))
        (i32.const 512)";
    let done = one_event(*b"done", 10);
    let other = format!(
        "(if (result i32) (i32.eq (i32.load (local.get 0)) (i32.const 2)) (then {done}) (else (i32.const 512)))"
    );
    let sandbox = Plugins::new(&Settings::default()).expect("a sandbox");
    let load = async |name: &str, parts: &[(&str, &str)]| {
        sandbox.load(name, handler(parts), Limits::default()).await.expect("a plugin")
    };
    let own = [("snapshot", SNAPSHOT), ("restore", RESTORE)];
    let old = load("old", &own).await;
    let same = load("same", &own).await;
    let differs = load("differs", &[own[0], own[1], ("decide", &other)]).await;
    let folded = format!("(if (result i32) (i32.load (i32.const 800)) (then {done}) (else (i32.const 512)))");
    let folds_otherwise =
        load("folds-otherwise", &[own[0], own[1], ("evolve", FOLD), ("decide", &folded)]).await;
    let breaks = load("breaks", &[("decide", "(unreachable)")]).await;

    let template = EntityTemplate::parse("order.{id}").unwrap();
    let entity = template.entity(&[("id", "7".to_owned())].into()).unwrap();
    let command = Command {
        id: CommandId::new("c").unwrap(),
        r#type: CommandType::new("do").unwrap(),
        fingerprint: Fingerprint::of_command("do", &entity, b"{}"),
        entity,
        logged_at: Sequence(1),
        time: Timestamp(1),
        correlation_id: "c".to_owned(),
        causation_id: None,
        traceparent: None,
        principal: None,
        datacontenttype: None,
        metadata: Vec::new(),
        context: Vec::new(),
        data: "{}".into(),
        reply_to: None,
        expected: None,
        reference: None,
        depth: 0,
    };
    let samples = [Sample { entity: "7".to_owned(), events: Vec::new(), commands: vec![command] }];
    let of = |new, old| rehearsal::of_handler(new, old, &samples);
    let fine = of(&same, Some(&old));
    assert_eq!((fine.tried, fine.restored, &fine.differs, &fine.broke), (1, Some(1), &vec![], &vec![]));
    let found = of(&differs, Some(&old));
    assert!(found.broke.is_empty() && found.differs.len() == 1, "{found:?}");
    assert!(found.differs[0].contains("do c on 7: done"), "{found:?}");
    // Its fold is at home on its own states only, which shows where events follow an older snapshot.
    let event = RecordedEvent {
        event: Event {
            id: "e".to_owned(),
            source: "/test".to_owned(),
            r#type: "done".to_owned(),
            version: 1,
            subject: Some("7".to_owned()),
            time: Some(Timestamp(1)),
            datacontenttype: Some("application/json".to_owned()),
            dataschema: None,
            extensions: Metadata::default(),
            data: "{}".into(),
        },
        stream: "hotel".into(),
        sequence: Sequence(1),
        part: 0,
        recorded_at: Timestamp(1),
    };
    let samples = [Sample { events: vec![event.clone(), event], ..samples[0].clone() }];
    let of = |new, old| rehearsal::of_handler(new, old, &samples);
    assert_eq!((of(&same, Some(&old)).restored, of(&same, Some(&old)).differs.len()), (Some(1), 0));
    let found = of(&folds_otherwise, Some(&old));
    assert!(found.broke.is_empty() && found.differs.len() == 1, "{found:?}");
    // What broke before breaks nothing new, and without a version before nothing is taken over.
    assert_eq!(of(&breaks, Some(&old)).broke.len(), 1);
    assert!(of(&breaks, Some(&breaks)).broke.is_empty());
    assert_eq!(of(&same, None).restored, None);
}
