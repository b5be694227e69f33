//! The modules of core lie on floors, and each imports only from the floors below it. The compiler enforces this
//! between crates; this test enforces it between the modules of core.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// From the ground up. The modules of a floor may import each other, in one direction, where `siblings` says so.
const FLOORS: [Floor; 5] = [
    Floor {
        name: "words",
        modules: &["cloudevents", "contract", "id", "message", "partition", "subject", "text", "time"],
        siblings: true,
    },
    Floor {
        name: "shared by all roles",
        modules: &[
            "consumer",
            "dead_letter",
            "intake",
            "outcomes",
            "plugin",
            "recorded",
            "retry",
            "store",
            "telemetry",
            "trial",
        ],
        siblings: true,
    },
    Floor { name: "roles", modules: &["command", "projection", "saga"], siblings: false },
    Floor { name: "clients", modules: &["client"], siblings: false },
    Floor { name: "memory", modules: &["memory"], siblings: false },
];

struct Floor {
    name: &'static str,
    modules: &'static [&'static str],
    siblings: bool,
}

/// The modules at the root of the crate that each module imports, with a file that does so.
type Imports = BTreeMap<String, BTreeMap<String, PathBuf>>;

/// Every file with its path in the crate, its module, and its text without its own tests.
fn files(source: &Path) -> Vec<(PathBuf, String, String)> {
    let (mut files, mut folders) = (Vec::new(), vec![source.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(source).unwrap().to_owned();
            let module = inside.components().next().unwrap().as_os_str().to_str().unwrap();
            let module = module.trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).unwrap();
            files.push((inside, module, text.split("#[cfg(test)]").next().unwrap().to_owned()));
        }
    }
    files
}

fn imports(source: &Path) -> Imports {
    let mut imports = Imports::new();
    for (inside, module, text) in files(source).into_iter().filter(|(_, module, _)| module != "lib") {
        let of_module = imports.entry(module.clone()).or_default();
        for name in text.split("crate::").skip(1).map(first_name).filter(|name| *name != module) {
            of_module.entry(name.to_owned()).or_insert_with(|| inside.clone());
        }
    }
    imports
}

fn first_name(path: &str) -> &str {
    path.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap()
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.modules.contains(&module))
}

/// All violations, in words.
fn violations(imports: &Imports) -> Vec<String> {
    let mut violations = Vec::new();
    for (module, imported) in imports {
        let Some(floor) = floor_of(module) else {
            violations.push(format!("{module} lies on no floor: add it to FLOORS"));
            continue;
        };
        for (other, file) in imported {
            let allowed = match floor_of(other) {
                Some(below) if below < floor => true,
                Some(same) if same == floor => FLOORS[floor].siblings && !reaches(imports, other, module),
                _ => false,
            };
            if !allowed {
                let name = FLOORS[floor].name;
                violations.push(format!("{} (floor: {name}) imports {other}", file.display()));
            }
        }
    }
    violations
}

/// Whether imports lead from one module to another.
fn reaches(imports: &Imports, from: &str, to: &str) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
    while let Some(module) = next.pop() {
        if module == to {
            return true;
        }
        if seen.insert(module) {
            next.extend(
                imports.get(module).into_iter().flat_map(|imported| imported.keys().map(String::as_str)),
            );
        }
    }
    false
}

#[test]
fn every_module_imports_only_what_lies_below_it() {
    let imports = imports(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert_eq!(violations(&imports), [""; 0]);
    assert!(
        imports.len() >= FLOORS.iter().map(|floor| floor.modules.len()).sum(),
        "a module of FLOORS is gone"
    );
}

#[test]
fn what_breaks_the_rules_is_found() {
    let of = |pairs: &[(&str, &str)]| {
        let mut imports = Imports::new();
        for (module, other) in pairs {
            let imported = imports.entry((*module).to_owned()).or_default();
            imported.insert((*other).to_owned(), PathBuf::from(format!("{module}.rs")));
        }
        violations(&imports)
    };
    assert_eq!(of(&[("saga", "retry"), ("message", "id"), ("memory", "command")]), [""; 0]);
    for (bad, count) in [
        (&[("id", "retry")][..], 1),
        (&[("saga", "command")], 1),
        (&[("retry", "store"), ("store", "retry")], 2),
        (&[("client", "memory")], 1),
        (&[("new", "id")], 1),
        (&[("id", "new")], 1),
    ] {
        assert_eq!(of(bad).len(), count, "{bad:?}");
    }
}

/// A host whose clock jumps by hours decides as all others do: times come with messages. Only a client's submission takes the
/// time of the host that it came to, if it brings none.
#[test]
fn no_result_depends_on_a_clock() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let reads = |text: &str| text.contains("Timestamp::now()") || text.contains("SystemTime");
    let readers = files(&source).into_iter().filter(|(_, module, text)| reads(text) && module != "time");
    let mut readers: Vec<_> =
        readers.map(|(_, module, _)| module).filter(|module| module != "memory").collect();
    readers.dedup();
    assert_eq!(readers, ["client"]);
}
