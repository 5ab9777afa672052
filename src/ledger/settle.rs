//! From two snapshots to an account.

use std::sync::Arc;

use super::account::{Account, CpuUsage, DiskSource, DiskUsage, NodeCpu, ProcessUsage};
use super::attribute::{Entry, HandOut};
use super::births::Births;
use super::counters::Counters;
use super::delta::gained;
use super::flow::{CpuFlow, IoFlow, Tally, signed};
use super::io::gained_over_layers;
use super::line::{Line, earlier_of, network_gain};
use super::unread::{Base, INTERVALS_MAX, Pending};
use crate::attribution::{Owner, Step};
use crate::identity::BootId;
use crate::quantity::{Bytes, CpuTime, Ticks};
use crate::snapshot::roots::Units;
use crate::snapshot::topology::{BlockKind, InterfaceKind};
use crate::snapshot::{CgroupReading, ProcessReading, Snapshot};
use crate::source::cgroup::cpu_stat::Throttling;

/// Remembers the last counters and answers with what was gained since.
#[derive(Debug)]
pub struct Ledger {
    units: Units,
    last: Option<Counters>,
    /// `last` is an earlier run's.
    resumed: bool,
    spare: Counters,
    births: Births,
    /// Cgroups that wait for a whole reading; empty while all goes well.
    pub(super) pending: Vec<Pending>,
    /// One a cgroup, filled anew each time in the same memory.
    pub(super) lines: Vec<Line>,
    /// One an owner.
    entries: Vec<Entry>,
    hand_out: HandOut,
}

impl Ledger {
    #[must_use]
    pub fn new(units: Units) -> Self {
        Self {
            units,
            last: None,
            resumed: false,
            births: Births::default(),
            pending: Vec::new(),
            spare: Counters::default(),
            lines: Vec::new(),
            entries: Vec::new(),
            hand_out: HandOut::default(),
        }
    }

    /// Goes on from counters that an earlier run of the agent left. They are used only if the next
    /// snapshot is of the same boot and later.
    pub fn resume(&mut self, counters: Counters) {
        self.last = Some(counters);
        self.resumed = true;
        self.pending.clear();
    }

    /// The counters of the last snapshot, to be kept over a restart.
    #[must_use]
    pub fn counters(&self) -> Option<&Counters> {
        self.last.as_ref()
    }

    /// Works out what happened between the last snapshot and this one. `account`'s memory is used
    /// again.
    pub fn settle(&mut self, snapshot: &Snapshot, account: &mut Account) {
        // Within one run no boot id is needed to know that the kernel is the same.
        let carries = |boot: Option<BootId>| boot.is_some() || !self.resumed;
        let last = self.last.take().filter(|last| {
            last.boot == snapshot.boot && carries(last.boot) && last.ended_at <= snapshot.begun_at
        });
        if last.is_none() {
            self.pending.clear();
        }
        account.boot = snapshot.boot;
        account.since = last.as_ref().map(|last| last.ended_at);
        account.until = snapshot.ended_at;
        account.wall = snapshot.wall;
        account.node.gauges_of(&snapshot.node);
        self.settle_node(last.as_ref(), snapshot, account);
        self.draw_lines(last.as_ref(), snapshot, account);
        self.take_own_parts(snapshot);
        let Self { lines, entries, hand_out, units, .. } = self;
        hand_out.run(last.as_ref(), *units, snapshot, lines, entries, account);

        let mut next = std::mem::take(&mut self.spare);
        next.fill(snapshot);
        // The memory of the counters before the last is that of the next.
        self.spare = last.unwrap_or_default();
        next.keep_unread(&mut self.spare, snapshot);
        self.last = Some(next);
        self.resumed = false;
    }

