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
            ..Inputs::default()
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

/// A wrong configuration is not tried again every five seconds, and an address that is in use is.
#[test]
fn only_what_a_person_has_to_change_stops_the_restarts() {
    assert_eq!(unit("Restart"), ["on-failure"]);
    assert_eq!(unit("RestartPreventExitStatus"), ["2"]);
}

/// The thread that counts files of pods puts itself into the idle class by this call, which the group
/// @resources would deny.
#[test]
fn the_filter_of_the_unit_lets_the_slow_thread_be_idle() {
    let filters = unit("SystemCallFilter");
    let denied = filters.iter().position(|filter| filter.contains("@resources")).unwrap();
    let allowed = filters.iter().rposition(|filter| {
        !filter.starts_with('~') && words(filter).contains("sched_setscheduler")
    });
    assert!(allowed > Some(denied), "{filters:?}");
    assert_eq!(unit("RestrictRealtime"), ["yes"]);
}

/// Lines for the journal begin with their priority, have no time, and do so where standard error is the
/// journal alone.
#[test]
fn under_journald_a_line_has_a_priority_and_elsewhere_a_time() {
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::MetadataExt as _;

    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("bad.toml");
    fs::write(&config, "[log]\nlevel = \"loud\"\n[nonsense]\n").unwrap();
    let errors = |is_journal: bool| {
        let path = dir.path().join("stderr");
        let file = fs::File::create(&path).unwrap();
        let metadata = file.metadata().unwrap();
        assert!(file.as_raw_fd() > 2);
        let inode = metadata.ino() + u64::from(!is_journal);
        Command::new(env!("CARGO_BIN_EXE_nodetally"))
            .env_clear()
            .env("JOURNAL_STREAM", format!("{}:{inode}", metadata.dev()))
            .args([Path::new("run"), Path::new("--config"), &config])
            .stderr(file)
            .status()
            .unwrap();
        fs::read_to_string(&path).unwrap()
    };
    let lines = errors(true);
    assert_eq!(lines.lines().count(), 2, "{lines}");
    assert!(lines.lines().all(|line| line.starts_with("<3>nodetally: ")), "{lines}");
    assert!(errors(false).starts_with("nodetally: "));
}

#[test]
fn each_format_of_the_log_is_what_it_says() {
    let t0 = tree("fixtures/hosts/5.15-hybrid/t0");
    let log = |format: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nodetally"));
        command
            .env_clear()
            .args(["run", "--state-dir", "none", "--listen", "127.0.0.1:0", "--log-format", format])
            .args([Path::new("--path.procfs"), &t0.join("proc")])
            .args([Path::new("--path.sysfs"), &t0.join("sys")])
            .args([Path::new("--path.rootfs"), &t0])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::piped());
        let mut agent = command.spawn().unwrap();
        let mut lines =
            std::io::BufRead::lines(std::io::BufReader::new(agent.stderr.take().unwrap()));
        // The controllers that the host lacks are logged at the first sample.
        let line =
            lines.by_ref().map(Result::unwrap).find(|line| line.contains("controller memory"));
        agent.kill().unwrap();
        agent.wait().unwrap();
        line.unwrap()
    };
    let json: serde_json::Value = serde_json::from_str(&log("json")).unwrap();
    assert_eq!(json["level"], "INFO");
    assert_eq!(json["target"], "nodetally::runtime::sampling");
    assert!(json["message"].as_str().unwrap().contains("controller memory"), "{json}");
    let time = json["timestamp"].as_str().unwrap();
    assert!(humantime::parse_rfc3339(time).is_ok(), "{time}");
    let logfmt = log("logfmt");
    assert!(logfmt.starts_with("timestamp=2") && logfmt.contains(" level=info "), "{logfmt}");
    assert!(logfmt.contains(" message=\"cgroup2 controller memory: "), "{logfmt}");
    let text = log("text");
    assert!(text.contains("Z  INFO cgroup2 controller memory: "), "{text}");
    // Not to a terminal, and not to the journal.
    assert!(log("auto").contains("Z  INFO cgroup2 controller memory: "));
}
