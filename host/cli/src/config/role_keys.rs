//! The keys that handlers, projections and sagas have in common.

use pelton_core::dead_letter::OnFailure;
use pelton_core::id::Name;

use super::text::key::{Key, Or, Parsed, Required, Text};
use super::text::problem::At;
use super::text::value;

pub(super) static PLUGIN: Key<Text, Required> = Key {
    name: "plugin",
    form: Text("name in `[plugins]`"),
    default: Required("\"…\", a name in [plugins]"),
    example: "\"booking\"",
    doc: "The plugin, which has to export this role.",
};
pub(super) static STREAM: Key<Text, Required> = Key {
    name: "stream",
    form: Text("name in `[streams]`"),
    default: Required("\"…\", a name in [streams]"),
    example: "\"hotel\"",
    doc: "The stream of the events: a handler stores them there, a projection or saga reads them from there.",
};

/// The name of a role on the server.
pub(super) const ID_FORM: Parsed<Name> = Parsed {
    unit: "name",
    help: "use `a` to `z`, `0` to `9` and `-`",
    parse: |text| {
        value::name(text).map_err(|(_, wrong)| wrong)?;
        Name::new(text).map_err(|error| error.to_string())
    },
    show: |id| format!("{:?}", id.as_str()),
};

/// The key that says what a dead letter means for later messages.
pub(super) type OnFailureKey = Key<Parsed<OnFailure>, Or<OnFailure>>;

pub(super) const ON_FAILURE_FORM: Parsed<OnFailure> = Parsed {
    unit: "`\"park\"` or `\"skip\"`",
    help: "`park` has what comes later wait behind it; `skip` goes on without it",
    parse: |text| match text {
        "park" => Ok(OnFailure::Park),
        "skip" => Ok(OnFailure::Skip),
        _ => Err("is neither `park` nor `skip`".to_owned()),
    },
    show: |value| match value {
        OnFailure::Park => "\"park\"".to_owned(),
        OnFailure::Skip => "\"skip\"".to_owned(),
    },
};

/// A name that refers to another table of the file.
pub(super) fn name_in(typed: Option<&At<String>>) -> Option<Name> {
    Name::new(&typed?.value).ok()
}
