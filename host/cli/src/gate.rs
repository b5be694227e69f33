//! The gate: checks whether a version may replace the running one, and whether all readers can read what it writes.

use pelton_core::id::CommandType;
use pelton_core::message::EventType;
use pelton_nats::plugin_store::Verdict;

use crate::config::Config;
use crate::descriptors::Inspected;

/// A candidate version among the plugins of a host.
pub(crate) struct Candidate<'a> {
    /// The plugin's name in the configuration.
    pub(crate) plugin: &'a str,
    pub(crate) inspected: Inspected,
    /// The running version, to which a rollback would return.
    pub(crate) present: Option<Inspected>,
    /// Whether a version without a way back is allowed.
    pub(crate) one_way: bool,
}

impl Candidate<'_> {
    /// The verdicts of a host. `running` is the plugin of the same name that runs now; `draining` are its versions with which
    /// instances of its saga go on.
    pub(crate) fn verdicts(
        &self,
        config: &Config,
        running: impl Fn(&str) -> Option<Inspected>,
        draining: impl Fn(&str) -> Vec<Inspected>,
    ) -> Vec<Verdict> {
        let handlers: Vec<_> =
            config.handlers.values().filter(|handler| handler.plugin.as_str() == self.plugin).collect();
        let commands: Vec<_> = handlers.iter().flat_map(|handler| handler.commands.keys()).collect();
        let streams: Vec<_> = handlers.iter().map(|handler| &handler.stream).collect();
        // A component with several roles reads with the candidate's descriptor.
        let plugin =
            |name: &str| if name == self.plugin { Some(self.inspected.clone()) } else { running(name) };
        let projections =
            config.projections.iter().filter(|(_, projection)| streams.contains(&&projection.stream));
        let projections = projections.filter_map(|(name, projection)| {
            Some((format!("the projection {name}"), plugin(projection.plugin.as_str())?.projection?.events))
        });
        let sagas = config.sagas.iter().filter(|(_, saga)| streams.contains(&&saga.stream));
        let sagas = sagas.flat_map(|(name, saga)| {
            let runs = plugin(saga.plugin.as_str()).and_then(|version| version.saga);
            let runs = runs.map(|saga| (format!("the saga {name}"), saga.events));
            let drain = draining(saga.plugin.as_str()).into_iter().filter_map(|version| version.saga);
            let drain = drain.map(move |saga| {
                let version = saga.identity.version;
                (format!("the saga {name}, in the version {version} that drains,"), saga.events)
            });
            runs.into_iter().chain(drain)
        });
        let readers: Vec<_> = projections.chain(sagas).collect();
        let sent = self.inspected.saga.iter().flat_map(|saga| &saga.commands);
        let sent_too_early = sent.filter_map(|command| {
            let mut handlers = config.handlers.values();
            let of =
                handlers.find(|handler| handler.commands.keys().any(|taken| taken.as_str() == command))?;
            let decides = plugin(of.plugin.as_str())?;
            (!decides.takes(command)).then(|| (command.as_str(), of.plugin.as_str()))
        });
        vec![
            self.commands(&commands, &sent_too_early.collect::<Vec<_>>()),
            self.way_back(),
            self.readers(&readers),
            self.forms(),
        ]
    }

    fn emits(&self) -> &[EventType] {
        self.inspected.handler.as_ref().map_or(&[], |handler| &handler.emits)
    }

    /// Checks that the candidate takes the commands that the running version takes, and sends none that would have to wait.
    /// What the running version does not take either may come with a later one. `sent_too_early` are commands that it sends
    /// as a saga, each with the plugin whose running version does not take it.
    fn commands(&self, configured: &[&CommandType], sent_too_early: &[(&str, &str)]) -> Verdict {
        let lacking = configured.iter().map(|command| command.as_str());
        let lacking = lacking.filter(|command| !self.inspected.takes(command));
        let (lost, later): (Vec<_>, Vec<_>) =
            lacking.partition(|command| self.present.as_ref().is_some_and(|present| present.takes(command)));
        let mut problems = Vec::new();
        if !lost.is_empty() {
            problems.push(format!(
                "it does not take {}, which the version that runs takes; take that out of the configuration first",
                lost.join(", ")
            ));
        }
        problems.extend(sent_too_early.iter().map(|(command, plugin)| {
            format!("it sends {command}, which the running version of {plugin} does not take; switch {plugin} first")
        }));
        let found = match later.as_slice() {
            [] => "all are taken".to_owned(),
            later => format!("not served yet: {}", later.join(", ")),
        };
        verdict("commands", &problems, found)
    }

    /// Checks that the version a rollback returns to can read what the candidate writes: events, and states of instances.
    fn way_back(&self) -> Verdict {
        let step = "way back";
        let Some(present) = &self.present else {
            return verdict(step, &[], "no version before reads what it writes".to_owned());
        };
        let mut unread = Vec::new();
        if let Some(handler) = &present.handler {
            let types = self.emits().iter().filter(|emitted| !handler.folds.contains(emitted));
            let types: Vec<_> = types.collect();
            if !types.is_empty() {
                unread.push(format!("fold {}", listed(&types)));
            }
        }
        // Without a migration no instance changes its form: after a rollback they go on with the candidate.
        if let (Some(is), Some(was)) = (&self.inspected.saga, &present.saga)
            && is.state_version != was.state_version
            && is.migrates
            && !was.migrates
        {
            unread.push(format!("read states of version {}", is.state_version));
        }
        match (unread.as_slice(), self.one_way) {
            ([], _) => verdict(step, &[], "the version that runs reads all that it writes".to_owned()),
            (unread, true) => {
                let unread = unread.join(" and ");
                verdict(step, &[], format!("none: the version that runs cannot {unread}"))
            }
            (unread, false) => {
                let problem = format!(
                    "the version that runs cannot {}, so there would be no way back; activate a version first that can \
                     and does not write it, or this one with --one-way",
                    unread.join(" and ")
                );
                verdict(step, &[problem], String::new())
            }
        }
    }

    /// Checks that every projection and saga of the stream reads event types in the versions that the candidate emits.
    fn readers(&self, readers: &[(String, Vec<EventType>)]) -> Verdict {
        let mut problems = Vec::new();
        for (who, reads) in readers {
            let unread = |emitted: &&EventType| {
                reads.iter().any(|read| read.r#type == emitted.r#type) && !reads.contains(emitted)
            };
            let unread: Vec<_> = self.emits().iter().filter(unread).collect();
            if !unread.is_empty() {
                problems.push(format!("{who} cannot read {}: switch its plugin first", listed(&unread)));
            }
        }
        verdict("readers", &problems, format!("{} projections and sagas read what it emits", readers.len()))
    }

    /// Checks that the view version stays, and says what becomes of instances of another form.
    fn forms(&self) -> Verdict {
        let (mut problems, mut found) = (Vec::new(), "views and instances keep their form".to_owned());
        let present = self.present.as_ref();
        if let (Some(is), Some(was)) =
            (&self.inspected.projection, present.and_then(|p| p.projection.as_ref()))
        {
            let (was, is) = (was.view_version, is.view_version);
            if was != is {
                problems.push(format!(
                    "the view version was {was} and is {is}: push it for a plugin of another name, and give that to a \
                     new projection beside this one"
                ));
            }
        }
        if let (Some(is), Some(was)) = (&self.inspected.saga, present.and_then(|p| p.saga.as_ref())) {
            let (old, new) = (was.state_version, is.state_version);
            if old != new {
                found = match is.migrates {
                    true => format!("instances of state version {old} are migrated to {new}"),
                    false => format!("instances of state version {old} end with the version that runs"),
                };
            }
        }
        verdict("forms", &problems, found)
    }
}

