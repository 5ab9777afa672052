//! A host of fixtures/ copied into a directory of its own, to be broken and changed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nodetally::quantity::{BootTime, WallTime};
use nodetally::runtime::capture;
use nodetally::snapshot::Snapshot;
use nodetally::snapshot::processes::ProcessDetail;
use nodetally::snapshot::roots::Roots;
use nodetally::snapshot::sampler::{Sampler, SamplerOptions};
use tempfile::TempDir;

use crate::support::scratch::{copy_tree, in_memory};

pub struct Copy {
    dir: TempDir,
    roots: Roots,
}

impl Copy {
    pub fn of(host: &str) -> Self {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts").join(host);
        let [loaded, _] = capture::load(&from).unwrap();
        let dir = in_memory();
        copy_tree(&from.join("t0"), dir.path());
        let roots = Roots {
            procfs: dir.path().join("proc"),
            sysfs: dir.path().join("sys"),
            cgroupfs: None,
            rootfs: dir.path().to_owned(),
            units: loaded.units,
            // A host that runs: the directories' own inodes, and the time of each read.
            captured: None,
        };
        Self { dir, roots }
    }

    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    pub fn open(&self) -> Sampler {
        let options = SamplerOptions {
            processes: ProcessDetail { io: true, cmdline: true },
            ..SamplerOptions::default()
        };
        Sampler::open(self.roots.clone(), options).unwrap()
    }

    /// A fresh sampler's first sample.
    pub fn sample_once(&self, look: impl FnOnce(&Snapshot)) {
        let mut sampler = self.open();
        look(Clock::new().sample(&mut sampler));
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn cgroup(&self, path: &[u8]) -> PathBuf {
        let below = path.strip_prefix(b"/").unwrap_or(path);
        self.path("sys/fs/cgroup").join(OsStr::from_bytes(below))
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    /// Adds CPU to a cgroup and all above it but the root, as the kernel does.
    pub fn spend(&self, cgroup: &[u8], usec: u64) {
        for end in (1..=cgroup.len()).rev() {
            if end < cgroup.len() && cgroup[end] != b'/' {
                continue;
            }
            let file = self.cgroup(&cgroup[..end]).join("cpu.stat");
            let text = fs::read_to_string(&file).unwrap();
            let lines = text.lines().map(|line| {
                let (key, value) = line.split_once(' ').unwrap();
                let value: u64 = value.parse().unwrap();
                let spent = if matches!(key, "usage_usec" | "user_usec") { usec } else { 0 };
                format!("{key} {}\n", value + spent)
            });
            fs::write(&file, lines.collect::<String>()).unwrap();
        }
    }

    /// A cgroup with the files that every one has, and no processes.
    pub fn make_cgroup(&self, path: &[u8]) {
        let dir = self.cgroup(path);
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("cgroup.procs"), "").unwrap();
        fs::write(dir.join("cpu.stat"), "usage_usec 0\nuser_usec 0\nsystem_usec 0\n").unwrap();
    }

    /// Every regular file below, relative.
    pub fn files(&self) -> Vec<String> {
        let mut found = Vec::new();
        list(self.dir.path(), self.dir.path(), &mut found);
        found.sort();
        found
    }
}

fn list(root: &Path, dir: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            list(root, &entry.path(), found);
        } else if kind.is_file() {
            let path = entry.path();
            found.extend(path.strip_prefix(root).unwrap().to_str().map(str::to_owned));
        }
    }
}

/// A microsecond later each time it is asked, and a good while between samples.
pub struct Clock(Cell<u64>);

impl Clock {
    pub fn new() -> Self {
        Self(Cell::new(1_000_000_000_000))
    }

    pub fn sample<'s>(&self, sampler: &'s mut Sampler) -> &'s Snapshot {
        self.sample_watched(sampler, || {})
    }

    /// `each` is called whenever the sampler asks for the time, which is behind each object's read.
    pub fn sample_watched<'s>(&self, sampler: &'s mut Sampler, each: impl FnMut()) -> &'s Snapshot {
        self.0.set(self.0.get() + 15_000_000_000);
        let each = RefCell::new(each);
        let now = || {
            (each.borrow_mut())();
            self.0.set(self.0.get() + 1_000);
            BootTime::from_nanos(self.0.get())
        };
        sampler.sample(&now, WallTime::from_unix_millis(self.0.get() / 1_000_000))
    }
}

