//! Cgroups whose counters could not be read for a while.
//!
//! Such a cgroup's usage is not known until its files are whole again; then it is known for the
//! whole time. Meanwhile its parent's gain contains it, indistinguishable from what died there. So
//! what the parent has of its own is withheld too, and settled together with the child's.

use super::counters::CgroupCounters;
use super::flow::{CpuFlow, IoFlow};
use crate::identity::CgroupKey;
use crate::quantity::BootTime;
use crate::snapshot::CgroupReading;
use crate::source::cgroup::cpu_stat::CpuStat;
use crate::source::cgroup::io_stat::IoRow;

/// A cgroup that stays unread for longer is given up: its usage stands with what died in its
/// parent, until it has been read twice again.
pub(super) const INTERVALS_MAX: u8 = 4;

/// CPU and disk together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Flows {
    pub cpu: CpuFlow,
    pub io: IoFlow,
}

impl Flows {
    pub fn add(&mut self, other: Self) {
        self.cpu.add(other.cpu);
        self.io.add(other.io);
    }
}

/// What waits for a cgroup to be read again.
#[derive(Debug, Clone)]
pub(super) struct Pending {
    pub key: CgroupKey,
    /// For how many intervals it has not been read; 0 for one that only has such a child. The
    /// counters below hold for the others alone.
    pub intervals: u8,
    pub read_before: BootTime,
    pub cpu_before: Option<CpuStat>,
    pub io_before: Option<Vec<IoRow>>,
    /// Its own part in the intervals in which it was read and a child was not.
    pub held: Flows,
    /// What its children were given while it was not read.
    pub given: Flows,
    /// It was found in the snapshot at hand.
    pub alive: bool,
}

impl Pending {
    pub fn new(key: CgroupKey, held: Flows) -> Self {
        Self {
            key,
            intervals: 0,
            read_before: BootTime::default(),
            cpu_before: None,
            io_before: None,
            held,
            given: Flows::default(),
            alive: true,
        }
    }
}

/// What a cgroup's counters are subtracted from.
pub(super) struct Base<'c> {
    pub cpu: Option<CpuStat>,
    pub io: Option<&'c [IoRow]>,
    pub read_at: BootTime,
}

impl<'c> Base<'c> {
    pub fn of(earlier: &'c CgroupCounters) -> Self {
        Self { cpu: earlier.cpu, io: earlier.io.as_deref(), read_at: earlier.read_at }
    }

    pub fn to_pending(&self, reading: &CgroupReading, intervals: u8) -> Pending {
        Pending {
            intervals,
            read_before: self.read_at,
            cpu_before: self.cpu,
            io_before: self.io.map(<[IoRow]>::to_vec),
            ..Pending::new(reading.key.clone(), Flows::default())
        }
    }
}
