//! Values, running totals and their ends.

use std::fs;

use nix::sys::signal::Signal;

use super::desk::Desk;
use super::scrape::{OPEN_METRICS, Series, ask};
use crate::support::agent::{Agent, Host, add};

pub const CGROUPS: &str = "sys/fs/cgroup";
pub const POD: &str = "kubepods.slice/kubepods-podd757cf9d_1256_4c5a_abe2_5520cb3b6505.slice";
pub const UID: (&str, &str) = ("uid", "d757cf9d-1256-4c5a-abe2-5520cb3b6505");
pub const ID: &str = "9ea3a0b56f9b1da5398edc77519b0f30811b9740e66d743c9a4e32a982a1191e";
const UNIT: (&str, &str) = ("unit", "chronyd.service");
const READ: (&str, &str) = ("direction", "receive");
const WRITE: (&str, &str) = ("direction", "write");
const MIB: u64 = 1 << 20;

pub fn near(value: f64, right: f64) -> bool {
    (value - right).abs() < 1e-9 * right.abs().max(1.0)
}

/// A load: 0.25 s of a container, 0.05 s beside it in its pod, 0.12 s of a unit; 1 MiB written and 100,000
/// bytes received.
pub fn load(host: &Host) {
    let container = format!("{POD}/crio-{ID}.scope");
    let monitor = format!("{POD}/crio-conmon-{ID}.scope");
    let unit = "system.slice/chronyd.service";
    let cpu = |cgroup: &str, user: u64, system: u64| {
        let file = format!("{CGROUPS}/{cgroup}/cpu.stat");
        add(host, &file, "usage_usec", "usage_usec ", user + system);
        add(host, &file, "user_usec", "user_usec ", user);
        add(host, &file, "system_usec", "system_usec ", system);
    };
    cpu(&container, 150_000, 100_000);
    cpu(&monitor, 50_000, 0);
    cpu(POD, 200_000, 100_000);
    cpu("kubepods.slice", 200_000, 100_000);
    cpu(unit, 120_000, 0);
    cpu("system.slice", 120_000, 0);
    cpu("", 320_000, 100_000);
    let throttled = format!("{CGROUPS}/{container}/cpu.stat");
    add(host, &throttled, "nr_periods", "nr_periods ", 10);
    add(host, &throttled, "nr_throttled", "nr_throttled ", 3);
    add(host, &throttled, "throttled_usec", "throttled_usec ", 75_000);
    for cgroup in [&*container, POD, "kubepods.slice"] {
        add(host, &format!("{CGROUPS}/{cgroup}/memory.current"), "", "", MIB);
        // The device mapper's device lies on the disk.
        for device in ["253:1", "259:0"] {
            let file = format!("{CGROUPS}/{cgroup}/io.stat");
            add(host, &file, device, "wbytes=", MIB);
            add(host, &file, device, "wios=", 16);
        }
    }
    for disk in ["nvme0n1", "nvme0n1p3", "dm-1"] {
        host.write_sectors(disk, MIB / 512);
    }
    // In ticks of 10 ms.
    for cpu in ["cpu  ", "cpu0 "] {
        add(host, "proc/stat", cpu, cpu, 42);
    }
    add(host, "proc/1/net/dev", "  eno1:", "eno1: ", 100_000);
}

