//! Components that are refused, and the error texts.

use pelton_wasm::{Limits, Plugins};

use crate::guests::{exporting, handler, projection, wat};
use crate::{load, plugins};

const ROLE: &str = "pelton:plugin/projection@0.1.0";
const NUMBER: &str = "(result i32) i32.const 0";

async fn check(what: &str, component: Vec<u8>, limits: Limits, expected: &[&str]) {
    let refused = load(component, limits).await.expect_err(what).to_string();
    for part in expected {
        assert!(refused.contains(part), "{what}: {part:?} is not said in: {refused}");
    }
}

fn exporting_two(other: &str) -> Vec<u8> {
    wat(&format!(
        "(component (instance $e) (export \"{ROLE}\" (instance $e)) (export \"{other}\" (instance $e)))"
    ))
}

fn precompiled() -> Vec<u8> {
    wasmtime::Engine::default().precompile_component(&wat("(component)")).expect("compiles")
}

#[tokio::test]
async fn what_cannot_be_a_plugin_is_refused_by_cause() {
    let importing =
        |import: &str| wat(&format!("(component {import} (instance $e) (export \"{ROLE}\" (instance $e)))"));
    let function = r#"(import "wasi:filesystem/types@0.2.6" (instance (export "f" (func))))"#;
    let http = r#"(import "wasi:http/types@0.2.6" (instance))"#;
    let two = r#"(import "wasi:cli/exit@0.2.6" (instance)) (import "acme:clock/now" (func (result u64)))"#;
    let old_log = r#"(import "pelton:plugin/log@0.2.0" (instance))"#;
    let other_log =
        r#"(import "pelton:plugin/log@0.1.0" (instance (export "log" (func (param "line" string)))))"#;
    let more_log = r#"(import "pelton:plugin/log@0.1.0" (instance (export "flush" (func))))"#;
    let clock = r#"(import "pelton:plugin/clock@0.1.0" (instance))"#;
    let threads = "(component (core module (memory 1 1 shared)))";
    for (what, component, expected) in [
        ("nothing", vec![], &["it is not a WebAssembly component"][..]),
        ("text", b"(component)".to_vec(), &["begins with \"(component)\""]),
        (
            "a program",
            b"\x7fELF\x02\x01\x01 and so on and on".to_vec(),
            &["it is not a WebAssembly component", "ELF"],
        ),
        ("a core module", wat("(module)"), &["plugin guest (sha256:", "core module", "`pelton component`"]),
        ("compiled code", precompiled(), &["compiled code, which is never taken"]),
        (
            "half a component",
            wat("(component)")[..8].iter().copied().chain([9; 9]).collect(),
            &["does not compile"],
        ),
        ("threads", wat(threads), &["does not compile", "threads"]),
        (
            "no role",
            wat("(component)"),
            &["exports no role", "it exports nothing", "export_command_handler!"],
        ),
        (
            "another role",
            exporting("acme:shop/till@1.0.0", &[]),
            &["exports no role", "acme:shop/till@1.0.0"],
        ),
        (
            "another version",
            exporting("pelton:plugin/saga@0.2.0", &[]),
            &["exports no role", "pelton:plugin@0.1", "it exports pelton:plugin/saga@0.2.0"],
        ),
        (
            "a role and more",
            exporting_two("pelton:plugin/effect@0.1.0"),
            &["wait for in vain: pelton:plugin/effect@0.1.0 (this host does not know it)", "newer host"],
        ),
        (
            "a role and one of another version",
            exporting_two("pelton:plugin/saga@0.2.0"),
            &["pelton:plugin/saga@0.2.0 (of a version that this host does not have; it has 0.1)"],
        ),
        (
            "a migration without a saga",
            exporting_two("pelton:plugin/saga-migration@0.1.0"),
            &["saga-migration (it exports no saga)"],
        ),
        (
            "files",
            importing(function),
            &["imports", "wasi:filesystem/types@0.2.6 (the tier `deterministic` has it)", "--stub-wasi"],
        ),
        (
            "the network",
            importing(http),
            &["wasi:http/types@0.2.6 (no tier of this host has it)", "any other way out"],
        ),
        (
            "two imports",
            importing(two),
            &["wasi:cli/exit@0.2.6 (", "acme:clock/now (the host does not have it)"],
        ),
        ("another log", importing(old_log), &["pelton:plugin/log@0.2.0", "it has 0.1"]),
        ("no such interface", importing(clock), &["pelton:plugin/clock@0.1.0", "no such interface"]),
        ("log with another type", importing(other_log), &["does not keep to the contract", "`log`", "type"]),
        (
            "a function that log lacks",
            importing(more_log),
            &["does not keep to the contract", "`flush`", "missing"],
        ),
        ("no function", exporting(ROLE, &[]), &["pelton:plugin/projection@0.1.0 has no function `describe`"]),
        (
            "a function of another type",
            exporting(ROLE, &[("describe", "(result u32)", NUMBER)]),
            &["`describe` of pelton:plugin/projection@0.1.0 has another type", "expected"],
        ),
    ] {
        check(what, component, Limits::default(), expected).await;
    }
}

