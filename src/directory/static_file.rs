//! Names of cgroups from a file, for services that no API knows.
//!
//! ```toml
//! [[cgroup]]
//! pattern = "/system.slice/nginx*.service"    # `*`: any characters but `/`
//! namespace = "web"
//! name = "nginx"
//! labels = { tier = "front" }                 # may be left out
//! owner = true                                # may be left out: it has all below it, but pods
//! ```
//!
//! An unknown key makes the whole file invalid, as in the configuration. The last valid names then
//! stay in use.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use tracing::info;

use super::bounded;
use super::catalog::{CgroupNameRule, CgroupPattern, EntityName};
use super::error::{PollError, StaticFileError};
use super::pod::Labels;
use super::poll::Poller;
use super::publisher::Publisher;
use super::source_status::SourceKind;
use crate::quantity::BootTime;
use crate::small_file::{self, Stamp};

/// The largest file, in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// The most entries: each new cgroup is matched against all of them.
pub const ENTRIES_MAX: usize = 1024;

/// The most labels of one entry.
pub const LABELS_MAX: usize = 64;

/// The longest name, namespace, label key and label value, in bytes: the length of a DNS name.
pub const TEXT_BYTES_MAX: usize = 253;

/// The part of a key or value that an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 64;

const KEYS: [&str; 5] = ["pattern", "namespace", "name", "labels", "owner"];

/// Options of the file of names. [`StaticFileOptions::new`] sets the defaults.
#[derive(Debug, Clone)]
pub struct StaticFileOptions {
    pub path: PathBuf,
    /// Time between two looks for changes (10 s).
    pub interval: Duration,
    pub seed: u64,
    pub clock: fn() -> BootTime,
}

impl StaticFileOptions {
    #[must_use]
    pub fn new(path: PathBuf, seed: u64, clock: fn() -> BootTime) -> Self {
        Self { path, interval: Duration::from_secs(10), seed, clock }
    }
}

/// Publishes the names in the file, now and after each change, for ever.
pub async fn run(options: StaticFileOptions, publisher: Publisher) {
    let mut poller = Poller::new(SourceKind::File, options.interval, options.seed);
    let mut loaded: Option<Stamp> = None;
    loop {
        let outcome = publish(&options, &publisher, &mut loaded);
        poller.report_and_wait(outcome, &publisher, (options.clock)()).await;
    }
}

/// Publishes the names, or that they are still current if the file has the stamp in `loaded`.
fn publish(
    options: &StaticFileOptions,
    publisher: &Publisher,
    loaded: &mut Option<Stamp>,
) -> Result<(), PollError> {
    let now = (options.clock)();
    // After a failure there is no stamp: the file is read even if it looks as it did before.
    let stamp = match loaded.take() {
        Some(stamp) if Stamp::read(&options.path).is_ok_and(|found| found == stamp) => {
            publisher.still_current(now);
            stamp
        }
        _ => {
            let (names, stamp) = load(&options.path)?;
            let (count, path) = (names.len(), options.path.display());
            info!(
                "identity source {}: {count} names of cgroups read from {path}",
                SourceKind::File
            );
            publisher.replace_cgroups(names, now);
            stamp
        }
    };
    *loaded = Some(stamp);
    Ok(())
}

/// Reads the file once and returns the result as one line for a person.
///
/// # Errors
/// The file cannot be read or an entry is invalid.
pub async fn probe(options: &StaticFileOptions) -> Result<String, PollError> {
    let (names, _) = load(&options.path)?;
    Ok(format!("{}: {} names of cgroups", options.path.display(), names.len()))
}

fn load(path: &Path) -> Result<(Vec<CgroupNameRule>, Stamp), PollError> {
    let (bytes, stamp) = small_file::read(path, FILE_BYTES_MAX)
        .map_err(|error| PollError::at(path, StaticFileError::Unreadable(error)))?;
    let text =
        String::from_utf8(bytes).map_err(|_| PollError::at(path, StaticFileError::NotUtf8))?;
    let names = parse(&text).map_err(|error| {
        let place = format!("{}:{}", path.display(), error.line);
        PollError::new(place, StaticFileError::Entry(error.problem))
    })?;
    Ok((names, stamp))
}

