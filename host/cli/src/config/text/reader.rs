//! Reads a table of the file key by key, as it is declared in a [`Table`]. A value that is not as it should be is
//! reported and read as if it were missing, so that the reading goes on to the next mistake.

use std::ops::RangeInclusive;
use std::sync::LazyLock;
use std::time::Duration;

use pelton_core::id::Name;
use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::key::{Absence, Form, Key, Or, Table, Time};
use super::problem::{At, Problem, Problems, Source, Span, suggestion};
use super::value;

type Value<'a> = Spanned<DeValue<'a>>;

/// One table of the file.
pub(in crate::config) struct Reader<'a> {
    source: &'a Source,
    problems: &'a Problems,
    table: &'a DeTable<'a>,
    /// The place at which missing keys are reported.
    place: Span,
    title: String,
    /// The allowed keys. `None`: the keys are free.
    declared: Option<&'static Table>,
}

impl<'a> Reader<'a> {
    pub(in crate::config) fn document(
        source: &'a Source,
        problems: &'a Problems,
        table: &'a DeTable<'a>,
        declared: &'static Table,
    ) -> Self {
        let (place, title) = (Span::default(), "the file".to_owned());
        Self { source, problems, table, place, title, declared: Some(declared) }
    }

    pub(in crate::config) fn place(&self) -> Span {
        self.place
    }

    pub(in crate::config) fn add(&self, problem: Problem) {
        self.problems.add(problem);
    }

    /// The value of a key, and where it was typed. That a required key is missing is reported.
    pub(in crate::config) fn at<F: Form, D: Absence<F>>(&self, key: &Key<F, D>) -> Option<At<F::Value>> {
        self.at_within(key, &key.form)
    }

    /// As [`Reader::at`], with bounds that depend on another key.
    pub(in crate::config) fn at_within<F: Form, D: Absence<F>>(
        &self,
        key: &Key<F, D>,
        form: &F,
    ) -> Option<At<F::Value>> {
        // A wrong value is reported where it is read.
        if !self.has(key.name) {
            key.default.report(self, key.name);
        }
        form.read(self, key.name)
    }

    /// The value of a key, or its default.
    pub(in crate::config) fn get<F: Form>(&self, key: &Key<F, Or<F::Value>>) -> F::Value {
        self.at(key).map_or_else(key.default.0, |typed| typed.value)
    }

    /// Two durations, of which the first must not be longer than the second. Either may be a default.
    pub(in crate::config) fn in_order(
        &self,
        low: &Key<Time, Or<Duration>>,
        high: &Key<Time, Or<Duration>>,
    ) -> (Duration, Duration) {
        let (typed_low, typed_high) = (self.at(low), self.at(high));
        let value = |typed: &Option<At<Duration>>, default: fn() -> Duration| {
            typed.as_ref().map_or_else(default, |typed| typed.value)
        };
        let (low_value, high_value) = (value(&typed_low, low.default.0), value(&typed_high, high.default.0));
        if let Some(place) = typed_low.or(typed_high.clone()).filter(|_| low_value > high_value) {
            let show = value::show_duration;
            let title = format!(
                "`{}` ({}) is longer than `{}` ({})",
                low.name,
                show(low_value),
                high.name,
                show(high_value)
            );
            let problem = Problem::new(place.span, title);
            self.add(match typed_high {
                Some(high) if high.span != place.span => problem.also(high.span, "this is the limit"),
                _ => problem,
            });
        }
        (low_value, high_value)
    }

    /// Reports a missing required key with an example.
    pub(in crate::config) fn missing(&self, key: &'static str, hint: &str) {
        let problem = Problem::new(self.place, format!("{} has no `{key}`", self.title)).from_absence();
        self.add(problem.help(format!("add {key} = {hint}")));
    }

    /// The value of a key. The key must be declared, so that the reference lists it.
    fn value(&self, key: &'static str) -> Option<&'a Value<'a>> {
        debug_assert!(self.declared.is_none_or(|table| table.knows(key)), "{key} is not declared");
        self.table.get(key)
    }

    fn wrong_type(&self, value: &Value<'_>, key: &str, expected: &str) {
        let found = show_type(value.get_ref());
        let label = format!("expected {expected}, found {found}");
        self.add(Problem::new(value.span().into(), format!("`{key}` has the wrong type")).label(label));
    }

