//! The library: a book is lent to one reader at a time, and who keeps one that somebody else asks for is reminded.

use crate::example::{Example, Step};

const LEND: &str = "/lend-book";
const RETURN: &str = "/return-book";
const ASK: &str = "/ask-for-book";

/// The example.
#[must_use]
pub fn example() -> Example {
    let lend = |reader: &str| format!(r#"{{"data":{{"book":"emma","reader":"{reader}"}}}}"#);
    let emma = r#"{"data":{"book":"emma"}}"#;
    Example {
        name: "library",
        config: "plugins/library/pelton.toml",
        steps: vec![
            Step::put("Nobody has the book.", RETURN, emma).rejected("not-lent"),
            Step::put("Ada borrows it.", LEND, &lend("ada")).accepted("book-lent"),
            Step::put("It is lent once.", LEND, &lend("bob")).rejected("already-lent"),
            Step::put("Nobody has such a name.", LEND, &lend("no.name")).rejected("no-name"),
            Step::get("Ada has it.", "/views/readers/ada").will_show(&[("/books/0", "emma")]),
            Step::put("Bob asks for it.", ASK, &lend("bob")).accepted("book-asked-for"),
            Step::put("Ada brings it back.", RETURN, emma).accepted("book-returned"),
            Step::put("Bob borrows it.", LEND, &lend("bob")).accepted("book-lent"),
            Step::get("Bob has it.", "/views/readers/bob").will_show(&[("/books/0", "emma")]),
        ],
        // The saga reminds Ada at no fixed time, so her notice is checked apart from the book's events.
        events: Vec::new(),
        views: vec!["readers"],
    }
}
