//! Fenced blocks of Markdown files and of Rust's documentation, with the comments above each.
//!
//! Comments such as `<!-- from: plugins/library/books/src/lib.rs -->` stand on the lines above the fence; readers do
//! not see them. Each has one word for the test of the block, and an argument after a colon.

use std::fs;
use std::path::{Path, PathBuf};

use pelton_tests::place;

/// A fenced block.
#[derive(Debug, Clone)]
pub(crate) struct Block {
    /// The file, from the root of the repository.
    pub(crate) file: String,
    /// The line of the fence, from 1.
    pub(crate) line: usize,
    /// The first word after the fence.
    pub(crate) language: String,
    /// The comments: each a word and its argument.
    pub(crate) said: Vec<(String, String)>,
    /// Its lines.
    pub(crate) text: String,
}

impl Block {
    /// The block's place, for an error.
    pub(crate) fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }

    /// The argument of a comment with this word, if there is one.
    pub(crate) fn says(&self, word: &str) -> Option<&str> {
        self.said.iter().find(|(said, _)| said == word).map(|(_, rest)| rest.as_str())
    }
}

/// Printed by the program; a test of `pelton check --reference` compares the page and reads its samples.
const REFERENCE: &str = "docs/configuration.md";

/// Every file of documentation that somebody writes: README, `docs/` and the page of the SDK.
pub(crate) fn files() -> Vec<String> {
    let mut files: Vec<String> =
        ["README.md", "ARCHITECTURE.md", "plugins/sdk/rust/src/lib.rs"].map(str::to_owned).into();
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(place::root().join(&folder)).into_iter().flatten().flatten() {
            let path = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path.display().to_string());
            }
        }
    }
    files.retain(|file| file != REFERENCE && place::root().join(file).is_file());
    files.sort();
    files
}

/// Every block of one file.
pub(crate) fn of(file: &str) -> Vec<Block> {
    let text = fs::read_to_string(place::root().join(file)).expect("a file of documentation");
    let is_rust = Path::new(file).extension().is_some_and(|extension| extension == "rs");
    let lines = text.lines().enumerate().filter_map(|(n, line)| {
        let line = if is_rust { line.trim_start().strip_prefix("//!")? } else { line };
        Some((n + 1, if is_rust { line.strip_prefix(' ').unwrap_or(line) } else { line }))
    });
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    let mut said = Vec::new();
    for (n, line) in lines {
        match (open, line.strip_prefix("```")) {
            (false, Some(language)) => {
                let language = language.split([' ', ',']).next().unwrap_or_default().to_owned();
                let said = std::mem::take(&mut said);
                blocks.push(Block { file: file.to_owned(), line: n, language, said, text: String::new() });
                open = true;
            }
            (true, Some(_)) => open = false,
            (true, None) => {
                if let Some(block) = blocks.last_mut() {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
            }
            (false, None) => match comment(line) {
                Some(comment) => said.push(comment),
                None => said.clear(),
            },
        }
    }
    assert!(!open, "{file}: a fence is not closed");
    blocks
}

fn comment(line: &str) -> Option<(String, String)> {
    let inner = line.trim().strip_prefix("<!--")?.strip_suffix("-->")?.trim();
    let (word, rest) = inner.split_once(':').unwrap_or((inner, ""));
    Some((word.trim().to_owned(), rest.trim().to_owned()))
}
