//! Bytes below a loop device that are charged to somebody else.
//!
//! Without direct I/O, a worker of the kernel writes a loop device's file. Its bytes on the disk are
//! charged to nobody, or to an owner that has to do with the file. They are the device's lower
//! layer, so they count once: for whoever wrote to the device.

use super::cgroup_delta::CgroupDelta;
use super::counters::Counters;
use super::delta::{CounterBounds, Gains, IoDelta, most_disk_bytes, signed};
use super::io::{is_directly_on, row_delta};
use super::owner_entry::OwnerEntry;
use crate::identity::DeviceNumber;
use crate::quantity::BootTime;
use crate::snapshot::Snapshot;
use crate::snapshot::topology::{BlockKind, BlockTopology};
use crate::source::cgroup::io_stat::IoRow;

/// Lower devices that are followed; of further ones nothing is taken from anybody.
const LOWER_MAX: usize = 6;

/// Time after which bytes that no disk has shown are no longer expected there: longer than the
/// kernel keeps a page dirty by default, which is 35 s.
const EXPECTED_USEC: u64 = 60_000_000;

/// The place of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lower {
    Device(DeviceNumber),
    /// The node's disks together: it is not known which.
    Disks,
    /// Devices that a program or another host serves. No owner passes anything down to them.
    Served,
}

/// Bytes read and written.
type ReadWritten = [i64; 2];

#[derive(Debug, Clone, Copy)]
struct Followed {
    lower: Lower,
    /// Bytes that the device itself shows, whoever is charged for it.
    shown: ReadWritten,
}

/// The bytes of one cgroup or owner on a lower device, and on the devices above it that have a
/// worker between.
#[derive(Debug, Clone, Copy, Default)]
struct Sides {
    own: ReadWritten,
    above: ReadWritten,
}

type AllSides = [Sides; LOWER_MAX];

/// Bytes that were passed down and that no disk has shown.
#[derive(Debug, Clone, Copy)]
struct Expected {
    lower: Lower,
    bytes: ReadWritten,
    since: BootTime,
}

/// The followed devices of one interval, in memory that is reused.
#[derive(Debug, Default)]
pub(super) struct PassedDown {
    followed: Vec<Followed>,
    /// Of each cgroup, those below it included; `None`: not known.
    cgroups: Vec<Option<AllSides>>,
    /// Of the children of each cgroup.
    children: Vec<AllSides>,
    owners: Vec<AllSides>,
    /// Of each owner, what can be taken from it.
    beyond: Vec<i64>,
    expected: Vec<Expected>,
}

impl PassedDown {
    /// Starts an interval: finds the devices below those with a worker between.
    pub fn prepare(&mut self, last: Option<&Counters>, snapshot: &Snapshot) {
        self.followed.clear();
        self.cgroups.clear();
        let node = &snapshot.node;
        let Some(last) = last.filter(|_| node.disks_readable) else {
            self.expected.clear();
            return;
        };
        let Some(before) = &last.disks else { return };
        let topology = &snapshot.topology;
        for row in node.disks.iter().filter(|row| row.read_ops > 0 || row.write_ops > 0) {
            let Some(device) = topology.device_of(row) else { continue };
            if device.kind == BlockKind::Served {
                self.follow(Lower::Served);
            }
            if device.below_unknown {
                self.follow(Lower::Disks);
            }
            if has_worker(topology, device.number) {
                for lower in &device.below {
                    self.follow(Lower::Device(*lower));
                }
            }
        }
        let most = most_disk_bytes(node.disks_read_at.usec_since(last.disks_read_at));
        for row in &node.disks {
            let is_disk =
                topology.device_of(row).map(|device| device.kind) == Some(BlockKind::Disk);
            let then =
                before.iter().find(|then| then.device == row.device && then.name() == row.name());
            for followed in &mut self.followed {
                let is_its = match followed.lower {
                    Lower::Device(number) => number == row.device,
                    Lower::Disks => is_disk,
                    Lower::Served => false,
                };
                if !is_its {
                    continue;
                }
                let mut gains = Gains::default();
                let mut gain = |now: u64, then: Option<u64>| {
                    signed(gains.of(then.unwrap_or(0), now, CounterBounds::most(most)))
                };
                let read = gain(row.read.as_bytes(), then.map(|then| then.read.as_bytes()));
                let written =
                    gain(row.written.as_bytes(), then.map(|then| then.written.as_bytes()));
                followed.shown = [followed.shown[0] + read, followed.shown[1] + written];
            }
        }
    }

