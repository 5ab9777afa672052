//! `nodetally check`: the sources of this host, and the values that will be missing.

mod confinement;
mod findings;
mod network;
mod report;

use std::borrow::Cow;
use std::path::Path;

use crate::attribution;
use crate::checkpoint::StateDir;
use crate::clock;
use crate::config::{Durability, EndpointSettings, Settings};
use crate::quantity::counted;
use crate::runtime::error::AgentError;
use crate::runtime::{host, startup};
use crate::snapshot::gaps::{Gap, GapReason};
use crate::snapshot::processes::ProcessDetail;
use crate::snapshot::roots::{Hierarchy, Roots};
use crate::snapshot::sampler::{Sampler, SamplerOptions};
use crate::source::proc::pid_status::{self, Capabilities, Capability};
use crate::source::root::{Buffer, Dir, ReadFailure};
use crate::spool::Spool;
use findings::{Findings, Group, State};
pub use report::CheckReport;

/// Checks every source that `run` would use with these settings.
#[must_use]
pub fn check(settings: &Settings) -> CheckReport {
    let mut findings = Findings::default();
    // Tokens and keys are read here too.
    if !host::forbid_core_dumps() {
        findings.add(State::Noted, "core dumps", host::CORE_DUMPS);
    }
    let roots = host::roots(settings);
    let mut hierarchy = None;
    let held = own_capabilities();
    let options = SamplerOptions {
        processes: ProcessDetail { io: settings.sampling.process_io, cmdline: false },
        events: true,
        sockets: settings.sampling.tcp_sockets,
        says_more: attribution::says_more,
        ..SamplerOptions::default()
    };
    match startup::open_sampler(settings, options) {
        Err(error) => {
            let is_path = matches!(error, AgentError::NotThePlace { .. });
            let finding =
                findings.add(State::Failed, if is_path { "paths" } else { "procfs" }, error);
            if !is_path {
                finding.help = "mount the host's procfs and name it with --path.procfs".into();
            }
            finding.vital = true;
        }
        Ok(mut sampler) => {
            hierarchy = Some(sampler.hierarchy());
            let reads_io = sampler.reads_process_io();
            compare_capabilities(held, wanted_capabilities(reads_io), &mut findings);
            check_procfs(&roots, reads_io, held, &mut findings);
            check_sysfs(&roots, &mut findings);
            check_sample(&mut sampler, held, &mut findings);
            check_pod_files(settings, &roots, held, &mut findings);
        }
    }
    findings.group = Group::Agent;
    check_state(settings, &mut findings);
    check_spool(settings, &mut findings);
    network::check(settings, &mut findings);
    CheckReport::new(settings.node.name.clone(), hierarchy, findings.all)
}

/// The capabilities that `run` uses. systemd/nodetally.service grants those of the default settings
/// on a host with io.stat.
///
/// `/proc/<pid>/io` needs both: one to open another user's file, one to inspect its process.
fn wanted_capabilities(reads_process_io: bool) -> &'static [Capability] {
    if reads_process_io {
        &[Capability::SYS_PTRACE, Capability::DAC_READ_SEARCH]
    } else {
        &[Capability::SYS_PTRACE]
    }
}

/// The capabilities of this process; `None` if they cannot be read.
fn own_capabilities() -> Option<Capabilities> {
    // Always its own procfs: the configured one may be another host's.
    let procfs = Dir::open(Path::new("/proc")).ok()?;
    let mut buffer = Buffer::default();
    pid_status::parse(procfs.read_records(c"self/status", &mut buffer).ok()?).ok()
}

/// The most capabilities that are named: a larger set is nearly root's.
const CAPABILITIES_NAMED_MAX: usize = 8;

