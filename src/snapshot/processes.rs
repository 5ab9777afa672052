//! The processes of one cgroup.

use std::ffi::CStr;
use std::io::Write as _;

use super::held::DescriptorBudget;
use super::read_context::ReadContext;
use super::roots::Units;
use super::{CountedAt, ProcessReading};
use crate::identity::ProcessKey;
use crate::quantity::{BootTime, Pages};
use crate::source::Malformed;
use crate::source::proc::pid_cgroup::{self, Membership, SaysMore};
use crate::source::proc::pid_io;
use crate::source::proc::pid_stat::{self, Comm, ProcessStat};
use crate::source::root::{Dir, EntryKinds, KernelFile, ReadFailure};
use crate::source::text::figure;

/// Reads of each process beyond its `stat`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProcessDetail {
    pub io: bool,
    /// Command lines can hold secrets, so they are read only on request.
    pub cmdline: bool,
}

/// The open `stat` files of a cgroup's processes, in the order of their readings. An open file
/// belongs to one process only: after its exit, reads fail even if the pid was reused.
#[derive(Debug, Default)]
pub struct HeldStats(Vec<Option<KernelFile>>);

impl HeldStats {
    /// Closes all, after the cgroup became idle or was removed.
    pub fn release(&mut self, budget: &mut DescriptorBudget) {
        for held in &mut self.0 {
            budget.give_back_files(usize::from(held.take().is_some()));
        }
    }
}

/// Longer command lines are cut.
const CMDLINE_BYTES_MAX: usize = 4096;

/// The identity of network namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespaceBy {
    /// The number that the kernel gives to each namespace (6.18), and to no second one within a
    /// boot. It needs ptrace rights over the process.
    Number,
    /// The inode in the target of `/proc/<pid>/ns/net`, which needs the same rights. The kernel
    /// gives it out again.
    Link,
    /// The inode of `/proc/<pid>/net/dev`, which needs no right. Each namespace has its own
    /// directory of /proc/net files, whose inodes the kernel does not reuse.
    File,
}

impl NamespaceBy {
    /// The surest identity that this kernel and the agent's rights have, and with it the host's
    /// namespace.
    pub fn find(procfs: &Dir) -> (Self, Result<Option<u64>, ReadFailure>) {
        for by in [Self::Number, Self::Link] {
            match by.namespace_of(procfs, 1) {
                Ok(Some(id)) => return (by, Ok(Some(id))),
                Err(ReadFailure::Denied) => {
                    return (Self::File, Self::File.namespace_of(procfs, 1));
                }
                Ok(None) | Err(_) => {}
            }
        }
        (Self::Link, Self::Link.namespace_of(procfs, 1))
    }

    /// The number that identifies the namespace of `pid`.
    pub fn namespace_of(self, procfs: &Dir, pid: u32) -> Result<Option<u64>, ReadFailure> {
        let (mut link, mut file) = (PidPath::default(), PidPath::default());
        self.ask(procfs, link.path(pid, "ns/net"), file.path(pid, "net/dev"))
    }

    /// The number that identifies the agent's own namespace.
    pub fn own_namespace(self, procfs: &Dir) -> Result<Option<u64>, ReadFailure> {
        self.ask(procfs, c"self/ns/net", c"self/net/dev")
    }

    fn ask(self, procfs: &Dir, link: &CStr, file: &CStr) -> Result<Option<u64>, ReadFailure> {
        match self {
            Self::Number => procfs.open_file(link)?.namespace_number().map(Some),
            Self::Link => procfs.with_link(link, |target| {
                figure(target.strip_prefix(b"net:[")?.strip_suffix(b"]")?)
            }),
            Self::File => Ok(Some(procfs.stat(file)?.st_ino)),
        }
    }
}

/// Reads processes below one procfs.
#[derive(Clone, Copy)]
pub struct ProcessReader<'a> {
    pub procfs: &'a Dir,
    pub namespaces: NamespaceBy,
    pub units: Units,
    pub detail: ProcessDetail,
}

