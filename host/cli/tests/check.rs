//! `pelton check` and `pelton component`: what they say and how they exit.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

fn pelton(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pelton"));
    command.args(arguments).env_remove("PELTON_CONFIG").env("NO_COLOR", "1");
    command.output().expect("pelton runs")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Checks that the command exits with this code and says all of these on stderr.
fn check(output: &Output, code: i32, parts: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

/// A folder with a configuration that uses this component as a command handler.
fn with_component(component: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("order.wasm"), component).expect("a component");
    let config = folder.path().join("pelton.toml");
    let text = r#"[streams.shop]
subjects = ["order.>"]

[plugins.order]
component = "order.wasm"

[handlers.order]
plugin = "order"
stream = "shop"
entity = "order.{id}"
commands.pay = { id = "/order/id" }
"#;
    fs::write(&config, text).expect("a configuration");
    (folder, config)
}

fn check_component(component: &[u8], parts: &[&str]) {
    let (_folder, config) = with_component(component);
    let path = config.display().to_string();
    let place = format!("--> {path}:5:13");
    let output = pelton(&["check", "--config", &path]);
    check(&output, 3, &[&[place.as_str(), "the plugin `order` cannot be used"], parts].concat());
}

fn hotel() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    assert!(root.join("target/plugins").is_dir(), "the plugins are not built: make plugins");
    root.join("plugins/hotel/pelton.toml")
}

#[test]
fn the_command_line_has_an_exit_code_of_its_own() {
    check(&pelton(&[]), 2, &["Usage: pelton"]);
    check(&pelton(&["chekc"]), 2, &["a similar subcommand exists: 'check'"]);
    check(&pelton(&["check", "--log", "loud=="]), 2, &["--log \"loud==\""]);
    let help = String::from_utf8(pelton(&["--help"]).stdout).expect("text");
    assert!(help.contains("Exit codes:"), "{help}");
}

#[test]
fn a_broken_configuration_has_an_exit_code_of_its_own() {
    let broken = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ui/invalid/many.toml");
    check(
        &pelton(&["check", "--config", broken]),
        3,
        &["many.toml:3:10", "did you mean `hotel`?", "mistakes"],
    );
    check(
        &pelton(&["check", "--config", "nowhere.toml"]),
        3,
        &["cannot read the configuration nowhere.toml"],
    );
}

#[test]
fn what_is_no_component_is_refused_at_its_place() {
    check_component(b"(component)", &["it is not a WebAssembly component"]);
    check_component(b"", &["it is not a WebAssembly component"]);
    check_component(
        &wat::parse_str("(module)").expect("a module"),
        &["it is a core module", "pelton component"],
    );
    let (folder, config) = with_component(b"");
    fs::remove_file(folder.path().join("order.wasm")).expect("it was there");
    check(
        &pelton(&["check", "-c", &config.display().to_string()]),
        3,
        &[
            "cannot read",
            "order.wasm",
            "`pelton build` makes it, once [plugins.order] names the folder of its `crate`",
        ],
    );
    let text = fs::read_to_string(&config).expect("a configuration");
    let text = text.replace("component = ", "crate = \"plugins/order\"\ncomponent = ");
    fs::write(&config, text).expect("a configuration");
    let parts = ["`pelton build` makes it of the crate in ", "plugins/order"];
    check(&pelton(&["check", "-c", &config.display().to_string()]), 3, &parts);
}

/// N12: a command that no client could send was not told of.
#[test]
fn commands_that_nothing_sends_are_one_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = fs::read_to_string(hotel()).expect("the hotel");
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins");
    let text = text.replace("../../target/plugins", plugins.to_str().expect("a path in UTF-8"));
    let text = text.replace("command = \"book-room\"", "command = \"report-cleaned\"");
    let text = text.replace("command = \"check-in\"", "command = \"report-cleaned\"");
    let config = folder.path().join("pelton.toml");
    fs::write(&config, text).expect("a configuration");
    let parts = [
        "no route and no saga sends the commands `book-room`, `check-in` of the handler `booking`",
        "clients send it over NATS",
        "1 warning",
    ];
    check(&pelton(&["check", "--config", &config.display().to_string()]), 0, &parts);
}

#[test]
fn a_component_of_another_world_is_refused() {
    let other = r#"(component
        (core module $m (func (export "run")))
        (core instance $i (instantiate $m))
        (func $run (canon lift (core func $i "run")))
        (instance $exported (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $exported)))"#;
    let other = wat::parse_str(other).expect("a component");
    check_component(&other, &["it exports no role that this host runs", "wasi:cli/run@0.2.0"]);
}

#[test]
fn an_import_that_no_plugin_may_have_is_named() {
    let world = r#"(component
        (import "wasi:filesystem/preopens@0.2.0" (instance (export "get-directories" (func))))
        (core module $m (func (export "run")))
        (core instance $i (instantiate $m))
        (func $run (canon lift (core func $i "run")))
        (instance $exported (export "describe" (func $run)))
        (export "pelton:plugin/command-handler@0.1.0" (instance $exported)))"#;
    let world = wat::parse_str(world).expect("a component");
    check_component(&world, &["it imports what a plugin may not", "wasi:filesystem/preopens@0.2.0"]);
}

