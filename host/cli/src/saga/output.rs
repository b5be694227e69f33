//! Prints instances: text for people, JSON for programs.

use std::fmt::Write as _;

use pelton_core::id::{CommandId, InstanceId, Name};
use pelton_core::saga::instance::Instance;
use pelton_core::time::Timestamp;
use pelton_nats::sagas::StoredInstance;
use serde_json::{Value, json};

use super::bulk::Summary;
use super::status;
use crate::args::saga::InstanceStatus;
use crate::terminal::{one_line, say};

/// The number of digits of a digest that are shown.
const DIGEST_DIGITS: usize = 12;

/// The output format.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    /// JSON: one object per line.
    pub(super) json: bool,
}

impl Output {
    /// Lists instances, each with its saga's name and id.
    pub(super) fn list(self, instances: &[(Name, Name, StoredInstance)]) {
        for (saga, id, stored) in instances {
            if self.json {
                say(&described(saga, id, stored).to_string());
                continue;
            }
            let Instance { timers, open, .. } = &stored.instance;
            let next = timers.values().map(|timer| timer.due).min();
            let next = next.map_or_else(String::new, |due| format!(", next timer due at {due}"));
            let line = format!(
                "{saga}  {}  {}  since {}  {} commands on their way{next}",
                stored.id,
                status(&stored.instance).as_str(),
                stored.stored_at,
                open.len()
            );
            say(&one_line(&line));
        }
    }

    pub(super) fn did(self, saga: &Name, instance: &InstanceId, what: &str) {
        match self.json {
            true => say(&json!({ "saga": saga, "instance": instance, "result": what }).to_string()),
            false => say(&one_line(&format!("{saga} {instance}: {what}"))),
        }
    }

    /// Says what became of one of many instances.
    pub(super) fn changed(self, saga: &Name, instance: &InstanceId, result: &str, detail: &str) {
        let colon = if detail.is_empty() { "" } else { ": " };
        match self.json {
            true => {
                let line = json!({ "saga": saga, "instance": instance, "result": result, "detail": detail });
                say(&line.to_string());
            }
            false => say(&one_line(&format!("{saga} {instance}: {result}{colon}{detail}"))),
        }
    }

    /// Sums up what became of many instances. `done`: what was done to them.
    pub(super) fn summary(self, done: &str, summary: &Summary) {
        let Summary { done: count, changed, failed, not_tried } = summary;
        if self.json {
            let numbers = json!({ done: count, "changed-meanwhile": changed, "failed": failed, "not-tried": not_tried });
            return say(&json!({ "summary": numbers }).to_string());
        }
        let mut line = format!("{count} {done}, {changed} changed meanwhile, {failed} failed");
        if *not_tried > 0 {
            let _ = write!(line, ", {not_tried} not tried: the server does not answer");
        }
        say(&line);
    }

    /// Shows one instance of the saga with this name and id.
    pub(super) fn show(self, saga: &Name, id: &Name, stored: &StoredInstance) {
        match self.json {
            true => say(&described(saga, id, stored).to_string()),
            false => say(text(saga, stored).trim_end()),
        }
    }
}

fn described(saga: &Name, saga_id: &Name, stored: &StoredInstance) -> Value {
    let instance = &stored.instance;
    let state = instance.state.as_deref().map(|state| {
        serde_json::from_slice::<Value>(state).unwrap_or_else(|_| String::from_utf8_lossy(state).into())
    });
    let timers: Vec<_> = instance
        .timers
        .iter()
        .map(|(id, timer)| json!({ "id": id, "type": timer.r#type, "due": timer.due }))
        .collect();
    let open: Vec<_> = instance
        .open
        .iter()
        .map(|(place, command)| {
            let id = CommandId::of_instance(saga_id, &stored.id, place).ok();
            json!({ "id": id, "type": command.r#type, "setAside": command.set_aside })
        })
        .collect();
    let recent: Vec<_> = instance
        .recent
        .iter()
        .map(|turn| json!({ "time": turn.time, "input": turn.input, "what": turn.what, "then": turn.then }))
        .collect();
    json!({
        "saga": saga,
        "instance": stored.id,
        "status": status(instance).as_str(),
        "since": stored.stored_at,
        "stateVersion": instance.state_version,
        "digest": instance.digest,
        "state": state,
        "timers": timers,
        "open": open,
        "quarantinedBy": instance.quarantined_by,
        "recent": recent,
    })
}

fn text(saga: &Name, stored: &StoredInstance) -> String {
    let instance = &stored.instance;
    let digest = instance.digest.rsplit(':').next().unwrap_or_default();
    let digest: String = digest.chars().take(DIGEST_DIGITS).collect();
    let mut lines = vec![(
        status(instance).as_str(),
        format!("state v{}, digest {digest}, since {}", instance.state_version, stored.stored_at),
    )];
    if let Some(state) = &instance.state {
        lines.push(("state", String::from_utf8_lossy(state).into_owned()));
    }
    for turn in &instance.recent {
        let then = match turn.then.as_slice() {
            [] => String::new(),
            then => format!(" → {}", then.join(", ")),
        };
        lines.push(("in", format!("{}  {}{then}", turn.input, turn.what)));
    }
    for (id, timer) in &instance.timers {
        lines.push(("timer", format!("{id} due {}", due(timer.due))));
    }
    for (place, command) in &instance.open {
        let how = if command.set_aside { "among the dead letters" } else { "on its way" };
        lines.push(("command", format!("{place}  {} {how}", command.r#type)));
    }
    if let Some(by) = &instance.quarantined_by {
        lines.push(("behind", by.clone()));
    }
    let next = match status(instance) {
        InstanceStatus::Quarantined => Some("resume"),
        InstanceStatus::Waiting => Some("cancel"),
        InstanceStatus::Ended => None,
    };
    lines.extend(next.map(|next| ("next", format!("pelton saga {next} {saga} {} --dry-run", stored.id))));
    let mut text = String::new();
    for (title, line) in lines {
        // States, ids and types are foreign text.
        let _ = writeln!(text, "{title:<11}  {}", one_line(&line));
    }
    text
}

/// The time at which a timer is due, and how long that is from now.
fn due(due: Timestamp) -> String {
    let (now, due_at) = (Timestamp::now(), due);
    let left = std::time::Duration::from_nanos(due_at.0.saturating_sub(now.0));
    match left.as_secs() {
        0 => format!("{due_at}, now"),
        seconds @ 1..=119 => format!("{due_at}, in {seconds} s"),
        seconds @ 120..=7199 => format!("{due_at}, in {} min", seconds / 60),
        seconds => format!("{due_at}, in {} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use pelton_core::id::Sequence;
    use pelton_core::saga::instance::OpenCommand;

    use super::*;

    /// The ids had the saga's name, under which nobody finds them where its id is another.
    #[test]
    fn the_ids_of_commands_are_those_that_were_sent() {
        let open = OpenCommand { r#type: "schedule-cleaning".to_owned(), set_aside: false };
        let instance = Instance { open: [("hotel:7:0".to_owned(), open)].into(), ..Instance::default() };
        let id = InstanceId::new("1~2022-12-12").unwrap();
        let stored = StoredInstance { id, instance, stored_at: Timestamp(0), revision: Sequence(1) };
        let [name, id] = ["cleaning", "housekeeping"].map(|name| Name::new(name).unwrap());
        let shown = described(&name, &id, &stored);
        assert_eq!(shown["saga"], "cleaning");
        assert_eq!(shown["open"][0]["id"], "saga:housekeeping:1~2022-12-12:hotel:7:0");
    }
}
