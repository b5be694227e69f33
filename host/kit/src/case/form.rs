//! The form of a file of cases: its tables, their keys, and the kinds of values.

/// A table of the file.
#[derive(Debug)]
pub(crate) struct Form {
    /// The table's name in messages, such as `a case`.
    pub(crate) title: &'static str,
    /// Its keys.
    pub(crate) keys: &'static [Key],
}

/// A key of a table.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    /// The key's meaning, for people.
    pub(crate) doc: &'static str,
}

/// The kind of a value.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// Text that is not empty.
    Text,
    /// A whole number from 1.
    Version,
    /// A time in RFC 3339.
    Time,
    /// A duration, such as `2h`.
    Duration,
    /// One of these words.
    Word(&'static [&'static str]),
    /// Any JSON value.
    Json,
    /// Any JSON value, with matchers in it.
    Pattern,
    /// A table with any keys, and values of this kind.
    Map(&'static Kind),
    /// A table of this form.
    Table(&'static Form),
    /// A list of tables of this form.
    List(&'static Form),
    /// A table of one of these forms. The first key of a form identifies it.
    OneOf(&'static [&'static Form]),
    /// Text, or a table of this form.
    TextOr(&'static Form),
}

const fn must(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, required: true, doc }
}

const fn may(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, required: false, doc }
}

/// A file of cases.
pub(crate) static FILE: Form = Form {
    title: "a file of cases",
    keys: &[
        may(
            "entity",
            Kind::Text,
            "the entity of cases that name none: its id, tokens joined by dots; `1` where none is named",
        ),
        may("left-out", Kind::List(&LEFT_OUT), "what the plugin declares and no case uses, for `--strict`"),
        may("case", Kind::List(&CASE), "the cases"),
    ],
};

/// An entry of `left-out`.
pub(crate) static LEFT_OUT: Form = Form {
    title: "an entry of `left-out`",
    keys: &[
        may("command", Kind::Text, "a command that the plugin takes or sends"),
        may("event", Kind::Text, "an event that the plugin emits or reads"),
        may("version", Kind::Version, "the version of the event; 1 if it is missing"),
        may("rejection", Kind::Text, "the code of a rejection"),
        may("timer", Kind::Text, "a timer"),
        must("reason", Kind::Text, "why no case uses it"),
    ],
};

/// A case.
pub(crate) static CASE: Form = Form {
    title: "a case",
    keys: &[
        must("name", Kind::Text, "what it is about"),
        may("entity", Kind::Text, "the entity, instead of the file's"),
        may("given", Kind::List(&GIVEN_EVENT), "what happened before, in order"),
        may(
            "after",
            Kind::Duration,
            "how much time passes before `when`, such as `2h`; timers that become due go off",
        ),
        may(
            "when",
            Kind::OneOf(&[&GIVEN_COMMAND, &GIVEN_EVENT, &GIVEN_TIMER, &GIVEN_OUTCOME]),
            "a command for a handler; an event for a projection or a saga; a timer or an outcome for a saga",
        ),
        may("then", Kind::Table(&THEN), "what follows; what is left out is not looked at"),
        may("step", Kind::List(&STEP), "what happens next, each step on what the steps before it left"),
    ],
};

/// A step.
pub(crate) static STEP: Form = Form {
    title: "a step",
    keys: &[
        may(
            "after",
            Kind::Duration,
            "how much time passes before `when`, such as `2h`; timers that become due go off",
        ),
        may(
            "when",
            Kind::OneOf(&[&GIVEN_COMMAND, &GIVEN_EVENT, &GIVEN_TIMER, &GIVEN_OUTCOME]),
            "its input, as in a case; none: only time passes",
        ),
        may("then", Kind::Table(&THEN), "what follows"),
    ],
};

