//! The real binary with names out of a file: `dump` shows and chooses by them, `run` sends under
//! them. And a label selector that is none.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test starts the binary, writes its files and reads what it says"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::agent::{Agent, Host, any_port, eventually, get, receiver};
use nix::sys::signal::Signal;
use serde_json::Value;

const UID: &str = "d757cf9d-1256-4c5a-abe2-5520cb3b6505";
const POD: &str = "/kubepods.slice/kubepods-podd757cf9d_1256_4c5a_abe2_5520cb3b6505.slice";
const UNIT: &str = "/system.slice/crio.service";

/// A configuration whose only source is a file that names a pod's cgroup and a unit.
fn config(dir: &Path, more: &str) -> PathBuf {
    let entry = |pattern: &str, namespace: &str, name: &str, labels: &str| {
        format!(
            "[[cgroup]]\npattern = \"{pattern}\"\nnamespace = \"{namespace}\"\n\
             name = \"{name}\"\nlabels = {{ {labels} }}\n"
        )
    };
    let names = entry("/kubepods.slice/kubepods-podd757cf9d*", "shop", "till", "tier = \"front\"")
        + &entry("/system.slice/crio.service", "machine", "runtime", "");
    fs::write(dir.join("names.toml"), names).unwrap();
    let path = dir.join("nodetally.toml");
    let text = format!(
        "[node]\nname = \"n1\"\n[sampling]\ninterval = \"1s\"\ntcp_sockets = false\n\
         [state]\ndir = \"none\"\n[directory]\nsources = [\"file\"]\nfile = {:?}\n{more}",
        dir.join("names.toml")
    );
    fs::write(&path, text).unwrap();
    path
}

fn with_config(mut command: Command, config: &Path) -> Command {
    command.arg("--config").arg(config);
    command
}

/// Exit status, standard output and standard error.
fn dump(host: &Host, config: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let all = [&["dump", "--interval", "100ms"], arguments].concat();
    let output = with_config(host.agent(&all), config).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn of_cgroup<'v>(dump: &'v Value, list: &str, cgroup: &str) -> &'v Value {
    dump[list].as_array().unwrap().iter().find(|row| row["cgroup"] == cgroup).unwrap()
}

#[test]
fn dump_shows_and_chooses_by_the_names_of_a_file() {
    let (host, dir) = (Host::copy("6.8-crio-systemd"), tempfile::tempdir().unwrap());
    let config = config(dir.path(), "");
    let (code, text, errors) = dump(&host, &config, &["--format", "json"]);
    assert_eq!((code, &*errors), (Some(0), ""));
    let all: Value = serde_json::from_str(&text).unwrap();
    let pod = of_cgroup(&all, "pods", POD);
    assert_eq!((&pod["namespace"], &pod["pod_name"]), (&"shop".into(), &"till".into()));
    assert_eq!(pod["uid"], UID);
    let unit = of_cgroup(&all, "host_units", UNIT);
    assert_eq!((&unit["namespace"], &unit["pod_name"]), (&"machine".into(), &"runtime".into()));
    let named = |list: &str| {
        let rows = all[list].as_array().unwrap().iter();
        rows.filter(|row| row.get("pod_name").is_some()).count()
    };
    assert_eq!((named("pods"), named("host_units")), (1, 1), "nobody else has a name");

    let (code, text, errors) = dump(&host, &config, &["--format", "json", "--pod", "shop/till"]);
    assert_eq!((code, &*errors), (Some(0), ""));
    let chosen: Value = serde_json::from_str(&text).unwrap();
    let uids: Vec<&Value> =
        chosen["pods"].as_array().unwrap().iter().map(|pod| &pod["uid"]).collect();
    assert_eq!(uids, [UID]);
    assert_eq!(chosen["host_units"].as_array().unwrap().len(), 0);
}

#[test]
fn an_unknown_pod_is_one_clear_line() {
    let (host, dir) = (Host::copy("6.8-crio-systemd"), tempfile::tempdir().unwrap());
    let config = config(dir.path(), "");
    let (code, text, errors) = dump(&host, &config, &["--pod", "shop/tills"]);
    assert_eq!((code, &*text), (Some(2), ""));
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(errors.contains("--pod shop/tills: no such pod here"), "{errors}");

    fs::remove_file(dir.path().join("names.toml")).unwrap();
    let (code, _, errors) = dump(&host, &config, &["--pod", "shop/till"]);
    assert_eq!(code, Some(2));
    assert_eq!(errors.lines().filter(|line| line.contains("--pod")).count(), 1, "{errors}");
    assert!(errors.contains("names.toml: cannot be read"), "{errors}");
}

