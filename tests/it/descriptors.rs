//! Figures under small limits of open files, and with one owner who makes very many cgroups.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use nodetally::ledger::{Account, Ledger};
use nodetally::snapshot::cgroups::CGROUPS_MAX;
use nodetally::snapshot::sampler::{Sampler, SamplerOptions};
use serde_json::Value;

use crate::sampler_faults::copy::Clock;
use crate::support::agent::{Agent, any_port, config, eventually, get, receiver};
use crate::support::host_tree::{Activity, HostTree};
use crate::support::rounds::is_long;

/// `nodetally` over a generated host, with at most `limit` descriptors (soft and hard).
fn limited(tree: &HostTree, limit: usize, arguments: &[&str]) -> Command {
    let roots = tree.roots();
    let mut command = Command::new("/bin/sh");
    command
        .env_clear()
        .arg("-c")
        .arg(format!("ulimit -n {limit}; exec \"$0\" \"$@\""))
        .arg(env!("CARGO_BIN_EXE_nodetally"))
        .args(arguments)
        .args([Path::new("--path.procfs"), &roots.procfs])
        .args([Path::new("--path.sysfs"), &roots.sysfs])
        .args([Path::new("--path.rootfs"), &roots.rootfs])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Everything that `dump` says of pods, containers and units but times and rates; and the gaps.
fn figures(dump: Child) -> (BTreeMap<String, Value>, Value) {
    let output = dump.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && errors.is_empty(), "{errors}");
    let mut document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut figures = BTreeMap::new();
    let mut keep = |mut row: Value| {
        let of_time = row.as_object_mut().unwrap();
        of_time.remove("cpu_over_usec").unwrap();
        of_time.remove("cpu_millicores").unwrap();
        let cgroup = row["cgroup"].as_str().unwrap().to_owned();
        assert!(figures.insert(cgroup, row).is_none());
    };
    for list in ["pods", "host_units"] {
        for mut row in std::mem::take(document[list].as_array_mut().unwrap()) {
            if let Some(containers) = row.as_object_mut().unwrap().remove("containers") {
                containers.as_array().unwrap().iter().cloned().for_each(&mut keep);
            }
            keep(row);
        }
    }
    (figures, document["gaps"].take())
}

/// The CPU of the interval in µs; every row has it.
fn cpu_usec(row: &Value) -> u64 {
    row["cpu_usage_usec"].as_u64().unwrap_or_else(|| panic!("{row}"))
}

/// Waits until `dump` has the first sample of `tree` and waits for the second one: it has opened
/// the tree, sleeps, and has used no CPU for a while.
fn wait_between_samples(dump: &Child, tree: &HostTree) {
    let proc = Path::new("/proc").join(dump.id().to_string());
    let opened = tree.path().join("proc/stat").canonicalize().unwrap();
    // The state, and the ticks of user and system time.
    let used = || -> Option<(String, [u64; 2])> {
        let text = fs::read_to_string(proc.join("stat")).ok()?;
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = [fields.get(11)?.parse().ok()?, fields.get(12)?.parse().ok()?];
        Some(((*fields.first()?).to_owned(), ticks))
    };
    let has_opened = || {
        let files = fs::read_dir(proc.join("fd")).into_iter().flatten().flatten();
        files.map(|file| fs::read_link(file.path())).any(|to| to.is_ok_and(|to| to == opened))
    };
    eventually("a first sample", || {
        let before = used();
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(80));
            let sleeps = before.as_ref().is_some_and(|(state, _)| state == "S");
            if !sleeps || used() != before {
                return None;
            }
        }
        has_opened().then_some(())
    });
}

#[test]
fn dump_has_the_same_figures_at_any_limit_of_open_files() {
    // A thousand pods take a minute.
    for pods in if is_long() { &[250, 1000][..] } else { &[250] } {
        let pods = *pods;
        let mut tree = HostTree::build(pods);
        // Longer than the slowest first sample takes beyond the fastest one.
        let interval = if pods == 250 { "8s" } else { "20s" };
        let arguments = ["dump", "--format", "json", "--interval", interval, "--top", "100000"];
        let dumps = [64, 256, 1024, 16_384].map(|limit| {
            let arguments = &arguments;
            limited(&tree, limit, arguments).spawn().unwrap()
        });
        dumps.iter().for_each(|dump| wait_between_samples(dump, &tree));
        tree.advance(Activity::SameFifth);
        let [least, few, some, many] = dumps.map(figures);
        assert_eq!(many.0.len(), pods * 4 + 31, "pods, containers and units");
        // A fifth of the pods, two containers of each, and two units.
        let busy = many.0.values().filter(|row| cpu_usec(row) > 0).count();
        assert_eq!(busy, pods / 5 * 3 + 2);
        for (name, other) in [("64", least), ("256", few), ("1024", some)] {
            assert_eq!(other.0, many.0, "{pods} pods at {name}");
            assert_eq!(other.1, many.1, "{pods} pods at {name}");
        }
    }
}

