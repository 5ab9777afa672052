//! Every reader of bytes that come from outside has a fuzz target (fuzz/README.md), or a reason why
//! it has none of its own.
//!
//! A reader is a function called `parse…` or `decode…`, whoever may call it, and a public one that
//! makes a `Result` of `&[u8]`.

#![allow(clippy::disallowed_methods, reason = "it reads the package's sources, no host")]
#![allow(clippy::unwrap_used, reason = "a source that cannot be read fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::tidy::rust_text::{Token, paths, tokens};

/// File below src/, the reader as a target would name it, and what reaches it.
const WITHOUT: &[(&str, &str, &str)] = &[
    ("cli/args.rs", "PodSelector::parse", "what a person types as a flag"),
    ("directory/resource_quantity.rs", "Digits::parse", "ResourceQuantity::parse"),
    (
        "directory/objects/bounded_json.rs",
        "parse_quantity",
        "StatedQuantity::parse and ResourceQuantity::parse",
    ),
    ("identity.rs", "serialize", "it writes a name; the target state reads it back"),
    ("payload/body.rs", "object_of", "decode_node and the other readers of bodies"),
    ("payload/body.rs", "value_of", "object_of, and decode_pods and decode_nodes"),
    ("payload/pod_batch/decode.rs", "decode::decode", "decode_pods and decode_nodes"),
    ("receiver/access.rs", "TokenList::parse", "the operator's file; its tests read any text"),
    ("receiver/access.rs", "parse_line", "TokenList::parse"),
    ("receiver/metrics_k8s_io.rs", "FieldRequirement::parse", "the target receiver, by its query"),
    ("runtime/capture.rs", "parse_row", "the target state, by capture::load"),
    ("spool/record.rs", "decode_posts", "record::decode"),
];

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Reader {
    /// Below src/.
    file: String,
    /// `Selector::parse`, `uptime::parse`; only the last where that says it all.
    name: String,
}

fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The readers of a file of src/, but for its tests.
fn readers(file: &str, text: &str) -> Vec<Reader> {
    let tokens = tokens(text);
    let module = module_of(file);
    let mut found = Vec::new();
    // Types whose `impl` is open, with the depth of its braces.
    let mut owners: Vec<(String, usize)> = Vec::new();
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        if token.is_mark('{') {
            depth += 1;
        } else if token.is_mark('}') {
            depth -= 1;
            owners.retain(|(_, opened)| *opened <= depth);
        } else if token.is_word("mod") && is_word(tokens.get(at + 1), "tests") {
            break;
        } else if token.is_word("impl") && (at == 0 || starts_an_item(&tokens[at - 1])) {
            owners.extend(implemented(&tokens[at + 1..]).map(|owner| (owner, depth + 1)));
        } else if token.is_word("fn")
            && let Some(name) = tokens.get(at + 1).and_then(Token::word)
            && is_reader(name, is_public(&tokens[..at]), &tokens[at + 2..])
        {
            let owner = owners.last().map_or(module.as_str(), |(owner, _)| owner);
            let name = match name {
                "parse" | "decode" | "read" => format!("{owner}::{name}"),
                told => told.to_owned(),
            };
            found.push(Reader { file: file.to_owned(), name });
        }
    }
    found
}

/// The last of the module's names.
fn module_of(file: &str) -> String {
    let stem = file.trim_end_matches(".rs").trim_end_matches("/mod");
    stem.rsplit('/').next().unwrap_or(stem).to_owned()
}

fn is_word(token: Option<&Token>, word: &str) -> bool {
    token.is_some_and(|token| token.is_word(word))
}

/// `impl` also stands in types.
fn starts_an_item(before: &Token) -> bool {
    before.is_mark('}') || before.is_mark(';') || before.is_mark(']') || before.is_mark('{')
}

/// The type of `impl<…> Trait for Type<…> {`.
fn implemented(after: &[Token]) -> Option<String> {
    let head: Vec<&Token> = after.iter().take_while(|token| !token.is_mark('{')).collect();
    let named = |tokens: &[&Token]| {
        let mut angles = 0_i32;
        tokens.iter().find_map(|token| {
            angles += i32::from(token.is_mark('<')) - i32::from(token.is_mark('>'));
            token.word().filter(|_| angles == 0).map(str::to_owned)
        })
    };
    match head.iter().position(|token| token.is_word("for")) {
        Some(at) => named(head.get(at + 1..)?),
        None => named(&head),
    }
}

fn is_public(before: &[Token]) -> bool {
    before.last().is_some_and(|token| token.is_word("pub"))
}

fn is_reader(name: &str, public: bool, signature: &[Token]) -> bool {
    let of_name = ["parse", "decode"].iter().any(|verb| {
        name.strip_prefix(verb).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
    });
    of_name || public && takes_bytes(signature)
}