fn compare_capabilities(
    held: Option<Capabilities>,
    wanted: &[Capability],
    findings: &mut Findings,
) {
    let listed = |capabilities: &mut dyn Iterator<Item = Capability>| {
        let names: Vec<String> = capabilities.map(|capability| capability.to_string()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let (state, holds) = match held {
        None => (State::Noted, "not known, /proc/self/status cannot be read".to_owned()),
        Some(held) => {
            let lacking = wanted.iter().any(|capability| !held.has(*capability));
            let count = held.iter().count();
            let holds = if count > CAPABILITIES_NAMED_MAX && !lacking {
                format!("these and {} others", count - wanted.len())
            } else if count > CAPABILITIES_NAMED_MAX {
                let some = listed(&mut held.iter().filter(|one| wanted.contains(one)));
                format!("{count}, of these {some}")
            } else {
                listed(&mut held.iter())
            };
            (if lacking { State::Noted } else { State::Present }, holds)
        }
    };
    let wants = listed(&mut wanted.iter().copied());
    findings.add(state, "capabilities", format!("can use {wants}; holds {holds}"));
}

/// The capabilities among `wanted` that the process lacks, as a hint. If it holds all of them, another
/// mechanism denies the access.
fn capabilities_that_help(held: Option<Capabilities>, wanted: &[Capability]) -> Cow<'static, str> {
    let lacking: Vec<String> = wanted
        .iter()
        .filter(|capability| !held.is_some_and(|held| held.has(**capability)))
        .map(Capability::to_string)
        .collect();
    if lacking.is_empty() {
        return confinement::words().into();
    }
    lacking.join(" and ").into()
}

fn check_procfs(
    roots: &Roots,
    reads_process_io: bool,
    held: Option<Capabilities>,
    findings: &mut Findings,
) {
    let Ok(procfs) = Dir::open(&roots.procfs) else { return };
    let mut buffer = Buffer::default();
    let mut look = |name: &std::ffi::CStr, missing: &str, help: Cow<'static, str>| {
        let shown = roots.procfs.join(name.to_str().unwrap_or_default()).display().to_string();
        let state = procfs
            .read_records(name, &mut buffer)
            .map_or_else(State::of_failure, |_| State::Present);
        let consequence = if state == State::Present { "" } else { missing };
        findings.add(state, &shown, consequence).help = help;
        state
    };
    let stat = look(c"stat", "the node's CPU, and with it the balance of CPU", "".into());
    look(c"meminfo", "the node's memory", "".into());
    look(c"diskstats", "the node's disk traffic", "".into());
    look(c"pressure/cpu", "pressure of node, pods and units", "start the kernel with psi=1".into());
    look(
        c"sys/kernel/random/boot_id",
        "counters across a restart of the agent: each start counts as a boot",
        "".into(),
    );
    look(
        c"1/net/dev",
        "the node's network traffic",
        "run in the host's pid namespace (hostPID)".into(),
    );
    if reads_process_io {
        look(
            c"1/io",
            "disk traffic of other users' processes; that of pods and units comes from io.stat, if \
             there is one",
            capabilities_that_help(held, &[Capability::SYS_PTRACE, Capability::DAC_READ_SEARCH]),
        );
    }
    if procfs.with_link(c"1/ns/net", |_| ()) == Err(ReadFailure::Denied) {
        let shown = roots.procfs.join("1/ns/net").display().to_string();
        let missing = "the interfaces that lead out of a pod, which are guessed from their names";
        findings.add(State::Denied, &shown, missing).help =
            capabilities_that_help(held, &[Capability::SYS_PTRACE]);
    }
    if stat != State::Present
        && let Some(finding) =
            findings.all.iter_mut().find(|finding| finding.source.ends_with("/stat"))
    {
        finding.vital = true;
    }
    let options = roots.procfs_options(&procfs);
    // If it hides something, the sampler has a gap.
    if let Some(hidepid) = options.hidepid.filter(|_| options.gaps.is_empty()) {
        let text = format!(
            "procfs is mounted with hidepid={hidepid}; this process sees all in spite of it"
        );
        findings.add(State::Noted, "procfs hidepid", text);
    }
    // Only the host's pid namespace has kernel threads.
    let kthreadd =
        procfs.read_record(c"2/comm", &mut buffer).is_ok_and(|comm| comm == b"kthreadd\n");
    if kthreadd {
        findings.add(State::Present, "the host's pid namespace", "");
    } else {
        let missing = "processes of the host, their owners, and the network of pods";
        findings.add(State::Absent, "the host's pid namespace", missing).help =
            "hostPID: true in Kubernetes, --pid=host in Docker and Podman".into();
    }
}

