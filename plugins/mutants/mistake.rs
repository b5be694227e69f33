//! Which mistake a plugin makes: the one that its setting `mistake` names. So one build serves them all.

use std::cell::OnceCell;

thread_local! {
    static MISTAKE: OnceCell<String> = const { OnceCell::new() };
}

/// Whether the plugin makes this mistake.
pub(crate) fn is(mistake: &str) -> bool {
    MISTAKE.with(|set| set.get_or_init(|| setting("mistake").unwrap_or_default()) == mistake)
}

/// Whether the operator has set something besides.
pub(crate) fn is_set() -> bool {
    setting("else").is_some()
}

fn setting(name: &str) -> Option<String> {
    let all = super::bindings::pelton::plugin::settings::all();
    all.into_iter().find(|(set, _)| set == name).map(|(_, value)| value)
}
