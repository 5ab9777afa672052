//! Each of the kernel's files, broken in each way, costs a sample just what that file says.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nodetally::snapshot::Snapshot;

use crate::sampler_faults::copy::{Copy, changed, facts, gaps, standing};
use crate::support::skip::skip;

const MAIN_HOST: &str = "6.12-podman-bare";
const HOSTS: [&str; 3] = ["3.10-v1-only", MAIN_HOST, "6.8-crio-systemd"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Empty,
    Half,
    Garbage,
    Binary,
    Directory,
    Fifo,
    Forbidden,
    Missing,
}

const FAULTS: [Fault; 8] = [
    Fault::Empty,
    Fault::Half,
    Fault::Garbage,
    Fault::Binary,
    Fault::Directory,
    Fault::Fifo,
    Fault::Forbidden,
    Fault::Missing,
];

impl Fault {
    /// False where the fault cannot be made here.
    fn make(self, file: &Path) -> bool {
        let text = fs::read(file).unwrap();
        match self {
            Self::Empty => fs::write(file, "").unwrap(),
            Self::Half => {
                if text.len() < 2 {
                    return false;
                }
                fs::write(file, &text[..text.len() / 2]).unwrap();
            }
            Self::Garbage => fs::write(file, "what is this\n").unwrap(),
            Self::Binary => fs::write(file, (0..=255).collect::<Vec<u8>>()).unwrap(),
            Self::Directory => {
                fs::remove_file(file).unwrap();
                fs::create_dir(file).unwrap();
            }
            Self::Fifo => {
                fs::remove_file(file).unwrap();
                nix::unistd::mkfifo(file, nix::sys::stat::Mode::S_IRUSR).unwrap();
            }
            Self::Forbidden => {
                if nix::unistd::geteuid().is_root() {
                    return false;
                }
                fs::set_permissions(file, fs::Permissions::from_mode(0o000)).unwrap();
            }
            Self::Missing => fs::remove_file(file).unwrap(),
        }
        true
    }

    fn undo(file: &Path, text: &[u8]) {
        if file.is_dir() {
            fs::remove_dir(file).unwrap();
        } else if file.exists() {
            fs::remove_file(file).unwrap();
        }
        fs::write(file, text).unwrap();
    }
}

/// A file of the host and the facts that a sample takes from it.
#[derive(Debug)]
struct Part {
    /// The name of the file in a gap.
    gap: String,
    /// The facts that come from it: what starts with one of these.
    facts: Vec<String>,
    /// The kernel may show it empty.
    may_be_empty: bool,
    /// Missing from the start it is missed as long as the agent runs.
    is_held: bool,
}

