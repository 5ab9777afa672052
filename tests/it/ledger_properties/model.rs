//! A cgroup tree in memory that knows who really used what.
//!
//! It is the kernel as far as the ledger can see it: counters are hierarchical, a removed cgroup's
//! stay in its parent. Beside them it notes every spending, and can say whose each was by a rule
//! that needs no subtraction: that of the nearest cgroup above it that is still there.

use std::collections::BTreeMap;
use std::sync::Arc;

use nodetally::attribution::Owner;
use nodetally::identity::{BootId, CgroupKey, DeviceNumber, ProcessKey};
use nodetally::quantity::{BootTime, Bytes, CpuTime, Ticks, WallTime};
use nodetally::snapshot::topology::{BlockDevice, BlockKind, BlockTopology};
use nodetally::snapshot::{
    CgroupReading, CountedAt, MemoryReading, PidsReading, PressureReading, ProcessReading, Snapshot,
};
use nodetally::source::cgroup::cpu_stat::CpuStat;
use nodetally::source::cgroup::io_stat::IoRow;
use nodetally::source::proc::stat::NodeStat;
use proptest::prelude::*;

pub const DISK: DeviceNumber = DeviceNumber { major: 8, minor: 0 };
const INTERVAL_NS: u64 = 15_000_000_000;
const KUBEPODS: usize = 1;
const BURSTABLE: usize = 2;
const SYSTEM: usize = 3;
const USER: usize = 4;

/// An event between two snapshots. Numbers that name a cgroup are taken modulo the number of
/// cgroups.
#[derive(Debug, Clone)]
pub enum Op {
    Spend {
        cgroup: u16,
        usec: u32,
        bytes: u32,
    },
    Born {
        kind: u8,
        name: u8,
        below: u16,
        usec: u32,
    },
    Die {
        cgroup: u16,
    },
    /// A pod that lives and dies before anybody looks.
    Job {
        usec: u32,
        bytes: u32,
    },
    /// Its processes are others now.
    Exec {
        cgroup: u16,
    },
    /// Born, but not to be seen before [`Op::Reveal`].
    BornHidden {
        kind: u8,
        name: u8,
        below: u16,
        usec: u32,
    },
    Reveal,
    /// It is read between two snapshots: if it dies before the next one, that has this reading.
    Notice {
        cgroup: u16,
    },
    /// A pod that lives and dies between two snapshots, but was seen and read at its end.
    SeenJob {
        usec: u32,
        bytes: u32,
    },
    /// Its counters cannot be read at the next snapshot.
    Unread {
        cgroup: u16,
        cpu: bool,
        io: bool,
    },
}

/// Spending, birth and death.
pub fn plain_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (any::<u16>(), 0..40_000_000_u32, 0..9_000_000_u32)
            .prop_map(|(cgroup, usec, bytes)| Op::Spend { cgroup, usec, bytes }),
        4 => (any::<u8>(), 0..4_u8, any::<u16>(), 0..5_000_000_u32)
            .prop_map(|(kind, name, below, usec)| Op::Born { kind, name, below, usec }),
        2 => any::<u16>().prop_map(|cgroup| Op::Die { cgroup }),
        1 => (0..3_000_000_u32, any::<u32>()).prop_map(|(usec, bytes)| Op::Job { usec, bytes }),
        1 => any::<u16>().prop_map(|cgroup| Op::Exec { cgroup }),
    ]
}

pub fn failing_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => plain_op(),
        2 => (any::<u16>(), any::<bool>(), any::<bool>())
            .prop_map(|(cgroup, cpu, io)| Op::Unread { cgroup, cpu, io }),
    ]
}

pub fn noticing_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => plain_op(),
        4 => any::<u16>().prop_map(|cgroup| Op::Notice { cgroup }),
        2 => any::<u16>().prop_map(|cgroup| Op::Die { cgroup }),
        2 => (0..3_000_000_u32, any::<u32>()).prop_map(|(usec, bytes)| Op::SeenJob { usec, bytes }),
    ]
}

