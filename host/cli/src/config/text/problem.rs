//! What is wrong with a configuration, and how it is shown: with file, line, column and the line itself.

use std::cell::RefCell;
use std::ops::Range;
use std::path::Path;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// A stretch of the file, as offsets in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    /// Where it begins.
    pub start: usize,
    /// Where it ends; this byte is not part of it.
    pub end: usize,
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// A value, and where it was typed.
#[derive(Debug, Clone)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Where it was typed.
    pub span: Span,
}

/// A configuration file as it was read.
#[derive(Debug, Clone)]
pub struct Source {
    /// The path as the user gave it; it stands in front of every problem.
    pub path: String,
    /// The whole text.
    pub text: String,
}

/// The severity of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Pelton does not start.
    Error,
    /// Pelton starts; a person should look at it.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub struct Problem {
    severity: Severity,
    title: String,
    span: Span,
    label: Option<String>,
    also: Vec<(Span, String)>,
    help: Vec<String>,
    from_absence: bool,
}

impl Problem {
    /// A mistake at this place.
    #[must_use]
    pub fn new(span: Span, title: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            title: title.into(),
            span,
            label: None,
            also: Vec::new(),
            help: Vec::new(),
            from_absence: false,
        }
    }

    /// Says that the mistake is that something is not there. Where the file cannot be read in full, such a mistake is
    /// left out: what is missing may stand in the part that could not be read.
    #[must_use]
    pub fn from_absence(mut self) -> Self {
        self.from_absence = true;
        self
    }

    /// Makes it a warning.
    #[must_use]
    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// A few words beside the underlined text.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// A related place.
    #[must_use]
    pub fn also(mut self, span: Span, label: impl Into<String>) -> Self {
        self.also.push((span, label.into()));
        self
    }

    /// What to do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    /// What to do about it, if known.
    #[must_use]
    pub fn help_if(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    /// Whether it keeps Pelton from starting.
    #[must_use]
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    fn render(&self, source: &Source, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let within = |span: Span| span.start.min(source.text.len())..span.end.min(source.text.len());
        let others = self
            .also
            .iter()
            .map(|(span, label)| AnnotationKind::Context.span(within(*span)).label(label.as_str()));
        let snippet = Snippet::source(source.text.as_str())
            .path(source.path.as_str())
            .annotation(AnnotationKind::Primary.span(within(self.span)).label(self.label.as_deref()))
            .annotations(others);
        let group = Group::with_title(level.primary_title(self.title.as_str()))
            .element(snippet)
            .elements(self.help.iter().map(|help| Level::HELP.message(help.as_str())));
        renderer.render(&[group])
    }
}

/// Collects problems while the file is read, so that one run reports all of them.
#[derive(Debug, Default)]
pub(in crate::config) struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    pub(in crate::config) fn add(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    pub(in crate::config) fn into_vec(self) -> Vec<Problem> {
        self.0.into_inner()
    }
}

/// Every problem that was found in one file, in the order of the file.
#[derive(Debug)]
pub struct Report {
    source: Source,
    problems: Vec<Problem>,
}

impl Report {
    /// A report on this file.
    #[must_use]
    pub fn new(source: Source, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span);
        Self { source, problems }
    }

    /// The report of text that TOML's own rules forbid at `syntax`. Of the other problems only those are kept that can
    /// not be the consequence of what could not be read.
    pub(in crate::config) fn of_broken(source: Source, syntax: Vec<Problem>, others: Vec<Problem>) -> Self {
        let lines: Vec<_> = syntax.iter().map(|problem| line_of(&source.text, problem.span.start)).collect();
        let independent = others.into_iter().filter(|problem| {
            !problem.from_absence && !lines.contains(&line_of(&source.text, problem.span.start))
        });
        let problems = syntax.into_iter().chain(independent.collect::<Vec<_>>()).collect();
        Self::new(source, problems)
    }

    /// Whether there is a problem that keeps Pelton from starting.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.count(Severity::Error) > 0
    }

    /// Whether there is nothing to report.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    fn count(&self, severity: Severity) -> usize {
        self.problems.iter().filter(|problem| problem.severity == severity).count()
    }

    /// The report for people: each problem with its line, then a count.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let mut text = String::new();
        for problem in &self.problems {
            text += &problem.render(&self.source, &renderer);
            text += "\n\n";
        }
        let counted =
            [(Severity::Error, "mistake"), (Severity::Warning, "warning")].map(|(severity, word)| match self
                .count(severity)
            {
                0 => None,
                1 => Some(format!("1 {word}")),
                n => Some(format!("{n} {word}s")),
            });
        let counted: Vec<_> = counted.into_iter().flatten().collect();
        text + &format!("{}: {}\n", self.source.path, counted.join(", "))
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}

/// A file that could not be read, so that no line can be shown.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the configuration {}: {cause}", path.display())]
pub struct Unreadable {
    /// The file.
    pub path: Box<Path>,
    /// Why.
    pub cause: std::io::Error,
}

/// "did you mean …", where one of the known names is near enough to what was typed.
fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let nearest = known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&typed.to_lowercase(), &name.to_lowercase()), name))
        .min()?;
    let near_enough = nearest.0 <= typed.chars().count().max(nearest.1.chars().count()) / 3;
    near_enough.then(|| format!("did you mean `{}`?", nearest.1))
}

/// Suggests the nearest known name, else all names.
#[must_use]
pub fn suggestion<'a>(typed: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<String> {
    did_you_mean(typed, known.clone()).or_else(|| {
        let mut names: Vec<_> = known.into_iter().map(|name| format!("`{name}`")).collect();
        names.sort();
        names.dedup();
        (!names.is_empty()).then(|| {
            format!("there {} {}", if names.len() == 1 { "is only" } else { "are" }, names.join(", "))
        })
    })
}
