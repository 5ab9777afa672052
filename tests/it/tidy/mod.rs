//! The rules of the house that no compiler knows, held over the sources of this package.
//!
//! The rooms of `src/` stand along one street, and a room uses only rooms before it
//! (ARCHITECTURE.md). A new room is entered into [`ROOMS`] at its place, or this test fails.

#![allow(clippy::disallowed_methods, reason = "it reads the package's sources, no host")]
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a source that cannot be read fails the test"
)]

mod dependencies;
mod documents;
pub mod rust_text;
mod structure;

use std::fmt;
use std::path::Path as FilePath;

use rust_text::{Path, Token, paths, tokens};

struct Room {
    name: &'static str,
    /// Where it may use less than all the rooms before it: rooms, or modules of a room.
    only: Option<&'static [&'static str]>,
}

const fn room(name: &'static str) -> Room {
    Room { name, only: None }
}

const fn room_using(name: &'static str, only: &'static [&'static str]) -> Room {
    Room { name, only: Some(only) }
}

/// The rooms that every later room may use.
const FOR_ALL: &[&str] = &["quantity", "identity"];

const ROOMS: &[Room] = &[
    room("quantity"),
    room("identity"),
    room_using("clock", &[]),
    room_using("descriptors", &[]),
    // Two rooms that speak HTTP to somebody and know nothing of each other need the same of these.
    room_using("retry_after", &[]),
    room_using("small_file", &[]),
    room_using("mask", &[]),
    room_using("panics", &[]),
    room_using("certificate_fault", &[]),
    room_using("own_files", &[]),
    room_using("aside", &[]),
    room_using("printable", &[]),
    room("source"),
    room("snapshot"),
    room("attribution"),
    // Counts files on threads of its own; `snapshot` lends it the host's roots.
    room("disk_usage"),
    room("directory"),
    room("ledger"),
    room("metrics"),
    room("payload"),
    // These two see bytes and headers, never what the bytes say.
    room_using("spool", &["clock", "descriptors", "own_files", "aside"]),
    room_using(
        "delivery",
        &[
            "spool",
            "clock",
            "descriptors",
            "retry_after",
            "small_file",
            "mask",
            "panics",
            "certificate_fault",
        ],
    ),
    // The other end of the wire: what it shares with the agent is the wire.
    room_using("receiver", &["payload", "descriptors", "aside", "small_file"]),
    // The rooms above take plain arguments, and config knows none of them but the list of dialects.
    room_using("config", &["payload::dialect"]),
    room("checkpoint"),
    room("endpoint"),
    room("runtime"),
    room("cli"),
];

/// A path (or, with one segment, a word) that some rooms are not to hold.
struct Ban {
    segments: &'static [&'static str],
    rooms: fn(&str) -> bool,
    why: &'static str,
}

fn is_pure(room: &str) -> bool {
    matches!(room, "quantity" | "identity" | "attribution" | "ledger" | "payload")
}

fn is_domain(room: &str) -> bool {
    is_pure(room) && room != "payload" || matches!(room, "source" | "snapshot")
}

/// Rooms whose types stand in the state file.
fn holds_counters(room: &str) -> bool {
    matches!(room, "quantity" | "identity" | "source" | "ledger")
}

const NO_IO: &str = "this room is pure: what it needs of the system is passed in";
const NO_CLOCK: &str = "this room is told the time, it does not ask";

const BANS: &[Ban] = &[
    Ban {
        segments: &["anyhow"],
        rooms: |room| room != "cli",
        why: "anyhow is for cli; elsewhere an error has a type",
    },
    Ban {
        segments: &["serde"],
        // The exception: the state file holds counters as they are, with serde derives.
        rooms: |room| is_domain(room) && !holds_counters(room),
        why: "domain types carry no serde: wire structs live in payload",
    },
    Ban {
        segments: &["serde_json"],
        rooms: is_domain,
        why: "domain types carry no serde: wire structs live in payload",
    },
    Ban {
        segments: &["tokio"],
        rooms: |room| is_pure(room) || is_domain(room),
        why: "sampling is synchronous",
    },
    Ban { segments: &["f64"], rooms: |room| room == "quantity", why: "a counter is no float" },
    Ban { segments: &["std", "fs"], rooms: is_pure, why: NO_IO },
    Ban { segments: &["std", "env"], rooms: is_pure, why: NO_IO },
    Ban { segments: &["std", "process"], rooms: is_pure, why: NO_IO },
    Ban { segments: &["std", "thread"], rooms: is_pure, why: NO_IO },
    // `SystemTime` is also what humantime formats; that nobody asks it for now is clippy.toml's.
    Ban { segments: &["std", "time", "Instant"], rooms: is_pure, why: NO_CLOCK },
];