    fn follow(&mut self, lower: Lower) {
        let is_followed = self.followed.iter().any(|followed| followed.lower == lower);
        if !is_followed && self.followed.len() < LOWER_MAX {
            self.followed.push(Followed { lower, shown: ReadWritten::default() });
        }
    }

    /// Adds the next cgroup, in the snapshot's order. `rows`: its io.stat of before and now; `None`:
    /// its usage is not known.
    pub fn add_cgroup(
        &mut self,
        rows: Option<(&[IoRow], &[IoRow])>,
        topology: &BlockTopology,
        over_usec: u64,
    ) {
        if self.followed.is_empty() {
            return;
        }
        let most = most_disk_bytes(over_usec);
        let sides = rows.map(|(before, now)| {
            let mut all = AllSides::default();
            for row in now {
                let then = before.iter().find(|then| then.device == row.device);
                let delta = row_delta(then, row, most, &mut Gains::default());
                let device = topology.find(row.device);
                let is = |kind| device.is_some_and(|device| device.kind == kind);
                for (sides, followed) in all.iter_mut().zip(&self.followed) {
                    let (own, above) = match followed.lower {
                        Lower::Device(number) => (
                            row.device == number,
                            has_worker(topology, row.device)
                                && is_directly_on(topology, row.device, number),
                        ),
                        Lower::Disks => {
                            (is(BlockKind::Disk), device.is_some_and(|device| device.below_unknown))
                        }
                        Lower::Served => (is(BlockKind::Served), false),
                    };
                    if own {
                        sides.own = sum(sides.own, of(delta));
                    } else if above {
                        sides.above = sum(sides.above, of(delta));
                    }
                }
            }
            all
        });
        self.cgroups.push(sides);
    }

    /// Takes from each owner what it is charged for on a lower device in place of another.
    pub fn settle(
        &mut self,
        snapshot: &Snapshot,
        cgroups: &[CgroupDelta],
        entries: &mut [OwnerEntry],
    ) {
        let now = snapshot.ended_at;
        self.expected.retain(|expected| now.usec_since(expected.since) <= EXPECTED_USEC);
        if self.followed.is_empty() {
            return;
        }
        self.split(snapshot, cgroups, entries.len());
        for at in 0..self.followed.len() {
            let Some(followed) = self.followed.get(at).copied() else { continue };
            for part in 0..2 {
                if followed.lower == Lower::Served {
                    for (entry, sides) in entries.iter_mut().zip(&self.owners) {
                        entry.self_usage.served[part] += sides[at].own[part].max(0);
                    }
                    continue;
                }
                self.settle_one(at, part, followed, now, entries);
            }
        }
    }

