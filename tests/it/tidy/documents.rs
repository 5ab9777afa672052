//! Rules of the documents: short paragraphs, links that lead somewhere, and an index of all pages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Words of a paragraph, an item of a list or a cell of a table.
const WORDS_MAX: usize = 80;

/// The page that lists the others.
const INDEX: &str = "docs/README.md";

/// One page: its path from the root of the package, and its lines outside of code blocks.
struct Page<'a> {
    path: &'a str,
    lines: Vec<(usize, &'a str)>,
}

impl<'a> Page<'a> {
    fn new(path: &'a str, text: &'a str) -> Self {
        let mut lines = Vec::new();
        let mut is_code = false;
        for (at, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
                // A block ends the paragraph before it.
                lines.push((at + 1, ""));
            } else if !is_code {
                lines.push((at + 1, line));
            }
        }
        Self { path, lines }
    }

    fn long_paragraphs(&self) -> Vec<String> {
        let mut found = Vec::new();
        let (mut words, mut start) = (0, 0);
        for (at, line) in self.lines.iter().copied().chain([(0, "")]) {
            let text = line.trim();
            let is_row = text.starts_with('|');
            if text.is_empty() || text.starts_with('#') || is_row || is_item(text) {
                if words > WORDS_MAX {
                    found.push(self.complaint(start, &format!("a paragraph of {words} words")));
                }
                words = 0;
            }
            if is_row {
                let longest = text.split(" | ").map(count_words).max().unwrap_or(0);
                if longest > WORDS_MAX {
                    found.push(self.complaint(at, &format!("a cell of {longest} words")));
                }
            } else if !text.starts_with('#') {
                if words == 0 {
                    start = at;
                }
                words += count_words(text);
            }
        }
        found
    }

    fn complaint(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}, at most {WORDS_MAX}: split it", self.path)
    }

    /// Targets of links inside the package, each with its line.
    fn links(&self) -> Vec<(usize, &'a str)> {
        let mut found = Vec::new();
        for &(at, line) in &self.lines {
            for (start, _) in line.match_indices("](") {
                let (before, link) = line.split_at(start);
                let is_code = before.matches('`').count() % 2 == 1;
                let target = link.trim_start_matches("](").split_once(')');
                let Some((target, _)) = target else { continue };
                if !is_code && !target.contains("://") {
                    found.push((at, target));
                }
            }
        }
        found
    }

    /// The anchors of its headings, as code hosts make them.
    fn anchors(&self) -> BTreeSet<String> {
        let mut anchors = BTreeSet::new();
        for (_, line) in &self.lines {
            let Some((marks, title)) = line.split_once(' ') else { continue };
            if marks.is_empty() || marks.bytes().any(|byte| byte != b'#') {
                continue;
            }
            let anchor = anchor(title);
            let again = (1..).map(|number| format!("{anchor}-{number}"));
            let mut names = std::iter::once(anchor.clone()).chain(again);
            anchors.extend(names.find(|name| !anchors.contains(name)));
        }
        anchors
    }
}

fn is_item(text: &str) -> bool {
    let number = text.trim_start_matches(|c: char| c.is_ascii_digit());
    text.starts_with("- ")
        || text.starts_with("* ")
        || number.len() < text.len() && number.starts_with(". ")
}

fn count_words(text: &str) -> usize {
    text.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).count()
}

fn anchor(title: &str) -> String {
    let kept =
        title.trim().chars().filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c.to_ascii_lowercase() }).collect()
}

/// The path of a link's target from the root of the package: `docs/a.md` and `../b.md` give `b.md`.
fn resolved(page: &str, target: &str) -> String {
    let mut parts: Vec<&str> = page.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/")
}

/// All violations of a set of pages; `exists` says whether the package has a path.
fn check(pages: &BTreeMap<String, String>, exists: impl Fn(&str) -> bool) -> Vec<String> {
    let read: Vec<Page<'_>> = pages.iter().map(|(path, text)| Page::new(path, text)).collect();
    let anchors: BTreeMap<&str, BTreeSet<String>> =
        read.iter().map(|page| (page.path, page.anchors())).collect();
    let mut violations = Vec::new();
    for page in &read {
        // The changelog grows by lines, and ARCHITECTURE.md is for who changes the code.
        if page.path.starts_with("docs/") || page.path == "README.md" {
            violations.extend(page.long_paragraphs());
        }
        for (line, target) in page.links() {
            let (file, wanted) = target.split_once('#').unwrap_or((target, ""));
            let file =
                if file.is_empty() { page.path.to_owned() } else { resolved(page.path, file) };
            let is_found = match anchors.get(file.as_str()) {
                Some(known) => wanted.is_empty() || known.contains(wanted),
                None => exists(&file),
            };
            if !is_found {
                violations.push(format!("{}:{line}: the link {target} leads nowhere", page.path));
            }
        }
    }
    let listed: BTreeSet<String> = read
        .iter()
        .filter(|page| page.path == INDEX)
        .flat_map(Page::links)
        .map(|(_, target)| resolved(INDEX, target.split('#').next().unwrap_or(target)))
        .collect();
    for path in pages.keys() {
        let is_page = path.rsplit_once('/').is_some_and(|(folder, _)| folder == "docs");
        if is_page && path != INDEX && !listed.contains(path) {
            violations.push(format!("{path}: give it a row in {INDEX}"));
        }
    }
    violations
}