/// `None`: the sampler reads no such file.
fn part_of(file: &str, whole: &Snapshot) -> Option<Part> {
    let part = |gap: &str, facts: &[&str]| {
        let facts = facts.iter().map(|fact| (*fact).to_owned()).collect();
        Some(Part { gap: gap.to_owned(), facts, may_be_empty: false, is_held: false })
    };
    let node = |fact: &str| {
        let held = part(&format!("/{file}"), &[fact])?;
        Some(Part { is_held: true, ..held })
    };
    if let Some(below) = file.strip_prefix("sys/fs/cgroup/") {
        if whole.cgroups.iter().all(|cgroup| cgroup.cpu.is_none()) {
            return None;
        }
        let (dir, name) = below.rsplit_once('/').unwrap_or(("", below));
        // As the root's path ends with the slash that the others begin with.
        let path = format!("/{dir}");
        let fact = format!("{path}/{name}");
        let in_root = dir.is_empty();
        return match name {
            "cpu.stat" | "cpu.pressure" | "memory.pressure" | "io.pressure" => {
                part(&format!("{path}/{name}"), &[&fact])
            }
            "io.stat" => Some(Part { may_be_empty: true, ..part(&fact, &[&fact])? }),
            // The rest of memory is not asked for where there is no memory.current.
            "memory.current" => part(&fact, &[&format!("{path}/memory.")]),
            "memory.events" if in_root => None,
            "cpu.max"
            | "cpu.weight"
            | "memory.min"
            | "memory.swap.max"
            | "memory.stat"
            | "memory.events"
            | "memory.peak"
            | "memory.max"
            | "memory.swap.current"
            | "pids.current"
            | "pids.max" => part(&fact, &[&fact]),
            "cgroup.procs" => {
                let cgroup = whole.cgroups.iter().find(|one| *one.key.path == *path.as_bytes())?;
                let pids = cgroup.processes.iter().map(|process| process.key.pid);
                let mut facts: Vec<String> = pids.map(|pid| format!("process {pid} ")).collect();
                facts.push(format!("{path}/namespace"));
                facts.extend(cgroup.namespace.map(|id| format!("namespace {id}")));
                Some(Part { gap: fact, facts, may_be_empty: true, is_held: false })
            }
            _ => None,
        };
    }
    let below = file.strip_prefix("proc/")?;
    if let Some((pid, name)) = below.split_once('/')
        && let Ok(pid) = pid.parse::<u32>()
    {
        let mut cgroups = whole.cgroups.iter();
        let home = cgroups.find(|one| one.processes.iter().any(|process| process.key.pid == pid));
        let process = home?.processes.iter().find(|process| process.key.pid == pid)?;
        let leads = whole.namespaces.iter().find(|one| one.leader_pid == pid && !one.is_host);
        return match name {
            "stat" => {
                let path = String::from_utf8_lossy(&home?.key.path).into_owned();
                let mut facts = vec![format!("process {pid} "), format!("{path}/namespace")];
                // Where /proc alone tells of cgroups, one that loses its process is not told of.
                if home?.cpu.is_none() && home?.processes.len() == 1 {
                    facts.push(format!("{path}/"));
                }
                facts.extend(home?.namespace.map(|id| format!("namespace {id}")));
                let gap = format!("/proc/{pid}/stat");
                Some(Part { gap, facts, may_be_empty: false, is_held: false })
            }
            "io" if !process.kernel_thread => {
                part(&format!("/proc/{pid}/io"), &[&format!("process {pid} io")])
            }
            "net/dev" if pid == 1 => part("/proc/1/net/dev", &["node interfaces"]),
            "net/dev" => part("/proc/<pid>/net/dev", &[&format!("namespace {}", leads?.id)]),
            "cgroup" if home?.cpu.is_none() => {
                // It is then of the root, and its cgroup may have no process left.
                let path = String::from_utf8_lossy(&home?.key.path).into_owned();
                let facts = vec![format!("process {pid} "), format!("{path}/"), "//".to_owned()];
                let gap = format!("/proc/{pid}/cgroup");
                Some(Part { gap, facts, may_be_empty: false, is_held: false })
            }
            _ => None,
        };
    }
    match below {
        "stat" => node("node cpu"),
        "meminfo" => node("node memory"),
        "loadavg" => node("node load"),
        "uptime" => node("node uptime"),
        "diskstats" => Some(Part { may_be_empty: true, ..node("node disks")? }),
        "pressure/cpu" => node("node pressure cpu"),
        "pressure/memory" => node("node pressure memory"),
        "pressure/io" => node("node pressure io"),
        _ => None,
    }
}

/// One of each kind of file that matters and of each that does not; of cgroups' and processes' the
/// last, too, where there is time.
fn chosen(copy: &Copy, whole: &Snapshot, both_ends: bool) -> Vec<String> {
    let mut by_kind: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for file in copy.files() {
        if matches!(file.as_str(), "instant.toml" | "cgroups.tsv") || file.contains("mountinfo") {
            continue;
        }
        // Its own tests are below.
        if file.ends_with("boot_id") || file.ends_with("cgroup.controllers") {
            continue;
        }
        let kind: String = match file.strip_prefix("sys/fs/cgroup/") {
            Some(below) => format!("cgroup {}", below.rsplit('/').next().unwrap()),
            None => file.chars().filter(|c| !c.is_ascii_digit()).collect(),
        };
        let matters = part_of(&file, whole).is_some();
        by_kind.entry(format!("{kind} {matters}")).or_default().push(file);
    }
    let ends = |files: Vec<String>| {
        let last = files.last().cloned().filter(|_| both_ends && files.len() > 1);
        files.into_iter().take(1).chain(last)
    };
    by_kind.into_values().flat_map(ends).collect()
}