pub fn hiding_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => plain_op(),
        2 => (any::<u8>(), 0..4_u8, any::<u16>(), 0..90_000_000_u32)
            .prop_map(|(kind, name, below, usec)| Op::BornHidden { kind, name, below, usec }),
        1 => Just(Op::Reveal),
    ]
}

/// One interval after another.
pub fn history(op: impl Strategy<Value = Op>) -> impl Strategy<Value = Vec<Vec<Op>>> {
    prop::collection::vec(prop::collection::vec(op, 0..8), 2..10)
}

#[derive(Debug, Clone)]
struct Cgroup {
    parent: Option<usize>,
    path: String,
    inode: u64,
    /// In the cgroup itself and in what is gone below it.
    usec: u64,
    bytes: u64,
    alive: bool,
    hidden: bool,
    /// None in slices.
    process: Option<Process>,
}

#[derive(Debug, Clone, Copy)]
struct Process {
    pid: u32,
    start_ticks: u64,
    usec: u64,
}

/// CPU and bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Spent {
    pub usec: u64,
    pub bytes: u64,
}

#[derive(Debug, Clone)]
pub struct Model {
    cgroups: Vec<Cgroup>,
    tick: u64,
    next_inode: u64,
    /// The first inode that the last snapshot did not have.
    first_new: u64,
    next_pid: u32,
    /// Since the last snapshot, by cgroup.
    spendings: Vec<(usize, Spent)>,
    unread: BTreeMap<usize, (bool, bool)>,
    /// Readings since the last snapshot.
    noticed: BTreeMap<usize, Spent>,
    /// The usage of each cgroup in the last snapshot.
    last: BTreeMap<usize, Spent>,
    pub boot: Option<BootId>,
    /// In the tree, and by kernel threads.
    pub total: Spent,
    pub reveals: u64,
}

impl Model {
    pub fn new() -> Self {
        let mut model = Self {
            cgroups: Vec::new(),
            tick: 1,
            next_inode: 1,
            first_new: 1,
            next_pid: 100,
            spendings: Vec::new(),
            unread: BTreeMap::new(),
            noticed: BTreeMap::new(),
            last: BTreeMap::new(),
            boot: BootId::parse(b"dcb0aa66-4b28-4a3b-b26c-358f9a3b5bb2"),
            total: Spent::default(),
            reveals: 0,
        };
        model.add(None, "/".to_owned(), false);
        model.add(Some(0), "/kubepods.slice".to_owned(), false);
        model.add(Some(1), "/kubepods.slice/kubepods-burstable.slice".to_owned(), false);
        model.add(Some(0), "/system.slice".to_owned(), false);
        model.add(Some(0), "/user.slice".to_owned(), false);
        model.add(Some(0), "/init.scope".to_owned(), true);
        model.add(Some(USER), "/user.slice/user@1000.service".to_owned(), true);
        model
    }

    fn add(&mut self, parent: Option<usize>, path: String, runs: bool) -> usize {
        let inode = self.next_inode;
        self.next_inode += 1;
        let cgroup = Cgroup {
            parent,
            path,
            inode,
            usec: 0,
            bytes: 0,
            alive: true,
            hidden: false,
            process: None,
        };
        self.cgroups.push(cgroup);
        let at = self.cgroups.len() - 1;
        if runs {
            self.exec(at);
        }
        at
    }

    fn exec(&mut self, at: usize) {
        let pid = self.next_pid;
        self.next_pid += 1;
        // Between the last snapshot and the next.
        let start_ticks = (self.tick * INTERVAL_NS - INTERVAL_NS / 2) / 10_000_000;
        self.cgroups[at].process = Some(Process { pid, start_ticks, usec: 0 });
    }