#[derive(Debug, Clone, PartialEq, Eq)]
struct Violation {
    file: String,
    line: usize,
    rule: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.rule)
    }
}

/// One source file under the rules; `path` is relative to the package, `src/ledger/mod.rs`.
struct Checked<'a> {
    path: &'a str,
    violations: Vec<Violation>,
}

impl Checked<'_> {
    fn breaks(&mut self, line: usize, rule: impl Into<String>) {
        self.violations.push(Violation { file: self.path.to_owned(), line, rule: rule.into() });
    }
}

fn check(path: &str, text: &str) -> Vec<Violation> {
    let mut file = Checked { path, violations: Vec::new() };
    let tokens = tokens(text);
    check_names(&mut file, &tokens);
    check_doc_comments(&mut file, text);
    check_ignored_tests(&mut file, &tokens);
    if let Some(in_src) = path.strip_prefix("src/") {
        let module = module_of(in_src);
        let paths = paths(&tokens, &module);
        // The number of a namespace comes by an ioctl, for which there is no safe call.
        if in_src != "source/root.rs" {
            check_unsafe(&mut file, &tokens);
        }
        check_reexports(&mut file, &paths);
        // The crate's root and the binary belong to no room: they declare the rooms and start them.
        if let Some(room) = module.first().filter(|_| !matches!(in_src, "lib.rs" | "main.rs")) {
            check_rooms(&mut file, room, &paths);
            check_bans(&mut file, room, &tokens, &paths);
            if *room == "source" {
                check_source(&mut file, text, &tokens);
            }
        }
    }
    file.violations.sort_by_key(|violation| violation.line);
    file.violations
}

/// `source/cpu_stat.rs` is the module `source::cpu_stat`, `source/mod.rs` is `source`.
fn module_of(in_src: &str) -> Vec<&str> {
    let stem = in_src.strip_suffix(".rs").unwrap_or(in_src);
    let mut module: Vec<&str> = stem.split('/').collect();
    if matches!(module.last(), Some(&"mod" | &"lib" | &"main")) {
        module.pop();
    }
    module
}

fn check_rooms(file: &mut Checked<'_>, own: &str, paths: &[Path]) {
    let Some(at) = ROOMS.iter().position(|room| room.name == own) else {
        file.breaks(1, format!("`{own}` is no room: enter it into ROOMS in tests/it/tidy"));
        return;
    };
    let before = &ROOMS[..at];
    for path in paths.iter().filter(|path| path.segments[0] == "crate") {
        let used = path.segments[1].as_str();
        if used == own {
            continue;
        }
        let stands_before = before.iter().any(|room| room.name == used);
        let is_within = |allowed: &&str| {
            let mut segments = path.segments[1..].iter();
            allowed.split("::").all(|allowed| segments.next().is_some_and(|used| used == allowed))
        };
        let may = ROOMS[at].only.is_none_or(|only| only.iter().chain(FOR_ALL).any(is_within));
        if !ROOMS.iter().any(|room| room.name == used) {
            let rule =
                format!("`{}` names no room: write crate::<room>::…", path.segments.join("::"));
            file.breaks(path.line, rule);
        } else if !stands_before {
            file.breaks(path.line, format!("`{own}` uses `{used}`, which stands after it"));
        } else if !may {
            let only = [FOR_ALL, ROOMS[at].only.unwrap_or_default()].concat().join(", ");
            file.breaks(path.line, format!("`{own}` uses `{used}`; it may use only {only}"));
        }
    }
}

