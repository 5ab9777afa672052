//! Man pages, completions, help and version of the program.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use nodetally::config::{FlagCommands, KEYS};

use crate::support::skip::skip;

/// The commands that users know, in the order of `--help`.
const COMMANDS: [&str; 10] =
    ["run", "dump", "top", "check", "status", "config", "receive", "man", "completions", "help"];

fn nodetally(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nodetally")).env_clear().args(arguments).output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = nodetally(arguments);
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A page without the escapes of dashes and the changes of font.
fn page(arguments: &[&str]) -> String {
    let source = printed(&[&["man"], arguments].concat());
    source.replace("\\-", "-").replace("\\fB", "").replace("\\fI", "").replace("\\fR", "")
}

#[test]
fn the_page_of_the_program_names_every_command_and_file() {
    let page = page(&[]);
    assert!(page.contains(".TH nodetally 1"), "{page}");
    for command in COMMANDS {
        assert!(page.contains(&format!("nodetally-{command}(1)")), "{command}: {page}");
    }
    for path in ["/etc/nodetally/config.toml", "/etc/default/nodetally", "/var/lib/nodetally/spool"]
    {
        assert!(page.contains(path), "{path}");
    }
}

#[test]
fn the_page_of_a_command_has_every_flag_that_its_settings_have() {
    let flags = || KEYS.iter().filter_map(|key| key.flag);
    assert!(flags().count() > 8);
    for command in ["run", "check", "config", "receive", "dump"] {
        let page = page(&[command]);
        for flag in flags() {
            let of_dump = flag.commands == FlagCommands::Dump;
            if of_dump == (command == "dump") {
                assert!(page.contains(&format!("--{}", flag.long)), "{command}: --{}", flag.long);
            }
        }
    }
    for command in COMMANDS.iter().filter(|command| **command != "help") {
        let page = page(&[command]);
        assert!(page.contains(&format!(".TH nodetally-{command} 1")), "{page}");
        for flag in flags().filter(|flag| flag.commands == FlagCommands::All) {
            assert!(page.contains(&format!("--{} ", flag.long)), "{command}: --{}", flag.long);
        }
        // A flag of former versions is answered by its new name, and belongs into no page.
        for former in KEYS.iter().flat_map(|key| key.former_flags) {
            assert!(!page.contains(&format!("--{former} ")), "{command}: --{former}");
        }
    }
}

#[test]
fn every_setting_stands_with_its_variable_in_the_page_of_config() {
    let page = page(&["config"]);
    for key in KEYS {
        for variable in key.environment {
            assert!(page.contains(variable), "{}: {variable}", key.path());
        }
    }
}

#[test]
fn a_page_that_is_not_there_is_answered_with_the_commands() {
    let output = nodetally(&["man", "dmup"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("\"dmup\"") && said.contains("run, dump, top, check"), "{said}");
}

#[test]
fn pages_are_formatted_without_a_complaint() {
    let Ok(version) = Command::new("groff").arg("--version").output() else {
        return skip("no groff: whether man pages are formatted without a complaint");
    };
    assert!(version.status.success());
    for arguments in std::iter::once(vec![]).chain(COMMANDS[..9].iter().map(|name| vec![*name])) {
        let source = printed(&[&["man"], &arguments[..]].concat());
        let mut groff = Command::new("groff")
            .args(["-man", "-K", "utf8", "-T", "utf8", "-ww", "-z"])
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        groff.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
        let output = groff.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && said.is_empty(), "{arguments:?}: {said}");
    }
}

/// Runs a script in this shell, without anybody's start files; `None` without that shell.
fn in_shell(shell: &str, options: &[&str], script: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("script");
    std::fs::write(&file, script).unwrap();
    let output = Command::new(shell)
        .args(options)
        .arg(&file)
        .env("HOME", folder.path())
        .stdin(Stdio::null())
        .output()
        .inspect_err(|_| skip(format!("no {shell}: whether it takes its completions")))
        .ok()?;
    assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {output:?}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn shells_take_their_completions() {
    let commands = |text: &str, at: &str| {
        for command in COMMANDS {
            assert!(text.lines().any(|line| line.starts_with(command)), "{at}: {command}: {text}");
        }
    };
    let bash = printed(&["completions", "bash"]);
    in_shell("bash", &["-n"], &bash);
    let ask = |words: &str, last: usize| {
        format!(
            "{bash}\nCOMP_WORDS=({words}); COMP_CWORD={last}\n\
             _nodetally nodetally \"${{COMP_WORDS[{last}]}}\" \"${{COMP_WORDS[{last}-1]}}\"\n\
             printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
        )
    };
    if let Some(said) = in_shell("bash", &["--norc"], &ask("nodetally ''", 1)) {
        commands(&said, "bash");
        let said = in_shell("bash", &["--norc"], &ask("nodetally dump --format op", 3)).unwrap();
        assert_eq!(said.trim(), "openmetrics");
        let said = in_shell("bash", &["--norc"], &ask("nodetally run --path", 2)).unwrap();
        let flags = KEYS.iter().filter_map(|key| key.flag).map(|flag| format!("--{}", flag.long));
        let mut wanted: Vec<String> = flags.filter(|flag| flag.starts_with("--path")).collect();
        let mut said: Vec<&str> = said.lines().collect();
        wanted.sort();
        said.sort_unstable();
        assert_eq!(said, wanted);
    }

    in_shell("zsh", &["-f", "-n"], &printed(&["completions", "zsh"]));

    let fish = printed(&["completions", "fish"]);
    if in_shell("fish", &["--no-config", "-n"], &fish).is_some() {
        let script = format!("{fish}\ncomplete -C 'nodetally '\n");
        commands(&in_shell("fish", &["--no-config"], &script).unwrap(), "fish");
    }
}

/// No page refers to another that no package has.
#[test]
fn pages_that_a_page_names_are_there() {
    let pages: Vec<String> = COMMANDS.iter().map(|name| format!("nodetally-{name}(1)")).collect();
    for command in COMMANDS {
        let page = page(&[command]).replace('\\', "");
        for named in page.split_whitespace().filter(|word| word.starts_with("nodetally-")) {
            let is_page = named.contains("(1)");
            assert!(
                !is_page || pages.iter().any(|page| named.starts_with(page)),
                "{command}: {named}"
            );
        }
    }
}

#[test]
fn help_of_a_command_is_its_page_of_help() {
    assert_eq!(printed(&["help", "dump"]), printed(&["dump", "--help"]));
    assert_eq!(printed(&["help"]), printed(&["--help"]));
    let said = printed(&["--help"]);
    for command in COMMANDS {
        assert!(said.contains(&format!("\n  {command} ")), "{command}: {said}");
    }
}

#[test]
fn the_version_names_commit_target_and_what_is_compiled_in() {
    let said = printed(&["--version"]);
    let mut lines = said.lines();
    assert_eq!(lines.next(), Some(concat!("nodetally ", env!("CARGO_PKG_VERSION"))));
    let commit = lines.next().unwrap().strip_prefix("commit: ").unwrap();
    let hex = commit.trim_end_matches("-modified");
    let is_hex = hex.len() >= 7 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    assert!(commit == "unknown" || is_hex, "{said}");
    let target = lines.next().unwrap().strip_prefix("target: ").unwrap();
    assert!(target.starts_with(std::env::consts::ARCH), "{said}");
    for part in ["dialects: resource-api, ", "prometheus-remote-write", "SQLite 3.", "rustls"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(printed(&["-V"]), concat!("nodetally ", env!("CARGO_PKG_VERSION"), "\n"));
}
