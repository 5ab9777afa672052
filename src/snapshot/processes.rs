//! The processes of one cgroup.

use std::ffi::CStr;
use std::io::Write as _;

use super::ProcessReading;
use super::held::FileBudget;
use super::pass::Pass;
use super::roots::Units;
use crate::identity::ProcessKey;
use crate::quantity::{BootTime, Bytes, CpuTime};
use crate::source::Malformed;
use crate::source::proc::pid_stat::{self, Comm, ProcessStat};
use crate::source::proc::{pid_cgroup, pid_io};
use crate::source::root::{Dir, EntryKinds, Failure, KernelFile};
use crate::source::text::figure;

/// What is read of each process beyond its `stat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessDetail {
    pub io: bool,
    /// Command lines can hold secrets: only where somebody asked for them.
    pub cmdline: bool,
}

/// The open `stat` files of a cgroup's processes, in the order of their readings. A held file
/// belongs to that one process for ever: after its exit reads say gone, whoever has its pid then.
#[derive(Debug, Default)]
pub struct HeldStats(Vec<Option<KernelFile>>);

impl HeldStats {
    /// Closes them all: the cgroup fell idle, or is no more.
    pub fn release(&mut self, budget: &mut FileBudget) {
        for held in &mut self.0 {
            budget.give_back(usize::from(held.take().is_some()));
        }
    }
}

/// The longest command line that is kept.
const CMDLINE_BYTES_MAX: usize = 4096;

/// How network namespaces are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespaceBy {
    /// By the link `/proc/<pid>/ns/net`, which needs ptrace rights over the process.
    Link,
    /// By the inode of `/proc/<pid>/net/dev`, which anybody may ask for: each namespace has a
    /// directory of /proc/net files of its own, whose inodes the kernel gives out once.
    File,
}

impl NamespaceBy {
    /// The inode that stands for the namespace of `pid`.
    pub fn namespace_of(self, procfs: &Dir, pid: u32) -> Result<Option<u64>, Failure> {
        let (mut link, mut file) = (PathSpace::default(), PathSpace::default());
        self.ask(procfs, link.path(pid, "ns/net"), file.path(pid, "net/dev"))
    }

    /// The one that stands for the agent's own.
    pub fn own_namespace(self, procfs: &Dir) -> Result<Option<u64>, Failure> {
        self.ask(procfs, c"self/ns/net", c"self/net/dev")
    }

    fn ask(self, procfs: &Dir, link: &CStr, file: &CStr) -> Result<Option<u64>, Failure> {
        match self {
            Self::Link => procfs.with_link(link, |target| {
                figure(target.strip_prefix(b"net:[")?.strip_suffix(b"]")?)
            }),
            Self::File => Ok(Some(procfs.stat(file)?.st_ino)),
        }
    }
}

pub struct ProcessReader<'a> {
    pub procfs: &'a Dir,
    pub namespaces: NamespaceBy,
    pub units: Units,
    pub detail: ProcessDetail,
}

