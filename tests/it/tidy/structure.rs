//! Rules that need all sources at once: no circle of files inside a room, and each type name once.

use std::collections::{BTreeMap, BTreeSet};

use super::rust_text::{Kind, Token, paths, tokens};
use super::{Violation, module_of};

/// Files of wire formats: their structs are named after the format, and two formats may share a name.
const WIRE: &[&str] = &[
    "src/payload/pod_batch/",
    "src/payload/pod_lifecycle/",
    "src/payload/metrics_k8s_io/",
    "src/payload/kubelet/",
    "src/payload/dump/",
    "src/payload/remote_write/messages.rs",
    "src/directory/objects/",
    "src/directory/cri/messages.rs",
];

/// Violations of the rules over all files of `src/`: path and text.
pub fn check(files: &[(String, String)]) -> Vec<Violation> {
    let sources: BTreeMap<&str, Vec<Token>> = files
        .iter()
        .filter(|(path, _)| path.starts_with("src/") && !is_test_file(path))
        .map(|(path, text)| (path.as_str(), tokens(without_unit_tests(text))))
        .collect();
    let mut violations = check_circles(&sources);
    violations.extend(check_type_names(&sources));
    violations
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// The text above the unit tests, which may import anything and name types as they like.
fn without_unit_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod ").next().unwrap_or(text)
}

fn module_in_src(path: &str) -> Vec<&str> {
    module_of(path.strip_prefix("src/").unwrap_or(path))
}

/// Arrows of one room: file → files that it takes names from. A re-export in a `mod.rs` is no arrow;
/// a name taken through it comes from the file that defines it.
fn check_circles(sources: &BTreeMap<&str, Vec<Token>>) -> Vec<Violation> {
    let file_of: BTreeMap<Vec<&str>, &str> =
        sources.keys().map(|path| (module_in_src(path), *path)).collect();
    let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (path, tokens) in sources {
        let module = module_in_src(path);
        let Some(room) = module.first() else { continue };
        for used in paths(tokens, &module).iter().filter(|used| !used.reexport) {
            let mut segments: Vec<&str> = used.segments.iter().map(String::as_str).collect();
            if segments[0] == "crate" {
                segments.remove(0);
            } else if file_of.contains_key(&[module.as_slice(), &segments[..1]].concat()) {
                // `child::Name` in the file that declares the module `child`.
                segments.splice(0..0, module.iter().copied());
            } else {
                continue;
            }
            if segments.first() != Some(room) {
                continue;
            }
            let target = defining_file(&segments, &file_of, sources, 0);
            if let Some(target) = target.filter(|target| target != path) {
                arrows.entry(path).or_default().insert(target);
            }
        }
    }
    let reachable = |from: &str| {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = arrows.get(from).into_iter().flatten().copied().collect();
        while let Some(file) = open.pop() {
            if seen.insert(file) {
                open.extend(arrows.get(file).into_iter().flatten().copied());
            }
        }
        seen
    };
    let reach: BTreeMap<&str, BTreeSet<&str>> =
        arrows.keys().map(|file| (*file, reachable(file))).collect();
    let returns = |from: &str, to: &str| reach.get(to).is_some_and(|seen| seen.contains(from));
    let mut violations = Vec::new();
    for (file, targets) in &arrows {
        for target in targets.iter().filter(|target| returns(file, target)) {
            let rule = format!("takes names from {target}, which leads back: a circle of files");
            violations.push(Violation { file: (*file).to_owned(), line: 1, rule });
        }
    }
    violations
}

/// The file that defines the last segment of a path below the crate, through re-exports.
fn defining_file<'a>(
    segments: &[&str],
    file_of: &BTreeMap<Vec<&'a str>, &'a str>,
    sources: &BTreeMap<&'a str, Vec<Token>>,
    depth: usize,
) -> Option<&'a str> {
    let (at, file) =
        (1..=segments.len()).rev().find_map(|at| Some((at, *file_of.get(&segments[..at])?)))?;
    let (Some(name), true) = (segments.get(at), depth < 4) else { return Some(file) };
    let module = &segments[..at];
    let reexported = paths(&sources[file], module)
        .into_iter()
        .find(|path| path.reexport && path.segments.last().is_some_and(|last| last == name));
    let Some(reexported) = reexported else { return Some(file) };
    let words: Vec<&str> = reexported.segments.iter().map(String::as_str).collect();
    let full = match words.as_slice() {
        ["crate", rest @ ..] => rest.to_vec(),
        rest => [module, rest].concat(),
    };
    defining_file(&full, file_of, sources, depth + 1)
}