/// The first error in a file of names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileError {
    /// Counted from 1.
    pub line: usize,
    pub problem: String,
}

/// Parses the entries. They keep their order, and the first that matches a cgroup counts.
///
/// # Errors
/// The topmost error in the text.
pub fn parse(text: &str) -> Result<Vec<CgroupNameRule>, FileError> {
    let source = NamesText { text };
    let document = DeTable::parse(text).map_err(|error| {
        let message = bounded::line(error.message(), 2 * SHOWN_CHARS_MAX);
        source.error(error.span().map_or(0, |span| span.start), message)
    })?;
    let mut names = Vec::new();
    for (key, value) in in_order(document.get_ref()) {
        let at = key.span().start;
        if key.get_ref() != "cgroup" {
            return Err(source.unknown(at, key.get_ref(), &["cgroup"], "the file"));
        }
        let DeValue::Array(entries) = value.get_ref() else {
            return Err(source.no_array(at));
        };
        for entry in entries.iter() {
            let DeValue::Table(table) = entry.get_ref() else {
                return Err(source.no_array(entry.span().start));
            };
            if names.len() == ENTRIES_MAX {
                let problem = format!("too many entries; allowed: at most {ENTRIES_MAX}");
                return Err(source.error(entry.span().start, problem));
            }
            names.push(source.entry(entry.span().start, table)?);
        }
    }
    Ok(names)
}

/// The entries in the order of the file, so that the first error is the topmost.
fn in_order<'d, 'i>(
    table: &'d DeTable<'i>,
) -> Vec<(&'d Spanned<Cow<'i, str>>, &'d Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

struct NamesText<'t> {
    text: &'t str,
}

