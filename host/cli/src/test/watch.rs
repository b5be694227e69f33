//! `pelton test --watch`: tests again after every change of a file.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use super::subject::files_of;
use super::{once, print};
use crate::args::test::TestArgs;
use crate::exit::Failure;

/// The polling interval of the files.
const LOOK: Duration = Duration::from_millis(200);

/// Tests now and after every change of a file, until the process is stopped.
pub(super) async fn run(arguments: &TestArgs) -> Result<(), Failure> {
    let mut seen = None;
    loop {
        let now = saved(arguments);
        if seen.as_ref() != Some(&now) {
            seen = Some(now);
            match once(arguments).await {
                Ok(()) | Err(Failure::Verdict) => {}
                // A half-written file is complete at the next poll.
                Err(failure) => print(&failure.render(false)),
            }
            print("waiting for a change\n");
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// The modification time and size of each file.
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