    fn settle_one(
        &mut self,
        at: usize,
        part: usize,
        followed: Followed,
        now: BootTime,
        entries: &mut [OwnerEntry],
    ) {
        let (mut charged, mut missing) = (0_i64, 0_i64);
        self.beyond.clear();
        for (sides, entry) in self.owners.iter().zip(entries.iter()) {
            let (own, above) = (sides[at].own[part], sides[at].above[part]);
            charged = charged.saturating_add(own);
            // Below 0 is timing: a child's bytes that its parent had shown in the last interval.
            missing = missing.saturating_add((above - own.max(0)).max(0));
            self.beyond.push((own - above).min(used(entry, part)).max(0));
        }
        // What nobody is charged for comes first: the worker is in the root cgroup.
        let mut of_nobody = followed.shown[part].saturating_sub(charged).max(0);
        let mut excess = missing - missing.min(of_nobody);
        of_nobody -= missing - excess;
        // Who is charged for it is charged for most of it. Others have bytes of their own there, while those of
        // the file may still be in memory.
        excess = take(excess, excess / 2 + 1, part, &mut self.beyond, entries);
        let kept = self.expected.iter_mut().find(|expected| expected.lower == followed.lower);
        if let Some(kept) = kept {
            let left = kept.bytes[part] - kept.bytes[part].min(of_nobody);
            // Of an earlier interval, so what somebody else wrote must not be mistaken for it.
            let left = take(left, left / 2 + 1, part, &mut self.beyond, entries);
            kept.bytes[part] = left.saturating_add(excess);
            if excess > 0 {
                kept.since = now;
            }
        } else if excess > 0 {
            let mut bytes = ReadWritten::default();
            bytes[part] = excess;
            self.expected.push(Expected { lower: followed.lower, bytes, since: now });
        }
    }

    /// Gives each owner the bytes of its own cgroups, without those of the cgroups below them.
    fn split(&mut self, snapshot: &Snapshot, cgroups: &[CgroupDelta], owners: usize) {
        self.owners.clear();
        self.owners.resize(owners, AllSides::default());
        self.children.clear();
        self.children.resize(cgroups.len(), AllSides::default());
        for (at, (reading, cgroup)) in snapshot.cgroups.iter().zip(cgroups).enumerate().rev() {
            let below = self.children.get(at).copied().unwrap_or_default();
            let all = self.cgroups.get(at).copied().flatten().unwrap_or(below);
            let parent = reading.parent.and_then(|parent| self.children.get_mut(parent));
            for (sum_of, sides) in parent.into_iter().flatten().zip(all) {
                sum_of.own = sum(sum_of.own, sides.own);
                sum_of.above = sum(sum_of.above, sides.above);
            }
            let owner = self.owners.get_mut(cgroup.entry);
            for ((owner, all), below) in owner.into_iter().flatten().zip(all).zip(below) {
                owner.own = sum(owner.own, less(all.own, below.own));
                owner.above = sum(owner.above, less(all.above, below.above));
            }
        }
    }
}

/// True of loop devices.
fn has_worker(topology: &BlockTopology, number: DeviceNumber) -> bool {
    const MAJOR_LOOP: u32 = 7;
    number.major == MAJOR_LOOP && topology.kind(number) == Some(BlockKind::Stacked)
}

fn of(delta: IoDelta) -> ReadWritten {
    [delta.read, delta.written]
}

fn sum(a: ReadWritten, b: ReadWritten) -> ReadWritten {
    [a[0].saturating_add(b[0]), a[1].saturating_add(b[1])]
}

fn less(a: ReadWritten, b: ReadWritten) -> ReadWritten {
    [a[0].saturating_sub(b[0]), a[1].saturating_sub(b[1])]
}

fn used(entry: &OwnerEntry, part: usize) -> i64 {
    let io = entry.self_usage.io;
    if part == 0 { io.read } else { io.written }
}

