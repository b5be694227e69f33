//! The forms of a report: TAP, JUnit XML and CTRF JSON for other programs; Markdown and HTML for people.

use std::fmt::Write;

use serde_json::{Value, json};

use super::item::{Item, Status};
use super::{Report, milliseconds};

/// A form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Text for a terminal.
    Terminal,
    /// Everything, as JSON.
    Json,
    /// The Test Anything Protocol, version 14.
    Tap,
    /// JUnit XML, as CI servers read it.
    Junit,
    /// The Common Test Report Format, as JSON.
    Ctrf,
    /// Markdown, for a comment or a summary.
    Markdown,
    /// An HTML page with a badge.
    Html,
}

impl Report {
    /// The report in this form.
    #[must_use]
    pub fn written(&self, form: Form) -> String {
        match form {
            Form::Terminal => self.terminal(),
            Form::Json => format!("{:#}\n", self.json()),
            Form::Tap => self.tap(),
            Form::Junit => self.junit(),
            Form::Ctrf => format!("{:#}\n", self.ctrf()),
            Form::Markdown => self.markdown(),
            Form::Html => self.html(),
        }
    }

    fn tap(&self) -> String {
        let items = self.items();
        let mut text = format!("TAP version 14\n1..{}\n", items.len());
        for (n, Item { name, status, what, .. }) in items.iter().enumerate() {
            let name = name.replace('\\', "\\\\").replace('#', "\\#");
            let n = n + 1;
            let first = what.lines().next().unwrap_or("").replace('#', "\\#");
            let _ = match status {
                Status::Passed => writeln!(text, "ok {n} - {name}"),
                Status::Skipped => writeln!(text, "ok {n} - {name} # SKIP {first}"),
                Status::Warned => writeln!(text, "not ok {n} - {name} # TODO {first}"),
                Status::Failed => writeln!(text, "not ok {n} - {name}"),
            };
            if *status == Status::Failed {
                let _ = writeln!(text, "  ---\n  message: {}\n  ...", Value::String(what.clone()));
            }
        }
        let _ = writeln!(text, "# again: --seed {}", self.seed);
        text
    }

    fn junit(&self) -> String {
        let items = self.items();
        let count = |status| items.iter().filter(|item| item.status == status).count();
        let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let _ = writeln!(
            text,
            "<testsuites name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" time=\"{:.3}\">",
            xml(&self.plugin),
            items.len(),
            count(Status::Failed),
            count(Status::Skipped) + count(Status::Warned),
            self.took.as_secs_f64()
        );
        for group in ["cases", "strict", "rules"] {
            let of_group: Vec<_> = items.iter().filter(|item| item.group == group).collect();
            if of_group.is_empty() {
                continue;
            }
            let _ = writeln!(text, "  <testsuite name=\"{group}\" tests=\"{}\">", of_group.len());
            for Item { name, status, what, took, .. } in of_group {
                let (name, first) = (xml(name), xml(what.lines().next().unwrap_or("")));
                let head = format!(
                    "    <testcase classname=\"{}.{group}\" name=\"{name}\" time=\"{:.3}\"",
                    xml(&self.plugin),
                    took.as_secs_f64()
                );
                let _ = match status {
                    Status::Passed => writeln!(text, "{head}/>"),
                    Status::Failed => {
                        writeln!(
                            text,
                            "{head}><failure message=\"{first}\">{}</failure></testcase>",
                            xml(what)
                        )
                    }
                    Status::Skipped | Status::Warned => {
                        writeln!(text, "{head}><skipped message=\"{first}\"/></testcase>")
                    }
                };
            }
            text.push_str("  </testsuite>\n");
        }
        text.push_str("</testsuites>\n");
        text
    }

    fn ctrf(&self) -> Value {
        let items = self.items();
        let count = |status| items.iter().filter(|item| item.status == status).count();
        let tests = items.iter().map(|Item { group, name, status, what, took }| {
            let status = match status {
                Status::Passed => "passed",
                Status::Failed => "failed",
                Status::Skipped => "skipped",
                Status::Warned => "other",
            };
            json!({
                "name": name, "suite": group, "status": status, "duration": milliseconds(*took), "message": what,
            })
        });
        json!({
            "reportFormat": "CTRF",
            "specVersion": "0.0.0",
            "results": {
                "tool": { "name": "pelton test", "version": env!("CARGO_PKG_VERSION") },
                "summary": {
                    "tests": items.len(),
                    "passed": count(Status::Passed),
                    "failed": count(Status::Failed),
                    "skipped": count(Status::Skipped),
                    "pending": 0,
                    "other": count(Status::Warned),
                    "start": 0,
                    "stop": milliseconds(self.took),
                },
                "tests": tests.collect::<Vec<_>>(),
                "extra": { "plugin": self.plugin, "digest": self.digest, "seed": self.seed },
            },
        })
    }

    fn markdown(&self) -> String {
        let mark = if self.passed() { "passed" } else { "**failed**" };
        let mut text = format!("## {}: {mark}\n\n`{}`, seed {}\n\n", self.plugin, self.digest, self.seed);
        if let Some(first) = self.first_mistake() {
            let _ = writeln!(text, "> {}\n", cell(&first));
        }
        text.push_str("| | what | |\n|---|---|---|\n");
        for Item { name, status, what, .. } in self.items() {
            let first = what.lines().next().unwrap_or("");
            let _ = writeln!(text, "| {} | {} | {} |", word(status), cell(&name), cell(first));
        }
        text
    }

    fn html(&self) -> String {
        let (verdict, colour) = if self.passed() { ("passed", "#2a7d2a") } else { ("failed", "#b32424") };
        let mut rows = String::new();
        for Item { name, status, what, took, .. } in self.items() {
            let _ = writeln!(
                rows,
                "<tr class=\"{0}\"><td>{0}</td><td>{1}</td><td>{2}</td><td>{3:.1} ms</td></tr>",
                word(status),
                xml(&name),
                xml(&what).replace('\n', "<br>"),
                milliseconds(took)
            );
        }
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>{plugin}: {verdict}</title>\n\
             <style>body{{font-family:sans-serif;margin:2em}}td{{padding:.2em .6em;vertical-align:top}}\
             .failed{{background:#fbe3e3}}.warned{{background:#fbf3d9}}.skipped{{color:#777}}</style>\n\
             {badge}\n<h1>{plugin}</h1>\n<p><code>{digest}</code>, seed {seed}</p>\n<table>\n{rows}</table>\n</html>\n",
            plugin = xml(&self.plugin),
            badge = badge(verdict, colour),
            digest = xml(&self.digest),
            seed = self.seed,
        )
    }
}

/// A badge as SVG.
fn badge(verdict: &str, colour: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"116\" height=\"20\" role=\"img\" aria-label=\"pelton: {verdict}\">\
         <rect width=\"54\" height=\"20\" fill=\"#444\"/><rect x=\"54\" width=\"62\" height=\"20\" fill=\"{colour}\"/>\
         <g fill=\"#fff\" font-family=\"sans-serif\" font-size=\"12\"><text x=\"8\" y=\"14\">pelton</text>\
         <text x=\"64\" y=\"14\">{verdict}</text></g></svg>"
    )
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Passed => "ok",
        Status::Failed => "failed",
        Status::Warned => "warned",
        Status::Skipped => "skipped",
    }
}

/// A cell of a Markdown table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// Escapes text for XML. U+FFFD replaces what XML cannot hold.
fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(char),
            char if char.is_control() => escaped.push('\u{fffd}'),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            char => escaped.push(char),
        }
    }
    escaped
}