    fn settle_node(&self, last: Option<&Counters>, snapshot: &Snapshot, account: &mut Account) {
        let node = &snapshot.node;
        let ticks = |ticks: Ticks| ticks.to_cpu_time(self.units.ticks_per_second);
        account.node.cpu = last.and_then(|last| {
            let (before, now) = (last.node_cpu?, node.cpu?);
            // Within one boot these never start again from 0, but are known to go back by a tick
            // on some kernels; then nothing was gained.
            let gain = |before: Ticks, now: Ticks| {
                ticks(Ticks::from_ticks(now.as_ticks().saturating_sub(before.as_ticks())))
            };
            let user = gain(before.user, now.user) + gain(before.nice, now.nice);
            let system = gain(before.system, now.system);
            let irq = gain(before.irq, now.irq);
            let softirq = gain(before.softirq, now.softirq);
            let now_cpus = now.cpus;
            let (idle, iowait) = (gain(before.idle, now.idle), gain(before.iowait, now.iowait));
            let steal = gain(before.steal, now.steal);
            let by_ticks = user + system + irq + softirq;
            // All the CPUs' time less what they were not in use. A CPU's idle time is measured
            // where it begins and ends; its use is counted by the tick, which a virtual machine
            // that is not run misses and short work falls between. A CPU that was taken off and on
            // again may start its idle time anew.
            let went_back = |before: Ticks, now: Ticks| {
                now.as_ticks() + 2 * u64::from(now_cpus) < before.as_ticks()
            };
            let is_whole = before.cpus == now.cpus
                && !went_back(before.idle, now.idle)
                && !went_back(before.iowait, now.iowait);
            let awake = last.node_cpu_awake.zip(node.cpu_awake).filter(|_| is_whole);
            let by_awake = awake.map(|(before, after)| {
                let awake_usec = after.saturating_sub(before).as_micros();
                let all = u64::try_from(awake_usec).unwrap_or(u64::MAX);
                let all = CpuTime::from_usec(all.saturating_mul(now_cpus.into()));
                let in_use = all.saturating_sub(idle + iowait);
                // What a CPU waits for its hypervisor after it was woken is idle to it and stolen
                // as well, so not all that is stolen comes off what was in use.
                in_use.saturating_sub(steal).max(by_ticks.min(in_use))
            });
            Some(NodeCpu {
                busy: by_awake.unwrap_or(by_ticks),
                user,
                system,
                irq,
                softirq,
                steal,
                idle,
                iowait,
                interrupts: node.interrupts,
                over_usec: node.cpu_read_at.usec_since(last.node_cpu_read_at),
            })
        });
        account.node.disk = last.and_then(|last| {
            let before = last.disks.as_ref().filter(|_| node.disks_readable)?;
            let mut disk = DiskUsage::default();
            let disks = node
                .disks
                .iter()
                .filter(|row| snapshot.topology.kind(row.device) == Some(BlockKind::Disk));
            for row in disks {
                // A disk that appeared since counts from 0; one whose number another disk had
                // before has another name or counters that went back.
                let before = before
                    .iter()
                    .find(|before| before.device == row.device && before.name() == row.name());
                let gain = |before: Option<u64>, now: u64| gained(before.unwrap_or(0), now);
                let bytes = |before: Option<Bytes>, now: Bytes| {
                    Bytes::from_bytes(gain(before.map(Bytes::as_bytes), now.as_bytes()))
                };
                disk.read += bytes(before.map(|row| row.read), row.read);
                disk.written += bytes(before.map(|row| row.written), row.written);
                disk.read_ops += gain(before.map(|row| row.read_ops), row.read_ops);
                disk.write_ops += gain(before.map(|row| row.write_ops), row.write_ops);
            }
            Some(disk)
        });
        account.node.network = last.and_then(|last| {
            let before = last.interfaces.as_ref().filter(|_| node.interfaces_readable)?;
            let counted = node.interfaces.iter().zip(&node.interface_kinds);
            let counted = counted.filter(|(_, (_, kind))| *kind == InterfaceKind::Counted);
            Some(network_gain(&before.rows, counted.map(|(row, _)| row)))
        });
    }

