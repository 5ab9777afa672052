//! The floor: what it costs to read the files that a tick read, and no more than that.

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nodetally::quantity::Bytes;
use nodetally::snapshot::cgroups::REFRESH_TICKS;
use nodetally::snapshot::sampler::SamplerOptions;
use nodetally::snapshot::{CgroupReading, Snapshot};
use nodetally::source::cgroup::cpu_stat::CpuStat;
use nodetally::source::cgroup::io_stat::IoRow;

/// The files that say whether anything happened in a cgroup.
const HOT: [&str; 3] = ["cpu.stat", "memory.current", "io.stat"];
/// The other files of a cgroup, read if anything happened in it.
const REST: [&str; 1] = ["cgroup.procs"];
/// Files of cgroups that have memory.current only.
const REST_OF_MEMORY: [&str; 1] = ["memory.stat"];
/// Files that are not read of an idle cgroup when its turn comes.
const REST_IF_MOVED: [&str; 1] = ["memory.events"];
/// Files that are read every [`REFRESH_TICKS`] ticks.
const DETAIL: [&str; 5] = ["pids.max", "cpu.max", "cpu.pressure", "memory.pressure", "io.pressure"];
const DETAIL_IF_MOVED: [&str; 1] = ["pids.current"];
const DETAIL_OF_MEMORY: [&str; 1] = ["memory.max"];
const DETAIL_OF_MEMORY_IF_MOVED: [&str; 2] = ["memory.peak", "memory.swap.current"];
/// Settings, which are read every [`REFRESH_TICKS`] ticks even of an active cgroup.
const SETTINGS: [&str; 1] = ["cpu.weight"];
const SETTINGS_OF_MEMORY: [&str; 2] = ["memory.min", "memory.swap.max"];
const NODE: [&str; 9] = [
    "meminfo",
    "loadavg",
    "uptime",
    "pressure/cpu",
    "pressure/memory",
    "pressure/io",
    "diskstats",
    "1/net/dev",
    "stat",
];

/// Works out from the snapshots before and behind a tick which files the tick read, by the rules
/// of the walk. Whether that came out right shows in its count.
pub struct Recorder {
    tick: u64,
    detail_ticks: u64,
    before: Vec<Hot>,
}

#[derive(PartialEq)]
struct Hot {
    cpu: Option<CpuStat>,
    memory: Option<Bytes>,
    io: Option<Vec<IoRow>>,
}

impl Hot {
    fn of(reading: &CgroupReading) -> Self {
        Self { cpu: reading.cpu, memory: reading.memory.current, io: reading.io.clone() }
    }
}

impl Recorder {
    pub fn new(options: SamplerOptions) -> Self {
        Self { tick: 0, detail_ticks: options.detail_ticks, before: Vec::new() }
    }

    /// To be called before every tick.
    pub fn before_tick(&mut self, snapshot: &Snapshot) {
        self.before.clear();
        self.before.extend(snapshot.cgroups.iter().map(Hot::of));
    }