#[test]
fn run_sends_a_named_unit_as_a_pod() {
    let (host, dir) = (Host::copy("6.8-crio-systemd"), tempfile::tempdir().unwrap());
    let address = receiver(any_port());
    let endpoint = format!(
        "[[endpoint]]\nname = \"central\"\nurl = \"http://{address}\"\nunknown_pods = \"wait\"\n"
    );
    let config = config(dir.path(), &endpoint);
    let agent = Agent::start(with_config(host.agent(&["run"]), &config));
    let pods = eventually("both that have a name", || {
        let (_, pods) = get(address, "/api/pods");
        pods.as_array().filter(|pods| pods.len() == 2).cloned()
    });
    let names: Vec<(&Value, &Value)> =
        pods.iter().map(|pod| (&pod["namespace"], &pod["pod_name"])).collect();
    assert_eq!(names, [(&"machine".into(), &"runtime".into()), (&"shop".into(), &"till".into()),]);
    assert_eq!(pods[1]["pod_uid"], UID);
    assert_eq!(pods[1]["labels"]["tier"], "front");
    // memory.current less inactive_file, as the capture has them.
    let file =
        |name: &str| fs::read_to_string(host.path(&format!("sys/fs/cgroup{UNIT}/{name}"))).unwrap();
    let stat = file("memory.stat");
    let inactive = stat.lines().find_map(|line| line.strip_prefix("inactive_file ")).unwrap();
    let current: u64 = file("memory.current").trim().parse().unwrap();
    assert_eq!(pods[0]["memory_bytes"], current - inactive.parse::<u64>().unwrap());
    agent.signal(Signal::SIGTERM);
    let (status, log) = agent.end();
    assert!(status.success(), "{log}");
}

#[test]
fn a_label_selector_that_is_none_is_one_line_and_exit_code_2() {
    let (host, dir) = (Host::copy("6.8-crio-systemd"), tempfile::tempdir().unwrap());
    let endpoint = "[[endpoint]]\nname = \"central\"\nurl = \"http://127.0.0.1:9\"\n\
                    pod_selector = \"tier in front\"\n";
    let config = config(dir.path(), endpoint);
    let (status, log) = Agent::start(with_config(host.agent(&["run"]), &config)).end();
    assert_eq!(status.code(), Some(2), "{log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains("central") && log.contains("\"tier in front\""), "{log}");
}

/// The right figures are sums of the captured memory.current files: of system.slice, and of the
/// slices with what is in them. Nothing of them is in the units of the slice any more.
#[test]
fn a_names_file_makes_owners_and_the_sum_stays() {
    let (host, dir) = (Host::copy("6.8-crio-systemd"), tempfile::tempdir().unwrap());
    let config = config(dir.path(), "");
    let entry = |pattern: &str, name: &str, owner: bool| {
        format!(
            "[[cgroup]]\npattern = \"{pattern}\"\nnamespace = \"machine\"\nname = \"{name}\"\n\
             owner = {owner}\n"
        )
    };
    let dump_with = |names: &str| -> Value {
        fs::write(dir.path().join("names.toml"), names).unwrap();
        let arguments = ["--format", "json", "--top", "1000"];
        let (code, text, errors) = dump(&host, &config, &arguments);
        assert_eq!((code, &*errors), (Some(0), ""));
        serde_json::from_str(&text).unwrap()
    };
    let without = dump_with(&entry("/system.slice", "system", false));
    let owners = entry("/system.slice", "system", true) + &entry("/kubepods.slice", "all", true);
    let with = dump_with(&owners);

    let file = |path: &str| {
        let text = fs::read_to_string(host.path(&format!("sys/fs/cgroup{path}/memory.current")));
        text.unwrap().trim().parse::<u64>().unwrap()
    };
    let system = of_cgroup(&with, "host_units", "/system.slice");
    assert_eq!(system["unit_kind"], "named");
    assert_eq!((&system["namespace"], &system["pod_name"]), (&"machine".into(), &"system".into()));
    assert_eq!(system["memory_current_bytes"], file("/system.slice"));
    let below = |dump: &Value| {
        let units = dump["host_units"].as_array().unwrap().iter();
        let cgroups = units.map(|unit| unit["cgroup"].as_str().unwrap());
        cgroups.filter(|cgroup| cgroup.starts_with("/system.slice/")).count()
    };
    assert!(below(&without) > 5, "{}", below(&without));
    assert_eq!(below(&with), 0, "its units have no rows any more");
    let uids = |dump: &Value| {
        let pods = dump["pods"].as_array().unwrap().iter();
        pods.map(|pod| pod["uid"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(uids(&with), uids(&without), "pods stay pods, whatever a file says");
    let of_both = |part: &str| {
        [&without, &with].map(|dump| dump["conservation"]["memory_bytes"][part].as_i64().unwrap())
    };
    for part in ["node", "pods", "kernel", "unattributed"] {
        let [before, now] = of_both(part);
        assert_eq!(before, now, "{part}");
    }
    // Of the slices, only kubepods.slice is not all its pods'.
    let [before, now] = of_both("host_units");
    let [exited_before, exited_now] = of_both("exited");
    assert_eq!(before + exited_before, now + exited_now);
    let units = ["/init.scope", "/system.slice", "/user.slice", "/kubepods.slice"].map(file);
    let pods = of_both("pods")[1];
    assert_eq!(u64::try_from(now + exited_now + pods).unwrap(), units.iter().sum::<u64>());
}