fn check_type_names(sources: &BTreeMap<&str, Vec<Token>>) -> Vec<Violation> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    let mut violations = Vec::new();
    for (path, tokens) in sources.iter().filter(|(path, _)| !is_wire(path)) {
        for (name, line) in type_names(tokens) {
            let rule = match seen.get(name) {
                Some(first) => format!("the type name `{name}` is taken by {first}"),
                None => {
                    seen.insert(name.to_owned(), path);
                    continue;
                }
            };
            violations.push(Violation { file: (*path).to_owned(), line, rule });
        }
    }
    violations
}

fn is_wire(path: &str) -> bool {
    WIRE.iter().any(|wire| path.starts_with(wire))
}

/// Types at the top level of a file. Those inside functions and the associated types of a trait are
/// nobody else's.
fn type_names(tokens: &[Token]) -> impl Iterator<Item = (&str, usize)> {
    let mut depth = 0_usize;
    tokens.windows(2).filter_map(move |two| {
        if two[0].is_mark('{') {
            depth += 1;
        } else if two[0].is_mark('}') {
            depth = depth.saturating_sub(1);
        }
        let is_type = ["struct", "enum", "trait", "type", "union"];
        let declares = depth == 0 && is_type.iter().any(|word| two[0].is_word(word));
        let name = two[1].word().filter(|_| declares && two[1].kind != Kind::Literal)?;
        Some((name, two[1].line))
    })
}

#[cfg(test)]
mod checker {
    use super::check;

    fn rules(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<(String, String)> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        check(&files).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_circle_of_files_inside_a_room_is_caught() {
        let a = ("src/ledger/a.rs", "use super::b::B;\npub struct A;");
        let back = ("src/ledger/b.rs", "pub struct B;\nfn f(a: super::a::A) {}");
        assert_eq!(rules(&[a, back]).len(), 2, "{:?}", rules(&[a, back]));
        let one_way = ("src/ledger/b.rs", "pub struct B;");
        assert_eq!(rules(&[a, one_way]), [""; 0]);
    }

    #[test]
    fn a_circle_through_three_files_or_a_parent_is_caught() {
        let a = ("src/ledger/a.rs", "use super::b::B;\npub struct A;");
        let b = ("src/ledger/b.rs", "use super::c::C;\npub struct B;");
        let c = ("src/ledger/c.rs", "use crate::ledger::a::A;\npub struct C;");
        assert_eq!(rules(&[a, b, c]).len(), 3);
        let parent = ("src/ledger/mod.rs", "mod a;\npub struct P(a::A);");
        let child = ("src/ledger/a.rs", "use super::P;\npub struct A;");
        assert_eq!(rules(&[parent, child]).len(), 2);
    }

    #[test]
    fn a_reexport_is_no_arrow_and_is_looked_through() {
        let parent = ("src/ledger/mod.rs", "mod a;\nmod b;\npub use a::A;\npub use b::B;");
        let a = ("src/ledger/a.rs", "use super::B;\npub struct A;");
        let b =
            ("src/ledger/b.rs", "pub struct B;\n#[cfg(test)]\nmod tests { use super::super::A; }");
        assert_eq!(rules(&[parent, a, b]), [""; 0]);
        let back = ("src/ledger/b.rs", "use super::A;\npub struct B;");
        assert_eq!(rules(&[parent, a, back]).len(), 2);
    }

    #[test]
    fn a_type_name_that_is_taken_is_caught() {
        let a = ("src/ledger/a.rs", "pub struct Row;");
        let b = ("src/spool/b.rs", "enum Row {}");
        assert_eq!(rules(&[a, b]).len(), 1);
        let inside = ("src/spool/b.rs", "impl T for A { type Row = u8; }\nfn f() { struct Row; }");
        assert_eq!(rules(&[a, inside]), [""; 0]);
        let wire = ("src/payload/pod_batch/b.rs", "struct Row;");
        assert_eq!(rules(&[a, wire]), [""; 0]);
    }
}