/// The totals after so many loads.
#[track_caller]
fn assert_totals(series: &Series, loads: f64) {
    let container = ("container_id", ID);
    let mib = 1_048_576.0;
    for (name, labels, each) in [
        ("k8s_pod_cpu_time_seconds_total", &[UID][..], 0.3),
        ("nodetally_pod_cpu_mode_time_seconds_total", &[UID, ("mode", "user")], 0.2),
        ("container_cpu_time_seconds_total", &[container], 0.25),
        ("nodetally_container_cpu_throttled_time_seconds_total", &[container], 0.075),
        ("nodetally_container_cpu_throttled_periods_total", &[container], 3.0),
        ("nodetally_container_cpu_periods_total", &[container], 10.0),
        ("nodetally_unit_cpu_time_seconds_total", &[UNIT], 0.12),
        ("container_disk_io_bytes_total", &[container, WRITE], mib),
        ("nodetally_pod_disk_io_bytes_total", &[UID, WRITE], mib),
        ("nodetally_pod_disk_operations_total", &[UID, WRITE], 16.0),
        ("system_disk_io_bytes_total", &[WRITE], mib),
        ("system_network_io_bytes_total", &[READ], 100_000.0),
        ("system_cpu_time_seconds_total", &[("mode", "user")], 0.42),
        ("nodetally_node_cpu_time_seconds_total", &[], 0.42),
        ("nodetally_node_cpu_part_time_seconds_total", &[("part", "pods")], 0.3),
        ("nodetally_node_cpu_part_time_seconds_total", &[("part", "host_units")], 0.12),
    ] {
        // While nothing at all happens on the host, the node's CPU time is not known.
        let is_unknown = loads == 0.0 && name.contains("cpu") && !name.contains("_pod_");
        let value = series.find(name, labels).or_else(|| is_unknown.then_some(0.0));
        let value = value.unwrap_or_else(|| series.get(name, labels));
        assert!(near(value, each * loads), "{name} {labels:?}: {value}, not {loads} × {each}");
    }
    let rest = series.find("nodetally_node_cpu_unattributed_time_seconds", &[]);
    assert!(near(rest.unwrap_or(0.0), 0.0), "{rest:?}");
    let current = 420_478_976.0 + mib * loads;
    assert!(near(series.get("container_memory_usage_bytes", &[container]), current));
    let working_set = 422_051_840.0 - 100_663_296.0 + mib * loads;
    assert!(near(series.get("k8s_pod_memory_working_set_bytes", &[UID]), working_set));
}

/// Copies a unit to a new one, of which all of this CPU time is.
fn make_unit(host: &Host, name: &str, usec: u64) {
    let from = host.path(&format!("{CGROUPS}/system.slice/chronyd.service"));
    let made = host.path("made");
    fs::create_dir(&made).unwrap();
    crate::support::scratch::copy_tree(&from, &made);
    for (file, text) in [
        ("cpu.stat", format!("usage_usec {usec}\nuser_usec {usec}\nsystem_usec 0\n")),
        ("cgroup.procs", String::new()),
    ] {
        fs::write(made.join(file), text).unwrap();
    }
    fs::rename(made, host.path(&format!("{CGROUPS}/system.slice/{name}"))).unwrap();
    for parent in ["system.slice/", ""] {
        let file = format!("{CGROUPS}/{parent}cpu.stat");
        add(host, &file, "usage_usec", "usage_usec ", usec);
        add(host, &file, "user_usec", "user_usec ", usec);
    }
}

#[test]
fn totals_grow_by_what_was_used_outlive_their_entity_and_fall_with_a_newer_start_only() {
    let desk = Desk::new("");
    let agent = desk.start();
    let first = desk.until("the first figures", |_| true);
    assert_totals(&first, 0.0);
    let text = |key| first.get(key, &[]);
    // 16,777,216 KiB and 13,346,304 KiB in the host's meminfo; 5 pods.
    assert!(near(text("system_memory_limit_bytes"), 17_179_869_184.0));
    let free = first.get("system_memory_usage_bytes", &[("state", "free")]);
    assert!(near(free, 13_666_615_296.0), "{free}");
    let pods = first.0.keys().filter(|series| series.starts_with("k8s_pod_cpu_usage{")).count();
    assert_eq!(pods, 5);
    assert_filesystem(&desk, &first);

    for loads in [1.0, 2.0] {
        desk.change(&agent, load);
        let is_there = |now: &Series| {
            let total = now.get("k8s_pod_cpu_time_seconds_total", &[UID]);
            near(total, 0.3 * loads)
        };
        assert_totals(&desk.until("the load", is_there), loads);
    }
    assert_totals(&desk.next(1), 2.0);
    assert_started_later(&desk, &agent);
    assert_ended(&desk, &agent);
    assert_answers(&desk);
    assert_restart(&desk, agent);
}