    pub fn apply(&mut self, op: &Op) {
        match *op {
            Op::Spend { cgroup, usec, bytes } => {
                if let Some(at) = self.pick(cgroup, |one| one.process.is_some()) {
                    self.spend(at, usec, bytes);
                }
            }
            Op::Born { kind, name, below, usec } => {
                if let Some(at) = self.born(kind, name, below) {
                    self.spend(at, usec, 0);
                }
            }
            Op::BornHidden { kind, name, below, usec } => {
                // Not at the top: there the node's ticks bound the births, and not so closely.
                if let Some(at) = self.born(kind % 6, name, below) {
                    self.spend(at, usec, 0);
                    self.cgroups[at].hidden = true;
                }
            }
            Op::Reveal => {
                for cgroup in &mut self.cgroups {
                    self.reveals += u64::from(cgroup.hidden);
                    cgroup.hidden = false;
                }
            }
            Op::Die { cgroup } => {
                // Those at the top stay: what dies there is in the root's counter, which is made of
                // ticks and has the kernel's own in it, so the ledger can only put it with the
                // unattributed.
                if let Some(at) = self.pick(cgroup, |one| one.inode > 7 && one.parent != Some(0)) {
                    self.die(at);
                }
            }
            Op::Job { usec, bytes } => {
                let path =
                    format!("{}/kubepods-burstable-pod{}.slice", self.path(BURSTABLE), uid(99));
                let at = self.add(Some(BURSTABLE), path, true);
                self.spend(at, usec, bytes);
                self.die(at);
            }
            Op::SeenJob { usec, bytes } => {
                let class = self.path(BURSTABLE);
                // Several may die in one interval.
                let name = u8::try_from(150 + self.cgroups.len() % 100).unwrap();
                let path = format!("{class}/kubepods-burstable-pod{}.slice", uid(name));
                let at = self.add(Some(BURSTABLE), path, true);
                self.spend(at, usec, bytes);
                self.noticed.insert(at, self.whole(at));
                self.die(at);
            }
            Op::Notice { cgroup } => {
                let dies = |one: &Cgroup| one.inode > 7 && one.parent != Some(0);
                if let Some(at) = self.pick(cgroup, dies).filter(|at| self.visible(*at)) {
                    self.noticed.insert(at, self.whole(at));
                }
            }
            Op::Exec { cgroup } => {
                if let Some(at) = self.pick(cgroup, |one| one.process.is_some()) {
                    self.exec(at);
                }
            }
            Op::Unread { cgroup, cpu, io } => {
                // At the top a newborn has no parent to have it until it is read.
                let old = |one: &Cgroup| one.inode < self.first_new;
                let told = |one: &Cgroup| one.parent.is_some_and(|parent| parent > 0 || old(one));
                if let Some(at) = self.pick(cgroup, told) {
                    self.unread.insert(at, (cpu, io));
                }
            }
        }
    }

    fn path(&self, at: usize) -> String {
        self.cgroups[at].path.clone()
    }

    fn pick(&self, which: u16, suits: impl Fn(&Cgroup) -> bool) -> Option<usize> {
        let suited = self.cgroups.iter().enumerate();
        let suited: Vec<usize> =
            suited.filter(|(_, one)| one.alive && suits(one)).map(|(at, _)| at).collect();
        (!suited.is_empty()).then(|| suited[usize::from(which) % suited.len()])
    }

    /// `None` where the name is taken or there is nothing that it could stand in.
    fn born(&mut self, kind: u8, name: u8, below: u16) -> Option<usize> {
        let owner = |one: &Cgroup| Owner::of_path(one.path.as_bytes());
        let (parent, leaf) = match kind % 7 {
            0 => (KUBEPODS, format!("kubepods-pod{}.slice", uid(name))),
            1 => (BURSTABLE, format!("kubepods-burstable-pod{}.slice", uid(10 + name))),
            2 | 3 => {
                let pod = self.pick(below, |one| matches!(owner(one), Owner::Pod { .. }))?;
                (pod, format!("cri-containerd-{:064x}.scope", u32::from(name) + 1))
            }
            4 => (SYSTEM, format!("unit{name}.service")),
            5 => {
                let runs =
                    |one: &Cgroup| matches!(owner(one), Owner::Unit | Owner::PodContainer { .. });
                let nested = if name.is_multiple_of(2) { "inner" } else { "app.service" };
                (self.pick(below, runs)?, nested.to_owned())
            }
            _ => (0, format!("lxc.payload.{name}")),
        };
        let above = self.path(parent);
        let path = format!("{}/{leaf}", above.trim_end_matches('/'));
        let taken = self.cgroups.iter().any(|one| one.alive && one.path == path);
        (!taken).then(|| self.add(Some(parent), path, true))
    }