fn check_sysfs(roots: &Roots, findings: &mut Findings) {
    let wanted = [
        ("block", "the block devices that are whole disks, which are guessed from their names"),
        ("class/net", "the physical interfaces, which are guessed from their names"),
    ];
    for (name, missing) in wanted {
        let path = roots.sysfs.join(name);
        let state = Dir::open(&path).map_or_else(State::of_failure, |_| State::Present);
        let consequence = if state == State::Present { "" } else { missing };
        findings.add(state, &path.display().to_string(), consequence).help =
            "mount the host's sysfs and name it with --path.sysfs".into();
    }
}

fn check_sample(sampler: &mut Sampler, held: Option<Capabilities>, findings: &mut Findings) {
    let hierarchy = sampler.hierarchy();
    let snapshot = sampler.sample(&clock::boot_time, clock::wall_time());
    for gap in &snapshot.gaps.standing {
        let name = String::from_utf8_lossy(&gap.path).into_owned();
        // procfs has been checked file by file.
        if !name.starts_with("/proc/") {
            add_gap(findings, gap, &name, held, hierarchy);
        }
    }
    for gap in &snapshot.gaps.current {
        let name = String::from_utf8_lossy(&gap.path).escape_debug().to_string();
        if name != "/proc/<pid>/io" {
            add_gap(findings, gap, &name, held, hierarchy);
        }
    }
    let processes: usize =
        snapshot.cgroups.iter().map(|cgroup| cgroup.own_processes().count()).sum();
    let namespaces = snapshot.namespaces.iter().filter(|namespace| !namespace.is_host).count();
    findings.add(
        State::Present,
        "a sample",
        format!(
            "{}, {}, {} beside the host's, {} in {:.1} ms",
            counted(snapshot.cgroups.len(), "cgroup", "cgroups"),
            counted(processes, "process", "processes"),
            counted(namespaces, "network namespace", "network namespaces"),
            counted(snapshot.counts.files_read, "file", "files"),
            snapshot.ended_at.usec_since(snapshot.begun_at) as f64 / 1000.0
        ),
    );
}

/// The remedy for a controller that cgroup v2 lacks.
fn controller_help(name: &str, reason: &str, hierarchy: Hierarchy) -> Cow<'static, str> {
    let controller = name.strip_prefix("cgroup2 controller ").unwrap_or(name);
    if hierarchy == Hierarchy::Hybrid {
        return "a pure cgroup v2 host: systemd.unified_cgroup_hierarchy=1 on the kernel's command line"
            .into();
    }
    if reason.contains("subtree_control") {
        return format!(
            "pass it on: echo +{controller} > /sys/fs/cgroup/cgroup.subtree_control; systemd does so \
             for a unit that needs it (Delegate=, or an accounting setting such as \
             DefaultMemoryAccounting=yes)"
        )
        .into();
    }
    if controller == "memory" {
        return "cgroup_enable=memory on the kernel's command line, and no cgroup_disable=memory \
                (Raspberry Pi OS and Debian on ARM have it off)"
            .into();
    }
    format!(
        "no cgroup_disable={controller} on the kernel's command line, or a kernel built with it"
    )
    .into()
}