#[tokio::test]
async fn what_fails_when_it_is_tried_is_refused() {
    let bomb = [("pages", "2000")];
    let start = [("more", "(func $start unreachable) (start $start)")];
    let dumb = [("describe", "(unreachable)")];
    let endless = [("describe", "(loop $on (br $on)) (i32.const 0)")];
    let nameless = [("describe", "(i32.const 512)")];
    let upper = [("more", "(data (i32.const 1024) \"H\")")];
    let dotted = [("more", "(data (i32.const 1036) \".\")")];
    for (what, parts, expected) in [
        (
            "a memory bomb",
            &bomb,
            &["cannot be instantiated", "asked for more than 64 MiB of memory", "raise `memory-bytes`"][..],
        ),
        ("a trap at the start", &start, &["cannot be instantiated", "trapped: unreachable", "start"]),
        ("a describe that traps", &dumb, &["trapped: unreachable", "describe"]),
        (
            "a describe without end",
            &endless,
            &["ran longer than 50ms", "raise `call-timeout` in [plugins.", "describe"],
        ),
        ("no name", &nameless, &["descriptor breaks the contract", "its name is \"\""]),
        ("a bad name", &upper, &["descriptor breaks the contract", "\"Hostile\""]),
        ("a bad command type", &dotted, &["descriptor breaks the contract", "command type", "\".o\""]),
    ] {
        let limits = Limits { call_time: std::time::Duration::from_millis(50), ..Limits::default() };
        check(what, handler(parts), limits, expected).await;
    }
}

#[tokio::test]
async fn a_component_larger_than_its_limit_is_not_even_read() {
    let limits = Limits { component_bytes: 16, ..Limits::default() };
    check("bytes", handler(&[]), limits.clone(), &["more than 16 bytes", "raise `component-bytes`"]).await;
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), handler(&[])).expect("written");
    let refused = plugins().load("guest", file.path(), limits).await.expect_err("too large").to_string();
    assert!(refused.contains("more than 16 bytes"), "{refused}");
    let missing = plugins().load("guest", std::path::Path::new("/no/such.wasm"), Limits::default()).await;
    assert!(missing.expect_err("missing").to_string().contains("cannot read /no/such.wasm"));
}

#[tokio::test]
async fn what_keeps_to_the_contract_is_loaded_with_its_roles() {
    let plugins: Plugins = plugins();
    let loaded = plugins.load("guest", handler(&[]), Limits::default()).await.expect("loads");
    assert!(loaded.handler().is_some() && loaded.projection().is_none() && loaded.saga().is_none());
    assert_eq!(loaded.exports(), ["pelton:plugin/command-handler@0.1.0"]);
    assert!(loaded.imports().contains(&"pelton:plugin/log@0.1.0".to_owned()), "{:?}", loaded.imports());
    assert!(loaded.digest().starts_with("sha256:") && loaded.digest().len() == 71);
    let loaded = plugins.load("guest", projection(&[]), Limits::default()).await.expect("loads");
    assert!(loaded.handler().is_none() && loaded.projection().is_some());
}
