//! Broken configurations beside what is said about them: `tests/ui/invalid/*.toml` and `*.err`.
//!
//! A new case is a new `.toml`; `BLESS=1 cargo test -p pelton --test config` writes what is said today.

use std::fs;
use std::path::Path;

use pelton::config::{self, Source};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ui/invalid");

#[test]
fn every_mistake_is_reported_with_its_place() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut differing = Vec::new();
    let mut cases = 0;
    for entry in fs::read_dir(FOLDER).expect("the folder of cases") {
        let path = entry.expect("a case").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        cases += 1;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a readable case");
        let loaded = config::parse(Source { path: name.clone(), text }, Path::new("."));
        assert!(loaded.config.is_none(), "{name} is accepted");
        let said = loaded.into_report(Vec::new()).render(false);
        let golden = path.with_extension("err");
        if bless {
            fs::write(&golden, said).expect("a writable folder");
        } else if fs::read_to_string(&golden).unwrap_or_default() != said {
            differing.push(format!("==== {name}\n{said}"));
        }
    }
    assert!(cases >= 20, "only {cases} cases");
    assert!(differing.is_empty(), "not as in the golden files:\n{}", differing.join("\n"));
}

#[test]
fn the_hotel_is_accepted() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/hotel/pelton.toml");
    let loaded = config::load(&path).expect("readable");
    let config = loaded.config.clone();
    let report = loaded.into_report(Vec::new());
    assert!(report.is_empty(), "{}", report.render(false));
    let config = config.expect("a sound configuration");
    assert_eq!(config.handlers.len(), 2);
    assert_eq!(config.routes.len(), 5);
    assert_eq!(config.command_routes().count(), 11);
    assert!(config.routes.iter().all(|route| route.route.method() == "PUT"));
}

#[test]
fn every_setting_can_be_set() {
    let text = include_str!("ui/full.toml").to_owned();
    let loaded = config::parse(Source { path: "full.toml".to_owned(), text }, Path::new("/etc/pelton"));
    let config = loaded.config.clone();
    let report = loaded.into_report(Vec::new());
    let config = config.unwrap_or_else(|| panic!("{}", report.render(false)));
    // What Debug shows of it holds every field, so that none is forgotten here.
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui/full.debug");
    let shown = format!("{config:#?}\n");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&golden, &shown).expect("a writable folder");
    }
    assert_eq!(fs::read_to_string(&golden).unwrap_or_default(), shown);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = config::load(Path::new("nowhere/pelton.toml")).expect_err("there is no such file");
    assert!(error.to_string().starts_with("cannot read the configuration nowhere/pelton.toml: "), "{error}");
}