/// Everything a snapshot says, by what it says it of, without the times of the reads.
pub fn facts(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut say = |of: String, what: String| {
        assert!(facts.insert(of.clone(), what).is_none(), "{of} twice");
    };
    let node = &snapshot.node;
    say("node cpu".to_owned(), format!("{:?}", node.cpu));
    say("node memory".to_owned(), format!("{:?}", node.memory));
    say("node load".to_owned(), format!("{:?}", node.load));
    say("node uptime".to_owned(), format!("{:?}", node.uptime_hundredths));
    say("node pressure cpu".to_owned(), format!("{:?}", node.pressure.cpu));
    say("node pressure memory".to_owned(), format!("{:?}", node.pressure.memory));
    say("node pressure io".to_owned(), format!("{:?}", node.pressure.io));
    let disks = (node.disks_readable, &node.disks, &snapshot.topology);
    say("node disks".to_owned(), format!("{disks:?}"));
    let interfaces = (node.interfaces_readable, &node.interfaces);
    say("node interfaces".to_owned(), format!("{interfaces:?}"));
    say("boot".to_owned(), format!("{:?}", snapshot.boot));
    for cgroup in &snapshot.cgroups {
        let path = String::from_utf8_lossy(&cgroup.key.path);
        let mut of_cgroup = |file: &str, what: String| say(format!("{path}/{file}"), what);
        let parent = cgroup.parent.and_then(|parent| snapshot.cgroups.get(parent));
        let parent = parent.map(|parent| parent.key.path.to_vec());
        of_cgroup("", format!("{parent:?}"));
        of_cgroup("cpu.stat", format!("{:?}", cgroup.cpu));
        of_cgroup("io.stat", format!("{:?}", cgroup.io));
        of_cgroup("cpu.max", format!("{:?}", cgroup.cpu_max));
        of_cgroup("cpu.weight", format!("{:?}", cgroup.cpu_weight));
        of_cgroup("memory.min", format!("{:?}", cgroup.memory.min));
        of_cgroup("memory.swap.max", format!("{:?}", cgroup.memory.swap_max));
        of_cgroup("memory.current", format!("{:?}", cgroup.memory.current));
        of_cgroup("memory.stat", format!("{:?}", cgroup.memory.stat));
        of_cgroup("memory.events", format!("{:?}", cgroup.memory.events));
        of_cgroup("memory.peak", format!("{:?}", cgroup.memory.peak));
        of_cgroup("memory.max", format!("{:?}", cgroup.memory.max));
        of_cgroup("memory.swap.current", format!("{:?}", cgroup.memory.swap_current));
        of_cgroup("hugetlb", format!("{:?}", cgroup.memory.huge_pages));
        of_cgroup("pids.current", format!("{:?}", cgroup.pids.current));
        of_cgroup("pids.max", format!("{:?}", cgroup.pids.max));
        of_cgroup("cpu.pressure", format!("{:?}", cgroup.pressure.cpu));
        of_cgroup("memory.pressure", format!("{:?}", cgroup.pressure.memory));
        of_cgroup("io.pressure", format!("{:?}", cgroup.pressure.io));
        of_cgroup("namespace", format!("{:?}", cgroup.namespace));
        for process in &cgroup.processes {
            let rest = (
                process.key,
                process.comm,
                process.parent_pid,
                process.kernel_thread,
                process.threads,
                process.cpu,
                process.resident,
                &cgroup.key.path,
            );
            say(format!("process {} stat", process.key.pid), format!("{rest:?}"));
            say(format!("process {} io", process.key.pid), format!("{:?}", process.io));
            say(format!("process {} cmdline", process.key.pid), format!("{:?}", process.cmdline));
        }
    }
    for namespace in &snapshot.namespaces {
        let what = (namespace.is_host, namespace.readable, &namespace.interfaces);
        say(format!("namespace {}", namespace.id), format!("{what:?}"));
    }
    facts
}

/// The keys whose values differ between two snapshots, or that only one of them has.
pub fn changed(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> Vec<String> {
    let mut keys: Vec<&String> = a.keys().chain(b.keys()).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter().filter(|key| a.get(*key) != b.get(*key)).cloned().collect()
}

/// The gaps of a snapshot's tick as text.
pub fn gaps(snapshot: &Snapshot) -> Vec<String> {
    let gaps = snapshot.gaps.current.iter();
    let path = |path: &[u8]| std::ffi::OsString::from_vec(path.to_vec());
    gaps.map(|gap| format!("{}: {}", path(&gap.path).display(), gap.reason)).collect()
}

pub fn standing(snapshot: &Snapshot) -> Vec<String> {
    let gaps = snapshot.gaps.standing.iter();
    gaps.map(|gap| format!("{}: {}", String::from_utf8_lossy(&gap.path), gap.reason)).collect()
}
