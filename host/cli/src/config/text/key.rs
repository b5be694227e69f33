//! How a table of `pelton.toml` declares its keys: each key once, with its form (which knows unit and bounds), its
//! default, an example and what it means. [`super::reader::Reader`] reads by these declarations and reports every other
//! key as unknown; [`crate::config::reference`] prints them.

use std::fmt::{Debug, Display};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::problem::At;
use super::reader::Reader;
use super::value::{show_bytes, show_duration};

/// A table with a fixed set of keys.
pub(in crate::config) struct Table {
    /// The key of the table in the one that holds it.
    pub(in crate::config) name: &'static str,
    /// The table's header, for example `[handlers.X]`.
    pub(in crate::config) header: &'static str,
    /// The purpose of the table.
    pub(in crate::config) doc: &'static str,
    pub(in crate::config) keys: &'static [&'static (dyn Declared + Sync)],
    pub(in crate::config) tables: &'static [&'static Table],
    /// An example entry, if the keys are free.
    pub(in crate::config) free: Option<&'static str>,
}

impl Table {
    /// Whether this key may stand in the table.
    pub(in crate::config) fn knows(&self, key: &str) -> bool {
        self.free.is_some() || self.known().any(|known| known == key)
    }

    /// All keys that may stand in the table.
    pub(in crate::config) fn known(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        let keys = self.keys.iter().map(|key| key.name());
        keys.chain(self.tables.iter().map(|table| table.name))
    }
}

impl Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.header)
    }
}

/// A key: `F` is the form of its value, `D` its default.
pub(in crate::config) struct Key<F, D> {
    pub(in crate::config) name: &'static str,
    pub(in crate::config) form: F,
    pub(in crate::config) default: D,
    /// A value, as TOML.
    pub(in crate::config) example: &'static str,
    /// The key's meaning, as one line of Markdown.
    pub(in crate::config) doc: &'static str,
}

/// The key is required. The text completes "add key = ".
pub(in crate::config) struct Required(pub(in crate::config) &'static str);

/// The key is optional. The text says what holds without it.
pub(in crate::config) struct Optional(pub(in crate::config) &'static str);

/// The default value.
pub(in crate::config) struct Or<T: 'static>(pub(in crate::config) fn() -> T);

/// The default of a key of the form `F`.
pub(in crate::config) trait Absence<F> {
    /// Reports a missing key, if it is required.
    fn report(&self, _: &Reader<'_>, _: &'static str) {}
    /// The default, in Markdown.
    fn show(&self, form: &F) -> String;
}

impl<F> Absence<F> for Required {
    fn report(&self, table: &Reader<'_>, key: &'static str) {
        table.missing(key, self.0);
    }

    fn show(&self, _: &F) -> String {
        "required".to_owned()
    }
}

impl<F> Absence<F> for Optional {
    fn show(&self, _: &F) -> String {
        self.0.to_owned()
    }
}

impl<F: Form> Absence<F> for Or<F::Value> {
    fn show(&self, form: &F) -> String {
        format!("`{}`", form.show(&(self.0)()))
    }
}

/// A key's declaration without its type parameters.
pub(in crate::config) trait Declared {
    fn name(&self) -> &'static str;
    /// Unit and bounds of the value.
    fn unit(&self) -> String;
    /// The default, in Markdown.
    fn default(&self) -> String;
    fn example(&self) -> &'static str;
    fn doc(&self) -> &'static str;
}

impl<F: Form, D: Absence<F>> Declared for Key<F, D> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn unit(&self) -> String {
        self.form.unit()
    }

    fn default(&self) -> String {
        self.default.show(&self.form)
    }

    fn example(&self) -> &'static str {
        self.example
    }

    fn doc(&self) -> &'static str {
        self.doc
    }
}