    pub(in crate::config) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// The keys of a table, whatever they hold.
    pub(in crate::config) fn keys_of(&self, key: &str) -> Vec<String> {
        let table = self.table.get(key).and_then(|value| value.get_ref().as_table());
        table
            .into_iter()
            .flat_map(|table| table.keys())
            .map(|key| key.get_ref().clone().into_owned())
            .collect()
    }

    /// The entries of this table in the order of the file.
    fn entries(&self) -> Vec<(&'a Spanned<DeString<'a>>, &'a Value<'a>)> {
        let mut entries: Vec<_> = self.table.iter().collect();
        entries.sort_by_key(|(key, _)| Span::from(key.span()));
        entries
    }

    /// A text.
    pub(super) fn text(&self, key: &'static str) -> Option<At<String>> {
        self.text_of(self.value(key)?, key, "a text in quotes")
    }

    fn text_of(&self, value: &Value<'_>, key: &str, expected: &str) -> Option<At<String>> {
        match value.get_ref() {
            DeValue::String(text) => Some(At { value: text.clone().into_owned(), span: value.span().into() }),
            _ => {
                self.wrong_type(value, key, expected);
                None
            }
        }
    }

    /// A text that `parse` can read. Its error ends a sentence that begins with the value.
    pub(super) fn parsed<T>(
        &self,
        key: &'static str,
        help: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<At<T>> {
        let text = self.text(key)?;
        match parse(&text.value) {
            Ok(value) => Some(At { value, span: text.span }),
            Err(wrong) => {
                self.add(Problem::new(text.span, format!("`{key}` {wrong}")).help(help));
                None
            }
        }
    }

    /// A text, or a table with one entry: `parse` gets the text, or the entry's key and value as texts. Its error ends a
    /// sentence that begins with the value.
    pub(super) fn text_or_entry<T>(
        &self,
        key: &'static str,
        help: &str,
        parse: impl FnOnce(&str, Option<&str>) -> Result<T, String>,
    ) -> Option<At<T>> {
        let value = self.value(key)?;
        let span = value.span().into();
        let entry = |value: &DeValue<'_>| match value {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) => Some(number.to_string()),
            DeValue::Datetime(time) => Some(time.to_string()),
            _ => None,
        };
        let parsed = match value.get_ref() {
            DeValue::String(text) => parse(text, None),
            DeValue::Table(table) if table.len() == 1 => {
                let (name, value) = table.iter().next()?;
                match entry(value.get_ref()) {
                    Some(value) => parse(name.get_ref(), Some(&value)),
                    None => Err("has neither a text nor a number in it".to_owned()),
                }
            }
            _ => Err("is neither a text nor a table with one entry".to_owned()),
        };
        match parsed {
            Ok(value) => Some(At { value, span }),
            Err(wrong) => {
                self.add(Problem::new(span, format!("`{key}` {wrong}")).help(help));
                None
            }
        }
    }