#[test]
fn run_delivers_stores_and_answers_at_any_limit_of_open_files() {
    let all = [(250, 64), (1000, 256), (1000, 64), (250, 1024)];
    for (pods, limit) in all.into_iter().take(if is_long() { all.len() } else { 2 }) {
        let tree = HostTree::build(pods);
        let scratch = tempfile::tempdir().unwrap();
        let address = receiver(any_port());
        let config = config(scratch.path(), &format!("http://{address}"));
        let state = scratch.path().join("state");
        let mut command = limited(&tree, limit, &["run", "--interval", "1s"]);
        command.arg("--config").arg(&config).arg("--state-dir").arg(&state);
        let agent = Agent::start(command);
        eventually("figures of every pod", || {
            let (_, listed) = get(address, "/api/nodes/n1/pods");
            (listed.as_array().map_or(0, Vec::len) == pods).then_some(())
        });
        let status = Command::new(env!("CARGO_BIN_EXE_nodetally"))
            .env_clear()
            .args(["status", "--format", "json", "--state-dir"])
            .arg(&state)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&status.stdout);
        assert!(status.status.success(), "{text}{}", String::from_utf8_lossy(&status.stderr));
        agent.signal(Signal::SIGTERM);
        let (status, log) = agent.end();
        assert!(status.success(), "{status}: {log}");
        for trouble in ["descriptor", "open files", "not answering", "cannot be"] {
            assert!(!log.contains(trouble), "{pods} at {limit}: {log}");
        }
        assert!(fs::read_dir(&state).unwrap().count() > 0, "the counters are kept");
    }
}

/// Held by each sampler of a crowd. It takes half of the limit of open files, which this process has
/// for all its tests.
static CROWD_TURN: Mutex<()> = Mutex::new(());

/// 16,500 cgroups, of which one pod made 16,000 in its container: `nested` gives the path of each.
fn figures_beside_a_crowd(nested: impl Fn(usize) -> String) {
    const PODS: usize = 120;
    const CROWD: usize = 16_000;
    let mut tree = HostTree::build(PODS);
    // One of those that use something.
    let crowded =
        tree.pod_dir(10).join(format!("cri-containerd-{}.scope", tree.container_ids(10)[1]));
    for number in 0..CROWD {
        let dir = crowded.join(nested(number));
        fs::create_dir_all(&dir).unwrap();
        for dir in dir.ancestors().take_while(|dir| *dir != crowded) {
            fs::write(dir.join("cpu.stat"), "usage_usec 5\nuser_usec 5\nsystem_usec 0\n").unwrap();
            fs::write(dir.join("cgroup.procs"), "").unwrap();
        }
    }
    let roots = tree.roots();
    let mut ledger = Ledger::new(roots.units);
    let _turn = CROWD_TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut sampler = Sampler::open(roots, SamplerOptions::default()).unwrap();
    let mut account = Account::default();
    let clock = Clock::new();
    for _ in 0..3 {
        tree.advance(Activity::SameFifth);
        ledger.settle(clock.sample(&mut sampler), &mut account);
        assert!(sampler.snapshot().cgroups.len() <= CGROUPS_MAX);
    }
    assert_eq!(account.pods.len(), PODS);
    for pod in &account.pods {
        // Two containers used 10 ms each.
        let uid = pod.uid.to_string();
        let number =
            (0..PODS).find(|pod| HostTree::pod_uid(*pod).replace('-', "") == uid.replace('-', ""));
        let expected = if number.unwrap().is_multiple_of(5) { 20_000 } else { 0 };
        assert_eq!(pod.usage.cpu.unwrap().usage.as_usec(), expected, "{uid}");
        assert_eq!(account.containers_of(pod.uid).len(), 3, "{uid}");
    }
    let snapshot = sampler.snapshot();
    let below = |top: &Path| {
        let top =
            format!("/{}", top.strip_prefix(tree.path().join("sys/fs/cgroup")).unwrap().display());
        snapshot.cgroups.iter().filter(|cgroup| cgroup.key.path.starts_with(top.as_bytes())).count()
    };
    assert!(below(&crowded) > CGROUPS_MAX / 2, "the crowd has what the others leave");
    let gaps: Vec<String> =
        snapshot.gaps.current.iter().map(|gap| gap.reason.to_string()).collect();
    assert!(
        matches!(&gaps[..], [gap] if gap.contains("cgroups in it are not followed")),
        "{gaps:?}"
    );
}

#[test]
fn sixteen_thousand_cgroups_of_one_pod_take_nothing_from_the_others() {
    figures_beside_a_crowd(|number| format!("x{number}"));
}

#[test]
fn nested_cgroups_of_one_pod_take_nothing_from_the_others() {
    figures_beside_a_crowd(|number| format!("a{}/b{}", number / 100, number % 100));
}
