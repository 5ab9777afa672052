//! Commands that the documents show with their output run here, and print that output.
//!
//! A block is marked `console`. A line `$ nodetally …` in it is run at the root of the package; the
//! lines below it are what it prints. A line `…` stands for any number of lines, and `…` in a line for
//! any text. Commands with `sudo`, and other programs, are not run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::skip::skip;

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

/// The documents, each with its text.
fn pages() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["docs", "docs/wire", ""].map(|folder| fs::read_dir(root.join(folder)).unwrap());
    let paths = folders.into_iter().flatten().map(|entry| entry.unwrap().path());
    let pages = paths.filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

#[test]
fn commands_in_the_documents_print_what_is_shown() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for (path, page) in pages() {
        for Shown { line, arguments, output } in commands(&page) {
            let printed = run(root, &arguments);
            let lines: Vec<&str> = printed.lines().collect();
            let place = format!("{}:{line}", path.display());
            assert!(are_lines(&output, &lines), "{place}: it prints\n{printed}");
            count += 1;
        }
    }
    assert!(count >= 2, "only {count} commands were found");
}

/// The lines of the blocks marked `sh`, where a backslash at the end joins the next one.
fn shell_lines(page: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let (mut is_shell, mut begun) = (false, String::new());
    for (at, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_shell = line.trim_start() == "```sh";
        } else if is_shell {
            match line.strip_suffix('\\') {
                Some(part) => begun.push_str(part),
                None => found.push((at + 1, std::mem::take(&mut begun) + line)),
            }
        }
    }
    found
}

/// The arguments of each command of nodetally in a line: `sudo`, paths and pipes stand around it. An image has the
/// program as its entry point.
fn ours(line: &str) -> Vec<Vec<&str>> {
    let line = line.split(" #").next().unwrap_or_default();
    let parts = line.split(['|', '(', ')', ';', '&', '<', '>']);
    parts.filter_map(|part| arguments(&part.split_whitespace().collect::<Vec<_>>())).collect()
}

/// The arguments behind the program's name; `None`: it is no command of it, or the word is the name of a package,
/// a unit, an image that is built or something in a cluster.
fn arguments<'a>(words: &[&'a str]) -> Option<Vec<&'a str>> {
    let is_program = |word: &&str| {
        word.rsplit('/').next() == Some("nodetally") || word.starts_with("nodetally:")
    };
    let in_cluster = words.first() == Some(&"kubectl");
    let from = if in_cluster { words.iter().position(|word| *word == "--")? } else { 0 };
    let at = from + words[from..].iter().position(is_program)?;
    let others = ["apt", "rpm", "rm", "install", "systemctl", "journalctl", "helm", "build"];
    (!words[..at].iter().any(|word| others.contains(word))).then(|| words[at + 1..].to_vec())
}

#[test]
fn flags_of_commands_in_the_documents_are_known() {
    let mut count = 0;
    for (path, page) in pages() {
        for (at, line) in shell_lines(&page) {
            for arguments in ours(&line) {
                // A flag that is not known is named before the help is printed.
                let output = Command::new(env!("CARGO_BIN_EXE_nodetally"))
                    .args(&arguments)
                    .arg("--help")
                    .env_clear()
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stderr);
                assert!(output.status.success(), "{}:{at}: {line}: {said}", path.display());
                count += 1;
            }
        }
    }
    assert!(count >= 18, "only {count} commands were found");
}

#[test]
fn commands_in_the_documents_that_only_look_succeed() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_nodetally"), folder.path().join("nodetally"))
        .unwrap();
    let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
    let has =
        |program: &str| std::env::split_paths(&path).any(|folder| folder.join(program).exists());
    let mut count = 0;
    for (page_path, page) in pages() {
        for (at, line) in shell_lines(&page) {
            let line = line.split(" #").next().unwrap_or_default().trim();
            let looks = [
                "nodetally dump",
                "nodetally check",
                "nodetally config",
                "nodetally man",
                "source <(nodetally",
            ];
            // The service's own file is on no machine of a test.
            if !looks.iter().any(|begin| line.starts_with(begin)) || line.contains(" /etc/") {
                continue;
            }
            let beside = line.split('|').skip(1).filter_map(|part| part.split_whitespace().next());
            if let Some(missing) = beside.chain(["bash"]).find(|program| !has(program)) {
                skip(format!("{line}: there is no {missing}"));
                continue;
            }
            let output = Command::new("bash")
                .args(["-o", "pipefail", "-c", line])
                .env_clear()
                .env("PATH", &path)
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            let place = format!("{}:{at}: {line}", page_path.display());
            // 1 of `check`: something is missing on this host.
            let allowed: &[i32] = if line.starts_with("nodetally check") { &[0, 1] } else { &[0] };
            assert!(
                output.status.code().is_some_and(|code| allowed.contains(&code)),
                "{place}: {said}"
            );
            count += 1;
        }
    }
    assert!(count >= 5, "only {count} commands were run");
}

#[test]
fn commands_of_a_shell_are_found_whatever_stands_around_them() {
    let page =
        "```sh\nsudo nodetally status\n  nodetally a \\\n  --b | jq . # c\n```\nnodetally none\n";
    let lines: Vec<_> = shell_lines(page).into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines, ["sudo nodetally status", "  nodetally a   --b | jq . # c"]);
    for (line, found) in [
        ("sudo nodetally status", vec![vec!["status"]]),
        ("nodetally a --b | jq . # nodetally c", vec![vec!["a", "--b"]]),
        ("source <(nodetally completions bash)", vec![vec!["completions", "bash"]]),
        ("target/release/nodetally dump", vec![vec!["dump"]]),
        ("docker run --rm nodetally:0.1.0 dump", vec![vec!["dump"]]),
        ("kubectl -n nodetally exec POD -- /nodetally check", vec![vec!["check"]]),
        ("kubectl -n nodetally rollout status daemonset/nodetally", vec![]),
        ("sudo systemctl reload nodetally", vec![]),
        ("sudo install -m 755 nodetally /usr/local/bin/nodetally", vec![]),
        ("docker build -t nodetally:0.1.0 .", vec![]),
        ("journalctl -u nodetally", vec![]),
    ] {
        assert_eq!(ours(line), found, "{line}");
    }
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
