//! The command line.

use std::time::Duration;

use clap::{CommandFactory, Parser};
use nodetally::cli::args::{Cli, Command, PodSelector};
use nodetally::config::{Flags, KEYS, Key, Origin, Settings, keys};

use crate::config::inputs;

fn cli(arguments: &[&str]) -> Result<Cli, clap::Error> {
    Cli::try_parse_from([&["nodetally"], arguments].concat())
}

#[test]
fn every_flag_of_a_key_exists_and_overrides_it() {
    Cli::command().debug_assert();
    let flags = [
        ("--interval", "5s"),
        ("--state-dir", "/d"),
        ("--node-name", "n"),
        ("--listen", "127.0.0.1:1"),
        ("--store", "/s/receiver.db"),
        ("--path.procfs", "/p"),
        ("--path.sysfs", "/s"),
        ("--path.cgroupfs", "/c"),
        ("--path.rootfs", "/r"),
        ("--log-level", "trace"),
        ("--log-format", "json"),
    ];
    for (flag, value) in flags {
        for command in ["run", "check", "config"] {
            let mut inputs = inputs(None, &[]);
            inputs.flags = cli(&[command, flag, value]).unwrap().overrides();
            let settings = Settings::resolve(inputs).unwrap();
            let long = flag.strip_prefix("--").unwrap();
            let is_its = |key: &&&Key| key.flag.is_some_and(|flag| flag.long == long);
            let key = KEYS.iter().find(is_its).unwrap();
            assert_eq!(settings.origins.of(key), &Origin::Flag(long), "{command}");
        }
    }
    // The two switches are apart.
    assert_eq!(KEYS.iter().filter(|key| key.flag.is_some()).count(), flags.len() + 2);
    for (arguments, expected) in [(&["receive", "--insecure"][..], true), (&["receive"], false)] {
        let mut inputs = inputs(None, &[]);
        inputs.flags = cli(arguments).unwrap().overrides();
        assert_eq!(Settings::resolve(inputs).unwrap().receiver.insecure, expected);
    }
    let dump = cli(&["--path.procfs", "/p", "dump", "--cmdline", "--interval", "2s"]).unwrap();
    let mut expected = Flags::default();
    expected.set(&keys::PATHS_PROCFS, "/p");
    expected.set(&keys::SAMPLING_CMDLINE, "true");
    assert_eq!(dump.overrides(), expected);
    let Command::Dump(dump) = dump.command else { panic!("{dump:?}") };
    assert_eq!((dump.interval, dump.top), (Some(Duration::from_secs(2)), None));
}

#[test]
fn a_pod_is_asked_for_by_name_or_uid() {
    let pod = |text: &str| match cli(&["dump", "--pod", text]).map(|cli| cli.command) {
        Ok(Command::Dump(dump)) => dump.pod,
        _ => None,
    };
    let name = PodSelector::Name { namespace: "ns".to_owned(), name: "web-0".to_owned() };
    assert_eq!(pod("ns/web-0"), Some(name));
    let uid = "a533c208-0be3-44e3-adb7-a0dae664d797";
    assert!(matches!(pod(uid), Some(PodSelector::Uid(found)) if found.to_string() == uid));
    for bad in ["web-0", "/web-0", "ns/", "a/b/c", ""] {
        assert_eq!(pod(bad), None, "{bad}");
    }
}

#[test]
fn a_mistyped_command_line_is_answered_with_a_suggestion_and_status_2() {
    for (arguments, suggestion) in [
        (&["dmup"][..], "'dump'"),
        (&["run", "--intervall", "5s"], "'--interval'"),
        (&["run", "--path.procf", "/p"], "'--path.procfs'"),
        (&["dump", "--format", "jsn"], "'json'"),
        (&["dump", "--interval", "5"], "from 100ms to 1h"),
        (&["dump", "--interval", "2h"], "too large"),
    ] {
        let error = cli(arguments).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains(suggestion), "{error}");
    }
    let help = cli(&[]).unwrap_err();
    assert_eq!(help.kind(), clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand);
    assert!(cli(&["--version"]).unwrap_err().to_string().starts_with("nodetally "));
}

#[test]
fn the_table_of_keys_in_the_help_is_aligned() {
    let mut command = Cli::command();
    let help = command.find_subcommand_mut("config").unwrap().render_long_help().to_string();
    let (_, table) = help.split_once("Keys and their variables").unwrap();
    let rows: Vec<&str> = table.lines().skip(1).filter(|line| !line.trim().is_empty()).collect();
    assert_eq!(rows.len(), KEYS.len());
    let second = |row: &&str| {
        let row = row.trim_start();
        let key = row.find(' ').unwrap();
        key + row.split_at(key).1.find(|c| c != ' ').unwrap()
    };
    let column = second(&rows[0]);
    assert!(rows.iter().all(|row| second(row) == column), "{table}");
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(!words.is_empty());
    let status = command.find_subcommand_mut("status").unwrap().render_long_help().to_string();
    assert!(status.contains("rejecting"), "{status}");
}