impl ProcessReader<'_> {
    /// Makes `processes` the processes `pids` (sorted), each read anew. `hold`: keep their files
    /// open, since the cgroup is likely to be read again.
    pub fn read(
        &self,
        pids: &[u32],
        processes: &mut Vec<ProcessReading>,
        held: &mut HeldStats,
        budget: &mut FileBudget,
        hold: bool,
        pass: &mut Pass<'_>,
    ) {
        let same = processes.iter().map(|process| process.key.pid).eq(pids.iter().copied());
        if !same {
            merge(pids, processes, held, budget);
        }
        held.0.resize_with(processes.len(), || None);
        let mut all_live = true;
        for (process, file) in processes.iter_mut().zip(&mut held.0) {
            let live = self.read_one(process, file, budget, hold, pass);
            if !live {
                process.key.pid = 0;
                budget.give_back(usize::from(file.take().is_some()));
                all_live = false;
            }
        }
        if !all_live {
            let mut live = processes.iter().map(|process| process.key.pid != 0);
            held.0.retain(|_| live.next().unwrap_or(false));
            processes.retain(|process| process.key.pid != 0);
        }
    }

    /// Whether the process is still there.
    fn read_one(
        &self,
        process: &mut ProcessReading,
        file: &mut Option<KernelFile>,
        budget: &mut FileBudget,
        hold: bool,
        pass: &mut Pass<'_>,
    ) -> bool {
        let pid = process.key.pid;
        let mut space = PathSpace::default();
        if file.is_none() {
            match self.procfs.open_file(space.path(pid, "stat")) {
                Ok(opened) => {
                    pass.work.files_opened += 1;
                    *file = Some(opened);
                }
                Err(Failure::Absent | Failure::Gone) => return false,
                Err(failure) => {
                    pass.gaps.add_once(b"/proc/<pid>/stat", failure);
                    return process.is_read();
                }
            }
            if !hold || !budget.take() {
                // Read below through the file just opened, which is closed on the way out.
                let opened = file.take();
                return match opened {
                    Some(opened) => self.read_through(process, &opened, pass),
                    None => false,
                };
            }
        }
        match file {
            Some(file) => self.read_through(process, file, pass),
            None => false,
        }
    }

    fn read_through(
        &self,
        process: &mut ProcessReading,
        file: &KernelFile,
        pass: &mut Pass<'_>,
    ) -> bool {
        let pid = process.key.pid;
        pass.work.processes_read += 1;
        pass.work.files_read += 1;
        let mut space = PathSpace::default();
        match file.read_record(pass.buffer).map(pid_stat::parse) {
            Ok(Ok(stat)) if stat.pid == pid => process.update(&stat, self.units),
            Ok(stat) => {
                let malformed = stat.err().unwrap_or(Malformed::expected("the process's own pid"));
                let path = space.path(pid, "stat").to_bytes();
                pass.gaps.add_malformed(&[b"/proc/", path], malformed);
                return process.is_read();
            }
            Err(Failure::Absent | Failure::Gone) => return false,
            Err(failure) => {
                pass.gaps.add_once(b"/proc/<pid>/stat", failure);
                return process.is_read();
            }
        }
        process.read_at = pass.now();
        if self.detail.io && !process.kernel_thread {
            process.io = match self.procfs.open_file(space.path(pid, "io")) {
                Ok(file) => {
                    pass.work.files_read += 1;
                    match file.read_record(pass.buffer).map(pid_io::parse) {
                        Ok(Ok(io)) => Some(io),
                        Ok(Err(malformed)) => {
                            let path = space.path(pid, "io").to_bytes();
                            pass.gaps.add_malformed(&[b"/proc/", path], malformed);
                            None
                        }
                        Err(failure) => {
                            pass.gaps.add_once(b"/proc/<pid>/io", failure);
                            None
                        }
                    }
                }
                Err(failure) => {
                    pass.gaps.add_once(b"/proc/<pid>/io", failure);
                    None
                }
            };
        }
        if self.detail.cmdline && !process.kernel_thread {
            let text = self.procfs.read_records(space.path(pid, "cmdline"), pass.buffer);
            process.cmdline = text.ok().map(|text| {
                let text = text.strip_suffix(b"\0").unwrap_or(text);
                text[..text.len().min(CMDLINE_BYTES_MAX)].into()
            });
        }
        true
    }

    /// Every process of /proc with the path of its cgroup: how processes are found where there is
    /// no cgroup2 hierarchy to list them.
    pub fn list_all(&self, pass: &mut Pass<'_>, limit: usize) -> Vec<(Box<[u8]>, u32)> {
        let mut pids = Vec::new();
        let listed = self.procfs.entries(EntryKinds::Dirs, |name| {
            let pid = figure(name.to_bytes()).and_then(|pid| u32::try_from(pid).ok());
            pids.extend(pid.filter(|_| pids.len() < limit));
        });
        if let Err(failure) = listed {
            pass.gaps.add_failure(&[b"/proc"], failure);
        }
        let mut space = PathSpace::default();
        let mut placed = Vec::with_capacity(pids.len());
        for pid in pids {
            let name = space.path(pid, "cgroup");
            let path = match self.procfs.read_records(name, pass.buffer).map(pid_cgroup::parse) {
                Ok(Ok(path)) => path,
                // A kernel without cgroups.
                Err(Failure::Absent) => b"/",
                Err(Failure::Gone) => continue,
                Ok(Err(malformed)) => {
                    pass.gaps.add_malformed(&[b"/proc/", name.to_bytes()], malformed);
                    b"/"
                }
                Err(failure) => {
                    pass.gaps.add_once(b"/proc/<pid>/cgroup", failure);
                    b"/"
                }
            };
            placed.push((path.into(), pid));
        }
        placed.sort();
        placed
    }
}

impl ProcessReading {
    fn unread(pid: u32) -> Self {
        Self {
            key: ProcessKey { pid, start_ticks: 0 },
            read_at: BootTime::default(),
            comm: Comm::default(),
            parent_pid: 0,
            kernel_thread: false,
            threads: 0,
            cpu: CpuTime::ZERO,
            resident: Bytes::ZERO,
            io: None,
            cmdline: None,
        }
    }

    fn is_read(&self) -> bool {
        self.read_at != BootTime::default()
    }

    fn update(&mut self, stat: &ProcessStat, units: Units) {
        self.key.start_ticks = stat.start_ticks;
        self.comm = stat.comm;
        self.parent_pid = stat.parent_pid;
        self.kernel_thread = stat.kernel_thread;
        self.threads = stat.threads;
        self.cpu = (stat.user + stat.system).to_cpu_time(units.ticks_per_second);
        self.resident = stat.resident.to_bytes(units.page_size_bytes);
    }
}

/// Keeps the readings and files of the pids that stayed and makes room for the new ones.
fn merge(
    pids: &[u32],
    processes: &mut Vec<ProcessReading>,
    held: &mut HeldStats,
    budget: &mut FileBudget,
) {
    held.0.resize_with(processes.len(), || None);
    let mut old = std::mem::take(processes).into_iter().zip(std::mem::take(&mut held.0)).peekable();
    for pid in pids {
        while let Some((_, file)) = old.next_if(|(process, _)| process.key.pid < *pid) {
            budget.give_back(usize::from(file.is_some()));
        }
        let (process, file) = old
            .next_if(|(process, _)| process.key.pid == *pid)
            .unwrap_or_else(|| (ProcessReading::unread(*pid), None));
        processes.push(process);
        held.0.push(file);
    }
    for (_, file) in old {
        budget.give_back(usize::from(file.is_some()));
    }
}

/// Room for `<pid>/<file>` and its NUL.
#[derive(Default)]
pub struct PathSpace([u8; 32]);

impl PathSpace {
    pub fn path(&mut self, pid: u32, file: &str) -> &CStr {
        let mut rest = &mut self.0[..];
        // The longest, `4294967295/root/sys/class/net`, leaves room to spare.
        let written = write!(rest, "{pid}/{file}\0");
        debug_assert!(written.is_ok(), "{file} does not fit");
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}