impl ProcessReader<'_> {
    /// Makes `processes` the processes `pids` (sorted), each with a new reading. `hold`: keep their
    /// files open, since the cgroup is likely to be read again.
    pub fn read(
        &self,
        pids: &[u32],
        processes: &mut Vec<ProcessReading>,
        held: &mut HeldStats,
        budget: &mut DescriptorBudget,
        hold: bool,
        context: &mut ReadContext<'_>,
    ) {
        let same = processes.iter().map(|process| process.key.pid).eq(pids.iter().copied());
        if !same {
            merge(pids, processes, held, budget);
        }
        held.0.resize_with(processes.len(), || None);
        let mut all_live = true;
        for (process, file) in processes.iter_mut().zip(&mut held.0) {
            let live = self.read_one(process, file, budget, hold, context);
            if !live {
                process.key.pid = 0;
                budget.give_back_files(usize::from(file.take().is_some()));
                all_live = false;
            }
        }
        if !all_live {
            let mut live = processes.iter().map(|process| process.key.pid != 0);
            held.0.retain(|_| live.next().unwrap_or(false));
            processes.retain(|process| process.key.pid != 0);
        }
    }

    /// Reads one process; false if it has exited.
    fn read_one(
        &self,
        process: &mut ProcessReading,
        file: &mut Option<KernelFile>,
        budget: &mut DescriptorBudget,
        hold: bool,
        context: &mut ReadContext<'_>,
    ) -> bool {
        let pid = process.key.pid;
        let mut space = PidPath::default();
        if file.is_none() {
            match self.procfs.open_file(space.path(pid, "stat")) {
                Ok(opened) => {
                    context.counts.files_opened += 1;
                    *file = Some(opened);
                }
                Err(ReadFailure::Absent | ReadFailure::Gone) => return false,
                Err(failure) => {
                    context.gaps.add_once(b"/proc/<pid>/stat", failure);
                    return process.is_read();
                }
            }
            if !hold || !budget.take_file() {
                // Read below through the file just opened, which is closed on the way out.
                let opened = file.take();
                return match opened {
                    Some(opened) => self.read_through(process, &opened, context),
                    None => false,
                };
            }
        }
        match file {
            Some(file) => self.read_through(process, file, context),
            None => false,
        }
    }

    fn read_through(
        &self,
        process: &mut ProcessReading,
        file: &KernelFile,
        context: &mut ReadContext<'_>,
    ) -> bool {
        let pid = process.key.pid;
        context.counts.processes_read += 1;
        context.counts.files_read += 1;
        let mut space = PidPath::default();
        match file.read_record(context.buffer).map(pid_stat::parse) {
            Ok(Ok(stat)) if stat.pid == pid => {
                if let Some(odd) = stat.odd {
                    context.gaps.add_odd(&[b"/proc/", space.path(pid, "stat").to_bytes()], odd);
                }
                process.update(&stat, self.units);
                if stat.is_leaderless() {
                    let resident = self.resident_of_other_threads(pid, context);
                    process.resident = resident.map(|it| it.to_bytes(self.units.page_size_bytes));
                }
            }
            Ok(stat) => {
                let malformed = stat.err().unwrap_or(Malformed::expected("the process's own pid"));
                let path = space.path(pid, "stat").to_bytes();
                context.gaps.add_malformed(&[b"/proc/", path], malformed);
                return process.is_read();
            }
            Err(ReadFailure::Absent | ReadFailure::Gone) => return false,
            Err(failure) => {
                context.gaps.add_once(b"/proc/<pid>/stat", failure);
                return process.is_read();
            }
        }
        process.read_at = context.now();
        if self.detail.io && !process.kernel_thread {
            process.io = match self.procfs.open_file(space.path(pid, "io")) {
                Ok(file) => {
                    context.counts.files_read += 1;
                    match file.read_record(context.buffer).map(pid_io::parse) {
                        Ok(Ok(io)) => {
                            if let Some(odd) = io.odd {
                                let path = space.path(pid, "io").to_bytes();
                                context.gaps.add_odd(&[b"/proc/", path], odd);
                            }
                            Some(io)
                        }
                        Ok(Err(malformed)) => {
                            let path = space.path(pid, "io").to_bytes();
                            context.gaps.add_malformed(&[b"/proc/", path], malformed);
                            None
                        }
                        Err(failure) => {
                            context.gaps.add_once(b"/proc/<pid>/io", failure);
                            None
                        }
                    }
                }
                Err(failure) => {
                    context.gaps.add_once(b"/proc/<pid>/io", failure);
                    None
                }
            };
        }
        if self.detail.cmdline && !process.kernel_thread {
            let text = self.procfs.read_records(space.path(pid, "cmdline"), context.buffer);
            process.cmdline = text.ok().map(|text| {
                let text = text.strip_suffix(b"\0").unwrap_or(text);
                text[..text.len().min(CMDLINE_BYTES_MAX)].into()
            });
        }
        true
    }

    /// The memory of a process whose first thread has exited: the kernel shows it in the `stat` of
    /// each other thread. `None`: none could be read.
    fn resident_of_other_threads(&self, pid: u32, context: &mut ReadContext<'_>) -> Option<Pages> {
        let mut space = PidPath::default();
        let tasks = self.procfs.open_dir(space.path(pid, "task")).ok()?;
        let mut found = None;
        let buffer = &mut *context.buffer;
        let _ = tasks.entries(EntryKinds::Dirs, |thread| {
            let Some(thread) = figure(thread.to_bytes()).and_then(|it| u32::try_from(it).ok())
            else {
                return;
            };
            // All threads share the memory, so one is enough.
            if found.is_some() || thread == pid {
                return;
            }
            let mut space = PidPath::default();
            let text = tasks.read_record(space.path(thread, "stat"), buffer);
            let stat = text.ok().and_then(|text| pid_stat::parse(text).ok());
            let lives = stat.filter(|stat| !matches!(stat.state, b'Z' | b'X'));
            found = lives.and_then(|stat| stat.resident);
        });
        found
    }

    /// The cgroups of one process; `None` if they cannot be read.
    pub fn cgroups_of<'c>(
        &self,
        pid: u32,
        space: &mut PidPath,
        says_more: SaysMore,
        context: &'c mut ReadContext<'_>,
    ) -> Option<Membership<'c>> {
        let file = self.procfs.open_file(space.path(pid, "cgroup")).ok()?;
        context.counts.files_opened += 1;
        context.counts.files_read += 1;
        pid_cgroup::parse(file.read_record(context.buffer).ok()?, says_more).ok()
    }

    /// Every process of /proc with the path that says most about its owner.
    pub fn list_all(
        &self,
        context: &mut ReadContext<'_>,
        limit: usize,
        says_more: SaysMore,
    ) -> Vec<(Box<[u8]>, u32)> {
        let mut pids = Vec::new();
        let listed = self.procfs.entries(EntryKinds::Dirs, |name| {
            let pid = figure(name.to_bytes()).and_then(|pid| u32::try_from(pid).ok());
            pids.extend(pid.filter(|_| pids.len() < limit));
        });
        if let Err(failure) = listed {
            context.gaps.add_failure(&[b"/proc"], failure);
        }
        let mut space = PidPath::default();
        let mut placed = Vec::with_capacity(pids.len());
        for pid in pids {
            let name = space.path(pid, "cgroup");
            let text = self.procfs.read_records(name, context.buffer);
            let path = match text.map(|text| pid_cgroup::parse(text, says_more)) {
                Ok(Ok(found)) => found.best,
                // A kernel without cgroups.
                Err(ReadFailure::Absent) => b"/",
                Err(ReadFailure::Gone) => continue,
                Ok(Err(malformed)) => {
                    context.gaps.add_malformed(&[b"/proc/", name.to_bytes()], malformed);
                    b"/"
                }
                Err(failure) => {
                    context.gaps.add_once(b"/proc/<pid>/cgroup", failure);
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
            threads: None,
            cpu: None,
            children: None,
            resident: None,
            io: None,
            cmdline: None,
            place: CountedAt::Here,
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
        let ticks = stat.user.zip(stat.system).map(|(user, system)| user + system);
        self.cpu = ticks.map(|ticks| ticks.to_cpu_time(units.ticks_per_second));
        let children = stat.children;
        self.children = children.map(|ticks| ticks.to_cpu_time(units.ticks_per_second));
        self.resident = stat.resident.map(|pages| pages.to_bytes(units.page_size_bytes));
    }
}

/// Keeps the readings and files of the pids that are still there, and adds empty ones for the new.
fn merge(
    pids: &[u32],
    processes: &mut Vec<ProcessReading>,
    held: &mut HeldStats,
    budget: &mut DescriptorBudget,
) {
    held.0.resize_with(processes.len(), || None);
    let mut old = std::mem::take(processes).into_iter().zip(std::mem::take(&mut held.0)).peekable();
    for pid in pids {
        while let Some((_, file)) = old.next_if(|(process, _)| process.key.pid < *pid) {
            budget.give_back_files(usize::from(file.is_some()));
        }
        let (process, file) = old
            .next_if(|(process, _)| process.key.pid == *pid)
            .unwrap_or_else(|| (ProcessReading::unread(*pid), None));
        processes.push(process);
        held.0.push(file);
    }
    for (_, file) in old {
        budget.give_back_files(usize::from(file.is_some()));
    }
}

/// A buffer for `<pid>/<file>` and its NUL.
#[derive(Default)]
pub struct PidPath([u8; 32]);

impl PidPath {
    pub fn path(&mut self, pid: u32, file: &str) -> &CStr {
        let mut rest = &mut self.0[..];
        // The longest, `4294967295/root/sys/class/net`, fits.
        let written = write!(rest, "{pid}/{file}\0");
        debug_assert!(written.is_ok(), "{file} does not fit");
        CStr::from_bytes_until_nul(&self.0).unwrap_or(c"")
    }
}