    /// One line a cgroup: its owner, its raw gains, and what its own processes come to.
    fn draw_lines(&mut self, last: Option<&Counters>, snapshot: &Snapshot, account: &mut Account) {
        self.lines.clear();
        self.entries.clear();
        account.processes.clear();
        let node_busy = account.node.cpu.map(|cpu| signed(cpu.busy.as_usec()));
        // The node's total moves in ticks, so it may be two ticks a CPU behind its parts.
        let ticks = self.units.ticks_per_second.max(1);
        let node_slack = signed(u64::from(account.node.cpus) * 2 * 1_000_000 / ticks);
        if let Some(last) = last {
            // The parts' clock may run ahead of the node's ticks by some hundredths.
            let most = node_busy.map(|busy| busy + busy / 16 + node_slack);
            self.births.prepare(last, snapshot, most);
        }
        let mut before = last.map_or(&[][..], |last| &last.cgroups);
        for (at, reading) in snapshot.cgroups.iter().enumerate() {
            let (owner, entry) = self.owner_of(snapshot, reading);
            let earlier = earlier_of(&mut before, reading);
            let is_root = owner == Owner::Root;

            let pending_at = self.pending.iter().position(|pending| pending.key == reading.key);
            let pending = pending_at.and_then(|at| self.pending.get_mut(at));
            let (mut intervals, mut base) = (0, earlier.map(Base::of));
            if let Some(pending) = pending {
                pending.alive = true;
                if pending.intervals > 0 {
                    intervals = pending.intervals;
                    base = Some(Base {
                        cpu: pending.cpu_before,
                        io: pending.io_before.as_deref(),
                        read_at: pending.read_before,
                    });
                }
            }
            let lacks = |base: &Base<'_>| {
                base.cpu.is_some() && reading.cpu.is_none()
                    || base.io.is_some() && reading.io.is_none()
            };
            let unread = !is_root && intervals < INTERVALS_MAX && base.as_ref().is_some_and(lacks);
            let over_usec = match (&base, last) {
                (Some(base), _) => reading.read_at.usec_since(base.read_at),
                (None, Some(last)) => reading.read_at.usec_since(last.ended_at),
                (None, None) => 0,
            };
            let countable = !is_root && !unread;
            let raw_cpu = reading.cpu.filter(|_| countable).and_then(|now| match (&base, last) {
                (Some(base), _) => Some(CpuFlow::between(Some(base.cpu.as_ref()?), &now)),
                (None, Some(_)) => {
                    let flow = CpuFlow::between(None, &now);
                    self.births.is_born(snapshot, at, flow.usage).then_some(flow)
                }
                (None, None) => None,
            });
            let raw_io = reading.io.as_ref().filter(|_| countable).and_then(|now| {
                let before = match (&base, last) {
                    (Some(base), _) => base.io?,
                    // Whether it was born is told by its CPU.
                    (None, Some(_)) if raw_cpu.is_some() => &[],
                    (None, _) => return None,
                };
                Some(gained_over_layers(before, now, &snapshot.topology))
            });
            let now_throttling = reading.cpu.and_then(|cpu| cpu.throttling);
            let then_throttling = base.as_ref().and_then(|base| base.cpu?.throttling);
            let born = earlier.is_none() && raw_cpu.is_some();
            let throttling = now_throttling.filter(|_| !unread).and_then(|now| {
                let then = then_throttling.or(born.then(Throttling::default))?;
                Some(Throttling {
                    periods: gained(then.periods, now.periods),
                    throttled_periods: gained(then.throttled_periods, now.throttled_periods),
                    throttled: CpuTime::from_usec(gained(
                        then.throttled.as_usec(),
                        now.throttled.as_usec(),
                    )),
                })
            });
            let oom_kills = reading.memory.events.and_then(|now| {
                let then = earlier.map_or(born.then_some(0), |earlier| earlier.oom_kills)?;
                Some(gained(then, now.oom_kill))
            });
            let own = Tally {
                cpu_known: raw_cpu.is_some(),
                io_known: raw_io.is_some(),
                over_usec,
                ..Tally::default()
            };
            let mut line = Line {
                entry,
                owner,
                raw_cpu,
                raw_io,
                raw_memory: reading.memory.current.map(|bytes| signed(bytes.as_bytes())),
                whole_cpu: CpuFlow::default(),
                whole_io: IoFlow::default(),
                whole_memory: 0,
                own,
                throttling,
                oom_kills,
                pending: pending_at,
                unread,
                withhold: false,
            };
            let kept = base.filter(|_| unread).map(|base| base.to_pending(reading, intervals + 1));
            if let Some(kept) = kept {
                line.pending = Some(self.wait_for(pending_at, kept));
            }
            for process in &reading.processes {
                let usage = self.process_usage(last, reading, process);
                line.own.count(
                    &usage,
                    reading.cpu.is_none() && !unread || is_root,
                    reading.io.is_none() && !unread || is_root,
                );
                account.processes.push(usage);
            }
            self.lines.push(line);
        }
    }

    /// Whose a cgroup is, and the place of that owner's entry, which is made if it starts here.
    fn owner_of(&mut self, snapshot: &Snapshot, reading: &CgroupReading) -> (Owner, usize) {
        let at = self.lines.len();
        let parent = reading.parent.and_then(|parent| self.lines.get(parent));
        let step = match parent {
            Some(parent) => {
                let name = reading.key.path.rsplit(|byte| *byte == b'/').next();
                parent.owner.step(name.unwrap_or_default())
            }
            // The root, or a path of a host without a cgroup2 tree, whose owner may have been met
            // at another path of its own.
            None => {
                let located = Owner::locate(&reading.key.path);
                let met = self.entries.iter().rposition(|entry| {
                    let first = snapshot.cgroups.get(entry.top).map(|first| &first.key.path);
                    first.is_some_and(|path| Owner::locate(path).starts_at == located.starts_at)
                });
                if let Some(met) = met {
                    return (located.owner, met);
                }
                Step::New(located.owner)
            }
        };
        match (step, parent) {
            (Step::Inherits, Some(parent)) => (parent.owner, parent.entry),
            (Step::Inherits, None) => (Owner::Root, 0),
            (Step::New(owner), parent) => {
                let parent = parent.map(|parent| parent.owner);
                self.entries.push(Entry { owner, parent, top: at, tally: Tally::default() });
                (owner, self.entries.len() - 1)
            }
        }
    }

    fn process_usage(
        &self,
        last: Option<&Counters>,
        cgroup: &CgroupReading,
        process: &ProcessReading,
    ) -> ProcessUsage {
        let before = last.and_then(|last| last.process(process.key));
        let born = last.is_some_and(|last| last.precedes(process.key, self.units));
        let since = match (before, last) {
            (Some(before), _) => Some(before.read_at),
            (None, Some(last)) if born => Some(last.ended_at),
            _ => None,
        };
        // A process never starts again from 0. What goes back is its written bytes, less by what
        // was thrown away before it reached a disk.
        let cpu = since.map(|since| CpuUsage {
            usage: process.cpu.saturating_sub(before.map_or(CpuTime::ZERO, |before| before.cpu)),
            split: None,
            over_usec: process.read_at.usec_since(since),
        });
        let disk = since.zip(process.io).and_then(|(_, now)| {
            let then = match before {
                Some(before) => before.io?,
                None => Default::default(),
            };
            Some(DiskUsage {
                read: now.read.saturating_sub(then.read),
                written: now.written.saturating_sub(then.written),
                read_ops: 0,
                write_ops: 0,
                from: DiskSource::Processes,
            })
        });
        ProcessUsage {
            key: process.key,
            comm: process.comm,
            parent_pid: process.parent_pid,
            threads: process.threads,
            kernel_thread: process.kernel_thread,
            cgroup: Arc::clone(&cgroup.key.path),
            cpu,
            disk,
            resident: process.resident,
            cmdline: process.cmdline.clone(),
        }
    }
}