/// The form of a value: how it is read and written, and its unit.
pub(in crate::config) trait Form {
    /// The type of the value.
    type Value;
    /// Reads the value of this key. Reports a wrong value and treats it as missing.
    fn read(&self, table: &Reader<'_>, key: &'static str) -> Option<At<Self::Value>>;
    /// Unit and bounds.
    fn unit(&self) -> String;
    /// The value as TOML.
    fn show(&self, value: &Self::Value) -> String;
}

/// A duration within bounds.
pub(in crate::config) struct Time(pub(in crate::config) RangeInclusive<Duration>);

impl Form for Time {
    type Value = Duration;

    fn read(&self, table: &Reader<'_>, key: &'static str) -> Option<At<Duration>> {
        table.duration(key, &self.0)
    }

    fn unit(&self) -> String {
        format!("duration, {} to {}", show_duration(*self.0.start()), show_duration(*self.0.end()))
    }

    fn show(&self, value: &Duration) -> String {
        format!("{:?}", show_duration(*value))
    }
}

/// A size in bytes within bounds.
pub(in crate::config) struct Size(pub(in crate::config) RangeInclusive<u64>);

impl Form for Size {
    type Value = usize;

    fn read(&self, table: &Reader<'_>, key: &'static str) -> Option<At<usize>> {
        table.bytes(key, &self.0).and_then(fitting)
    }

    fn unit(&self) -> String {
        format!("bytes, {} to {}", show_bytes(*self.0.start()), show_bytes(*self.0.end()))
    }

    fn show(&self, value: &usize) -> String {
        format!("{:?}", show_bytes(u64::try_from(*value).unwrap_or(u64::MAX)))
    }
}

/// A whole number within bounds, as an `N`.
pub(in crate::config) struct Count<N> {
    bounds: RangeInclusive<u64>,
    number: PhantomData<fn() -> N>,
}

impl<N> Count<N> {
    pub(in crate::config) const fn new(bounds: RangeInclusive<u64>) -> Self {
        Self { bounds, number: PhantomData }
    }
}

impl<N: TryFrom<u64> + Display> Form for Count<N> {
    type Value = N;

    fn read(&self, table: &Reader<'_>, key: &'static str) -> Option<At<N>> {
        table.number(key, &self.bounds).and_then(fitting)
    }

    fn unit(&self) -> String {
        format!("number, {} to {}", self.bounds.start(), self.bounds.end())
    }

    fn show(&self, value: &N) -> String {
        value.to_string()
    }
}

/// The bounds ensure that it fits.
fn fitting<N: TryFrom<u64>>(At { value, span }: At<u64>) -> Option<At<N>> {
    Some(At { value: N::try_from(value).ok()?, span })
}

