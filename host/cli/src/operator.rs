//! The operator's name for the audit stream.

/// The name from the command line, else the user and the machine's name.
pub(crate) fn name(by: Option<&str>) -> String {
    by.map_or_else(user_and_machine, str::to_owned)
}

fn user_and_machine() -> String {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_else(|| "unknown".to_owned());
    format!("{user}@{}", machine())
}

/// The machine's name.
pub(crate) fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let name = name.or_else(|| std::env::var("HOSTNAME").ok()).filter(|name| !name.trim().is_empty());
    name.map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned())
}