fn check_bans(file: &mut Checked<'_>, room: &str, tokens: &[Token], paths: &[Path]) {
    for ban in BANS.iter().filter(|ban| (ban.rooms)(room)) {
        let rule = format!("`{}` in `{room}`: {}", ban.segments.join("::"), ban.why);
        let mut lines: Vec<usize> = match ban.segments {
            [word] => tokens.iter().filter(|t| t.is_word(word)).map(|t| t.line).collect(),
            long => paths
                .iter()
                .filter(|path| {
                    path.segments
                        .iter()
                        .map(String::as_str)
                        .take(long.len())
                        .eq(long.iter().copied())
                })
                .map(|path| path.line)
                .collect(),
        };
        lines.dedup();
        for line in lines {
            file.breaks(line, rule.clone());
        }
    }
    if room == "quantity" {
        for three in tokens.windows(3) {
            if three[0].is_word("From") && three[1].is_mark('<') && three[2].is_word("u64") {
                file.breaks(
                    three[0].line,
                    "a quantity is made by a constructor that names the unit",
                );
            }
        }
    }
}

fn check_reexports(file: &mut Checked<'_>, paths: &[Path]) {
    for path in paths {
        if path.reexport && path.segments.last().is_some_and(|last| last == "*") {
            file.breaks(path.line, "a glob re-export hides where a name comes from");
        }
    }
}

fn check_unsafe(file: &mut Checked<'_>, tokens: &[Token]) {
    for token in tokens.iter().filter(|token| token.is_word("unsafe")) {
        file.breaks(token.line, "no unsafe code in this package");
    }
}

fn check_names(file: &mut Checked<'_>, tokens: &[Token]) {
    const CATCH_ALLS: [&str; 6] = ["util", "utils", "common", "helper", "helpers", "misc"];
    let rule = |name: &str| format!("`{name}` says nothing: name the module after what it knows");
    let components = file.path.strip_suffix(".rs").unwrap_or(file.path).split('/');
    for name in components.filter(|name| CATCH_ALLS.contains(name)) {
        file.breaks(1, rule(name));
    }
    for two in tokens.windows(2) {
        if two[0].is_word("mod")
            && let Some(name) = two[1].word().filter(|name| CATCH_ALLS.contains(name))
        {
            file.breaks(two[0].line, rule(name));
        }
    }
}

/// A doc comment says what an item is; one that opens with a question word describes something else.
fn check_doc_comments(file: &mut Checked<'_>, text: &str) {
    let mut is_inside = false;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let doc = line.strip_prefix("///").or_else(|| line.strip_prefix("//!"));
        let first = doc.and_then(|doc| doc.split_whitespace().next()).filter(|_| !is_inside);
        if let Some(first) = first.filter(|first| ["What", "How", "Whether"].contains(first)) {
            file.breaks(number + 1, format!("a doc comment begins with `{first}`"));
        }
        is_inside = doc.is_some();
    }
}

fn check_ignored_tests(file: &mut Checked<'_>, tokens: &[Token]) {
    for three in tokens.windows(3) {
        let opens = three[0].is_mark('[') || three[0].is_mark(',');
        let closes = three[2].is_mark(']') || three[2].is_mark(')');
        if opens && three[1].is_word("ignore") && closes {
            file.breaks(three[1].line, "an ignored test says why: #[ignore = \"…\"]");
        }
    }
}