    /// A text, or an array of one or more. An item that is no text is reported and left out.
    pub(super) fn texts(&self, key: &'static str, example: &str) -> Option<At<Vec<At<String>>>> {
        let value = self.value(key)?;
        let span = value.span().into();
        match value.get_ref() {
            DeValue::String(_) => self.text(key).map(|text| At { span, value: vec![text] }),
            DeValue::Array(items) => {
                if items.is_empty() {
                    self.add(
                        Problem::new(span, format!("`{key}` is empty"))
                            .help(format!("write {key} = {example}")),
                    );
                }
                let texts = items.iter().filter_map(|item| self.text_of(item, key, "a text in quotes"));
                Some(At { value: texts.collect(), span })
            }
            _ => {
                self.wrong_type(value, key, "an array of texts");
                None
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> Option<At<T>> {
        let text = self.text(key)?;
        let chosen = choices.iter().find(|(word, _)| *word == text.value);
        if chosen.is_none() {
            let problem = Problem::new(text.span, format!("`{key}` cannot be {:?}", text.value));
            self.add(problem.help_if(suggestion(&text.value, choices.iter().map(|(word, _)| *word))));
        }
        chosen.map(|(_, value)| At { value: *value, span: text.span })
    }

    /// One of a few small numbers.
    pub(super) fn choice_of_numbers(&self, key: &'static str, choices: &[u8]) -> Option<At<u8>> {
        let number = self.number(key, &(0..=u64::MAX))?;
        let chosen = choices.iter().copied().find(|choice| u64::from(*choice) == number.value);
        if chosen.is_none() {
            let choices: Vec<_> = choices.iter().map(u8::to_string).collect();
            let problem = Problem::new(number.span, format!("`{key}` cannot be {}", number.value));
            self.add(problem.help(format!("it can be {}", choices.join(", "))));
        }
        Some(At { value: chosen?, span: number.span })
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, key: &'static str, bounds: &RangeInclusive<u64>) -> Option<At<u64>> {
        self.number_shown(key, bounds, |bound| bound.to_string())
    }

    fn number_shown(
        &self,
        key: &'static str,
        bounds: &RangeInclusive<u64>,
        show: fn(u64) -> String,
    ) -> Option<At<u64>> {
        let value = self.value(key)?;
        let DeValue::Integer(integer) = value.get_ref() else {
            self.wrong_type(value, key, "a whole number");
            return None;
        };
        let number = i128::from_str_radix(integer.as_str(), integer.radix()).unwrap_or(i128::MAX);
        let span = value.span().into();
        self.bounded(key, span, u64::try_from(number).ok(), bounds, show)
    }

    /// A size in bytes within bounds: a whole number, or a text with a unit.
    pub(super) fn bytes(&self, key: &'static str, bounds: &RangeInclusive<u64>) -> Option<At<u64>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Integer(_) => self.number_shown(key, bounds, value::show_bytes),
            DeValue::String(_) => {
                let help = "write a whole number of bytes, or a text such as \"512KiB\" or \"64MiB\"";
                let size = self.parsed(key, help, value::bytes)?;
                self.bounded(key, size.span, Some(size.value), bounds, value::show_bytes)
            }
            _ => {
                self.wrong_type(value, key, "a whole number of bytes, or a text such as \"512KiB\"");
                None
            }
        }
    }

    /// A duration within bounds.
    pub(super) fn duration(
        &self,
        key: &'static str,
        bounds: &RangeInclusive<Duration>,
    ) -> Option<At<Duration>> {
        let help =
            "write a whole number with one of the units ms, s, m, h and d, such as \"200ms\" or \"5s\"";
        let value = self.value(key)?;
        if let DeValue::Integer(number) = value.get_ref() {
            let problem = Problem::new(value.span().into(), format!("`{key}` has no unit"));
            self.add(
                problem.help(format!("write \"{number}s\" for seconds; the units are ms, s, m, h and d")),
            );
            return None;
        }
        if !value.get_ref().is_str() {
            self.wrong_type(value, key, "a text such as \"5s\"");
            return None;
        }
        let duration = self.parsed(key, help, value::duration)?;
        self.bounded(key, duration.span, Some(duration.value), bounds, value::show_duration)
    }

    fn bounded<T: PartialOrd + Copy>(
        &self,
        key: &str,
        span: Span,
        value: Option<T>,
        bounds: &RangeInclusive<T>,
        show: impl Fn(T) -> String,
    ) -> Option<At<T>> {
        let within = value.filter(|value| bounds.contains(value));
        if within.is_none() {
            let help = format!("it can be {} to {}", show(*bounds.start()), show(*bounds.end()));
            self.add(Problem::new(span, format!("`{key}` is out of bounds")).help(help));
        }
        Some(At { value: within?, span })
    }

    /// A table with known keys, all of which may be missing, as may the table.
    pub(in crate::config) fn section(&self, table: &'static Table) -> Self {
        static EMPTY: LazyLock<DeTable<'static>> = LazyLock::new(DeTable::new);
        self.table(table).unwrap_or_else(|| Self {
            source: self.source,
            problems: self.problems,
            table: &EMPTY,
            place: self.place,
            title: table.header.to_owned(),
            declared: Some(table),
        })
    }

    /// A table with a fixed set of keys.
    pub(in crate::config) fn table(&self, table: &'static Table) -> Option<Self> {
        self.child(table.name, Some(table))
    }

    /// A table that has to be there. `hint` goes on after "add key = ".
    pub(in crate::config) fn required_table(&self, table: &'static Table, hint: &str) -> Option<Self> {
        if !self.has(table.name) {
            self.missing(table.name, hint);
        }
        self.table(table)
    }

    fn child(&self, key: &'static str, declared: Option<&'static Table>) -> Option<Self> {
        let value = self.value(key)?;
        let (name, _) = self.table.get_key_value(key)?;
        self.table_of(value, name.span().into(), key, format!("[{}]", self.path_to(key)), declared)
    }

    fn table_of(
        &self,
        value: &'a Value<'a>,
        place: Span,
        key: &str,
        title: String,
        declared: Option<&'static Table>,
    ) -> Option<Self> {
        let &Self { source, problems, .. } = self;
        match value.get_ref() {
            DeValue::Table(table) => Some(Self { source, problems, table, place, title, declared }),
            _ => {
                self.wrong_type(value, key, "a table");
                None
            }
        }
    }

    fn path_to(&self, key: &str) -> String {
        match self.title.strip_prefix('[').and_then(|title| title.strip_suffix(']')) {
            Some(path) => format!("{path}.{key}"),
            None => key.to_owned(),
        }
    }

    /// The entries of a table whose keys are names, each a table. A name that cannot be one is reported.
    pub(in crate::config) fn named(&self, each: &'static Table) -> Vec<(At<Name>, Self)> {
        let key = each.name;
        let Some(names) = self.child(key, None) else { return Vec::new() };
        let entries = names.entries().into_iter().filter_map(|(name, value)| {
            let text = name.get_ref().as_ref();
            let span = name.span().into();
            if let Err((at, wrong)) = value::name(text) {
                let fixed = text.to_lowercase().replace(['_', '.', ' '], "-");
                let problem = Problem::new(self.inside(span, text, at), format!("the name `{text}` {wrong}"));
                self.add(
                    problem.help_if(value::name(&fixed).is_ok().then(|| format!("did you mean `{fixed}`?"))),
                );
            }
            let reader = names.table_of(value, span, text, format!("[{key}.{text}]"), Some(each))?;
            // A name that only breaks the rules for names is kept, so that references to it resolve.
            Some((At { value: Name::new(text).ok()?, span }, reader))
        });
        entries.collect()
    }

    /// The entries of a table whose keys are free, each a table.
    pub(in crate::config) fn tables(&self) -> Vec<(At<&'a str>, Self)> {
        let entries = self.entries().into_iter().filter_map(|(name, value)| {
            let text = name.get_ref().as_ref();
            let title = format!("[{}]", self.path_to(text));
            let reader = self.table_of(value, name.span().into(), text, title, None)?;
            Some((At { value: text, span: name.span().into() }, reader))
        });
        entries.collect()
    }

    /// The entries of a table whose keys are free, each a text; none where it is something else.
    pub(in crate::config) fn free_texts(&self) -> Vec<(At<&'a str>, Option<At<String>>)> {
        let entries = self.entries().into_iter().map(|(name, value)| {
            let text = name.get_ref().as_ref();
            let value = self.text_of(value, text, "a text in quotes");
            (At { value: text, span: name.span().into() }, value)
        });
        entries.collect()
    }

    /// An array of tables, `[[key]]`.
    pub(in crate::config) fn array_of_tables(&self, each: &'static Table) -> Vec<Self> {
        let key = each.name;
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type(value, key, &format!("an array of tables, [[{key}]]"));
            return Vec::new();
        };
        let tables = items.iter().filter_map(|item| {
            self.table_of(item, item.span().into(), key, format!("[[{key}]]"), Some(each))
        });
        tables.collect()
    }

    /// The place inside a text, given as an offset in its value. Where escapes make the two differ, the whole text.
    pub(in crate::config) fn inside(&self, span: Span, text: &str, at: usize) -> Span {
        let typed = &self.source.text[span.start..span.end];
        match typed.find(text) {
            Some(offset) if !text.is_empty() && typed.len() - text.len() <= 6 => {
                let start = span.start + offset + at;
                let token = text[at..].split('.').next().map_or(0, str::len).max(1);
                Span { start, end: (start + token).min(span.start + offset + text.len()).max(start) }
            }
            _ => span,
        }
    }

    /// Reports the keys that are not declared.
    pub(in crate::config) fn finish(&self) {
        let Some(declared) = self.declared else { return };
        for (key, _) in self.table {
            if !declared.knows(key.get_ref()) {
                let problem =
                    Problem::new(key.span().into(), format!("unknown key `{key}` in {}", self.title));
                self.add(problem.help_if(suggestion(key.get_ref(), declared.known())));
            }
        }
    }
}

fn show_type(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text {text:?}"),
        DeValue::Integer(number) => format!("the number {number}"),
        DeValue::Float(number) => format!("the number {number}"),
        DeValue::Boolean(value) => format!("`{value}`"),
        DeValue::Datetime(value) => format!("the date {value}"),
        DeValue::Array(_) => "an array".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
