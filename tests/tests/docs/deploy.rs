//! The files of `docs/deploy/` for systemd and Docker match the program: its flags, its paths, its settings.

use std::fs;
use std::process::Command;

use pelton_tests::place;

fn text(file: &str) -> String {
    fs::read_to_string(place::root().join("docs/deploy").join(file)).expect("a file of docs/deploy")
}

/// Checks that the program accepts these arguments: with `--help` it reads all of them and does nothing.
fn takes(arguments: &[&str]) {
    let output = Command::new(place::pelton().expect("pelton")).args(arguments).arg("--help").output();
    let output = output.expect("pelton runs");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_unit_starts_the_program_with_flags_that_it_has() {
    let unit = text("pelton.service");
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).expect("ExecStart");
    let mut words = start.split_whitespace();
    let program = words.next().expect("a program");
    assert_eq!(program, "/usr/local/bin/pelton");
    takes(&words.collect::<Vec<_>>());
    // systemd checks the rest, if it is installed.
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("pelton.service");
    let ours = place::pelton().expect("pelton").display().to_string();
    fs::write(&file, unit.replace(program, &ours)).expect("a unit");
    let output = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output();
    let output = output.expect("systemd-analyze runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let about_it: Vec<_> = said.lines().filter(|line| line.contains("pelton.service")).collect();
    assert!(about_it.is_empty(), "{said}");
}

#[test]
fn the_image_copies_what_a_release_has_and_starts_the_program_with_flags_that_it_has() {
    let docker = text("Dockerfile");
    let line = |instruction: &str| {
        let found = docker.lines().find_map(|line| line.strip_prefix(instruction));
        found.unwrap_or_else(|| panic!("no {instruction}")).trim().to_owned()
    };
    let copied = line("COPY ");
    let sources: Vec<_> = copied.split_whitespace().rev().skip(1).collect();
    let makefile = fs::read_to_string(place::root().join("Makefile")).expect("the Makefile");
    for source in sources {
        assert!(makefile.contains(&format!("/{source}")) || place::root().join(source).exists(), "{source}");
    }
    let command: Vec<String> = serde_json::from_str(&line("CMD ")).expect("a list");
    takes(&command.iter().map(String::as_str).collect::<Vec<_>>());
    let help = Command::new(place::pelton().expect("pelton")).args(["run", "--help"]).output().expect("help");
    let help = String::from_utf8_lossy(&help.stdout).into_owned();
    for setting in line("ENV ").split_whitespace() {
        let name = setting.split('=').next().unwrap_or_default();
        assert!(help.contains(name), "pelton does not know {name}");
    }
}

/// The contract has one copy, and the package of the SDK contains it: a package includes the files that a link leads
/// to.
#[test]
fn the_package_of_the_sdk_has_the_contract_inside() {
    let root = place::root();
    let (linked, contract) = (root.join("plugins/sdk/rust/wit"), root.join("wit"));
    assert_eq!(linked.canonicalize().expect("a link"), contract.canonicalize().expect("the contract"));
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["package", "--list", "--package", "pelton-plugin", "--allow-dirty", "--offline"]);
    let output = command.current_dir(&root).output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let packed = String::from_utf8_lossy(&output.stdout).into_owned();
    for file in fs::read_dir(contract).expect("the contract").flatten() {
        let name = format!("wit/{}", file.file_name().display());
        assert!(packed.lines().any(|line| line == name), "the package lacks {name}:\n{packed}");
    }
    assert!(packed.lines().any(|line| line == "LICENSE"), "{packed}");
}

#[test]
fn every_crate_has_the_version_of_the_workspace() {
    let root = fs::read_to_string(place::root().join("Cargo.toml")).expect("the workspace");
    let members = root.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).expect("members");
    let mut crates = 0;
    for member in members.split('"').skip(1).step_by(2) {
        let folders = match member.strip_suffix("/*") {
            Some(parent) => fs::read_dir(place::root().join(parent))
                .expect("a folder")
                .flatten()
                .map(|e| e.path())
                .collect(),
            None => vec![place::root().join(member)],
        };
        for manifest in
            folders.into_iter().map(|folder| folder.join("Cargo.toml")).filter(|file| file.is_file())
        {
            crates += 1;
            let text = fs::read_to_string(&manifest).expect("a manifest");
            assert!(
                text.contains("version.workspace = true"),
                "{} has a version of its own",
                manifest.display()
            );
        }
    }
    assert!(crates >= 15, "{crates} crates");
}