fn read_pages(package: &Path, folder: &Path, into: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() && path.starts_with(package.join("docs")) {
            read_pages(package, &path, into);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let name = path.strip_prefix(package).unwrap().to_str().unwrap().to_owned();
            into.insert(name, std::fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn documents_have_short_paragraphs_and_links_that_lead_somewhere() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = BTreeMap::new();
    read_pages(package, package, &mut pages);
    read_pages(package, &package.join("docs"), &mut pages);
    for expected in ["README.md", INDEX, "docs/metrics.md", "docs/wire/otlp.md"] {
        assert!(pages.contains_key(expected), "{expected} was not read");
    }
    let violations = check(&pages, |path| package.join(path).exists());
    assert!(violations.is_empty(), "\n{}", violations.join("\n"));
}

/// The checker on small pages: what it must catch, and what it must let pass.
mod checker {
    use super::check;

    fn violations(pages: &[(&str, &str)]) -> Vec<String> {
        let pages = pages.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned()));
        check(&pages.collect(), |path| path == "src/main.rs" || path == "src")
    }

    #[test]
    fn paragraphs_items_and_cells_are_counted_alone() {
        let long = "word ".repeat(81);
        let short = "word ".repeat(80);
        for (text, line) in [
            (format!("# T\n\n{long}\n"), Some(3)),
            (format!("{short}\nword\n"), Some(1)),
            (format!("- a\n- {long}"), Some(2)),
            (format!("1. {long}"), Some(1)),
            (format!("| a | {long} |"), Some(1)),
            (format!("{short}\n\n{short}\n"), None),
            (format!("{short}\n- {short}\n- {short}\n"), None),
            (format!("| {short} | {short} |\n| {short} |"), None),
            (format!("{short}\n```text\n{long}\n```\n{short}\n"), None),
            (format!("{short} - – |"), None),
        ] {
            let found = violations(&[("README.md", &text)]);
            let expected = line.map(|line| format!("README.md:{line}: "));
            assert_eq!(found.len(), usize::from(line.is_some()), "{text}: {found:?}");
            let is_there = expected.is_none_or(|start| found[0].starts_with(&start));
            assert!(is_there, "{text}: {found:?}");
        }
    }

    #[test]
    fn links_need_a_file_and_its_heading() {
        let index = ("docs/README.md", "[a](a.md) [b](b.md)");
        let other = (
            "docs/b.md",
            "# `/metrics` of a node: all\n## Same\n## Same\n```sh\n# no heading\n```\n",
        );
        for (text, leads_nowhere) in [
            ("[x](b.md)", None),
            ("[x](b.md#metrics-of-a-node-all)", None),
            ("[x](b.md#same-1)", None),
            ("[x](../src/main.rs) [y](../src/)", None),
            ("# Here\n[x](#here)", None),
            ("[x](https://example.com/none)", None),
            ("`[x](none.md)`\n```\n[x](none.md)\n```", None),
            ("[x](none.md)", Some("none.md")),
            ("[x](b.md) [x](b.md#none)", Some("b.md#none")),
            ("[x](b.md#no-heading)", Some("b.md#no-heading")),
            ("[x](b.md#same-2)", Some("b.md#same-2")),
            ("[x](#there)", Some("#there")),
            ("[x](../src/none.rs)", Some("../src/none.rs")),
        ] {
            let found = violations(&[index, ("docs/a.md", text), other]);
            let expected: Vec<bool> = leads_nowhere.iter().map(|_| true).collect();
            let told: Vec<bool> = found
                .iter()
                .map(|told| {
                    leads_nowhere.is_some_and(|target| told.contains(&format!("link {target} ")))
                })
                .collect();
            assert_eq!(told, expected, "{text}: {found:?}");
        }
    }

    #[test]
    fn every_page_has_a_row_in_the_index() {
        let pages = [("docs/README.md", "[a](a.md#t)"), ("docs/a.md", "# T"), ("docs/b.md", "")];
        assert_eq!(violations(&pages), ["docs/b.md: give it a row in docs/README.md"]);
        assert_eq!(violations(&pages[..2]), [] as [&str; 0]);
        assert_eq!(violations(&[("docs/README.md", ""), ("docs/wire/c.md", "")]), [] as [&str; 0]);
    }
}