    fn spend(&mut self, at: usize, usec: u32, bytes: u32) {
        let spent = Spent { usec: u64::from(usec), bytes: u64::from(bytes) };
        let cgroup = &mut self.cgroups[at];
        cgroup.usec += spent.usec;
        cgroup.bytes += spent.bytes;
        if let Some(process) = &mut cgroup.process {
            process.usec += spent.usec;
        }
        self.total.usec += spent.usec;
        self.total.bytes += spent.bytes;
        self.spendings.push((at, spent));
    }

    fn die(&mut self, at: usize) {
        for child in 0..self.cgroups.len() {
            if self.cgroups[child].alive && self.cgroups[child].parent == Some(at) {
                self.die(child);
            }
        }
        let (usec, bytes) = (self.cgroups[at].usec, self.cgroups[at].bytes);
        self.cgroups[at].alive = false;
        let parent = self.cgroups[at].parent.unwrap();
        self.cgroups[parent].usec += usec;
        self.cgroups[parent].bytes += bytes;
    }

    fn visible(&self, at: usize) -> bool {
        let one = &self.cgroups[at];
        one.alive && !one.hidden && one.parent.is_none_or(|parent| self.visible(parent))
    }

    fn whole(&self, at: usize) -> Spent {
        let one = &self.cgroups[at];
        let mut whole = Spent { usec: one.usec, bytes: one.bytes };
        for (child, other) in self.cgroups.iter().enumerate() {
            if other.alive && other.parent == Some(at) {
                let child = self.whole(child);
                whole.usec += child.usec;
                whole.bytes += child.bytes;
            }
        }
        whole
    }

    /// Whose the spendings since the last snapshot are, by the path at which the owner starts: of
    /// the nearest cgroup above that is there to be seen. Nothing is subtracted here.
    pub fn take_spendings(&mut self) -> BTreeMap<String, Spent> {
        let mut owners: BTreeMap<String, Spent> = BTreeMap::new();
        for (at, spent) in std::mem::take(&mut self.spendings) {
            let mut at = at;
            while !self.visible(at) {
                at = self.cgroups[at].parent.unwrap();
            }
            let path = &self.cgroups[at].path;
            let starts_at = Owner::locate(path.as_bytes()).starts_at;
            let owner = owners.entry(String::from_utf8(starts_at.to_vec()).unwrap()).or_default();
            owner.usec += spent.usec;
            owner.bytes += spent.bytes;
        }
        owners
    }

    /// The dead of this interval that were noticed, and the dead that they stood in; but for those
    /// whose path somebody else has by now.
    fn removed(&self, noticed: &BTreeMap<usize, Spent>) -> Vec<usize> {
        let path_taken = |at: usize| {
            self.cgroups.iter().any(|one| one.alive && one.path == self.cgroups[at].path)
        };
        let mut removed = std::collections::BTreeSet::new();
        for at in noticed.keys() {
            let mut chain = Vec::new();
            let mut at = *at;
            while !self.cgroups[at].alive {
                chain.push(at);
                at = self.cgroups[at].parent.unwrap();
            }
            if !chain.iter().any(|at| path_taken(*at)) {
                removed.extend(chain);
            }
        }
        removed.into_iter().collect()
    }

