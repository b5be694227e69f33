//! `make demo`: starts `pelton dev` on free ports with an empty store, takes every step of every example over HTTP,
//! and shows each request with its answer, then the events in their streams and the views.
#![forbid(unsafe_code)]

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;

use anyhow::Context;
use pelton_tests::example::{Example, Taken};
use pelton_tests::http::{Http, Request};
use pelton_tests::process::Pelton;
use pelton_tests::streams::{Stored, Streams};
use pelton_tests::{hotel, payment, place};

/// The streams that Pelton keeps beside those of an example, and what their messages are.
const OWN_STREAMS: [(&str, &str); 3] = [
    ("COMMANDS", "the log of commands"),
    ("AUDIT", "what was done about dead letters"),
    ("DEAD_LETTERS", "messages that could not be processed"),
];

#[tokio::main]
async fn main() -> ExitCode {
    let examples = [hotel::example(), payment::example()];
    let style =
        Style { colour: stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()) };
    let mut score = Score::default();
    for example in &examples {
        if let Err(error) = demonstrate(example, &style, &mut score).await {
            println!("\n{} {error:#}", style.bad("demo:"));
        }
    }
    println!("\ndemo: {} of {} steps as expected", score.good, score.of);
    if score.good == score.of { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The number of steps, and of those that went as expected.
#[derive(Default)]
struct Score {
    good: usize,
    of: usize,
}

impl Score {
    fn count(&mut self, good: bool) {
        self.good += usize::from(good);
    }
}

async fn demonstrate(example: &Example, style: &Style, score: &mut Score) -> anyhow::Result<()> {
    // The streams and the stop count as steps too. If the demo breaks off, the remaining steps did not go as expected.
    score.of += example.steps.len() + example.events.len() + 1;
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let (root, store) = (place::root(), folder.path().join("store"));
    println!("{}\n", style.head(&format!("== {} ({}) ==", example.name, example.config)));
    let arguments = ["dev", "--listen", "127.0.0.1:0", "--config", example.config, "--store"];
    let pelton = Pelton::start(&root, arguments.iter().map(AsRef::as_ref).chain([store.as_os_str()]))?;
    let (address, nats) = (pelton.address().await?, pelton.nats_url().await?);
    let http = Http::new(&address)?;
    http.ready().await.with_context(|| format!("pelton does not get ready:\n{}", pelton.last_lines()))?;
    println!("pelton dev is ready: http://{address}, with its own NATS server at {nats}\n");

    score.good += example.run(&[&http], |taken| show(taken, style)).await;
    let streams = Streams::at(&nats).await?;
    show_streams(example, &streams, style, score).await?;
    show_views(example, &http, style).await?;
    stop(pelton, style, score).await
}

fn show(taken: &Taken<'_>, style: &Style) {
    let Taken { number, step, answer, tries, wrong } = taken;
    let mark = style.mark(wrong.is_empty());
    let asked = if *tries > 1 { format!(" (asked {tries} times)") } else { String::new() };
    println!("{number:>2} {mark} {}{}", style.head(step.title), style.dim(&asked));
    let Request { method, path, headers, body } = &step.request;
    println!("     {method} {path}");
    for (name, value) in headers.iter().filter(|(_, value)| value != "application/json") {
        println!("     {name}: {value}");
    }
    if let Some(body) = body {
        println!("     {body}");
    }
    match answer {
        Ok(answer) => println!("     {}", style.dim(&format!("→ {answer}"))),
        Err(error) => println!("     {}", style.bad(&format!("→ {error}"))),
    }
    show_wrong(wrong, style);
    println!();
}

fn show_wrong(wrong: &[String], style: &Style) {
    wrong.iter().for_each(|wrong| println!("     {}", style.bad(wrong)));
}

async fn show_streams(
    example: &Example,
    streams: &Streams,
    style: &Style,
    score: &mut Score,
) -> anyhow::Result<()> {
    for (stream, events, wrong) in example.events(streams).await? {
        println!(
            "{} {}\n",
            style.mark(wrong.is_empty()),
            style.head(&format!("The events in stream {stream}"))
        );
        events.iter().for_each(|event| show_event(event, style));
        show_wrong(&wrong, style);
        score.count(wrong.is_empty());
    }
    for (stream, what) in OWN_STREAMS {
        let messages = streams.info(stream).await?.state.messages;
        println!("     {stream:<13} {messages} {what}");
    }
    println!();
    Ok(())
}

fn show_event(event: &Stored, style: &Style) {
    println!("{:>4} {}", event.sequence, event.subject);
    let [id, process, cause] = ["ce-id", "ce-correlationid", "ce-causationid"].map(|name| event.header(name));
    println!("     {}", style.dim(&format!("id {id}  correlation {process}  causation {cause}")));
    println!("     {}\n", event.payload);
}

async fn show_views(example: &Example, http: &Http, style: &Style) -> anyhow::Result<()> {
    for view in &example.views {
        let request = Request::get(format!("/views/{view}"));
        let answer = http.send(&request).await?;
        println!("{}\n     GET {}", style.head(&format!("The view {view}")), request.path);
        let rows = answer.json()["rows"].as_array().cloned().unwrap_or_default();
        for row in rows {
            println!("     {} {}", row["key"].as_str().unwrap_or_default(), row["value"]);
        }
        println!("     {}\n", style.dim(&format!("at position {}", answer.at("/position"))));
    }
    Ok(())
}

async fn stop(pelton: Pelton, style: &Style, score: &mut Score) -> anyhow::Result<()> {
    let ended = pelton.stop().await?;
    let clean = ended.code == Some(0);
    let code = ended.code.map_or_else(|| "none: a signal ended it".to_owned(), |code| code.to_string());
    println!("{} {}", style.mark(clean), style.head("Pelton is told to stop (SIGTERM), and stops cleanly"));
    println!("     exit code {code}");
    if !clean {
        println!("     {}", style.bad(&format!("expected 0; its log:\n{}", ended.stderr)));
    }
    score.count(clean);
    Ok(())
}

/// Colours, if the output is a terminal that shows them.
struct Style {
    colour: bool,
}

impl Style {
    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn head(&self, text: &str) -> String {
        self.paint("1", text)
    }

    fn dim(&self, text: &str) -> String {
        self.paint("2", text)
    }

    fn bad(&self, text: &str) -> String {
        self.paint("1;31", text)
    }

    fn mark(&self, good: bool) -> String {
        if good { self.paint("32", "✓") } else { self.paint("1;31", "✗") }
    }
}
