//! Right plugins in other languages raise no alarm. Runtimes keep a state of their own in an instance, and none of it is seen
//! from outside.

use std::path::{Path, PathBuf};

use pelton_kit::{CaseFile, Effort, Finding, Suite};
use pelton_wasm::{Activation, Plugins, Settings, Tier};

async fn passes(component: &str, cases: &str, tier: Tier, effort: Effort) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let built = std::env::var_os("PELTON_PLUGINS").map_or_else(|| root.join("target/plugins"), PathBuf::from);
    // To compile a runtime takes its time, so what is compiled is kept for the tests to come.
    let compiled = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    let sandbox =
        Plugins::new(&Settings { cache_dir: Some(compiled), ..Settings::default() }).expect("a sandbox");
    let file = CaseFile::read(&root.join("plugins").join(cases)).expect("cases");
    let suite = Suite {
        sandbox: &sandbox,
        component: std::fs::read(built.join(component).with_extension("wasm"))
            .expect("run: make plugins plugins-polyglot"),
        name: component.to_owned(),
        activation: Activation { tier, ..Activation::default() },
        files: vec![file],
        recordings: &[],
        seed: 7,
        effort,
        strict: false,
        fail_fast: false,
    };
    let report = suite.run(&[]).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(report.passed(), "{}", report.terminal());
    let tested =
        report.rules.iter().filter(|result| matches!(result.finding, Finding::Passed { .. })).count();
    assert!(tested >= 9, "{component} was tested by {tested} rules:\n{}", report.terminal());
}

const BOOKING: &str = "hotel/booking/cases/booking.toml";
/// To make an instance of a runtime is dear.
const LITTLE: Effort = Effort { calls: 500, decisions: 30, histories: 6, hostile: 30 };

#[tokio::test]
async fn the_booking_in_javascript_passes() {
    passes("hotel-booking-js", BOOKING, Tier::Deterministic, LITTLE).await;
}

#[tokio::test]
async fn the_booking_in_python_passes() {
    passes("hotel-booking-python", BOOKING, Tier::Deterministic, LITTLE).await;
}

#[tokio::test]
async fn the_view_of_readers_in_javascript_passes() {
    passes("library-readers-js", "library/readers/cases/readers.toml", Tier::Deterministic, LITTLE).await;
}

#[tokio::test]
async fn the_waiting_in_javascript_passes() {
    passes("library-waiting-js", "library/waiting/cases/waiting.toml", Tier::Deterministic, LITTLE).await;
}

#[tokio::test]
async fn the_books_in_c_pass() {
    passes("library-books-c", "library/books/cases/books.toml", Tier::Pure, Effort::QUICK).await;
}