#[test]
fn the_reference_is_printed_without_a_configuration() {
    let output = pelton(&["check", "--reference", "--config", "nowhere.toml"]);
    check(&output, 0, &[]);
    let printed = String::from_utf8(output.stdout).expect("text");
    assert!(printed.contains("| `ack-wait` | duration, 1s to 1h | `\"30s\"` |"), "{printed}");
}

#[test]
fn the_hotel_is_sound() {
    let output = pelton(&["check", "--config", &hotel().display().to_string()]);
    check(&output, 0, &[]);
    assert_eq!(stderr(&output), "");
    let summary = String::from_utf8(output.stdout).expect("text");
    for part in [
        "stream      hotel: booking.>, cleaning.>",
        "handler     booking: booking.{room}.{day} on hotel by booking, takes book-room, charge-no-show, check-in, \
         make-room-available, pay-booking, release-room, tell-guest",
        "route       PUT /mutation/book-room sends book-room",
        "command-handler, imports pelton:plugin/log@0.1.0",
        "sha256:",
    ] {
        assert!(summary.contains(part), "{part:?} is not in:\n{summary}");
    }
}

#[test]
fn what_a_plugin_is_set_to_and_tells_of_its_data_is_listed() {
    for (example, parts) in [
        ("payment", &["+settings:", "settings: unapproved-limit-cents = \"10000\""][..]),
        ("library", &["schemas: command remind-reader, event reader-reminded, entity state v1"]),
    ] {
        let config = hotel().parent().expect("a folder").with_file_name(example).join("pelton.toml");
        let output = pelton(&["check", "--config", &config.display().to_string()]);
        let summary = String::from_utf8(output.stdout).expect("text");
        for part in parts {
            assert!(summary.contains(part), "{part:?} is not in:\n{summary}");
        }
    }
    let summary = pelton(&["check", "--config", &hotel().display().to_string()]).stdout;
    let summary = String::from_utf8(summary).expect("text");
    assert!(
        summary.contains("settings: pay-within-seconds = \"900\"") && !summary.contains("schemas:"),
        "{summary}"
    );
}

#[test]
fn components_are_held_against_what_relies_on_them() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = fs::read_to_string(hotel()).expect("the hotel");
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins");
    let changes = [
        ("../../target/plugins", plugins.to_str().expect("a path in UTF-8")),
        // A role that the plugin does not have.
        (
            "id = \"housekeeping\"\nplugin = \"housekeeping\"",
            "id = \"housekeeping\"\nplugin = \"booking-view\"",
        ),
        // A command that the plugin does not know, and so one that it knows and nobody is given.
        ("check-in = {", "chekc-in = {"),
        ("command = \"check-in\"", "command = \"chekc-in\""),
        // Another digest.
        (
            "booking.wasm\" }",
            "booking.wasm\", sha256 = \"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\" }",
        ),
    ];
    let text = changes.iter().fold(text, |text, (from, to)| {
        assert!(text.contains(from), "{from:?} is no longer in the hotel's configuration");
        text.replace(from, to)
    });
    let config = folder.path().join("pelton.toml");
    fs::write(&config, text).expect("a configuration");
    let parts = [
        "the component of the plugin `booking` has another digest",
        "the plugin `booking` takes no command `chekc-in`",
        "did you mean `check-in`?",
        "the plugin `booking` takes the command `check-in`, which no handler is given",
        "the plugin `booking-view` is not a saga",
        "it exports projection",
        "3 mistakes, 2 warnings",
    ];
    check(&pelton(&["check", "--config", &config.display().to_string()]), 3, &parts);
}

#[test]
fn a_saga_sends_only_what_a_handler_takes() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = fs::read_to_string(hotel()).expect("the hotel");
    let plugins = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins");
    let text = text.replace("../../target/plugins", plugins.to_str().expect("a path in UTF-8"));
    let text = text.replace("schedule-cleaning = {", "# schedule-cleaning = {");
    let config = folder.path().join("pelton.toml");
    fs::write(&config, text).expect("a configuration");
    let parts = ["the saga `housekeeping` sends the command `schedule-cleaning`, which no handler takes"];
    check(&pelton(&["check", "--config", &config.display().to_string()]), 3, &parts);
}

#[test]
fn a_module_without_a_world_becomes_no_component() {
    let folder = tempfile::tempdir().expect("a folder");
    let [module, component] =
        ["in.wasm", "out.wasm"].map(|name| folder.path().join(name).display().to_string());
    fs::write(&module, wat::parse_str("(module)").expect("a module")).expect("a file");
    let output = pelton(&["component", &module, "-o", &component]);
    check(&output, 3, &["in.wasm: the module carries no component type"]);
    assert!(!Path::new(&component).exists());
    check(&pelton(&["component", "nowhere.wasm", "-o", &component]), 3, &["nowhere.wasm: it cannot be read"]);
}

#[test]
fn completions_and_the_man_page_are_printed() {
    for (arguments, part) in [
        (&["completions", "bash"][..], "complete -F _pelton"),
        (&["completions", "zsh"], "#compdef pelton"),
        (&["completions", "fish"], "complete -c pelton"),
        (&["man"], ".TH pelton"),
    ] {
        let output = pelton(arguments);
        check(&output, 0, &[]);
        let printed = String::from_utf8(output.stdout).expect("text");
        assert!(printed.contains(part), "{part:?} is not in:\n{printed}");
    }
}