/// One of a few small numbers.
pub(in crate::config) struct OneOf(pub(in crate::config) &'static [u8]);

impl Form for OneOf {
    type Value = u8;

    fn read(&self, table: &Reader<'_>, key: &'static str) -> Option<At<u8>> {
        table.choice_of_numbers(key, self.0)
    }

    fn unit(&self) -> String {
        format!("number: {}", self.0.iter().map(u8::to_string).collect::<Vec<_>>().join(", "))
    }

    fn show(&self, value: &u8) -> String {
        value.to_string()
    }
}

/// One of a few words.
pub(in crate::config) struct Words<T: 'static>(pub(in crate::config) &'static [(&'static str, T)]);

impl<T: Copy + PartialEq> Form for Words<T> {
    type Value = T;

    fn read(&self, table: &Reader<'_>, key: &'static str) -> Option<At<T>> {
        table.choice(key, self.0)
    }

    fn unit(&self) -> String {
        self.0.iter().map(|(word, _)| format!("`\"{word}\"`")).collect::<Vec<_>>().join(" or ")
    }

    fn show(&self, value: &T) -> String {
        let word = self.0.iter().find(|(_, known)| known == value);
        format!("{:?}", word.map_or("", |(word, _)| word))
    }
}

/// A text. The unit says what it names.
pub(in crate::config) struct Text(pub(in crate::config) &'static str);

impl Form for Text {
    type Value = String;

    fn read(&self, table: &Reader<'_>, key: &'static str) -> Option<At<String>> {
        table.text(key)
    }

    fn unit(&self) -> String {
        self.0.to_owned()
    }

    fn show(&self, value: &String) -> String {
        format!("{value:?}")
    }
}

/// One text, or an array of one or more.
pub(in crate::config) struct Texts {
    pub(in crate::config) unit: &'static str,
    /// What to write instead of an empty array, as TOML.
    pub(in crate::config) hint: &'static str,
}

impl Form for Texts {
    type Value = Vec<At<String>>;

    fn read(&self, table: &Reader<'_>, key: &'static str) -> Option<At<Self::Value>> {
        table.texts(key, self.hint)
    }

    fn unit(&self) -> String {
        self.unit.to_owned()
    }

    fn show(&self, value: &Self::Value) -> String {
        value.iter().map(|text| format!("{:?}", text.value)).collect::<Vec<_>>().join(", ")
    }
}

/// An address to listen on.
pub(in crate::config) struct Address;

impl Form for Address {
    type Value = SocketAddr;

    fn read(&self, table: &Reader<'_>, key: &'static str) -> Option<At<SocketAddr>> {
        let help = "write an IP address and a port, such as \"127.0.0.1:3000\" or \"[::]:3000\"";
        let parse = |text: &str| text.parse().map_err(|_| "is not an address with a port".to_owned());
        table.parsed(key, help, parse)
    }

    fn unit(&self) -> String {
        "IP address and port".to_owned()
    }

    fn show(&self, value: &SocketAddr) -> String {
        format!("\"{value}\"")
    }
}

/// A text in a form of its own.
pub(in crate::config) struct Parsed<T> {
    pub(in crate::config) unit: &'static str,
    /// What to write instead of a wrong one.
    pub(in crate::config) help: &'static str,
    /// The error ends a sentence that begins with the value.
    pub(in crate::config) parse: fn(&str) -> Result<T, String>,
    pub(in crate::config) show: fn(&T) -> String,
}

impl<T> Form for Parsed<T> {
    type Value = T;

    fn read(&self, table: &Reader<'_>, key: &'static str) -> Option<At<T>> {
        table.parsed(key, self.help, self.parse)
    }

    fn unit(&self) -> String {
        self.unit.to_owned()
    }

    fn show(&self, value: &T) -> String {
        (self.show)(value)
    }
}

/// A text, or a table with one entry, in a form of its own.
pub(in crate::config) struct TextOrEntry<T> {
    pub(in crate::config) unit: &'static str,
    /// What to write instead of a wrong one.
    pub(in crate::config) help: &'static str,
    /// Gets the text, or the entry's key and value. The error ends a sentence that begins with the value.
    pub(in crate::config) parse: fn(&str, Option<&str>) -> Result<T, String>,
    pub(in crate::config) show: fn(&T) -> String,
}

impl<T> Form for TextOrEntry<T> {
    type Value = T;

    fn read(&self, table: &Reader<'_>, key: &'static str) -> Option<At<T>> {
        table.text_or_entry(key, self.help, self.parse)
    }

    fn unit(&self) -> String {
        self.unit.to_owned()
    }

    fn show(&self, value: &T) -> String {
        (self.show)(value)
    }
}

/// Bounds of a [`Time`].
pub(in crate::config) const fn seconds(from: u64, to: u64) -> Time {
    Time(Duration::from_secs(from)..=Duration::from_secs(to))
}

/// Bounds of a [`Time`].
pub(in crate::config) const fn milliseconds(from: u64, to: u64) -> Time {
    Time(Duration::from_millis(from)..=Duration::from_millis(to))
}

/// In seconds.
pub(in crate::config) const DAY: u64 = 86_400;