fn verdict(step: &str, problems: &[String], found: String) -> Verdict {
    let passed = problems.is_empty();
    Verdict { step: step.to_owned(), passed, found: if passed { found } else { problems.join("; ") } }
}

fn listed(types: &[&EventType]) -> String {
    types
        .iter()
        .map(|EventType { r#type, version }| format!("{type} v{version}"))
        .collect::<Vec<_>>()
        .join(", ")
}

#[cfg(test)]
mod tests {
    use pelton_core::command::ports::HandlerDescriptor;
    use pelton_core::plugin::Identity;
    use pelton_core::projection::ports::ProjectionDescriptor;
    use pelton_core::saga::ports::SagaDescriptor;

    use super::*;

    fn types(types: &[(&str, u32)]) -> Vec<EventType> {
        types
            .iter()
            .map(|(r#type, version)| EventType { r#type: (*r#type).to_owned(), version: *version })
            .collect()
    }

    fn identity() -> Identity {
        Identity { name: "books".to_owned(), version: "1".to_owned() }
    }

    fn handler(emits: &[(&str, u32)], folds: &[(&str, u32)]) -> Inspected {
        let handler = HandlerDescriptor {
            identity: identity(),
            commands: Vec::new(),
            emits: types(emits),
            folds: types(folds),
            rejections: Vec::new(),
            state_version: 1,
            decides_ahead: false,
        };
        Inspected { handler: Some(handler), ..Inspected::default() }
    }

    fn projection(view_version: u32) -> Inspected {
        let projection = ProjectionDescriptor { identity: identity(), events: Vec::new(), view_version };
        Inspected { projection: Some(projection), ..Inspected::default() }
    }

    fn candidate(inspected: Inspected, present: Inspected, one_way: bool) -> Candidate<'static> {
        Candidate { plugin: "books", inspected, present: Some(present), one_way }
    }

    #[test]
    fn what_the_version_before_cannot_fold_has_no_way_back() {
        let old = || handler(&[("lent", 1)], &[("lent", 1)]);
        let reading = || handler(&[("lent", 1)], &[("lent", 1), ("lent", 2)]);
        let new = || handler(&[("lent", 2)], &[("lent", 1), ("lent", 2)]);
        for (is, was, one_way, passed) in [
            (old(), old(), false, true),
            (reading(), old(), false, true),
            (new(), old(), false, false),
            (new(), reading(), false, true),
            (new(), old(), true, true),
        ] {
            let verdict = candidate(is, was, one_way).way_back();
            assert_eq!(verdict.passed, passed, "{verdict:?}");
        }
    }

    #[test]
    fn a_saga_that_migrates_states_has_no_way_back() {
        let saga = |state_version, migrates| {
            let saga = SagaDescriptor {
                identity: identity(),
                events: Vec::new(),
                commands: Vec::new(),
                timers: Vec::new(),
                takes_outcomes: false,
                state_version,
                migrates,
            };
            Inspected { saga: Some(saga), ..Inspected::default() }
        };
        for (is, was, one_way, passed) in [
            (saga(1, false), saga(1, false), false, true),
            (saga(2, true), saga(1, false), false, false),
            (saga(2, true), saga(1, false), true, true),
            (saga(2, true), saga(1, true), false, true),
        ] {
            let verdict = candidate(is, was, one_way).way_back();
            assert_eq!(verdict.passed, passed, "{verdict:?}");
        }
    }

    #[test]
    fn who_reads_a_type_has_to_read_the_version_that_is_emitted() {
        let new = candidate(handler(&[("lent", 2), ("lost", 1)], &[]), Inspected::default(), false);
        for (reads, passed) in [
            (&[][..], true),
            (&[("lent", 1)][..], false),
            (&[("lent", 1), ("lent", 2)][..], true),
            (&[("returned", 1)][..], true),
        ] {
            let verdict = new.readers(&[("the projection readers".to_owned(), types(reads))]);
            assert_eq!(verdict.passed, passed, "{verdict:?}");
            assert!(
                passed || verdict.found.contains("the projection readers cannot read lent v2"),
                "{verdict:?}"
            );
        }
    }

    #[test]
    fn a_command_may_come_with_a_later_version_and_not_go_with_one() {
        let taking = |commands: &[&str]| {
            let mut inspected = handler(&[], &[]);
            let handler = inspected.handler.as_mut().expect("a handler");
            handler.commands = commands.iter().map(|command| (*command).to_owned()).collect();
            inspected
        };
        let configured = ["lend", "renew"].map(|command| CommandType::new(command).expect("a type"));
        for (is, was, sent, passed, found) in [
            (&["lend", "renew"][..], &["lend"][..], None, true, "all are taken"),
            (&["lend"], &["lend"], None, true, "not served yet: renew"),
            (&["lend"], &["lend", "return"], None, true, "not served yet: renew"),
            (&["lend"], &["lend", "renew"], None, false, "it does not take renew, which"),
            (&["lend", "renew"], &["lend"], Some(("pay", "till")), false, "it sends pay, which"),
        ] {
            let sent: Vec<_> = sent.into_iter().collect();
            let verdict = candidate(taking(is), taking(was), true).commands(&configured.each_ref(), &sent);
            assert!(verdict.passed == passed && verdict.found.contains(found), "{verdict:?}");
        }
    }

    #[test]
    fn a_view_keeps_its_form() {
        assert!(candidate(projection(1), projection(1), false).forms().passed);
        assert!(!candidate(projection(2), projection(1), true).forms().passed);
    }
}