fn add_gap(
    findings: &mut Findings,
    gap: &Gap,
    name: &str,
    held: Option<Capabilities>,
    hierarchy: Hierarchy,
) {
    let state = match gap.reason {
        GapReason::Denied => State::Denied,
        GapReason::NotOffered { .. } | GapReason::UnownedCpu { .. } => State::Absent,
        GapReason::Malformed { .. }
        | GapReason::Odd { .. }
        | GapReason::TooLarge
        | GapReason::Failed { .. }
        | GapReason::LeftOut { .. }
        | GapReason::Bounded { .. }
        | GapReason::WentBack
        | GapReason::Implausible => State::Failed,
    };
    let help = match (name, state) {
        (name, State::Absent) if name.starts_with("cgroup2 controller ") => {
            controller_help(name, &gap.reason.to_string(), hierarchy)
        }
        ("procfs hidepid", _) => {
            "CAP_SYS_PTRACE, or the group of the mount option gid=, or a procfs without hidepid"
                .into()
        }
        ("procfs subset", _) => "mount a whole procfs and name it with --path.procfs".into(),
        ("cgroup2", _) => {
            "mount cgroup2, or name its mount with --path.cgroupfs; a container needs the host's"
                .into()
        }
        (name, State::Denied) if name.starts_with("/proc/<pid>/") => {
            capabilities_that_help(held, &[Capability::SYS_PTRACE])
        }
        (_, State::Denied) => capabilities_that_help(held, &[Capability::DAC_READ_SEARCH]),
        _ => "".into(),
    };
    findings.add(state, name, gap.reason.to_string()).help = help;
}

/// Checks that the files of pods can be read. A host without a kubelet has no line.
fn check_pod_files(
    settings: &Settings,
    roots: &Roots,
    held: Option<Capabilities>,
    findings: &mut Findings,
) {
    let filesystem = &settings.filesystem;
    if !filesystem.pod_usage {
        return;
    }
    let pods = roots.seen_from_here(&filesystem.kubelet_dir).join("pods");
    let source = format!("files of pods below {}", filesystem.kubelet_dir.display());
    let reader = [Capability::DAC_READ_SEARCH];
    match Dir::open(&pods).map_err(State::of_failure) {
        Err(State::Absent) => {}
        Err(state) => {
            let finding = findings.add(state, &source, "disk usage of pods is not measured");
            if state == State::Denied {
                finding.help = capabilities_that_help(held, &reader);
            }
        }
        Ok(_) if held.is_some_and(|held| held.has(Capability::DAC_READ_SEARCH)) => {
            findings.add(State::Present, &source, "");
        }
        Ok(_) => {
            let text = "directories closed to other users are not counted; usage without them is \
                        marked as incomplete";
            findings.add(State::Noted, &source, text).help = capabilities_that_help(held, &reader);
        }
    }
}

fn check_state(settings: &Settings, findings: &mut Findings) {
    let Some(dir) = &settings.state.dir else {
        findings
            .add(State::Noted, "state directory", "none is set: a restart loses an interval")
            .help = "--state-dir DIR, best on tmpfs".into();
        return;
    };
    let shown = format!("state directory {}", dir.display());
    let tried = StateDir::open(dir).and_then(|state| state.load().map(|_| state));
    let (state, error) = match tried.map(|state| state.is_writable()) {
        Ok(Ok(())) => {
            findings.add(State::Present, &shown, "");
            return;
        }
        Ok(Err(error)) => (State::Denied, error.to_string()),
        Err(error) => (State::Failed, error.to_string()),
    };
    let text = format!("a restart will lose an interval: {error}");
    findings.add(state, &shown, text).help = "--state-dir DIR".into();
}