/// Kernel files are read without knowing of Kubernetes, and each parser says what it parses.
fn check_source(file: &mut Checked<'_>, text: &str, tokens: &[Token]) {
    for token in tokens {
        let word = token.word().unwrap_or_default().to_ascii_lowercase();
        if word.contains("kube") || word.starts_with("pod") {
            file.breaks(token.line, format!("`{word}` is no word of the kernel's"));
        }
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for three in tokens.windows(3) {
        let is_parser = three[0].is_word("pub")
            && three[1].is_word("fn")
            && three[2].word().is_some_and(|name| name == "parse" || name.starts_with("parse_"));
        if !is_parser {
            continue;
        }
        let mut above = lines[..three[0].line - 1].iter().rev();
        let nearest = above.find(|line| !line.starts_with("#["));
        if !nearest.is_some_and(|line| line.starts_with("//")) {
            file.breaks(three[0].line, "a parser has its file's line format in a comment above it");
        }
    }
}

fn read_sources(folder: &FilePath, package: &FilePath, into: &mut Vec<(String, String)>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, package, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(package).unwrap().to_str().unwrap().to_owned();
            into.push((name, std::fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn the_sources_keep_the_rules_of_the_house() {
    let package = FilePath::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for folder in ["src", "tests", "benches", "examples", "fuzz/readers", "fuzz/targets"] {
        read_sources(&package.join(folder), package, &mut files);
    }
    for expected in ["src/lib.rs", "src/attribution/mod.rs", "tests/it/tidy/mod.rs"] {
        assert!(files.iter().any(|(path, _)| path == expected), "{expected} was not read");
    }
    let mut broken: Vec<String> =
        files.iter().flat_map(|(path, text)| check(path, text)).map(|v| v.to_string()).collect();
    broken.extend(structure::check(&files).iter().map(ToString::to_string));
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// The checker on small files: what it must catch, and what it must let pass.
mod checker {
    use super::check;

    #[track_caller]
    fn assert_caught(path: &str, text: &str, line: usize, rule: &str) {
        let violations = check(path, text);
        let [violation] = violations.as_slice() else {
            panic!("one violation expected, not {violations:#?}");
        };
        let told = violation.to_string();
        assert!(told.starts_with(&format!("{path}:{line}: ")), "{told}");
        assert!(violation.rule.contains(rule), "{told}");
    }

    #[track_caller]
    fn assert_passes(path: &str, text: &str) {
        assert_eq!(check(path, text), []);
    }

    #[test]
    fn a_later_room_is_caught_in_every_spelling() {
        let rule = "`source` uses `ledger`, which stands after it";
        let file = "src/source/cpu_stat.rs";
        assert_caught(file, "use crate::ledger::Delta;", 1, rule);
        assert_caught(
            file,
            "\nuse crate::{\n    quantity::Bytes,\n    ledger::{Delta},\n};",
            4,
            rule,
        );
        assert_caught(file, "pub(crate) use crate::ledger;", 1, rule);
        assert_caught(file, "fn f() {\n    crate::ledger::add(1)\n}", 2, rule);
        assert_caught(file, "fn f(a: Vec<crate::ledger::Delta>) {}", 1, rule);
        assert_caught(file, "macro_rules! m { () => { $crate::ledger::add() } }", 1, rule);
        assert_caught(file, "use super::super::ledger::Delta;", 1, rule);
        assert_caught("src/source/mod.rs", "use super::ledger::Delta;", 1, rule);
        assert_caught(file, "mod tests {\n use super::super::super::ledger::Delta; }", 2, rule);
        assert_caught(file, "mod a { mod b {} }\nuse super::super::ledger::Delta;", 2, rule);
    }

    #[test]
    fn rooms_before_and_the_room_itself_may_be_used() {
        assert_passes("src/ledger/mod.rs", "use crate::{attribution::Owner, snapshot::Host};");
        assert_passes("src/ledger/owners.rs", "use super::Delta; use crate::ledger::Residual;");
        assert_passes(
            "src/ledger/owners.rs",
            "mod tests { use super::super::Delta; use super::*; }",
        );
        assert_passes(
            "src/cli/dump.rs",
            "use crate::runtime::Sampler; use crate::config::Settings;",
        );
        assert_passes(
            "src/delivery/http.rs",
            "use crate::spool::Batch; use crate::quantity::Bytes;",
        );
        assert_passes("src/lib.rs", "pub mod ledger; pub mod cli;");
        assert_passes("src/main.rs", "fn main() -> anyhow::Result<()> { nodetally::cli::run() }");
    }

    #[test]
    fn comments_and_strings_are_not_read_as_code() {
        for text in [
            "// use crate::ledger::Delta; unsafe",
            "/* crate::ledger::X /* nested */ unsafe */",
            "/// [`crate::ledger::Delta`]\nstruct A;",
            r#"const A: &str = "\"crate::ledger::X unsafe";"#,
            "const A: &str = r#\"\"crate::ledger::X\" unsafe\"#;",
            "const A: &[u8] = b\"unsafe\"; const B: char = '\"'; const C: u8 = b'\\'';",
            "fn f<'a>(a: &'a str) -> &'a str { a } const C: char = 'x';",
        ] {
            assert_passes("src/source/cpu_stat.rs", text);
        }
        // And what follows them is.
        assert_caught("src/source/a.rs", "const A: char = '\"';\nunsafe {}", 2, "unsafe");
        assert_caught("src/source/a.rs", "fn f<'a>() {}\nunsafe {}", 2, "unsafe");
        assert_caught("src/source/a.rs", "const A: &str = \"a\nb\";\nunsafe {}", 3, "unsafe");
        assert_caught("src/source/a.rs", "/* a\n /* b */\n */ unsafe {}", 3, "unsafe");
    }

    #[test]
    fn a_room_with_a_short_list_is_held_to_it() {
        let only = "it may use only quantity, identity";
        assert_caught(
            "src/receiver/mod.rs",
            "use crate::ledger::Delta;",
            1,
            "only quantity, identity, payload",
        );
        assert_caught("src/config/mod.rs", "use crate::source::Root;", 1, only);
        assert_caught("src/config/mod.rs", "use crate::payload::Dialect;", 1, only);
        assert_passes("src/config/mod.rs", "use crate::payload::dialect::Dialect;");
        assert_caught("src/spool/mod.rs", "use crate::payload::Node;", 1, only);
        assert_caught("src/delivery/http.rs", "use crate::payload::Node;", 1, "identity, spool");
        assert_caught("src/receiver/mod.rs", "use crate::config::Settings;", 1, "stands after it");
        assert_passes("src/receiver/mod.rs", "use crate::payload::resource_api::Node;");
    }

    #[test]
    fn what_is_no_room_is_caught() {
        assert_caught("src/extras/mod.rs", "", 1, "`extras` is no room");
        assert_caught("src/extras.rs", "", 1, "`extras` is no room");
        assert_caught("src/ledger/mod.rs", "use crate::Everything;", 1, "names no room");
        assert_caught("src/ledger/mod.rs", "use crate::*;", 1, "names no room");
        assert_caught("src/ledger/mod.rs", "use crate::{self as root};", 1, "names no room");
        assert_caught("src/ledger/mod.rs", "use super::*;", 1, "names no room");
    }

    #[test]
    fn words_that_a_room_is_not_to_hold_are_caught() {
        assert_caught("src/runtime/mod.rs", "use anyhow::Result;", 1, "anyhow is for cli");
        assert_passes("src/cli/mod.rs", "use anyhow::Result;");
        assert_caught(
            "src/snapshot/mod.rs",
            "#[derive(serde::Serialize)] struct A;",
            1,
            "no serde",
        );
        assert_passes("src/payload/mod.rs", "use serde::Serialize;");
        assert_passes("src/ledger/mod.rs", "use serde::Serialize;");
        assert_caught(
            "src/ledger/mod.rs",
            "use std::{fmt,\n time::{Duration, Instant}};",
            2,
            "told the time",
        );
        assert_passes("src/payload/mod.rs", "use std::time::{Duration, SystemTime};");
        assert_caught("src/payload/mod.rs", "fn f() { std::fs::read(\"a\"); }", 1, "is pure");
        assert_caught("src/snapshot/mod.rs", "async fn f() { tokio::spawn(a) }", 1, "synchronous");
        assert_caught("src/quantity.rs", "impl From<u64> for Bytes {}", 1, "names the unit");
        assert_caught("src/quantity.rs", "struct Rate(f64);", 1, "no float");
    }

    #[test]
    fn a_glob_reexport_is_caught_and_a_private_glob_is_not() {
        let rule = "glob re-export";
        assert_caught("src/ledger/mod.rs", "pub use self::owners::*;", 1, rule);
        assert_caught("src/ledger/mod.rs", "pub(crate) use owners::{Owner, inner::*};", 1, rule);
        assert_caught("src/lib.rs", "pub use ledger::*;", 1, rule);
        assert_passes("src/ledger/mod.rs", "use owners::*; pub use owners::Owner;");
        assert_passes("src/ledger/mod.rs", "pub fn f() {} use owners::*;");
    }

    #[test]
    fn unsafe_code_is_caught_and_the_lint_against_it_is_not() {
        assert_caught("src/main.rs", "fn main() {\n    unsafe { f() }\n}", 2, "unsafe");
        assert_passes("src/lib.rs", "#![forbid(unsafe_code)]");
    }

    #[test]
    fn a_catch_all_module_is_caught() {
        assert_caught("src/ledger/util.rs", "", 1, "`util`");
        assert_caught("tests/common/mod.rs", "", 1, "`common`");
        assert_caught("src/ledger/mod.rs", "struct A;\nmod helpers;", 2, "`helpers`");
        assert_passes("src/ledger/mod.rs", "mod utilisation;");
    }

    #[test]
    fn a_doc_comment_that_begins_with_a_question_word_is_caught() {
        assert_caught("src/ledger/mod.rs", "/// What it is.\nstruct A;", 1, "`What`");
        assert_caught("tests/a.rs", "fn f() {\n    /// How it is.\n    fn g() {}\n}", 2, "`How`");
        assert_caught("src/ledger/mod.rs", "//! Whether it is.", 1, "`Whether`");
        assert_passes(
            "src/ledger/mod.rs",
            "/// The answer to a question:\n/// What is it?\nstruct A;",
        );
        assert_passes("src/ledger/mod.rs", "// What it is.\n/// Whatever.\nstruct A;");
    }

    #[test]
    fn a_test_ignored_without_a_reason_is_caught() {
        let rule = "says why";
        assert_caught("tests/a.rs", "#[test]\n#[ignore]\nfn a() {}", 2, rule);
        assert_caught("tests/a.rs", "#[cfg_attr(miri, ignore)]\nfn a() {}", 1, rule);
        assert_passes("tests/a.rs", "#[ignore = \"needs root\"]\nfn a() {}");
        assert_passes("tests/a.rs", "fn a(ignore: bool) { f(1, ignore = 2, [3]) }");
    }

    #[test]
    fn a_parser_of_a_source_without_its_format_is_caught() {
        let rule = "line format";
        let file = "src/source/cpu_stat.rs";
        assert_caught(file, "struct A;\n\n#[must_use]\npub fn parse(text: &[u8]) {}", 4, rule);
        assert_caught(file, "pub fn parse_line(text: &[u8]) {}", 1, rule);
        assert_passes(file, "/// `usage_usec 12`\n#[must_use]\npub fn parse(text: &[u8]) {}");
        assert_passes(file, "fn parse_figure(text: &[u8]) {}");
        assert_passes("src/payload/a.rs", "pub fn parse(text: &[u8]) {}");
    }

    #[test]
    fn a_word_of_kubernetes_in_a_source_is_caught() {
        assert_caught("src/source/a.rs", "struct PodCgroup;", 1, "no word of the kernel");
        assert_caught(
            "src/source/a.rs",
            "const KUBEPODS: &str = \"a\";",
            1,
            "no word of the kernel",
        );
        assert_passes("src/source/a.rs", "const A: &str = \"kubepods\"; struct Tripod;");
    }
}

/// Nouns of log lines and reports. The number before one is 1 now and then.
const NOUNS: &[&str] = &[
    "batches",
    "cgroups",
    "containers",
    "endpoints",
    "files",
    "gaps",
    "namespaces",
    "panics",
    "pods",
    "points",
    "posts",
    "processes",
    "retries",
    "samples",
    "sinks",
    "sources",
    "units",
];

/// The plural noun behind a number that is filled in, such as `{count} cgroups`; a limit is exempt.
fn uncounted(line: &str) -> Option<&'static str> {
    NOUNS.iter().copied().find(|noun| {
        line.match_indices(&format!("}} {noun}")).any(|(at, found)| {
            let rest = line.split_at(at + found.len()).1;
            let is_word = !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
            let before = line.split_at(at).0.rsplit_once('{').map_or("", |(before, _)| before);
            let is_limit = before.ends_with("at most ") || before.ends_with("up to ");
            is_word && !is_limit && !line.trim_start().starts_with("//")
        })
    })
}

#[test]
fn a_number_and_its_noun_agree_everywhere() {
    assert_eq!(uncounted("\"{} cgroups in {:.1} ms\""), Some("cgroups"));
    assert_eq!(uncounted("keeps at most {max} posts"), None);
    let package = FilePath::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    read_sources(&package.join("src"), package, &mut files);
    let found: Vec<String> = files
        .iter()
        .flat_map(|(path, text)| {
            let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or(text);
            text.lines().enumerate().filter_map(move |(at, line)| {
                let noun = uncounted(line)?;
                Some(format!("{path}:{}: {noun}: use quantity::counted", at + 1))
            })
        })
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}