/// Takes `bytes` from the owners, first from the one whose own are closest to it, and with them
/// their part of its operations. Only who has `least` of its own, at least 1, is asked. Returns what is left.
fn take(
    mut bytes: i64,
    least: i64,
    part: usize,
    beyond: &mut [i64],
    entries: &mut [OwnerEntry],
) -> i64 {
    while bytes > 0 {
        let able = beyond.iter().enumerate().filter(|(_, own)| **own >= least);
        let closest = able.min_by_key(|(_, own)| own.abs_diff(bytes)).map(|(at, _)| at);
        let Some((entry, own)) =
            closest.and_then(|at| Some((entries.get_mut(at)?, beyond.get_mut(at)?)))
        else {
            break;
        };
        let taken = bytes.min(*own);
        (*own, bytes) = (*own - taken, bytes - taken);
        let io = &mut entry.self_usage.io;
        let (whole, ops) = if part == 0 {
            (&mut io.read, &mut io.read_ops)
        } else {
            (&mut io.written, &mut io.write_ops)
        };
        let its_ops = i128::from(*ops) * i128::from(taken) / i128::from((*whole).max(1));
        *ops -= i64::try_from(its_ops).unwrap_or(0).clamp(0, (*ops).max(0));
        *whole -= taken;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attribution::Owner;
    use crate::identity::CgroupKey;
    use crate::ledger::self_usage::SelfUsage;
    use crate::quantity::Bytes;
    use crate::snapshot::CgroupReading;
    use crate::snapshot::topology::BlockDevice;
    use crate::source::proc::diskstats::DiskstatsRow;

    const DISK: Lower = Lower::Device(DeviceNumber { major: 254, minor: 0 });
    const OTHER: Lower = Lower::Device(DeviceNumber { major: 254, minor: 16 });
    const WRITTEN: usize = 1;

    fn entry(written: i64) -> OwnerEntry {
        let io = IoDelta { written, write_ops: written / 10, ..IoDelta::default() };
        let self_usage = SelfUsage { io, ..SelfUsage::default() };
        OwnerEntry { owner: Owner::Unit, parent: None, top: 0, starts: 0, self_usage }
    }

    fn at(seconds: u64) -> BootTime {
        BootTime::from_nanos(seconds * 1_000_000_000)
    }

    /// One interval of one device below a loop device. Of each owner: bytes charged on the device,
    /// and bytes written to the loop device. Returns what each owner keeps.
    fn settled(
        passed_down: &mut PassedDown,
        (lower, shown, now): (Lower, i64, BootTime),
        owners: &[(i64, i64)],
    ) -> Vec<i64> {
        let followed = Followed { lower, shown: [0, shown] };
        let sides = |(own, above): &(i64, i64)| {
            let mut all = AllSides::default();
            all[0] = Sides { own: [0, *own], above: [0, *above] };
            all
        };
        passed_down.owners = owners.iter().map(sides).collect();
        let mut entries: Vec<_> = owners.iter().map(|(own, above)| entry(own + above)).collect();
        passed_down.settle_one(0, WRITTEN, followed, now, &mut entries);
        entries.iter().map(|entry| entry.self_usage.io.written).collect()
    }

    /// Bytes that were written to a loop device are dirty for a while. The worker's bytes come later and are
    /// charged to somebody else.
    #[test]
    fn bytes_that_a_disk_shows_later_are_taken_from_who_is_charged_for_them() {
        // Charged to the second owner in the second interval, and shown by the disk, in all.
        for (charged, shown, kept) in [
            // All of it is the worker's.
            (100, 100, 0),
            (130, 130, 30),
            // Nobody is charged for the worker's, so the owner wrote its own.
            (150, 250, 150),
            (40, 140, 40),
            // Of half of them or less it is not sure whose they are.
            (50, 50, 50),
            (51, 51, 0),
        ] {
            let mut passed_down = PassedDown::default();
            let first = settled(&mut passed_down, (DISK, 0, at(10)), &[(0, 100), (0, 0)]);
            assert_eq!(first, [100, 0]);
            assert_eq!(passed_down.expected.len(), 1);
            let second = settled(&mut passed_down, (DISK, shown, at(20)), &[(0, 0), (charged, 0)]);
            assert_eq!(second, [0, kept], "{charged} of {shown}");
            let left = 100 - (shown - charged).min(100) - (charged - kept);
            assert_eq!(passed_down.expected[0].bytes, [0, left], "{charged} of {shown}");
            assert_eq!(passed_down.expected[0].since, at(10));
        }
    }

    /// The pages of a loop device's file may still be in memory, while somebody else writes to the same disk.
    #[test]
    fn bytes_of_somebody_else_in_the_same_interval_stay_his() {
        for (charged, kept, expected) in
            [(2, 2, 100), (40, 40, 100), (50, 50, 100), (51, 0, 49), (100, 0, 0), (130, 30, 0)]
        {
            let mut passed_down = PassedDown::default();
            let found =
                settled(&mut passed_down, (DISK, charged, at(10)), &[(0, 100), (charged, 0)]);
            assert_eq!(found, [100, kept], "{charged}");
            let left: i64 =
                passed_down.expected.iter().map(|expected| expected.bytes[WRITTEN]).sum();
            assert_eq!(left, expected, "{charged}");
        }
    }

    #[test]
    fn bytes_are_expected_on_their_own_device_and_from_their_own_time_on() {
        let mut passed_down = PassedDown::default();
        settled(&mut passed_down, (DISK, 0, at(10)), &[(0, 100)]);
        // Another device shows as many.
        assert_eq!(settled(&mut passed_down, (OTHER, 100, at(20)), &[(100, 0)]), [100]);
        // More of them on the first.
        settled(&mut passed_down, (DISK, 0, at(20)), &[(0, 7)]);
        let [expected] = passed_down.expected.as_slice() else { panic!("one device") };
        assert_eq!((expected.bytes, expected.since), ([0, 107], at(20)));
    }

    /// Bytes that the disk shows beside the charged ones are first of the bytes written in this interval: of 50,
    /// 30. The other 20 are of those expected.
    #[test]
    fn bytes_that_a_disk_shows_are_those_of_now_before_those_of_earlier() {
        let mut passed_down = PassedDown::default();
        settled(&mut passed_down, (DISK, 0, at(10)), &[(0, 100)]);
        assert_eq!(settled(&mut passed_down, (DISK, 50, at(20)), &[(0, 30)]), [30]);
        assert_eq!(passed_down.expected[0].bytes, [0, 80]);
    }

    #[test]
    fn bytes_are_expected_for_a_minute() {
        for (now, expected) in [(at(70), 1), (at(70).plus(std::time::Duration::from_micros(1)), 0)]
        {
            let mut passed_down = PassedDown::default();
            settled(&mut passed_down, (DISK, 0, at(10)), &[(0, 100)]);
            passed_down.settle(&Snapshot { ended_at: now, ..Snapshot::default() }, &[], &mut []);
            assert_eq!(passed_down.expected.len(), expected, "{now:?}");
        }
    }

    /// A parent shows a child's bytes an interval before the child does: nobody passed them down.
    #[test]
    fn bytes_that_a_parent_showed_early_are_taken_from_nobody() {
        for above in [0, 30] {
            let mut passed_down = PassedDown::default();
            let owners = [(-100, above), (60, 0), (40, 0)];
            let kept = settled(&mut passed_down, (DISK, above, at(10)), &owners);
            assert_eq!(kept, [above - 100, 60, 40]);
            assert!(passed_down.expected.is_empty());
        }
    }

    /// From who has the closest number first, with the same part of its operations.
    #[test]
    fn bytes_are_taken_from_whose_are_closest() {
        for (bytes, least, own, taken, left) in [
            (100, 1, [300, 110, 0], [0, 100, 0], 0),
            (100, 1, [100, 110, 0], [100, 0, 0], 0),
            (150, 1, [100, 30, 0], [100, 30, 0], 20),
            (150, 31, [100, 30, 0], [100, 0, 0], 50),
            (100, 1, [0, 0, 0], [0, 0, 0], 100),
            (0, 1, [100, 0, 0], [0, 0, 0], 0),
        ] {
            let mut beyond = own;
            let mut entries = own.map(|bytes| entry(2 * bytes));
            assert_eq!(take(bytes, least, WRITTEN, &mut beyond, &mut entries), left, "{own:?}");
            for ((entry, own), taken) in entries.iter().zip(own).zip(taken) {
                let io = entry.self_usage.io;
                assert_eq!((io.written, io.read), (2 * own - taken, 0), "{own:?}");
                assert_eq!(io.write_ops, (2 * own - taken) / 10, "{own:?}");
            }
            assert_eq!(beyond, [own[0] - taken[0], own[1] - taken[1], own[2] - taken[2]]);
        }
    }

    #[test]
    fn a_device_is_followed_once_and_few_are() {
        let mut passed_down = PassedDown::default();
        for minor in [0, 0, 1, 2, 3, 4, 5, 6, 7] {
            passed_down.follow(Lower::Device(DeviceNumber { major: 254, minor }));
        }
        let minors = passed_down.followed.iter().map(|followed| match followed.lower {
            Lower::Device(number) => number.minor,
            Lower::Disks | Lower::Served => 99,
        });
        assert_eq!(minors.collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    }

    const VDA: DeviceNumber = DeviceNumber { major: 254, minor: 0 };
    const VDB: DeviceNumber = DeviceNumber { major: 254, minor: 16 };
    /// Loop devices with a file on vda, on vdb, in a place that is not known, and in memory.
    const LOOP: DeviceNumber = DeviceNumber { major: 7, minor: 0 };
    const LOOP_ON_VDB: DeviceNumber = DeviceNumber { major: 7, minor: 1 };
    const LOST: DeviceNumber = DeviceNumber { major: 7, minor: 2 };
    const IN_MEMORY: DeviceNumber = DeviceNumber { major: 7, minor: 3 };
    /// A device mapper on vda.
    const DM: DeviceNumber = DeviceNumber { major: 252, minor: 0 };
    const NBD: DeviceNumber = DeviceNumber { major: 43, minor: 0 };

    const DEVICES: [(&str, DeviceNumber, BlockKind, &[DeviceNumber]); 8] = [
        ("loop0", LOOP, BlockKind::Stacked, &[VDA]),
        ("loop1", LOOP_ON_VDB, BlockKind::Stacked, &[VDB]),
        ("loop2", LOST, BlockKind::Stacked, &[]),
        ("loop3", IN_MEMORY, BlockKind::Memory, &[VDA]),
        ("nbd0", NBD, BlockKind::Served, &[]),
        ("dm-0", DM, BlockKind::Stacked, &[VDA]),
        ("vda", VDA, BlockKind::Disk, &[]),
        ("vdb", VDB, BlockKind::Disk, &[]),
    ];

    fn topology() -> BlockTopology {
        let devices = DEVICES.map(|(name, number, kind, below)| {
            let mut device = BlockDevice::new(name.as_bytes(), number, kind).unwrap();
            device.below = below.to_vec();
            device.below_unknown = number == LOST;
            device
        });
        BlockTopology { devices: devices.to_vec() }
    }

    #[test]
    fn a_worker_is_between_a_loop_device_and_its_disk_alone() {
        let found = DEVICES.map(|(_, number, ..)| has_worker(&topology(), number));
        assert_eq!(found, [true, true, true, false, false, false, false, false]);
    }

    /// A row that has read `bytes` and written twice as many.
    fn row(device: DeviceNumber, bytes: u64) -> IoRow {
        let (read, written) = (Bytes::from_bytes(bytes), Bytes::from_bytes(2 * bytes));
        IoRow { device, read, written, read_ops: 0, write_ops: 0, is_odd: false }
    }

    /// The gains are powers of two, so the sums show which were added.
    #[test]
    fn a_cgroups_bytes_are_on_a_lower_device_or_on_loop_devices_above_it() {
        let mut past = 0;
        let before = DEVICES.map(|(_, number, ..)| {
            past += 1000;
            row(number, past)
        });
        let mut gained = 1;
        let now = before.map(|then| {
            gained *= 2;
            row(then.device, then.read.as_bytes() + gained / 2)
        });
        let mut passed_down = PassedDown::default();
        passed_down.add_cgroup(Some((&before, &now)), &topology(), 10_000_000);
        assert!(passed_down.cgroups.is_empty(), "nothing is followed");
        for lower in [Lower::Device(VDA), Lower::Disks, Lower::Served] {
            passed_down.follow(lower);
        }
        passed_down.add_cgroup(None, &topology(), 10_000_000);
        passed_down.add_cgroup(Some((&before, &now)), &topology(), 10_000_000);
        let [None, Some(all)] = passed_down.cgroups.as_slice() else { panic!("two cgroups") };
        // Not loop1, which is on vdb, nor dm-0, which has no worker.
        let (loop0, loop2, nbd0, vda, vdb) = (1, 4, 16, 64, 128);
        let right = [(vda, loop0), (vda + vdb, loop2), (nbd0, 0), (0, 0)];
        for (sides, (own, above)) in all.iter().zip(right) {
            assert_eq!((sides.own, sides.above), ([own, 2 * own], [above, 2 * above]));
        }
    }

    fn disk_row(name: &str, device: DeviceNumber, sum: u64, ops: [u64; 2]) -> DiskstatsRow {
        let [read_ops, write_ops] = ops;
        DiskstatsRow::new(name.as_bytes(), device, [sum, 2 * sum, read_ops, write_ops]).unwrap()
    }

    /// The followed devices after `prepare`, and the bytes read that each shows. `used`: of each
    /// device, its operations in all.
    fn prepared(used: [[u64; 2]; 8]) -> Vec<(Lower, i64)> {
        let mut snapshot = Snapshot { topology: topology(), ..Snapshot::default() };
        snapshot.node.disks_readable = true;
        snapshot.node.disks_read_at = at(20);
        let mut gained = 1;
        for ((name, number, ..), ops) in DEVICES.into_iter().zip(used) {
            snapshot.node.disks.push(disk_row(name, number, 1000 + gained, ops));
            gained *= 2;
        }
        let row = |(name, number, ..): (_, _, _, _)| disk_row(name, number, 1000, [0, 0]);
        let mut before: Vec<DiskstatsRow> = DEVICES.map(row).to_vec();
        // One of the number of a disk, and one of its name, that are gone.
        before.insert(0, disk_row("old", VDA, 1, [0, 0]));
        before.insert(0, disk_row("vda", DeviceNumber { major: 8, minor: 0 }, 2, [0, 0]));
        let last = Counters { disks: Some(before), disks_read_at: at(10), ..Counters::default() };
        let mut passed_down = PassedDown::default();
        passed_down.prepare(Some(&last), &snapshot);
        let shown = |followed: &Followed| {
            assert_eq!(followed.shown[1], 2 * followed.shown[0]);
            (followed.lower, followed.shown[0])
        };
        passed_down.followed.iter().map(shown).collect()
    }

    #[test]
    fn the_devices_below_loop_devices_in_use_are_followed() {
        let (unused, read, wrote) = ([0, 0], [1, 0], [0, 1]);
        let (vda, vdb) = (64, 128);
        let none = [unused; 8];
        let with = |changes: &[(usize, [u64; 2])]| {
            let mut all = none;
            changes.iter().for_each(|(at, ops)| all[*at] = *ops);
            prepared(all)
        };
        assert_eq!(with(&[]), []);
        // The disks themselves, the device mapper, and a file in memory.
        assert_eq!(with(&[(3, read), (5, wrote), (6, read), (7, wrote)]), []);
        for ops in [read, wrote] {
            assert_eq!(with(&[(0, ops)]), [(Lower::Device(VDA), vda)]);
            assert_eq!(with(&[(1, ops)]), [(Lower::Device(VDB), vdb)]);
            assert_eq!(with(&[(2, ops)]), [(Lower::Disks, vda + vdb)]);
            assert_eq!(with(&[(4, ops)]), [(Lower::Served, 0)]);
        }
    }

    /// Where the disks cannot be read, what is expected of them is forgotten.
    #[test]
    fn nothing_is_followed_without_two_readings_of_the_disks() {
        let has_disks = Counters { disks: Some(Vec::new()), ..Counters::default() };
        let has_none = Counters::default();
        for (last, readable, expected) in [
            (Some(&has_disks), true, 1),
            (Some(&has_none), true, 1),
            (Some(&has_disks), false, 0),
            (None, true, 0),
        ] {
            let mut passed_down = PassedDown::default();
            settled(&mut passed_down, (DISK, 0, at(10)), &[(0, 100)]);
            passed_down.follow(DISK);
            passed_down.cgroups.push(None);
            let mut snapshot = Snapshot::default();
            snapshot.node.disks_readable = readable;
            passed_down.prepare(last, &snapshot);
            assert!(passed_down.followed.is_empty() && passed_down.cgroups.is_empty());
            assert_eq!(passed_down.expected.len(), expected);
        }
    }

    /// A cgroup and two below it, the first of which is another owner's and has no figures but those
    /// of its child.
    #[test]
    fn an_owner_has_the_bytes_of_its_cgroups_without_those_below() {
        let sides = |own: i64, above: i64| {
            let mut all = AllSides::default();
            all[0] = Sides { own: [own, 2 * own], above: [above, 2 * above] };
            all
        };
        let mut snapshot = Snapshot::default();
        let mut cgroups = Vec::new();
        for (parent, entry) in [(None, 0), (Some(0), 1), (Some(1), 1), (Some(0), 0)] {
            let key = CgroupKey { path: b"/".as_slice().into(), inode: 1 };
            snapshot.cgroups.push(CgroupReading { parent, ..CgroupReading::unread(key) });
            cgroups.push(CgroupDelta { entry, ..CgroupDelta::nothing() });
        }
        let mut passed_down = PassedDown {
            cgroups: vec![Some(sides(100, 70)), None, Some(sides(30, 20)), Some(sides(5, 3))],
            ..PassedDown::default()
        };
        passed_down.split(&snapshot, &cgroups, 2);
        let found: Vec<_> =
            passed_down.owners.iter().map(|all| (all[0].own, all[0].above)).collect();
        assert_eq!(found, [([70, 140], [50, 100]), ([30, 60], [20, 40])]);
    }

    /// Bytes on devices that a program serves are their users', and taken from nobody.
    #[test]
    fn bytes_on_served_devices_are_noted_and_stay() {
        let mut snapshot = Snapshot::default();
        let key = CgroupKey { path: b"/".as_slice().into(), inode: 1 };
        snapshot.cgroups.push(CgroupReading::unread(key));
        let mut entries = [entry(500)];
        let mut passed_down = PassedDown::default();
        for own in [[40, 300], [2, -7]] {
            passed_down.follow(Lower::Served);
            let mut all = AllSides::default();
            all[0].own = own;
            passed_down.cgroups = vec![Some(all)];
            passed_down.settle(&snapshot, &[CgroupDelta::nothing()], &mut entries);
        }
        assert_eq!(entries[0].self_usage.served, [42, 300]);
        assert_eq!(entries[0].self_usage.io.written, 500);
    }

    /// Reads through a loop device are charged to somebody else as well.
    #[test]
    fn bytes_read_are_settled_like_those_written() {
        let mut entries = [entry(0), entry(0)];
        entries[0].self_usage.io = IoDelta { read: 100, written: 9, ..IoDelta::default() };
        entries[1].self_usage.io = IoDelta { read: 130, read_ops: 13, written: 700, write_ops: 7 };
        let mut passed_down = PassedDown::default();
        let sides = |own: i64, above: i64| {
            let mut all = AllSides::default();
            all[0] = Sides { own: [own, 0], above: [above, 0] };
            all
        };
        passed_down.owners = vec![sides(0, 100), sides(130, 0)];
        let followed = Followed { lower: DISK, shown: [130, 0] };
        passed_down.settle_one(0, 0, followed, at(10), &mut entries);
        let [first, second] = entries.map(|entry| entry.self_usage.io);
        assert_eq!((first.read, first.written), (100, 9));
        let right = IoDelta { read: 30, read_ops: 3, written: 700, write_ops: 7 };
        assert_eq!(second, right);
    }
}