impl NamesText<'_> {
    fn error(&self, at: usize, problem: String) -> FileError {
        let before = self.text.get(..self.text.floor_char_boundary(at)).unwrap_or(self.text);
        let line = 1 + before.bytes().filter(|byte| *byte == b'\n').count();
        FileError { line, problem }
    }

    fn no_array(&self, at: usize) -> FileError {
        self.error(at, "cgroup: write [[cgroup]], once for each entry".to_owned())
    }

    fn unknown(&self, at: usize, key: &str, allowed: &[&str], within: &str) -> FileError {
        let near = nearest(key, allowed);
        let hint = near.map_or(String::new(), |near| format!(", did you mean \"{near}\"?"));
        let key = bounded::line(key, SHOWN_CHARS_MAX);
        let allowed = allowed.join(", ");
        self.error(at, format!("{key}: unknown key{hint}; allowed in {within}: {allowed}"))
    }

    fn entry(&self, at: usize, table: &DeTable<'_>) -> Result<CgroupNameRule, FileError> {
        let (mut pattern, mut namespace, mut name) = (None, None, None);
        let mut labels = Labels::new();
        let mut makes_owner = false;
        for (key, value) in in_order(table) {
            match key.get_ref().as_ref() {
                "pattern" => pattern = Some(self.pattern(value)?),
                "namespace" => namespace = Some(self.name("namespace", value)?),
                "name" => name = Some(self.name("name", value)?),
                "labels" => labels = self.labels(value)?,
                "owner" => makes_owner = self.owner(value)?,
                other => {
                    return Err(self.unknown(key.span().start, other, &KEYS, "[[cgroup]]"));
                }
            }
        }
        let missing = |key: &str| {
            self.error(at, format!("cgroup.{key} is missing; required: pattern, namespace, name"))
        };
        Ok(CgroupNameRule {
            pattern: pattern.ok_or_else(|| missing("pattern"))?,
            entity: EntityName {
                namespace: namespace.ok_or_else(|| missing("namespace"))?,
                name: name.ok_or_else(|| missing("name"))?,
                labels,
            },
            makes_owner,
        })
    }

    fn owner(&self, value: &Spanned<DeValue<'_>>) -> Result<bool, FileError> {
        match value.get_ref() {
            DeValue::Boolean(makes_owner) => Ok(*makes_owner),
            other => {
                let problem = format!(
                    "cgroup.owner: found {}; allowed: true (the cgroups that match have all below \
                     them but pods) or false",
                    other.type_str()
                );
                Err(self.error(value.span().start, problem))
            }
        }
    }

    fn pattern(&self, value: &Spanned<DeValue<'_>>) -> Result<CgroupPattern, FileError> {
        let text = self.text_of("pattern", value)?;
        CgroupPattern::new(text).map_err(|error| {
            let shown = bounded::line(text, SHOWN_CHARS_MAX);
            let problem = format!(
                "cgroup.pattern = \"{shown}\" {error}; allowed: a path below the cgroup2 mount \
                 such as \"/system.slice/nginx.service\", with * for any characters but /"
            );
            self.error(value.span().start, problem)
        })
    }

    fn name(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Result<Box<str>, FileError> {
        let text = self.text_of(key, value)?;
        let fits = bounded::name(text).filter(|text| text.len() <= TEXT_BYTES_MAX);
        fits.map(Into::into).ok_or_else(|| {
            let problem = format!(
                "cgroup.{key} = \"{}\"; allowed: 1 to {TEXT_BYTES_MAX} bytes of text in one line",
                bounded::line(text, SHOWN_CHARS_MAX)
            );
            self.error(value.span().start, problem)
        })
    }

    fn labels(&self, value: &Spanned<DeValue<'_>>) -> Result<Labels, FileError> {
        let DeValue::Table(table) = value.get_ref() else {
            let found = value.get_ref().type_str();
            let problem = format!(
                "cgroup.labels: found {found}; allowed: a table of texts such as {{ tier = \"a\" }}"
            );
            return Err(self.error(value.span().start, problem));
        };
        let mut labels = Labels::new();
        for (key, value) in in_order(table) {
            let at = key.span().start;
            let text = self.text_of("labels", value)?;
            let one_line = |text: &str| !text.chars().any(char::is_control);
            let fits = bounded::name(key.get_ref()).is_some_and(|k| k.len() <= TEXT_BYTES_MAX)
                && text.len() <= TEXT_BYTES_MAX
                && one_line(text);
            if !fits {
                let problem = format!(
                    "cgroup.labels: \"{}\"; allowed: keys and values of up to {TEXT_BYTES_MAX} \
                     bytes in one line",
                    bounded::line(key.get_ref(), SHOWN_CHARS_MAX)
                );
                return Err(self.error(at, problem));
            }
            if labels.len() == LABELS_MAX {
                let problem = format!("cgroup.labels: too many; allowed: at most {LABELS_MAX}");
                return Err(self.error(at, problem));
            }
            labels.push((key.get_ref().as_ref().into(), text.into()));
        }
        labels.sort_unstable();
        Ok(labels)
    }

    fn text_of<'v>(
        &self,
        key: &str,
        value: &'v Spanned<DeValue<'_>>,
    ) -> Result<&'v str, FileError> {
        match value.get_ref() {
            DeValue::String(text) => Ok(text),
            other => {
                let problem = format!("cgroup.{key}: found {}; allowed: a text", other.type_str());
                Err(self.error(value.span().start, problem))
            }
        }
    }
}

