//! `docs/http.md` names every problem and header in the gateway's source.

use std::fs;

use pelton_tests::place;

/// The numbers of the statuses that the gateway's source names.
const STATUSES: [(&str, u16); 12] = [
    ("OK", 200),
    ("CREATED", 201),
    ("ACCEPTED", 202),
    ("BAD_REQUEST", 400),
    ("NOT_FOUND", 404),
    ("METHOD_NOT_ALLOWED", 405),
    ("REQUEST_TIMEOUT", 408),
    ("CONFLICT", 409),
    ("PRECONDITION_FAILED", 412),
    ("PAYLOAD_TOO_LARGE", 413),
    ("UNSUPPORTED_MEDIA_TYPE", 415),
    ("INTERNAL_SERVER_ERROR", 500),
];

fn source() -> String {
    let mut text = String::new();
    let mut folders = vec![place::root().join("host/gateway/src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("the gateway's source").flatten() {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                let file = fs::read_to_string(entry.path()).expect("a source file");
                // Names in tests are not a promise.
                text.push_str(file.split("#[cfg(test)]").next().unwrap_or_default());
            }
        }
    }
    text
}

/// The first quoted text.
fn quoted(text: &str) -> &str {
    text.split('"').nth(1).unwrap_or_default()
}

#[test]
fn every_problem_code_is_documented_with_its_status() {
    let documented = fs::read_to_string(place::root().join("docs/http.md")).expect("docs/http.md");
    let source = source();
    let mut problems = 0;
    for rest in source.split("Problem::new(").skip(1) {
        let (status, rest) = rest.split_once(',').expect("a status and a code");
        let Some(status) = status
            .trim()
            .rsplit("::")
            .next()
            .filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        else {
            continue; // a rejection: its status and code are the next test's
        };
        let code = quoted(rest);
        let number = STATUSES.iter().chain(&[("SERVICE_UNAVAILABLE", 503)]).find(|(name, _)| *name == status);
        let (_, number) =
            number.unwrap_or_else(|| panic!("the status {status} of {code} has no number here"));
        problems += 1;
        let row = format!("| {number} | `{code}` |");
        assert!(documented.contains(&row), "docs/http.md lacks a row that begins with {row}");
    }
    assert!(
        problems >= 20,
        "the gateway has more problems than {problems}; has the form of its source changed?"
    );
}

#[test]
fn every_status_and_header_is_documented() {
    let documented = fs::read_to_string(place::root().join("docs/http.md")).expect("docs/http.md");
    let source = source();
    for (name, number) in STATUSES {
        if source.contains(&format!("StatusCode::{name}")) || source.contains(&format!("S::{name}")) {
            assert!(documented.contains(&format!("| {number} |")), "docs/http.md lacks the status {number}");
        }
    }
    let mut headers: Vec<_> =
        source.split("HeaderName::from_static(").skip(1).map(|rest| quoted(rest).to_owned()).collect();
    assert!(headers.len() >= 5, "{headers:?}");
    headers.extend(["etag", "location", "retry-after", "if-match", "content-type"].map(str::to_owned));
    let lower = documented.to_ascii_lowercase();
    for header in headers {
        assert!(lower.contains(&format!("`{header}`")), "docs/http.md lacks the header {header}");
    }
}
