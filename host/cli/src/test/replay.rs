//! `pelton test --replay`: what was recorded, decided and folded again.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use pelton_kit::{Recording, Replay, Suite};

use super::print;
use super::subject::Subject;
use crate::args::test::TestArgs;
use crate::exit::Failure;

/// Reads the recordings.
pub(super) fn read(files: &[PathBuf]) -> Result<Vec<Recording>, Failure> {
    let one = |path: &PathBuf| {
        let file = File::open(path).with_context(|| path.display().to_string())?;
        Recording::read(BufReader::new(file)).map_err(|error| anyhow!("{}: {error}", path.display()))
    };
    files.iter().map(one).collect::<Result<_, _>>().map_err(Failure::Unusable)
}

/// Replays them, and prints what came of it. Whether everything came out the same.
pub(super) async fn run(
    arguments: &TestArgs,
    suite: &Suite<'_>,
    subject: &Subject,
    recordings: &[Recording],
) -> Result<bool, Failure> {
    let against = match &arguments.against {
        Some(path) => {
            let bytes = tokio::fs::read(path).await.with_context(|| path.display().to_string());
            Some(bytes.map_err(Failure::Unusable)?)
        }
        None => None,
    };
    let replay = Replay {
        sandbox: suite.sandbox,
        name: suite.name.clone(),
        component: suite.component.clone(),
        against,
        activation: suite.activation.clone(),
    };
    let mut all_same = true;
    for (path, recording) in arguments.replay.iter().zip(recordings) {
        let replayed = replay.run(recording).await.map_err(|error| subject.untestable(error))?;
        all_same &= replayed.passed();
        match arguments.json {
            true => print(&format!("{}\n", replayed.json())),
            false => print(&format!("replay of {}\n{}", path.display(), replayed.terminal())),
        }
    }
    Ok(all_same)
}
