//! Explains with figures of the same run where the time goes, for every figure that misses its target.

use crate::report::Report;

/// A paragraph for every missed figure whose time can be accounted for.
pub(crate) fn explain(report: &Report) -> Vec<String> {
    let parts = [
        alone(report),
        busy(report),
        forced(report),
        view(report, "one"),
        view(report, "hundred"),
        call(report),
        cold(report),
    ];
    parts.into_iter().flatten().collect()
}

fn alone(report: &Report) -> Option<String> {
    let missed = ["commands.c1.ratio_bare", "commands.c1.ratio_same"].iter().any(|key| report.is_missed(key));
    let [pelton, same, bare] =
        ["pelton", "same", "bare"].map(|side| Some(1e6 / report.get(&format!("commands.c1.{side}_per_s"))?));
    let (pelton, same, bare) = (pelton?, same?, bare?);
    missed.then(|| {
        format!(
            "commands.c1: one after the other a command takes {pelton:.0} µs, by hand {same:.0}, at the least {bare:.0}. \
             Pelton and `bare` both wait for one write. What Pelton takes beyond that is the sandbox, the way from task to \
             task, and the answer to the client."
        )
    })
}

fn busy(report: &Report) -> Option<String> {
    let missed =
        ["commands.c256.ratio_bare", "commands.c256.ratio_same", "commands.c16.ratio_same", "cpu.ratio"]
            .iter()
            .any(|key| report.is_missed(key));
    let cpu = |figure: &str| report.get(&format!("cpu.{figure}"));
    let (pelton, same) = (cpu("us_per_command_pelton")?, cpu("us_per_command_same")?);
    let (server, server_same) = (cpu("server_us_per_command_pelton")?, cpu("server_us_per_command_same")?);
    let own =
        report.get("own_code.us_per_command_10000_live").zip(report.get("own_code.us_per_command_10_live"));
    let calls = report.get("call.decide_ns").zip(report.get("call.evolve_ns"));
    missed.then(|| {
        let mut text = format!(
            "commands.c256: the processors are the limit. A command takes {pelton:.0} µs of Pelton and {server:.0} of the \
             server, by hand {same:.0} and {server_same:.0}."
        );
        if let Some((cold, hot)) = own {
            text += &format!(
                " Pelton's own code with the sandbox, by itself, takes {hot:.0} with ten live entities, which stay in the \
                 processor's caches, and {cold:.0} with 10,000 that take turns, so that each has left them. The rest \
                 carries messages."
            );
        }
        if let Some((decide, evolve)) = calls {
            text += &format!(
                " Its two calls into the plugin take {:.1} µs while they are warm.",
                (decide + evolve) / 1e3
            );
        }
        text
    })
}

fn forced(report: &Report) -> Option<String> {
    let pelton = report.get("commands_fsync.c256.pelton_per_s")?;
    let same = report.get("commands_fsync.c256.same_per_s")?;
    report.is_missed("commands_fsync.c256.ratio_same").then(|| {
        format!(
            "commands_fsync.c256: by hand a command costs three writes that are forced to disk one by one, the event, the \
             outcome, and the acknowledgement, which removes the command from a work queue: {:.0} µs in all. Pelton \
             gathers the first two into batches, of which each takes the server milliseconds; the acknowledgement it \
             cannot gather: {:.0} µs.",
            1e6 / same,
            1e6 / pelton
        )
    })
}

fn view(report: &Report, name: &str) -> Option<String> {
    let figure = |figure: &str| report.get(&format!("projection.{name}.{figure}"));
    let (per_s, pelton) = (figure("pelton_per_s")?, figure("cpu_us_per_event_pelton")?);
    let (server, bare) = (figure("cpu_us_per_event_pelton_server")?, figure("cpu_us_per_event_bare")?);
    let bare_server = figure("cpu_us_per_event_bare_server")?;
    let wall = 1e6 / per_s;
    report.is_missed(&format!("projection.{name}.ratio")).then(|| {
        let mut text = format!(
            "projection.{name}: an event takes {wall:.0} µs, and of the processors {pelton:.0} µs in Pelton and {server:.0} in \
             the server; by hand {bare:.0} and {bare_server:.0}."
        );
        if let Some((keys, project)) = report.get("call.keys_ns").zip(report.get("call.project_ns")) {
            text += &format!(
                " Of Pelton's, up to {:.1} µs are its two calls into the plugin; most of the rest reads the event and its \
                 dozen headers.",
                (keys + project) / 1e3
            );
        }
        text
    })
}

fn call(report: &Report) -> Option<String> {
    let (decide, raw) = (report.get("call.decide_ns")?, report.get("call_raw.decide_ns")?);
    (report.is_missed("call.decide_ns") || report.is_missed("call_raw.decide_ns")).then(|| {
        format!(
            "call: {raw:.0} ns without JSON, {decide:.0} with. Each text of a command and of its events goes over the border \
             by itself, and each needs a place that the guest's allocator finds: some eight calls back into the guest for \
             a command. `make bench-instructions` counts."
        )
    })
}

fn cold(report: &Report) -> Option<String> {
    let (load, instantiate) = (report.get("cold_load.p50_ms")?, report.get("call.instantiate_us")?);
    report.is_missed("cold_load.p50_ms").then(|| {
        format!(
            "cold_load: {load:.2} ms, of which {:.2} make the instance. Two round trips follow each other, the entity's last \
             event and then the nineteen that it lists, each answered by the server in a message of its own.",
            instantiate / 1e3
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reached_needs_no_words_and_what_is_missed_gets_them() {
        let mut report = Report::default();
        report.put("call.decide_ns", 3_000.0);
        report.put("call_raw.decide_ns", 900.0);
        assert_eq!(explain(&report), [""; 0]);
        report.put("projection.hundred.pelton_per_s", 50_000.0);
        report.put("projection.hundred.ratio", 2.0);
        for side in ["pelton", "pelton_server", "bare", "bare_server"] {
            report.put(format!("projection.hundred.cpu_us_per_event_{side}"), 10.0);
        }
        let [text] = &explain(&report)[..] else { panic!("one is missed") };
        assert!(text.starts_with("projection.hundred: an event takes 20 µs"), "{text}");
    }
}