    /// A snapshot of the model's present state.
    pub fn snapshot(&mut self) -> Snapshot {
        let at_ns = self.tick * INTERVAL_NS;
        self.tick += 1;
        self.first_new = self.next_inode;
        let unread = std::mem::take(&mut self.unread);
        let noticed = std::mem::take(&mut self.noticed);
        let removed = self.removed(&noticed);
        let last = std::mem::take(&mut self.last);
        let mut seen: Vec<usize> = (0..self.cgroups.len()).filter(|at| self.visible(*at)).collect();
        self.last = seen.iter().map(|at| (*at, self.whole(*at))).collect();
        seen.extend(&removed);
        let order = |at: &usize| {
            let mut path = self.cgroups[*at].path.split('/').map(str::to_owned).collect::<Vec<_>>();
            path.retain(|component| !component.is_empty());
            path
        };
        seen.sort_by_key(order);
        let place = |at: usize| seen.iter().position(|other| *other == at);
        let cgroups = seen.iter().enumerate().map(|(number, at)| {
            let one = &self.cgroups[*at];
            let (no_cpu, no_io) = unread.get(at).copied().unwrap_or_default();
            let whole = match removed.contains(at) {
                true => noticed.get(at).or(last.get(at)).copied().unwrap_or_default(),
                false => self.whole(*at),
            };
            let cpu = CpuStat {
                usage: CpuTime::from_usec(whole.usec),
                user: Some(CpuTime::from_usec(whole.usec - whole.usec / 3)),
                system: Some(CpuTime::from_usec(whole.usec / 3)),
                throttling: None,
                odd: None,
            };
            let row = IoRow {
                device: DISK,
                read: Bytes::ZERO,
                written: Bytes::from_bytes(whole.bytes),
                read_ops: 0,
                write_ops: whole.bytes / 4096,
                is_odd: false,
            };
            let read_at = BootTime::from_nanos(at_ns + 1_000 * (1 + number as u64));
            CgroupReading {
                key: CgroupKey { path: Arc::from(one.path.as_bytes()), inode: one.inode },
                parent: one.parent.and_then(place),
                read_at,
                cpu: (!no_cpu).then_some(cpu),
                io: (!no_io).then(|| vec![row]),
                cpu_unreadable: no_cpu,
                io_unreadable: no_io,
                memory: MemoryReading::default(),
                pids: PidsReading::default(),
                pressure: PressureReading::default(),
                cpu_max: None,
                cpu_weight: None,
                processes: match one.alive {
                    true => one.process.iter().map(|one| reading_of(one, read_at)).collect(),
                    false => Vec::new(),
                },
                namespace: None,
                removed: !one.alive,
                placed: false,
            }
        });
        let mut snapshot = Snapshot {
            boot: self.boot,
            begun_at: BootTime::from_nanos(at_ns),
            ended_at: BootTime::from_nanos(at_ns + 1_000_000),
            wall: WallTime::from_unix_millis(at_ns / 1_000_000),
            cgroups: cgroups.collect(),
            topology: BlockTopology {
                devices: BlockDevice::new(b"vda", DISK, BlockKind::Disk).into_iter().collect(),
            },
            ..Snapshot::default()
        };
        snapshot.node.cpu = Some(NodeStat {
            user: Some(Ticks::from_ticks(self.total.usec / 10_000)),
            nice: Some(Ticks::default()),
            system: Some(Ticks::default()),
            idle: Some(Ticks::default()),
            iowait: Some(Ticks::default()),
            irq: Some(Ticks::default()),
            softirq: Some(Ticks::default()),
            steal: Some(Ticks::default()),
            // Nothing that a history spends is beyond them.
            cpus: 64,
            ..NodeStat::default()
        });
        snapshot.node.cpu_read_at = snapshot.ended_at;
        snapshot
    }
}

fn reading_of(process: &Process, read_at: BootTime) -> ProcessReading {
    ProcessReading {
        key: ProcessKey { pid: process.pid, start_ticks: process.start_ticks },
        read_at,
        comm: Default::default(),
        parent_pid: 1,
        kernel_thread: false,
        threads: Some(1),
        cpu: Some(CpuTime::from_usec(process.usec / 10_000 * 10_000)),
        children: None,
        resident: Some(Bytes::from_bytes(4096)),
        io: None,
        cmdline: None,
        place: CountedAt::Here,
    }
}

fn uid(number: u8) -> String {
    format!("{number:032x}")
}
