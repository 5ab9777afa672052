//! Commands that the documents show with their output run here, and print that output.
//!
//! A block is marked `console`. A line `$ nodetally …` in it is run at the root of the package; the
//! lines below it are what it prints. A line `…` stands for any number of lines, and `…` in a line for
//! any text. Commands with `sudo`, and other programs, are not run.

use std::fs;
use std::path::Path;
use std::process::Command;

/// One command of a page: its arguments, and the lines that it is said to print.
#[derive(Debug, PartialEq)]
struct Shown<'a> {
    line: usize,
    arguments: Vec<&'a str>,
    output: Vec<&'a str>,
}

fn commands(page: &str) -> Vec<Shown<'_>> {
    let mut found: Vec<Shown<'_>> = Vec::new();
    let (mut is_console, mut is_ours) = (false, false);
    for (at, line) in page.lines().enumerate() {
        if line.starts_with("```") {
            is_console = line == "```console";
            is_ours = false;
        } else if is_console && line.starts_with("$ ") {
            let words = line.strip_prefix("$ nodetally ");
            is_ours = words.is_some();
            if let Some(words) = words {
                let arguments = words.split_whitespace().collect();
                found.push(Shown { line: at + 1, arguments, output: Vec::new() });
            }
        } else if is_console
            && is_ours
            && let Some(last) = found.last_mut()
        {
            last.output.push(line);
        }
    }
    found
}

/// True if the line is as shown, where each `…` stands for any text.
fn is_line(shown: &str, printed: &str) -> bool {
    let Some((before, rest)) = shown.split_once('…') else { return shown == printed };
    let Some(printed) = printed.strip_prefix(before) else { return false };
    let starts = printed.char_indices().map(|(at, _)| at).chain([printed.len()]);
    let mut tails = starts.map(|at| printed.split_at(at).1);
    tails.any(|tail| is_line(rest, tail))
}

/// True if the lines are as shown, where each line `…` stands for any number of lines.
fn are_lines(shown: &[&str], printed: &[&str]) -> bool {
    match (shown.split_first(), printed.split_first()) {
        (None, _) => printed.is_empty(),
        (Some((&"…", rest)), None) => are_lines(rest, printed),
        (Some((&"…", rest)), Some((_, below))) => {
            are_lines(rest, printed) || are_lines(shown, below)
        }
        (Some((line, rest)), Some((first, below))) => {
            is_line(line, first) && are_lines(rest, below)
        }
        (Some(_), None) => false,
    }
}

fn run(root: &Path, arguments: &[&str]) -> String {
    let program = Path::new(env!("CARGO_BIN_EXE_nodetally"));
    let output =
        Command::new(program).args(arguments).current_dir(root).env_clear().output().unwrap();
    let mut text = String::from_utf8(output.stdout).unwrap();
    text.push_str(&String::from_utf8(output.stderr).unwrap());
    text
}

#[test]
fn commands_in_the_documents_print_what_is_shown() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for folder in ["docs", "docs/wire", ""] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let page = fs::read_to_string(&path).unwrap();
            for Shown { line, arguments, output } in commands(&page) {
                let printed = run(root, &arguments);
                let lines: Vec<&str> = printed.lines().collect();
                let place = format!("{}:{line}", path.display());
                assert!(are_lines(&output, &lines), "{place}: it prints\n{printed}");
                count += 1;
            }
        }
    }
    assert!(count >= 2, "only {count} commands were found");
}

#[test]
fn commands_are_found_with_their_output() {
    let page = "\
$ nodetally none
```sh
$ nodetally none
```
```console
$ sudo nodetally none
a
$ nodetally dump --top 1
b

c
$ curl none
d
```
e";
    let output = vec!["b", "", "c"];
    let arguments = vec!["dump", "--top", "1"];
    assert_eq!(commands(page), [Shown { line: 8, arguments, output }]);
}

#[test]
fn an_ellipsis_stands_for_text_or_lines_and_nothing_else_does() {
    for (shown, printed, is_as_shown) in [
        (&["a", "b"][..], &["a", "b"][..], true),
        (&["a", "b"], &["a"], false),
        (&["a"], &["a", "b"], false),
        (&["a", "…"], &["a"], true),
        (&["a", "…"], &["a", "b", "c"], true),
        (&["…", "c"], &["a", "b", "c"], true),
        (&["…", "b"], &["a", "b", "c"], false),
        (&["…", "b", "…"], &["a", "b", "c"], true),
        (&["x…z"], &["xyz"], true),
        (&["x…z"], &["xz"], true),
        (&["x…z"], &["xy"], false),
        (&["…b…d"], &["äbcbd"], true),
        (&["x"], &["xy"], false),
    ] {
        assert_eq!(are_lines(shown, printed), is_as_shown, "{shown:?} {printed:?}");
    }
}