/// An event.
pub(crate) static GIVEN_EVENT: Form = Form {
    title: "an event",
    keys: &[
        must("event", Kind::Text, "its type"),
        may("version", Kind::Version, "the version of its type; 1 if it is missing"),
        may("entity", Kind::Text, "the entity that it happened to, instead of the case's"),
        may("at", Kind::Time, "when it happened; the time of the case if it is missing"),
        may("metadata", Kind::Map(&Kind::Text), "CloudEvents extensions"),
        may("data", Kind::Json, "its data; `{}` if it is missing"),
    ],
};

/// A command.
pub(crate) static GIVEN_COMMAND: Form = Form {
    title: "a command",
    keys: &[
        must("command", Kind::Text, "its type"),
        may("principal", Kind::Text, "who asks for it, as the host vouches for"),
        may("metadata", Kind::Map(&Kind::Text), "the sender's additions"),
        may("data", Kind::Json, "its data; `{}` if it is missing"),
    ],
};

/// A timer that goes off.
pub(crate) static GIVEN_TIMER: Form = Form {
    title: "a timer",
    keys: &[must(
        "timer",
        Kind::Text,
        "the id or the type of a timer that is set: it goes off when it is due, or now if it is due",
    )],
};

/// An outcome.
pub(crate) static GIVEN_OUTCOME: Form = Form {
    title: "an outcome",
    keys: &[
        must("outcome", Kind::Text, "the reference or the type of a command that the saga has sent"),
        must("result", Kind::Word(&["accepted", "rejected", "set-aside", "failed"]), "how it ended"),
        may("code", Kind::Text, "the code of its rejection"),
        may("message", Kind::Text, "the message of its rejection, or the cause of its failure"),
        may("details", Kind::Map(&Kind::Text), "the details of its rejection"),
    ],
};

/// The expected result.
pub(crate) static THEN: Form = Form {
    title: "`then`",
    keys: &[
        may("events", Kind::List(&EXPECTED_EVENT), "exactly these events of a handler, in order"),
        may(
            "rejection",
            Kind::TextOr(&EXPECTED_REJECTION),
            "a rejection: its code, or a table with more of it",
        ),
        may("views", Kind::Map(&Kind::Pattern), "the whole view of a projection: each key with its value"),
        may("commands", Kind::List(&EXPECTED_COMMAND), "exactly these commands of a saga, in order"),
        may("timers", Kind::List(&EXPECTED_TIMER), "exactly these timers are set, in the order of their ids"),
        may("instances", Kind::Map(&Kind::Pattern), "the instances of a saga: each id with its state"),
    ],
};

/// An expected event.
pub(crate) static EXPECTED_EVENT: Form = Form {
    title: "an expected event",
    keys: &[
        must("event", Kind::Text, "its type"),
        may("version", Kind::Version, "the version of its type; 1 if it is missing"),
        may("data", Kind::Pattern, "its data; any if it is missing"),
    ],
};

/// An expected rejection.
pub(crate) static EXPECTED_REJECTION: Form = Form {
    title: "an expected rejection",
    keys: &[
        must("code", Kind::Text, "its code"),
        may("message", Kind::Pattern, "its message; any if it is missing"),
        may("details", Kind::Map(&Kind::Pattern), "its details, all of them; any if it is missing"),
    ],
};

/// An expected command.
pub(crate) static EXPECTED_COMMAND: Form = Form {
    title: "an expected command",
    keys: &[
        must("command", Kind::Text, "its type"),
        may("reference", Kind::Text, "its reference; any if it is missing"),
        may("data", Kind::Pattern, "its data; any if it is missing"),
    ],
};

/// An expected timer.
pub(crate) static EXPECTED_TIMER: Form = Form {
    title: "an expected timer",
    keys: &[
        must("timer", Kind::Text, "its type"),
        may("id", Kind::Text, "its id; any if it is missing"),
        may("in", Kind::Duration, "how long after the time of the step it is due; any if it is missing"),
        may("at", Kind::Time, "when it is due; any if it is missing"),
        may("data", Kind::Pattern, "its data; any if it is missing"),
    ],
};