/// The root of the host is a folder here, so its filesystem is that of the folder.
fn assert_filesystem(desk: &Desk, series: &Series) {
    let root = [("mountpoint", "/"), ("fstype", "ext4")];
    let stat = nix::sys::statvfs::statvfs(&desk.host.path("")).unwrap();
    let right = (stat.blocks() * stat.fragment_size()) as f64;
    let limit = |series: &Series| series.find("system_filesystem_limit_bytes", &root);
    let found = limit(series).or_else(|| limit(&desk.next(0)));
    assert_eq!(found, Some(right));
    let kinds = series.0.keys().filter(|series| series.contains("fstype=\"tmpfs\""));
    assert_eq!(kinds.count(), 0);
}

/// A unit that is new counts from 0, and from when it came.
fn assert_started_later(desk: &Desk, agent: &Agent) {
    desk.change(agent, |host| make_unit(host, "fresh.service", 80_000));
    let fresh = [("unit", "fresh.service")];
    let name = "nodetally_unit_cpu_time_seconds";
    let is_there = |now: &Series| now.find(&format!("{name}_total"), &fresh).is_some();
    let now = desk.until("the new unit", is_there);
    assert!(near(now.get(&format!("{name}_total"), &fresh), 0.08));
    let created = |labels: &[(&str, &str)]| now.get(&format!("{name}_created"), labels);
    assert!(created(&fresh) > created(&[UNIT]) + 1.0, "{} {}", created(&fresh), created(&[UNIT]));
    let unix = nodetally::clock::wall_time().as_unix_millis() as f64 / 1000.0;
    assert!((unix - 60.0..=unix).contains(&created(&fresh)), "{}", created(&fresh));
}

/// A unit whose cgroup is gone keeps its last total until everybody has seen it.
fn assert_ended(desk: &Desk, agent: &Agent) {
    desk.series("b").unwrap();
    desk.change(agent, |host| {
        let cgroup = host.path(&format!("{CGROUPS}/system.slice/chronyd.service"));
        fs::rename(cgroup, host.path("removed")).unwrap();
        fs::remove_dir_all(host.path("proc/2101")).unwrap();
    });
    let total = |series: &Series| series.find("nodetally_unit_cpu_time_seconds_total", &[UNIT]);
    let memory = |series: &Series| series.find("nodetally_unit_memory_usage_bytes", &[UNIT]);
    let ended = desk.until("the end of the unit", |now| memory(now).is_none());
    assert!(total(&ended).is_some_and(|total| near(total, 0.24)), "{:?}", total(&ended));
    let created = ended.find("nodetally_unit_cpu_time_seconds_created", &[UNIT]);
    assert!(created.is_some());
    let later = desk.next(3);
    assert!(total(&later).is_some_and(|total| near(total, 0.24)), "the other has not seen it");
    assert!(total(&desk.series("b").unwrap()).is_some());
    let gone = desk.next(1);
    assert_eq!(total(&gone), None, "everybody has seen it");
    assert_eq!(gone.get("nodetally_metrics_pullers", &[]), 2.0);
}

