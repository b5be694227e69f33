//! The report: figures by key, their targets, the table for people and the file for programs.

use std::fmt::{self, Display, Formatter};

use serde_json::{Map, Value, json};

use crate::stats::{median, spread};

/// Figures in the order in which they were measured. Keys are paths, such as `commands.c1.bare_per_s`.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

#[derive(Debug)]
struct Figure {
    key: String,
    value: f64,
    /// The least and the greatest value, if there are several.
    spread: Option<(f64, f64)>,
}

/// The target of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Reach {
    AtLeast(f64),
    AtMost(f64),
}

/// The targets on two processors that are shared with the server.
const REACH: [(&str, Reach); 38] = [
    ("commands.c1.ratio_bare", Reach::AtLeast(1.0)),
    ("commands.c1.ratio_same", Reach::AtLeast(1.7)),
    ("commands.c16.ratio_bare", Reach::AtLeast(0.95)),
    ("commands.c16.ratio_same", Reach::AtLeast(1.7)),
    ("commands.c256.ratio_bare", Reach::AtLeast(0.85)),
    ("commands.c256.ratio_same", Reach::AtLeast(1.7)),
    ("commands_r3.c1.ratio_bare", Reach::AtLeast(0.95)),
    ("commands_r3.c256.ratio_bare", Reach::AtLeast(0.85)),
    ("commands_fsync.c16.ratio_same", Reach::AtLeast(1.0)),
    ("commands_fsync.c256.ratio_same", Reach::AtLeast(8.0)),
    ("hot_entity.ratio", Reach::AtLeast(8.0)),
    ("multi_event.ratio", Reach::AtLeast(30.0)),
    ("rejected.ratio", Reach::AtLeast(0.9)),
    ("projection.one.ratio", Reach::AtLeast(0.95)),
    ("projection.hundred.ratio", Reach::AtLeast(5.0)),
    ("saga.ratio", Reach::AtLeast(0.7)),
    ("saga.start_s", Reach::AtMost(1.0)),
    ("saga.timer_p99_ms", Reach::AtMost(100.0)),
    ("saga.burst_s", Reach::AtMost(30.0)),
    ("saga.restart_s", Reach::AtMost(60.0)),
    ("call.decide_ns", Reach::AtMost(4_000.0)),
    ("call_raw.decide_ns", Reach::AtMost(1_000.0)),
    ("cold_load.p50_ms", Reach::AtMost(0.8)),
    ("memory.kib_per_live_entity", Reach::AtMost(64.0)),
    ("cpu.ratio", Reach::AtMost(1.3)),
    ("start.cached_ms", Reach::AtMost(300.0)),
    ("testing.hotel_s", Reach::AtMost(5.0)),
    ("testing.javascript_s", Reach::AtMost(30.0)),
    ("testing.watch_s", Reach::AtMost(1.0)),
    ("testing.replay_s", Reach::AtMost(3.0)),
    ("swap.p99_ratio_10s", Reach::AtMost(1.1)),
    ("swap.p99_ratio_0_6s", Reach::AtMost(1.5)),
    ("swap.p99_ratio_0_6s_without", Reach::AtMost(3.0)),
    ("swap.longest_stall_ms", Reach::AtMost(50.0)),
    ("swap.left_mib", Reach::AtMost(4.0)),
    ("swap.left_mappings", Reach::AtMost(0.0)),
    ("swap.left_threads", Reach::AtMost(0.0)),
    ("swap.left_descriptors", Reach::AtMost(0.0)),
];

impl Report {
    /// Adds a figure with one value.
    pub(crate) fn put(&mut self, key: impl Into<String>, value: f64) {
        self.figures.push(Figure { key: key.into(), value, spread: None });
    }

    /// Adds the median of the values of several rounds, with its spread.
    pub(crate) fn median(&mut self, key: impl Into<String>, rounds: &[f64]) {
        if let Some(value) = median(rounds) {
            self.figures.push(Figure { key: key.into(), value, spread: spread(rounds) });
        }
    }

    /// A figure of this run.
    pub(crate) fn get(&self, key: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.key == key).map(|figure| figure.value)
    }

    /// Whether a figure of this run misses its target.
    pub(crate) fn is_missed(&self, key: &str) -> bool {
        self.get(key).zip(Reach::of(key)).is_some_and(|(value, reach)| !reach.met(value))
    }

    /// The report in the form of the file: objects within objects. The ends of a spread stand beside a figure as
    /// `<key>_min` and `<key>_max`.
    pub(crate) fn json(&self, environment: &Value, explained: &[String]) -> Value {
        let mut root = Map::from_iter([("environment".to_owned(), environment.clone())]);
        if !explained.is_empty() {
            root.insert("where_the_time_goes".to_owned(), json!(explained));
        }
        for Figure { key, value, spread } in &self.figures {
            insert(&mut root, key, *value);
            if let Some((least, greatest)) = spread {
                insert(&mut root, &format!("{key}_min"), *least);
                insert(&mut root, &format!("{key}_max"), *greatest);
            }
        }
        root.into()
    }
}

fn insert(object: &mut Map<String, Value>, key: &str, value: f64) {
    match key.split_once('.') {
        None => drop(object.insert(key.to_owned(), json!(rounded(value)))),
        Some((first, rest)) => {
            let inner = object.entry(first).or_insert_with(|| json!({}));
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// Rounds to four digits, because more are noise.
fn rounded(value: f64) -> f64 {
    format!("{value:.3e}").parse().unwrap_or(value)
}

impl Reach {
    fn of(key: &str) -> Option<Self> {
        REACH.iter().find(|(of, _)| *of == key).map(|(_, reach)| *reach)
    }

    fn met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }
}

impl Display for Reach {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, ">= {least}"),
            Self::AtMost(most) => write!(f, "<= {most}"),
        }
    }
}

/// The table.
impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:<36} {:>10}  {:<21} reach", "figure", "median", "spread")?;
        for Figure { key, value, spread } in &self.figures {
            let spread = spread.map_or_else(String::new, |(a, b)| format!("{} .. {}", shown(a), shown(b)));
            let reach = Reach::of(key).map_or_else(String::new, |reach| {
                format!("{reach}{}", if reach.met(*value) { "" } else { "  MISSED" })
            });
            writeln!(f, "{}", format!("{key:<36} {:>10}  {spread:<21} {reach}", shown(*value)).trim_end())?;
        }
        Ok(())
    }
}

fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_paths_and_a_spread_stands_beside_its_figure() {
        let mut report = Report::default();
        report.median("a.c1.ratio", &[0.5, 2.0, 1.0]);
        report.put("a.c1.per_s", 12_345.6);
        let expected = json!({
            "environment": { "cores": 2 },
            "a": { "c1": { "ratio": 1.0, "ratio_min": 0.5, "ratio_max": 2.0, "per_s": 12_350.0 } },
        });
        assert_eq!(report.json(&json!({ "cores": 2 }), &[]), expected);
    }

    #[test]
    fn the_table_says_what_is_not_reached() {
        let mut report = Report::default();
        report.put("hot_entity.ratio", 2.9);
        report.put("start.cached_ms", 100.0);
        report.put("swap.left_mib", -9.625);
        let table = report.to_string();
        let lines: Vec<_> = table.lines().collect();
        assert!(lines[1].ends_with(">= 8  MISSED"), "{table}");
        assert!(lines[2].ends_with("<= 300"), "{table}");
        assert!(lines[3].contains(" -9.62 ") && lines[3].ends_with("<= 4"), "{table}");
    }
}
