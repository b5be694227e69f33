//! `pelton new`: a folder with plugins that builds, passes its tests and runs. The templates are files under
//! `host/cli/templates`; a name in double braces is filled in.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::ValueEnum;

use crate::args::new::{ExtraRole, Language, NewArgs};
use crate::exit::Failure;

/// A file to write, and its template.
type File = (&'static str, &'static str);

macro_rules! templates {
    ($($path:literal from $template:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../templates/rust/", $template)))),*]
    };
}

/// The files of every new folder.
const BASE: &[File] = templates![
    "Cargo.toml" from "Cargo.toml.in",
    ".gitignore" from "gitignore",
    "README.md" from "README.md.in",
    "plugins/tasks/Cargo.toml" from "plugins/tasks/Cargo.toml.in",
    "plugins/tasks/src/lib.rs" from "plugins/tasks/src/lib.rs",
    "plugins/tasks/cases/tasks.toml" from "plugins/tasks/cases/tasks.toml",
];
const PROJECTION: &[File] = templates![
    "plugins/view/Cargo.toml" from "plugins/view/Cargo.toml.in",
    "plugins/view/src/lib.rs" from "plugins/view/src/lib.rs.in",
    "plugins/view/cases/view.toml" from "plugins/view/cases/view.toml",
];
const SAGA: &[File] = templates![
    "plugins/follow-ups/Cargo.toml" from "plugins/follow-ups/Cargo.toml.in",
    "plugins/follow-ups/src/lib.rs" from "plugins/follow-ups/src/lib.rs.in",
    "plugins/follow-ups/cases/follow-ups.toml" from "plugins/follow-ups/cases/follow-ups.toml",
];

/// The parts of `pelton.toml`.
const CONFIG: &str = include_str!("../templates/rust/pelton.toml.in");
const PROJECTION_CONFIG: &str = include_str!("../templates/rust/projection.toml.in");
const SAGA_CONFIG: &str = include_str!("../templates/rust/saga.toml.in");

/// Writes the folder. It must not exist, so that nothing is overwritten.
pub(crate) fn run(arguments: &NewArgs) -> Result<(), Failure> {
    let Language::Rust = arguments.lang;
    let sdk = dependency(arguments.sdk.as_deref()).map_err(Failure::Unusable)?;
    let folder = Path::new(&arguments.name);
    write(folder, &files(arguments), &arguments.name, &sdk).map_err(Failure::Unusable)?;
    let next = format!(
        "{name} is there. Next:\n  cd {name}\n  cargo test\n  pelton build\n  pelton dev\n",
        name = arguments.name
    );
    let _ = std::io::stdout().write_all(next.as_bytes());
    Ok(())
}

/// The files with their templates for the requested roles.
fn files(arguments: &NewArgs) -> Vec<(&'static str, String)> {
    let mut files: Vec<File> = BASE.to_vec();
    let mut config = CONFIG.to_owned();
    // A role that is requested twice is added once.
    for role in ExtraRole::value_variants().iter().filter(|role| arguments.with.contains(role)) {
        let (more, more_config) = match role {
            ExtraRole::Projection => (PROJECTION, PROJECTION_CONFIG),
            ExtraRole::Saga => (SAGA, SAGA_CONFIG),
        };
        files.extend(more);
        config.push_str(more_config);
    }
    let mut files: Vec<_> = files.into_iter().map(|(path, text)| (path, text.to_owned())).collect();
    files.push(("pelton.toml", config));
    files
}

fn write(folder: &Path, files: &[(&str, String)], name: &str, sdk: &str) -> anyhow::Result<()> {
    let shown = folder.display();
    if folder.exists() {
        return Err(anyhow!("{shown} already exists; choose another name, or move it away"));
    }
    for (path, template) in files {
        let file = folder.join(path);
        let text = template
            .replace("{{name}}", name)
            .replace("{{crate}}", &name.replace('-', "_"))
            .replace("{{sdk}}", sdk);
        fs::create_dir_all(file.parent().unwrap_or(folder))
            .and_then(|()| fs::write(&file, text))
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// How `Cargo.toml` names the SDK: the version of this program, or the folder.
fn dependency(folder: Option<&Path>) -> anyhow::Result<String> {
    let Some(folder) = folder else { return Ok(format!("{:?}", env!("CARGO_PKG_VERSION"))) };
    let is_sdk = |folder: &PathBuf| {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.trim() == "name = \"pelton-plugin\"")
    };
    let places = [folder.to_owned(), folder.join("plugins/sdk/rust")];
    let found = places.into_iter().find(is_sdk).ok_or_else(|| {
        anyhow!(
            "--sdk: {} is neither a clone of Pelton nor its plugins/sdk/rust: there is no crate pelton-plugin",
            folder.display()
        )
    })?;
    let found = found.canonicalize().with_context(|| format!("--sdk: {}", folder.display()))?;
    let path = found.to_str().with_context(|| format!("--sdk: {} is not UTF-8", found.display()))?;
    Ok(format!("{{ path = {} }}", toml::Value::from(path)))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Arguments, Command};
    use crate::config::{Source, parse};

    fn new(arguments: &[&str]) -> NewArgs {
        let all = ["pelton", "new"].iter().chain(arguments);
        match Arguments::try_parse_from(all).expect("a command line").command {
            Command::New(new) => new,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_combination_of_roles_has_a_sound_configuration_and_nothing_to_fill_in() {
        for with in
            [&["a-b"][..], &["a-b", "--with", "projection"], &["a-b", "--with", "saga,projection,saga"]]
        {
            let folder = tempfile::tempdir().expect("a folder");
            let folder = folder.path().join("a-b");
            write(&folder, &files(&new(with)), "a-b", "\"0.1\"").expect("a folder that can be written");
            let text = fs::read_to_string(folder.join("pelton.toml")).expect("a configuration");
            let loaded = parse(Source { path: "pelton.toml".to_owned(), text }, &folder);
            let config = loaded.config.clone();
            let report = loaded.into_report(Vec::new());
            assert!(report.is_empty(), "{}", report.render(false));
            let config = config.expect("sound");
            assert_eq!(
                config.plugins.len(),
                1 + usize::from(with.len() > 1) + usize::from(with.len() > 1 && with[2].contains(','))
            );
            for plugin in config.plugins.values() {
                let manifest = plugin.crate_dir.as_ref().expect("a crate").join("Cargo.toml");
                let manifest = fs::read_to_string(manifest).expect("a manifest");
                assert!(manifest.contains("name = \"a-b-") && !manifest.contains("{{"), "{manifest}");
            }
        }
    }

    #[test]
    fn a_name_that_no_crate_can_have_is_refused() {
        for name in ["", "1a", "-a", "A", "a b", "../a", "a_b", &"a".repeat(33)] {
            assert!(Arguments::try_parse_from(["pelton", "new", name]).is_err(), "{name:?}");
        }
    }

    #[test]
    fn what_is_there_is_not_overwritten_and_the_sdk_is_looked_at() {
        let folder = tempfile::tempdir().expect("a folder");
        let error = write(folder.path(), &[], "a", "").expect_err("it is there").to_string();
        assert!(error.contains("already exists"), "{error}");
        let error = dependency(Some(folder.path())).expect_err("no SDK").to_string();
        assert!(error.contains("there is no crate pelton-plugin"), "{error}");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let found = dependency(Some(&root)).expect("the clone");
        assert!(found.contains("plugins/sdk/rust"), "{found}");
    }
}