#[test]
fn a_broken_file_is_a_gap_with_its_path_and_the_rest_is_whole() {
    let mut wrong = Vec::new();
    let (mut gaps_seen, mut skipped) = (0, 0);
    for host in HOSTS {
        let copy = Copy::of(host);
        let mut sampler = copy.open();
        let whole = crate::sampler_faults::copy::Clock::new().sample(&mut sampler);
        let expected = facts(whole);
        assert_eq!(gaps(whole), Vec::<String>::new(), "{host}");
        for file in chosen(&copy, whole, host == MAIN_HOST) {
            let path = copy.path(&file);
            let text = fs::read(&path).unwrap();
            let part = part_of(&file, whole);
            // Not every fault of every host, and of what nobody reads just one: it takes long.
            let faults = match (&part, host) {
                (None, _) => &[Fault::Binary][..],
                (Some(_), MAIN_HOST) => &FAULTS[..],
                (Some(_), _) => &[Fault::Half, Fault::Directory, Fault::Missing],
            };
            for fault in faults.iter().copied() {
                if !fault.make(&path) {
                    skipped += 1;
                    continue;
                }
                copy.sample_once(|broken| {
                    let found = gaps(broken);
                    gaps_seen += found.len();
                    let complaint = if is_root_list(&file) && fault == Fault::Missing {
                        // Without it a copy is no cgroup2 tree when the sampler opens.
                        let named = standing(broken).iter().any(|gap| gap.contains("no cgroup2"));
                        (!named).then(|| "no tree, and nobody says so".to_owned())
                    } else if file.ends_with("/ifindex") {
                        // Without an index the interface is known by its name, and no usage is lost.
                        let differs = changed(&expected, &facts(broken));
                        let is_known = differs.iter().all(|fact| fact == "node interfaces");
                        (!found.is_empty() || !is_known).then(|| format!("{found:?} {differs:?}"))
                    } else {
                        complaint(fault, part.as_ref(), &found, broken, &expected)
                            .or_else(|| invention(fault, &file, broken, whole, &expected))
                    };
                    if let Some(complaint) = complaint {
                        wrong.push(format!("{host}: {file} {fault:?}: {complaint}"));
                    }
                });
                Fault::undo(&path, &text);
            }
        }
    }
    if skipped > 0 {
        skip("files without the right to read them: root may read them all the same");
    }
    assert!(gaps_seen > 200, "only {gaps_seen} gaps");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn complaint(
    fault: Fault,
    part: Option<&Part>,
    found: &[String],
    broken: &Snapshot,
    whole: &BTreeMap<String, String>,
) -> Option<String> {
    let differs = changed(whole, &facts(broken));
    let Some(part) = part else {
        return (!found.is_empty() || !differs.is_empty())
            .then(|| format!("nobody reads it, but {found:?} {differs:?}"));
    };
    let beyond: Vec<_> = differs
        .iter()
        .filter(|fact| !part.facts.iter().any(|own| fact.starts_with(own.as_str())))
        .collect();
    if !beyond.is_empty() {
        return Some(format!("also changed {beyond:?}; {part:?}"));
    }
    let is_absent = fault == Fault::Missing || fault == Fault::Empty && part.may_be_empty;
    if is_absent {
        return (!found.is_empty()).then(|| format!("absent is no gap of the tick: {found:?}"));
    }
    if part.is_held && fault == Fault::Forbidden {
        let named = standing(broken).iter().any(|gap| gap.starts_with(&part.gap));
        return (!named).then(|| "it is denied for good and nobody says so".to_owned());
    }
    // What is cut can read as whole: a file's last line may lack its newline, and so may its last
    // figure some digits. Lines with an unknown key are for later kernels.
    let may_read_as_whole = fault == Fault::Half
        || fault == Fault::Garbage
            && ["/memory.stat", "/memory.events"].iter().any(|name| part.gap.ends_with(name));
    if may_read_as_whole && found.is_empty() {
        return None;
    }
    let [gap] = found else { return Some(format!("one gap was expected: {found:?}")) };
    let path = part.gap.replacen("//", "/", 1);
    // Failures are as a rule the same for all processes and noted once; what is malformed is not.
    let called = match fault {
        Fault::Directory | Fault::Fifo | Fault::Forbidden => of_all(&path),
        _ => path,
    };
    let Some(reason) = gap.strip_prefix(&format!("{called}: ")) else {
        return Some(format!("the gap of {called} is called {gap}"));
    };
    let fits = match fault {
        Fault::Directory | Fault::Fifo => !reason.is_empty() && !reason.contains("malformed"),
        Fault::Forbidden => reason == "permission denied",
        // Empty is not odd: there is no row or figure to leave out.
        Fault::Empty => reason.starts_with("malformed: expected "),
        _ => ["malformed: expected ", "an odd row or figure is left out: expected "]
            .iter()
            .any(|start| reason.starts_with(start)),
    };
    (!fits).then(|| format!("the reason is {reason}"))
}

/// The root cgroup's list of processes.
fn is_root_list(file: &str) -> bool {
    file == "sys/fs/cgroup/cgroup.procs"
}

/// A figure that the broken file does not have, or a row before the cut that is not as it was.
fn invention(
    fault: Fault,
    file: &str,
    broken: &Snapshot,
    whole: &Snapshot,
    expected: &BTreeMap<String, String>,
) -> Option<String> {
    let now = facts(broken);
    for fact in changed(expected, &now) {
        let Some(value) = now.get(&fact) else { continue };
        if file.ends_with("/cgroup.procs") && fact.starts_with("process ") {
            return Some(format!("{fact} is another one: {value}"));
        }
        let is_rubbish = matches!(fault, Fault::Garbage | Fault::Binary);
        if is_rubbish && value.contains(|byte: char| byte.is_ascii_digit()) {
            return Some(format!("{fact} was invented: {value}"));
        }
    }
    let disks = only_last_differs(&broken.node.disks, &whole.node.disks);
    let interfaces = |snapshot: &Snapshot| -> Vec<_> {
        snapshot.node.interfaces.iter().map(|interface| interface.row).collect()
    };
    let interfaces = only_last_differs(&interfaces(broken), &interfaces(whole));
    let io = broken.cgroups.iter().all(|cgroup| {
        let before = whole.cgroups.iter().find(|one| one.key.path == cgroup.key.path);
        let before = before.and_then(|before| before.io.as_deref()).unwrap_or_default();
        only_last_differs(cgroup.io.as_deref().unwrap_or_default(), before)
    });
    (!disks || !interfaces || !io).then(|| {
        format!("a row is not as before: disks {disks}, interfaces {interfaces}, io.stat {io}")
    })
}

/// True if the rows are the first ones of `before`, but for the last of them.
fn only_last_differs<T: PartialEq>(rows: &[T], before: &[T]) -> bool {
    let above = rows.len().saturating_sub(1);
    rows.len() <= before.len() && rows.iter().take(above).eq(before.iter().take(above))
}

#[test]
fn a_root_that_loses_its_process_list_keeps_its_tree() {
    let copy = Copy::of(MAIN_HOST);
    let mut sampler = copy.open();
    let clock = crate::sampler_faults::copy::Clock::new();
    let before = facts(clock.sample(&mut sampler));
    fs::remove_file(copy.path("sys/fs/cgroup/cgroup.procs")).unwrap();
    for _ in 0..20 {
        let after = facts(clock.sample(&mut sampler));
        let lost = changed(&before, &after);
        let of_root = |fact: &String| fact.starts_with("process ") || fact == "//namespace";
        assert!(lost.iter().all(of_root), "{lost:?}");
        assert!(lost.iter().all(|fact| !after.contains_key(fact)), "{lost:?}");
    }
}

/// The path with `<pid>` for a pid; pid 1's interfaces are the host's.
fn of_all(path: &str) -> String {
    let file = path.strip_prefix("/proc/").and_then(|below| below.split_once('/'));
    match file {
        Some((pid, name)) if pid.parse::<u32>().is_ok() && path != "/proc/1/net/dev" => {
            format!("/proc/<pid>/{name}")
        }
        _ => path.to_owned(),
    }
}

#[test]
fn a_file_beyond_all_measure_is_a_gap() {
    let copy = Copy::of("6.12-podman-bare");
    copy.write("sys/fs/cgroup/init.scope/memory.stat", vec![b'x'; 5 << 20]);
    copy.sample_once(|broken| {
        assert_eq!(gaps(broken), ["/init.scope/memory.stat: larger than 4 MiB"]);
    });
}

#[test]
fn a_boot_id_that_is_none_is_named_once_and_for_all() {
    for text in ["", "what is this\n", "dcb0aa66-4b28-4a3b-b26c-358f9a3b5bbX\n"] {
        let copy = Copy::of("6.12-podman-bare");
        copy.write("proc/sys/kernel/random/boot_id", text);
        copy.sample_once(|broken| {
            assert_eq!(broken.boot, None);
            let gaps = standing(broken);
            assert!(gaps.iter().any(|gap| gap.starts_with("/proc/sys/kernel/random/boot_id: ")));
        });
    }
}

#[test]
fn without_mounts_processes_and_the_node_still_come_out() {
    let copy = Copy::of("6.12-podman-bare");
    for file in copy.files().iter().filter(|file| file.ends_with("mountinfo")) {
        copy.write(file, "what is this\n");
    }
    copy.sample_once(|broken| {
        assert!(standing(broken).iter().any(|gap| gap.starts_with("cgroup2: ")));
        assert!(broken.node.cpu.is_some());
        let processes: usize = broken.cgroups.iter().map(|cgroup| cgroup.processes.len()).sum();
        assert!(processes > 30, "{processes}");
        assert!(broken.cgroups.iter().all(|cgroup| cgroup.cpu.is_none()));
    });
}

#[test]
fn missing_controllers_are_named() {
    let copy = Copy::of("6.12-podman-bare");
    copy.write("sys/fs/cgroup/cgroup.controllers", "cpuset cpu memory pids\n");
    copy.sample_once(|broken| {
        let gaps = standing(broken);
        assert_eq!(gaps.iter().filter(|gap| gap.contains("controller io")).count(), 1, "{gaps:?}");
        assert_eq!(gaps.len(), 1, "{gaps:?}");
    });
}

#[test]
fn a_network_namespace_that_is_none_leaves_the_rest() {
    let copy = Copy::of("6.8-crio-systemd");
    let mut sampler = copy.open();
    let whole = crate::sampler_faults::copy::Clock::new().sample(&mut sampler);
    let leader = whole.namespaces.iter().find(|one| !one.is_host).unwrap();
    let (pid, id) = (leader.leader_pid, leader.id);
    let link = copy.path(&format!("proc/{pid}/ns/net"));
    fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("neither net nor number", &link).unwrap();
    let expected = facts(whole);
    copy.sample_once(|broken| {
        let differs = changed(&expected, &facts(broken));
        let of_it =
            |fact: &String| fact.ends_with("/namespace") || *fact == format!("namespace {id}");
        assert!(!differs.is_empty() && differs.iter().all(of_it), "{differs:?}");
    });
}

#[test]
fn without_a_procfs_there_is_nothing_to_say() {
    let copy = Copy::of("3.10-v1-only");
    fs::remove_dir_all(copy.path("proc")).unwrap();
    let opened = nodetally::snapshot::sampler::Sampler::open(
        copy.roots().clone(),
        nodetally::snapshot::sampler::SamplerOptions::default(),
    );
    assert!(opened.is_err());
    // An empty one is bad, too, but no reason to stop.
    fs::create_dir(copy.path("proc")).unwrap();
    copy.sample_once(|broken| assert!(broken.node.cpu.is_none()));
}