/// Checks the spool directory and its files.
fn check_spool(settings: &Settings, findings: &mut Findings) {
    let keeps = |endpoint: &&EndpointSettings| endpoint.waiting.durability == Durability::Disk;
    let kept = settings.endpoints.iter().filter(keeps);
    let names: Vec<&str> = kept.map(|endpoint| endpoint.name.as_str()).collect();
    let Some(dir) = &settings.spool.dir else {
        if !settings.endpoints.is_empty() {
            let text = "none is set: the backlog is kept in memory alone";
            findings.add(State::Noted, "spool", text).help = "spool.dir".into();
        }
        return;
    };
    let spool = Spool::new(dir.clone());
    let orphans = spool.orphans(&names);
    if names.is_empty() && orphans.is_empty() {
        return;
    }
    let shown = format!("spool {}", dir.display());
    let mut text = match spool.free_bytes() {
        Ok(bytes) => format!("{} MiB are free", bytes >> 20),
        Err(error) => {
            let text = format!("the backlog is kept in memory alone: {error}");
            findings.add(State::Failed, &shown, text).help = "spool.dir".into();
            return;
        }
    };
    for name in names {
        match spool.file_bytes(name) {
            0 => {}
            bytes => text.push_str(&format!("; {} KiB for {name}", bytes >> 10)),
        }
    }
    findings.add(State::Present, &shown, text);
    for (file, bytes) in orphans {
        let text = format!(
            "{} KiB are not sent: no endpoint of that name keeps samples on disk",
            bytes >> 10
        );
        findings.add(State::Noted, &format!("spool file {file}"), text).help =
            "an endpoint of that name, or removing the file".into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &[Capability] = &[Capability::SYS_PTRACE, Capability::DAC_READ_SEARCH];

    fn held(mask: &str) -> Option<Capabilities> {
        Some(pid_status::parse(format!("CapEff:\t{mask}\n").as_bytes()).unwrap())
    }

    #[test]
    fn a_hint_names_only_the_missing_capabilities() {
        for (mask, help) in [
            ("0000000000000000", "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"),
            ("0000000000080000", "CAP_DAC_READ_SEARCH"),
            ("0000000000000004", "CAP_SYS_PTRACE"),
        ] {
            assert_eq!(capabilities_that_help(held(mask), BOTH), help, "{mask}");
        }
        let for_nothing = capabilities_that_help(held("0000000000080004"), BOTH);
        assert!(!for_nothing.contains("CAP_"), "{for_nothing}");
        assert_eq!(capabilities_that_help(None, &BOTH[..1]), "CAP_SYS_PTRACE");
    }

    #[test]
    fn a_missing_controller_has_the_advice_of_its_host() {
        let help = |name: &str, reason: &str, hierarchy| {
            controller_help(&format!("cgroup2 controller {name}"), reason, hierarchy).into_owned()
        };
        let off = "the memory controller is off: …";
        let not_passed_on = "the root's cgroup.subtree_control lacks memory: …";
        for (name, reason, hierarchy, expected) in [
            ("memory", off, Hierarchy::Hybrid, "systemd.unified_cgroup_hierarchy=1"),
            ("memory", off, Hierarchy::Unified, "cgroup_enable=memory"),
            ("pids", "the pids controller is off", Hierarchy::Unified, "no cgroup_disable=pids"),
            ("memory", not_passed_on, Hierarchy::Unified, "echo +memory > "),
            ("io", "the root's cgroup.subtree_control lacks io", Hierarchy::Unified, "echo +io > "),
        ] {
            let help = help(name, reason, hierarchy);
            assert!(help.contains(expected), "{name}, {reason}: {help}");
            assert_eq!(help.contains("unified_cgroup"), hierarchy == Hierarchy::Hybrid, "{help}");
        }
    }

    #[test]
    fn held_capabilities_are_named_up_to_a_number() {
        let line = |mask: &str| {
            let mut findings = Findings::default();
            compare_capabilities(held(mask), BOTH, &mut findings);
            let finding = &findings.all[0];
            let (_, holds) = finding.consequence.split_once("; holds ").unwrap();
            (finding.state, holds.to_owned())
        };
        let noted = |holds: &str| (State::Noted, holds.to_owned());
        let present = |holds: &str| (State::Present, holds.to_owned());
        assert_eq!(line("0000000000000000"), noted("none"));
        assert_eq!(line("0000000000080000"), noted("CAP_SYS_PTRACE"));
        assert_eq!(
            line("0000000000080005"),
            present("CAP_CHOWN, CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE")
        );
        assert_eq!(line("000001ffffffffff"), present("these and 39 others"));
        assert_eq!(line("000001fffff7ffff"), noted("40, of these CAP_DAC_READ_SEARCH"));
    }
}
