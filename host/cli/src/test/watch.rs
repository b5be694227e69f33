//! `pelton test --watch`: tests again whenever something was saved.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::subject::files_of;
use super::{once, print};
use crate::args::test::TestArgs;
use crate::exit::Failure;

/// How often the files are looked at.
const LOOK: Duration = Duration::from_millis(200);

/// Tests, and tests again whenever a file is another, until the process is stopped.
pub(super) async fn run(arguments: &TestArgs) -> Result<(), Failure> {
    let mut seen = None;
    loop {
        let now = saved(arguments);
        if seen.as_ref() != Some(&now) {
            seen = Some(now);
            match once(arguments).await {
                Ok(()) | Err(Failure::Verdict) => {}
                // A file that is half written is whole a moment later.
                Err(failure) => print(&failure.render(false)),
            }
            print("waiting for a change\n");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// When each file was saved, and its size.
fn saved(arguments: &TestArgs) -> Vec<(PathBuf, Option<(SystemTime, u64)>)> {
    let subject = &arguments.subject;
    let files = files_of(&subject.cases).unwrap_or_else(|_| subject.cases.clone());
    let all = subject.component.iter().cloned().chain(files);
    let state = |path: &PathBuf| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.modified().ok()?, data.len()))
    };
    all.map(|path| (path.clone(), state(&path))).collect()
}