fn nearest<'k>(typed: &str, known: &[&'k str]) -> Option<&'k str> {
    // The distance costs the product of the lengths.
    let typed = (typed.len() <= 128).then(|| typed.to_ascii_lowercase())?;
    known
        .iter()
        .map(|known| (strsim::damerau_levenshtein(&typed, known), *known))
        .filter(|(distance, known)| *distance <= known.len().max(typed.len()) / 3)
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entries_are_read_in_their_order() {
        let names = parse(
            "[[cgroup]]\npattern = \"/system.slice/nginx*.service\"\nnamespace = \"web\"\n\
             name = \"nginx\"\nlabels = { tier = \"front\", \"example.com/a\" = \"\" }\n\
             [[cgroup]]\npattern = \"/*\"\nnamespace = \"rest\"\nname = \"top\"\n",
        )
        .unwrap();
        assert_eq!(names.len(), 2);
        assert!(names[0].pattern.fits(b"/system.slice/nginx-2.service"));
        assert_eq!((&*names[0].entity.namespace, &*names[0].entity.name), ("web", "nginx"));
        let labels = [("example.com/a".into(), "".into()), ("tier".into(), "front".into())];
        assert_eq!(names[0].entity.labels, labels);
        assert_eq!(&*names[1].entity.name, "top");
        assert!(!names[1].makes_owner);
        let owner = parse(
            "[[cgroup]]\npattern = \"/user.slice/*\"\nnamespace = \"n\"\nname = \"u\"\nowner = true",
        );
        assert!(owner.unwrap()[0].makes_owner);
        assert_eq!(parse("").unwrap(), []);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line_and_what_is_allowed() {
        const GOOD: &str = "[[cgroup]]\nnamespace = \"web\"\nname = \"nginx\"\npattern = \"/a\"\n";
        for (text, line, part) in [
            ("[[cgroup]\n", 1, ""),
            ("[[cgroups]]\n", 1, "cgroups: unknown key, did you mean \"cgroup\"?"),
            ("\nzebra = 1\n", 2, "zebra: unknown key; allowed in the file: cgroup"),
            ("cgroup = 1\n", 1, "write [[cgroup]], once for each entry"),
            ("cgroup = [1]\n", 1, "write [[cgroup]], once for each entry"),
            (&format!("{GOOD}lables = {{}}\n"), 5, "did you mean \"labels\"?"),
            (&format!("{GOOD}path = 1\n"), 5, "allowed in [[cgroup]]: pattern, namespace, name"),
            (&format!("{GOOD}owner = \"yes\"\n"), 5, "cgroup.owner: found string; allowed: true"),
            (&format!("{GOOD}owners = true\n"), 5, "did you mean \"owner\"?"),
            (&format!("{GOOD}labels = \"a\"\n"), 5, "found string; allowed: a table of texts"),
            (&format!("{GOOD}labels = {{ a = 1 }}\n"), 5, "cgroup.labels: found integer"),
            (&format!("{GOOD}labels = {{ \"\" = \"\" }}\n"), 5, "keys and values of up to"),
            ("\n[[cgroup]]\nname = \"a\"\n", 2, "cgroup.pattern is missing; required: pattern"),
            ("[[cgroup]]\npattern = \"/a\"\nname = \"a\"\n", 1, "cgroup.namespace is missing"),
            ("[[cgroup]]\npattern = \"a\"\n", 2, "\"a\" does not begin with `/`; allowed: a path"),
            ("[[cgroup]]\npattern = 3\n", 2, "cgroup.pattern: found integer; allowed: a text"),
            ("[[cgroup]]\nname = \"\"\n", 2, "cgroup.name = \"\"; allowed: 1 to 253 bytes"),
            ("[[cgroup]]\nname = \"a\\nb\"\n", 2, "cgroup.name = \"a b\"; allowed"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error:?}");
            assert!(error.problem.contains(part), "{text}: {error:?}");
            assert!(!error.problem.contains('\n'), "{text}: {error:?}");
        }
    }

    #[test]
    fn entries_and_labels_have_a_limit() {
        let entry = "[[cgroup]]\npattern = \"/a\"\nnamespace = \"n\"\nname = \"a\"\n";
        assert_eq!(parse(&entry.repeat(ENTRIES_MAX)).unwrap().len(), ENTRIES_MAX);
        let error = parse(&entry.repeat(ENTRIES_MAX + 1)).unwrap_err();
        assert!(error.problem.contains("at most 1024"), "{error:?}");
        assert_eq!(error.line, 4 * ENTRIES_MAX + 1);
        let labels = |count| {
            let labels = (0..count).map(|n| format!("l{n} = \"\"")).collect::<Vec<_>>();
            format!("{entry}labels = {{ {} }}\n", labels.join(", "))
        };
        assert_eq!(parse(&labels(LABELS_MAX)).unwrap()[0].entity.labels.len(), LABELS_MAX);
        let error = parse(&labels(LABELS_MAX + 1)).unwrap_err();
        assert!(error.problem.contains("at most 64"), "{error:?}");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(\\[\\[cgroup\\]\\]\n)?([a-z]{0,9} ?= ?(\"[/a*]{0,4}\"|1|\\{\\}|é)\n){0,4}.{0,9}") {
            let _ = parse(&text);
        }
    }
}
