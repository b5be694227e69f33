//! Every block of a document has a test, and everything that documents name exists.

use std::fs;

use pelton_tests::place;

use crate::blocks;

/// The words of a comment above a block.
const WORDS: [&str; 9] = ["from", "file", "run", "start", "gives", "becomes", "config", "make", "picture"];

#[test]
fn every_block_of_a_document_says_what_a_test_does_with_it() {
    let mut blocks = 0;
    for file in blocks::files().iter().filter(|file| file.ends_with(".md")) {
        for block in blocks::of(file) {
            blocks += 1;
            let known = block.said.iter().any(|(word, _)| WORDS.contains(&word.as_str()));
            assert!(
                known,
                "{}: no comment above the block says what a test does with it: {WORDS:?}",
                block.place()
            );
        }
    }
    assert!(blocks >= 5, "README alone has more blocks than the {blocks} that were found");
}

#[test]
fn readme_is_short_and_every_link_of_a_document_leads_somewhere() {
    let readme = fs::read_to_string(place::root().join("README.md")).expect("README");
    assert!(readme.lines().count() <= 150, "README has {} lines", readme.lines().count());
    for file in blocks::files().iter().filter(|file| file.ends_with(".md")) {
        let path = place::root().join(file);
        let text = fs::read_to_string(&path).expect("a document");
        for target in
            text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target)
        {
            let plain = target.split('#').next().unwrap_or_default();
            if plain.is_empty() || plain.contains("://") {
                continue;
            }
            let leads = path.parent().expect("a folder").join(plain).exists();
            assert!(leads, "{file} links to {target}, which does not exist");
        }
    }
}

#[test]
fn every_message_of_the_troubleshooting_page_is_one_that_the_code_has() {
    let page = fs::read_to_string(place::root().join("docs/troubleshooting.md")).expect("the page");
    let mut source = String::new();
    let mut folders = vec![place::root().join("host"), place::root().join("plugins/sdk")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).expect("a folder").flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                source.push_str(&fs::read_to_string(path).expect("a source file"));
            }
        }
    }
    let messages: Vec<_> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`')).collect();
    assert!(messages.len() >= 15, "the page has {} messages", messages.len());
    for (message, _) in messages {
        assert!(source.contains(message), "no code says {message:?} any more: docs/troubleshooting.md");
    }
}

#[test]
fn every_path_that_the_architecture_names_exists() {
    let page = fs::read_to_string(place::root().join("ARCHITECTURE.md")).expect("the page");
    let roots = ["host/", "plugins/", "wit/", "tests/", "bench/", "docs/"];
    let is_path = |text: &&str| roots.iter().any(|root| text.starts_with(root)) && !text.contains(' ');
    let paths: Vec<_> = page.split('`').skip(1).step_by(2).filter(is_path).collect();
    assert!(paths.len() >= 40, "the page names {} paths", paths.len());
    for path in paths {
        assert!(place::root().join(path).exists(), "ARCHITECTURE.md names {path}, which does not exist");
    }
}

#[test]
fn the_glossary_of_the_architecture_is_short() {
    let page = fs::read_to_string(place::root().join("ARCHITECTURE.md")).expect("the page");
    let words =
        page.split("## Words").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the glossary");
    let rows = words.lines().filter(|line| line.starts_with("| ")).count().saturating_sub(1);
    assert!((10..=30).contains(&rows), "{rows} words");
}