    /// To be called behind every tick; the files that it read, once for every read.
    pub fn after_tick(&mut self, snapshot: &Snapshot, proc: &Path, cgroups: &Path) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = NODE.iter().map(|name| proc.join(name)).collect();
        if !snapshot.cgroups.is_empty() {
            self.visit(0, false, snapshot, proc, cgroups, &mut files);
        }
        let others = snapshot.namespaces.iter().filter(|namespace| !namespace.is_host);
        files.extend(others.map(|it| proc.join(it.leader_pid.to_string()).join("net/dev")));
        self.tick += 1;
        files
    }

    /// Answers the place behind the subtree of `at`.
    fn visit(
        &self,
        at: usize,
        refresh_above: bool,
        snapshot: &Snapshot,
        proc: &Path,
        cgroups: &Path,
        files: &mut Vec<PathBuf>,
    ) -> usize {
        let reading = &snapshot.cgroups[at];
        let path = std::str::from_utf8(&reading.key.path).expect("a path of our own");
        let dir = cgroups.join(path.trim_start_matches('/'));
        let hot = |files: &mut Vec<PathBuf>| files.extend(HOT.iter().map(|name| dir.join(name)));
        hot(files);
        let refresh = refresh_above || (self.tick + at as u64).is_multiple_of(REFRESH_TICKS);
        let moved = self.before.get(at) != Some(&Hot::of(reading));
        let visited = at == 0 || refresh || moved;
        let mut next = at + 1;
        while snapshot.cgroups.get(next).is_some_and(|child| child.parent == Some(at)) {
            next = match visited {
                true => {
                    self.visit(next, refresh && !moved && at > 0, snapshot, proc, cgroups, files)
                }
                false => end_of(next, snapshot),
            };
        }
        if visited {
            if next > at + 1 {
                hot(files);
            }
            let mut add = |names: &[&str]| files.extend(names.iter().map(|name| dir.join(name)));
            let has_memory = reading.memory.current.is_some();
            let detail = refresh || (self.tick + at as u64).is_multiple_of(self.detail_ticks);
            let rests = refresh && !moved && at > 0;
            for (names, of_memory, of_detail, if_moved) in [
                (&REST[..], false, false, false),
                (&REST_OF_MEMORY, true, false, false),
                (&REST_IF_MOVED, true, false, true),
                (&DETAIL, false, true, false),
                (&DETAIL_IF_MOVED, false, true, true),
                (&DETAIL_OF_MEMORY, true, true, false),
                (&DETAIL_OF_MEMORY_IF_MOVED, true, true, true),
            ] {
                if (has_memory || !of_memory) && (detail || !of_detail) && !(rests && if_moved) {
                    add(names);
                }
            }
            if refresh && at > 0 {
                add(&SETTINGS);
                if has_memory {
                    add(&SETTINGS_OF_MEMORY);
                }
            }
            if !rests || !has_memory {
                let pids = reading.processes.iter().map(|process| process.key.pid.to_string());
                files.extend(pids.map(|pid| proc.join(pid).join("stat")));
            }
        }
        next
    }
}

fn end_of(at: usize, snapshot: &Snapshot) -> usize {
    let mut next = at + 1;
    while snapshot.cgroups.get(next).is_some_and(|child| child.parent >= Some(at)) {
        next += 1;
    }
    next
}

/// Files that stay open from one round to the next.
pub struct Floor {
    open: HashMap<PathBuf, Option<File>>,
    open_max: usize,
    buffer: Box<[u8]>,
}

impl Floor {
    pub fn new(open_max: usize) -> Self {
        Self { open: HashMap::new(), open_max, buffer: vec![0; 64 << 10].into() }
    }

    /// Opens what is not open yet and reads it once, since the first read of a kernel file makes
    /// its buffer. To be called before the activity that [`Self::read`] is to see.
    pub fn prepare(&mut self, files: &[PathBuf]) {
        if self.open.len() + files.len() > self.open_max {
            self.open.clear();
        }
        for path in files.iter().take(self.open_max) {
            if !self.open.contains_key(path) {
                let file = File::open(path).ok();
                if let Some(file) = &file {
                    let _ = file.read_at(&mut self.buffer, 0);
                }
                self.open.insert(path.clone(), file);
            }
        }
    }

    /// Reads them all, nothing parsed. Answers how many there were and how long the reads took;
    /// more files than may be open at once are opened in between, out of the time.
    pub fn read(&mut self, files: &[PathBuf]) -> (u64, Duration) {
        let (mut count, mut took) = (0, Duration::ZERO);
        for some in files.chunks(self.open_max) {
            if files.len() > self.open_max {
                self.prepare(some);
            }
            let open: Vec<&File> =
                some.iter().filter_map(|path| self.open.get(path)?.as_ref()).collect();
            let start = super::cpu_time();
            for file in &open {
                read_whole(file, &mut self.buffer);
            }
            took += super::cpu_time() - start;
            count += open.len() as u64;
        }
        (count, took)
    }
}

/// A kernel file of many records ends a read where the next one does not fit into its page, so a
/// short read was the last.
fn read_whole(file: &File, buffer: &mut [u8]) {
    let mut filled = 0;
    while let Ok(read) = file.read_at(&mut buffer[filled..], filled as u64) {
        filled += read;
        if read < 2048 || filled == buffer.len() {
            return;
        }
    }
}
