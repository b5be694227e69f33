//! Guests written by hand, which do what no compiler would generate.

use std::fmt::Write;
use std::path::Path;
use std::str::SplitWhitespace;

use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The address of zeros for a function's result: an accepted decision without events, no snapshot, no keys.
const RESULT: u32 = 512;
const DATA: u32 = 1024;

/// A world of the contract with imports beside it.
#[derive(Clone, Copy)]
pub(crate) struct Beside {
    /// WIT with a world `guest`, which includes one of the contract's.
    pub(crate) wit: &'static str,
    /// The imports of the module, as text.
    pub(crate) imports: &'static str,
}

/// A guest in the role `command-handler`. It accepts `do`, declares `done` version 1
/// and the code `no`, and does nothing.
///
/// `parts` replaces bodies of functions by name (`describe`, `constructor`, `restore`, `evolve`, `decide`, `snapshot`),
/// sets the `commands` that it takes and the `events` that it emits and folds (separated by spaces, an event with `@` and
/// its version), or the number of `pages` that its memory starts with, or adds
/// `more` fields to the module. A function may use
/// `$log`, and `$heap`, where the host's arguments lie from 64 KiB on.
pub(crate) fn handler(parts: &[(&str, &str)]) -> Vec<u8> {
    handler_beside(None, parts)
}

/// The same with more imports.
pub(crate) fn handler_beside(beside: Option<Beside>, parts: &[(&str, &str)]) -> Vec<u8> {
    let mut data = Data::default();
    let identity = data.identity("hostile");
    let commands: Vec<_> = words(parts, "commands", "do").map(|command| (command, None)).collect();
    let events: Vec<_> = words(parts, "events", "done")
        .map(|event| match event.split_once('@') {
            Some((event, version)) => (event, Some(version.parse().expect("a version"))),
            None => (event, Some(1)),
        })
        .collect();
    let (commands, events) = (data.list(&commands), data.list(&events));
    let codes = data.list(&[("no", None)]);
    let descriptor =
        data.words(&[&identity[..], &commands, &events, &events, &codes, &[1], &[0, 0]].concat());
    module(
        "command-handler",
        beside,
        &data,
        parts,
        &[
            ("describe", "describe", "(result i32)", &format!("(i32.const {descriptor})")),
            (
                "constructor",
                "[constructor]entity",
                "(param i32 i32) (result i32)",
                "(call $new (i32.const 1))",
            ),
            ("restore", "[static]entity.restore", "(param i32 i32 i32 i32) (result i32)", "(unreachable)"),
            ("evolve", "[method]entity.evolve", "(param i32 i32 i32) (result i32)", "(i32.const 512)"),
            ("decide", "[method]entity.decide", "(param i32) (result i32)", "(i32.const 512)"),
            ("snapshot", "[method]entity.snapshot", "(param i32) (result i32)", "(i32.const 512)"),
        ],
    )
}

fn words<'p>(parts: &[(&str, &'p str)], name: &str, default: &'p str) -> SplitWhitespace<'p> {
    parts.iter().find(|(part, _)| *part == name).map_or(default, |(_, words)| *words).split_whitespace()
}

/// A guest in the role `projection` that reads all events and touches no key; `parts` as for [`handler`].
pub(crate) fn projection(parts: &[(&str, &str)]) -> Vec<u8> {
    projection_beside(None, parts)
}

/// The same with more imports.
pub(crate) fn projection_beside(beside: Option<Beside>, parts: &[(&str, &str)]) -> Vec<u8> {
    let mut data = Data::default();
    let identity = data.identity("hostile");
    let descriptor = data.words(&[&identity[..], &[0, 0], &[1], &[0, 0]].concat());
    module(
        "projection",
        beside,
        &data,
        parts,
        &[
            ("describe", "describe", "(result i32)", &format!("(i32.const {descriptor})")),
            // As many empty lists as there are events, at an address of zeros. A list lies behind 8 bytes: a failure has a
            // number of 64 bits in its place.
            (
                "keys",
                "keys",
                "(param i32 i32) (result i32)",
                "(i32.store (i32.const 520) (i32.const 4096)) (i32.store (i32.const 524) (local.get 1)) (i32.const 512)",
            ),
            (
                "project",
                "project",
                "(param i32 i32 i32 i32) (result i32)",
                "(i32.store (i32.const 520) (i32.const 0)) (i32.store (i32.const 524) (i32.const 0)) (i32.const 512)",
            ),
        ],
    )
}

/// Text of the WebAssembly component format, as bytes.
pub(crate) fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("valid text")
}