/// Formats, parameters and codings.
fn assert_answers(desk: &Desk) {
    let get = |target: &str, headers: &[(&str, &str)]| ask(desk.listen, target, headers).unwrap();
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    // Prometheus' own header names both, and prefers OpenMetrics.
    let prometheus =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";
    for (accept, right) in [
        (None, TEXT),
        (Some("*/*"), TEXT),
        (Some("text/plain"), TEXT),
        (Some(OPEN_METRICS), OPEN),
        (Some(prometheus), OPEN),
        (Some("application/openmetrics-text;q=0.1, text/plain"), TEXT),
    ] {
        let headers: Vec<_> = accept.iter().map(|accept| ("Accept", *accept)).collect();
        let answer = get("/metrics?entity=node", &headers);
        assert_eq!(answer.header("Content-Type"), Some(right), "{accept:?}");
        let text = answer.text();
        assert_eq!(text.ends_with("# EOF\n"), right == OPEN, "{accept:?}");
        assert_eq!(text.contains("_created{"), right == OPEN, "{accept:?}");
        let family = if right == OPEN { "" } else { "_total" };
        let head = format!("# TYPE system_cpu_time_seconds{family} counter\n");
        assert!(text.contains(&head), "{accept:?}: {text}");
    }

    let plain = get("/metrics?entity=pod&entity=container", &[]);
    let packed =
        get("/metrics?entity=pod&entity=container", &[("Accept-Encoding", "deflate, gzip")]);
    assert_eq!(packed.header("Content-Encoding"), Some("gzip"));
    assert_eq!(plain.header("Content-Encoding"), None);
    assert_eq!(packed.unpacked(), plain.text());
    assert!(packed.body.len() * 4 < plain.body.len(), "{}", packed.body.len());
    let names = Series::of(&plain.text());
    let of_others =
        names.0.keys().filter(|name| !name.contains("_pod_") && !name.contains("container_"));
    assert_eq!(of_others.collect::<Vec<_>>(), Vec::<&String>::new());
    let empty = get("/metrics?namespace=nobody", &[("Accept", OPEN_METRICS)]);
    assert_eq!(empty.text(), "# EOF\n");
    let own = Series::of(&get("/metrics?entity=agent", &[]).text());
    assert!(own.get("process_cpu_seconds_total", &[]) > 0.0);
    assert!(own.get("process_resident_memory_bytes", &[]) > 1e6);
    assert!(
        own.0.keys().all(|name| name.starts_with("nodetally_") || name.starts_with("process_"))
    );
    for (target, allowed) in [
        ("/metrics?entity=pods", "node, filesystem, pod, container, unit, exited, process, agent"),
        ("/metrics?name=pod", "entity, namespace"),
        ("/metrics?namespace=a&namespace=b", "once"),
    ] {
        let answer = get(target, &[]);
        assert_eq!(answer.status, 400, "{target}");
        assert!(answer.text().contains(allowed), "{target}: {}", answer.text());
    }
    assert_eq!(get("/healthz", &[]).status, 200);
    let own = Series::of(&get("/metrics?entity=agent", &[]).text());
    assert_eq!(own.get("nodetally_metrics_requests_total", &[("code", "400")]), 3.0);
}

/// No total falls without a newer start.
fn assert_restart(desk: &Desk, agent: Agent) {
    let before = desk.series("a").unwrap();
    agent.signal(Signal::SIGTERM);
    let (status, log) = agent.end();
    assert!(status.success(), "{log}");
    let agent = desk.start();
    let after = desk.until("figures again", |_| true);
    let mut fallen = 0;
    for (series, value) in &after.0 {
        let Some((name, labels)) = series.split_once("_total{") else { continue };
        let Some(last) = before.0.get(series).filter(|last| *last > value) else { continue };
        if name.starts_with("nodetally_")
            && !before.0.contains_key(&format!("{name}_created{{{labels}"))
        {
            // The agent's own, whose start is that of its process.
            continue;
        }
        let created = |of: &Series| of.0[&format!("{name}_created{{{labels}")];
        assert!(created(&after) > created(&before), "{series}: {value} after {last}");
        fallen += 1;
    }
    assert!(fallen > 10, "{fallen}");
    let started = |of: &Series| of.get("process_start_time_seconds", &[]);
    assert!(started(&after) > started(&before));
    agent.signal(Signal::SIGTERM);
    assert!(agent.end().0.success());
}
