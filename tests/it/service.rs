//! The files of an installed service, compared with the agent's needs.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test starts the binary")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nodetally::config::{self, Flags, Inputs, KEYS, Settings};

fn tree(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// All values of a key of the unit, in its order.
fn unit(key: &str) -> Vec<String> {
    let text = fs::read_to_string(tree("systemd/nodetally.service")).unwrap();
    let values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}

fn words(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The capabilities that `check` names over a captured host.
fn named_by_check(host: &str, process_io: bool) -> BTreeSet<String> {
    let t0 = tree("fixtures/hosts").join(host).join("t0");
    let output = Command::new(env!("CARGO_BIN_EXE_nodetally"))
        .env_clear()
        .env("NODETALLY_SAMPLING_PROCESS_IO", process_io.to_string())
        .args(["check", "--state-dir", "none", "--listen", "127.0.0.1:0"])
        .args([Path::new("--path.procfs"), &t0.join("proc")])
        .args([Path::new("--path.sysfs"), &t0.join("sys")])
        .args([Path::new("--path.rootfs"), &t0])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line.contains("can use")).unwrap();
    let named = line.split("can use ").nth(1).unwrap().split(';').next().unwrap();
    named.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_unit_gives_the_capabilities_that_check_names_and_no_others() {
    let named = named_by_check("6.8-crio-systemd", false);
    assert_eq!(named, words("CAP_SYS_PTRACE"));
    for key in ["AmbientCapabilities", "CapabilityBoundingSet"] {
        let [given] = &unit(key)[..] else { panic!("{key} stands more than once") };
        assert_eq!(words(given), named, "{key}");
    }
    // The drop-in of the documentation adds what each process's own figures need.
    let document = fs::read_to_string(tree("docs/service.md")).unwrap();
    let with_io = named_by_check("6.8-crio-systemd", true);
    assert_eq!(with_io, named_by_check("5.15-hybrid", false));
    let mut drop_ins = document.split("```ini\n").skip(1);
    let drop_in = drop_ins.find(|block| block.contains("AmbientCapabilities")).unwrap();
    let drop_in = drop_in.split("```").next().unwrap();
    for key in ["AmbientCapabilities", "CapabilityBoundingSet"] {
        let added = drop_in.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        assert_eq!(&named | &words(added.unwrap()), with_io, "{key}");
    }
}

#[test]
fn the_unit_lets_the_agent_hold_open_what_it_can_use() {
    // A limit of which half, less 32, has room for 4096 files and a directory for each of as many
    // cgroups as are followed.
    assert_eq!(unit("LimitNOFILE"), ["65536"]);
    const { assert!(65_536 / 2 - 32 > 4096 + nodetally::snapshot::cgroups::CGROUPS_MAX) };
}

#[test]
fn what_waits_for_endpoints_lies_where_systemd_lets_it_outlive_a_boot() {
    assert_eq!(unit("StateDirectory"), ["nodetally"]);
    let variables = [
        // systemd sets it for StateDirectory=.
        ("STATE_DIRECTORY".to_owned(), "/var/lib/nodetally".to_owned()),
        ("NODETALLY_STATE_DIR".to_owned(), "/run/nodetally".to_owned()),
    ];
    let settings = Settings::resolve(Inputs {
        environment: variables.to_vec(),
        host_name: "box".to_owned(),
        ..Inputs::default()
    });
    let dir = settings.unwrap().spool.dir.unwrap();
    assert_eq!(dir, PathBuf::from("/var/lib/nodetally/spool"));
}

#[test]
fn the_unit_names_what_the_agent_knows() {
    for setting in unit("Environment") {
        let (name, value) = setting.split_once('=').unwrap();
        assert!(KEYS.iter().any(|key| key.environment.contains(&name)), "{name}");
        if name == "NODETALLY_STATE_DIR" {
            // %t is /run, and the folder in it is systemd's to make.
            assert_eq!(unit("RuntimeDirectory"), [value.strip_prefix("%t/").unwrap()]);
        }
    }
    let start = unit("ExecStart").concat();
    let arguments: Vec<&str> = start.split_whitespace().skip(1).collect();
    assert_eq!(arguments, ["run", "--config", "/etc/nodetally/config.toml"]);
    let families = words(&unit("RestrictAddressFamilies").concat());
    assert_eq!(families, words("AF_INET AF_INET6 AF_UNIX AF_NETLINK"));
    let document = fs::read_to_string(tree("docs/service.md")).unwrap();
    for credential in unit("LoadCredential") {
        assert!(document.contains(&format!("/etc/credstore/{credential}")), "{credential}");
        let example = fs::read_to_string(tree("systemd/config.toml")).unwrap();
        assert!(example.contains(&format!("${{CREDENTIALS_DIRECTORY}}/{credential}\"")));
    }
}

/// As it is installed, and with every line in force that it offers.
#[test]
fn the_example_configuration_can_be_used_with_and_without_its_comments() {
    let text = fs::read_to_string(tree("systemd/config.toml")).unwrap();
    let settings = |text: String| {
        let variable = ("CREDENTIALS_DIRECTORY".to_owned(), "/run/credentials/x".to_owned());
        Settings::resolve(Inputs {
            file: Some((PathBuf::from("config.toml"), text)),
            environment: vec![variable],
            flags: Flags::default(),
            host_name: "box".to_owned(),
            is_root: false,
            xdg_runtime_dir: None,
            xdg_state_home: None,
            home: None,
        })
    };
    let plain = settings(text.clone()).unwrap();
    let nothing = settings(String::new()).unwrap();
    assert_eq!(plain, nothing, "as installed it changes nothing");
    let offered: Vec<String> = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(offered) if !offered.starts_with(' ') => offered.to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    let all = settings(offered.join("\n") + "\n").unwrap();
    assert_eq!(all.endpoints.len(), 1);
    assert_eq!(all.node.name, "worker-1");
    // An offered line shows what holds without it, but for names, addresses and tokens.
    assert_eq!(all.sampling.interval, nothing.sampling.interval);
    assert_eq!(all.receiver, nothing.receiver);
    let waiting = &all.endpoints[0].waiting;
    assert_eq!(config::format_bytes(waiting.spool_bytes), "256MiB");
    assert_eq!(waiting.spool_age, Duration::from_secs(24 * 60 * 60));
}