/// A component that exports `interface` with these functions; each is given by name, type and core body.
pub(crate) fn exporting(interface: &str, functions: &[(&str, &str, &str)]) -> Vec<u8> {
    let (mut core, mut lifts, mut exports) = (String::new(), String::new(), String::new());
    for (n, (name, kind, body)) in functions.iter().enumerate() {
        let _ = write!(core, "(func (export \"f{n}\") {body})");
        let _ =
            write!(lifts, "(func $f{n} {kind} (canon lift (core func $i \"f{n}\") (memory $i \"memory\")))");
        let _ = write!(exports, "(export \"{name}\" (func $f{n}))");
    }
    wat(&format!(
        "(component (core module $m (memory (export \"memory\") 1) {core}) (core instance $i (instantiate $m)) {lifts}
           (instance $e {exports}) (export \"{interface}\" (instance $e)))"
    ))
}

fn module(
    role: &str,
    beside: Option<Beside>,
    data: &Data,
    parts: &[(&str, &str)],
    functions: &[(&str, &str, &str, &str)],
) -> Vec<u8> {
    let part = |name: &str| parts.iter().find(|(part, _)| *part == name).map(|(_, text)| *text);
    let interface = format!("pelton:plugin/{role}@0.1.0");
    let mut bodies = String::new();
    for (name, export, kind, body) in functions {
        let body = part(name).unwrap_or(body);
        let _ = writeln!(bodies, "(func ${name} (export \"{interface}#{export}\") {kind} {body})");
    }
    let new = match role {
        "command-handler" => {
            format!(
                "(import \"[export]{interface}\" \"[resource-new]entity\" (func $new (param i32) (result i32)))"
            )
        }
        _ => String::new(),
    };
    let text = format!(
        r#"(module $guest
            (import "pelton:plugin/log@0.1.0" "log" (func $log (param i32 i32 i32)))
            {new}
            {imports}
            (memory (export "memory") {pages})
            (global $heap (mut i32) (i32.const 65536))
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
              (local $at i32)
              (local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
              (global.set $heap (i32.add (local.get $at) (local.get 3)))
              (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const 65536)))
                (then (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then unreachable))))
              (local.get $at))
            (data (i32.const {DATA}) "{data}")
            {bodies}
            {more})"#,
        imports = beside.map_or("", |beside| beside.imports),
        pages = part("pages").unwrap_or("4"),
        data = data.escaped(),
        more = part("more").unwrap_or(""),
    );
    let mut module = wat(&text);
    let mut resolve = Resolve::default();
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let wit = folders.map(|folder| folder.join("wit")).find(|wit| wit.is_dir()).expect("the contract");
    let (package, _) = resolve.push_path(&wit).expect("the contract parses");
    let world = match beside {
        None => resolve.select_world(&[package], Some(&format!("{role}-plugin"))),
        Some(beside) => resolve
            .push_str("beside.wit", &beside.wit.replace("ROLE", role))
            .and_then(|beside| resolve.select_world(&[beside], Some("guest"))),
    };
    let world = world.expect("the role has a world");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("embeds");
    pelton_wasm::component::componentize(&module).expect("a component")
}

/// The guest's constants, in the layout of the canonical ABI.
#[derive(Default)]
struct Data(Vec<u8>);

impl Data {
    fn words(&mut self, words: &[u32]) -> u32 {
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        let at = DATA + u32::try_from(self.0.len()).expect("small");
        self.0.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        at
    }

    fn text(&mut self, text: &str) -> [u32; 2] {
        let at = DATA + u32::try_from(self.0.len()).expect("small");
        self.0.extend(text.bytes());
        [at, u32::try_from(text.len()).expect("small")]
    }

    fn identity(&mut self, name: &str) -> [u32; 6] {
        let (name, version) = (self.text(name), self.text("1.0.0"));
        [name[0], name[1], version[0], version[1], 0, 0]
    }

    /// A list of texts, each with a version or without.
    fn list(&mut self, entries: &[(&str, Option<u32>)]) -> [u32; 2] {
        let words: Vec<u32> =
            entries.iter().flat_map(|(text, version)| self.text(text).into_iter().chain(*version)).collect();
        [self.words(&words), u32::try_from(entries.len()).expect("small")]
    }

    fn escaped(&self) -> String {
        self.0.iter().fold(String::new(), |text, byte| text + &format!("\\{byte:02x}"))
    }
}

/// A decision in the guest's memory: one event of this type, version 1, with data of this many bytes from address 0.
pub(crate) fn one_event(r#type: [u8; 4], data_bytes: u32) -> String {
    let name = 2040;
    let stored = format!("(i32.store (i32.const {name}) (i32.const {}))", i32::from_le_bytes(r#type));
    stored + &event_of(name, 4, data_bytes)
}

/// The same decision, with a type of this many bytes from this address.
pub(crate) fn event_of(type_at: u32, type_bytes: u32, data_bytes: u32) -> String {
    // new-event: type, version, no datacontenttype, no extensions, data
    let event = 2048;
    let words = [
        (event, type_at),
        (event + 4, type_bytes),
        (event + 8, 1),
        (event + 32, 0),
        (event + 36, data_bytes),
    ];
    let mut text = String::new();
    for (at, word) in words {
        let _ = write!(text, "(i32.store (i32.const {at}) (i32.const {word}))");
    }
    text + &decided(event, 1)
}

/// A decision in the guest's memory: the list at this address with this many entries.
pub(crate) fn decided(list: u32, entries: u32) -> String {
    format!(
        "(i32.store8 (i32.const {RESULT}) (i32.const 0)) (i32.store (i32.const {}) (i32.const {list}))
         (i32.store (i32.const {}) (i32.const {entries})) (i32.const {RESULT})",
        RESULT + 4,
        RESULT + 8
    )
}