/// `(<name>: &[u8], …) -> Result<…`
fn takes_bytes(signature: &[Token]) -> bool {
    let Some(open) = signature.iter().position(|token| token.is_mark('(')) else { return false };
    let parameter: Vec<&Token> = signature[open + 1..]
        .iter()
        .take_while(|token| !token.is_mark(',') && !token.is_mark(')'))
        .collect();
    let is_slice = parameter
        .windows(3)
        .any(|three| three[0].is_mark('[') && three[1].is_word("u8") && three[2].is_mark(']'));
    let is_named = parameter.get(1).is_some_and(|token| token.is_mark(':'));
    let mut result = signature
        .iter()
        .take_while(|token| !token.is_mark('{'))
        .skip_while(|token| !token.is_mark('>'));
    is_slice && is_named && result.any(|token| token.is_word("Result"))
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

fn all_readers() -> BTreeSet<Reader> {
    let src = package().join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let mut all = BTreeSet::new();
    for path in files {
        let file = path.strip_prefix(&src).unwrap().to_str().unwrap();
        if !file.ends_with("tests.rs") {
            all.extend(readers(file, &fs::read_to_string(&path).unwrap()));
        }
    }
    all
}

/// The readers by the name of their target.
fn targets() -> BTreeMap<String, String> {
    let mut files = Vec::new();
    sources(&package().join("fuzz/readers"), &mut files);
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|path| (name(path), fs::read_to_string(path).unwrap())).collect()
}

/// The words of the targets, and the last two of each path.
fn named_in(targets: &BTreeMap<String, String>) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for text in targets.values() {
        let tokens = tokens(text);
        named.extend(tokens.iter().filter_map(Token::word).map(str::to_owned));
        for path in paths(&tokens, &[]) {
            named.extend(
                path.segments.last_chunk().map(|[first, second]| format!("{first}::{second}")),
            );
        }
    }
    named
}

#[test]
fn every_reader_of_outside_bytes_is_fuzzed_or_says_why_not() {
    let named = named_in(&targets());
    let readers = all_readers();
    assert!(readers.len() > 40, "few readers were found: {readers:?}");
    let is_excused = |reader: &Reader| {
        WITHOUT.iter().any(|(file, name, _)| *file == reader.file && *name == reader.name)
    };
    let missing: Vec<String> = readers
        .iter()
        .filter(|reader| !named.contains(&reader.name) && !is_excused(reader))
        .map(|reader| format!("src/{}: {}", reader.file, reader.name))
        .collect();
    assert!(
        missing.is_empty(),
        "named in no file of fuzz/readers, nor in WITHOUT here:\n{}",
        missing.join("\n")
    );
    for (file, name, why) in WITHOUT {
        let reader = Reader { file: (*file).to_owned(), name: (*name).to_owned() };
        assert!(readers.contains(&reader), "src/{file} has no {name} any more");
        assert!(!why.is_empty(), "{name} has no reason");
    }
}

#[test]
fn every_target_is_built_and_has_inputs_to_begin_with() {
    let manifest = fs::read_to_string(package().join("fuzz/Cargo.toml")).unwrap();
    let manifest: toml::Table = toml::from_str(&manifest).unwrap();
    let built: BTreeSet<String> = manifest["bin"]
        .as_array()
        .unwrap()
        .iter()
        .map(|bin| {
            let name = bin["name"].as_str().unwrap();
            assert_eq!(bin["path"].as_str(), Some(&*format!("targets/{name}.rs")));
            name.to_owned()
        })
        .collect();
    let written: BTreeSet<String> = targets().into_keys().collect();
    assert_eq!(built, written);
    let seeds = fs::read_to_string(package().join("fuzz/collect-seeds")).unwrap();
    for name in &built {
        let by_hand = package().join("fuzz/by-hand").join(name);
        assert!(seeds.contains(&format!("\n  {name})")) || by_hand.is_dir(), "{name} has none");
    }
}

#[test]
fn a_reader_is_recognised_by_name_or_argument() {
    let text = r#"
        impl<T> fmt::Display for Wide<T> { fn fmt(&self) -> impl Sized { parse(b"") } }
        impl Narrow { pub fn parse(text: &str) -> Option<Self> { None } fn parser() {} }
        pub fn event(line: &'a [u8], limits: &Limits) -> Result<Event, Error> { todo() }
        pub fn length(line: &[u8]) -> usize { 0 }
        pub fn put(&self, line: &[u8]) -> Result<(), Error> { Ok(()) }
        fn decode<R: Read>(body: &[u8]) -> Option<R> { None }
        mod tests { fn parse_all() {} }
    "#;
    let names: Vec<String> =
        readers("payload/wire/mod.rs", text).into_iter().map(|reader| reader.name).collect();
    assert_eq!(names, ["Narrow::parse", "event", "wire::decode"]);
}
