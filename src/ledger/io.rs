//! Disk bytes of a cgroup, each transfer counted once over the layers it went through.

use super::delta::{CounterBounds, Gains, IoDelta, most_disk_bytes, signed};
use crate::identity::DeviceNumber;
use crate::snapshot::topology::{BlockKind, BlockTopology};
use crate::source::cgroup::io_stat::IoRow;

/// The difference over all devices: of each device, what it has beyond the devices stacked directly
/// on it.
///
/// A transfer to a loop device whose file lies on a disk is in both rows, or, where a kernel worker
/// does the lower half, in the upper row alone. It counts once either way. What is below a device
/// may be unknown. Then its transfers are taken to be among those of the other devices, as far as
/// they can be. Memory that looks like a disk is no disk traffic. `is_same`: the device of this
/// number is the one of before.
pub(super) fn delta_over_layers(
    before: &[IoRow],
    now: &[IoRow],
    topology: &BlockTopology,
    over_usec: u64,
    is_same: impl Fn(DeviceNumber) -> bool,
    gains: &mut Gains,
) -> IoDelta {
    let before = |device: DeviceNumber| {
        before.iter().find(|row| row.device == device).filter(|_| is_same(device))
    };
    let most = most_disk_bytes(over_usec);
    let mut total = IoDelta::default();
    let mut passed_to_unknown = IoDelta::default();
    for row in now {
        let own = row_delta(before(row.device), row, most, gains);
        let device = topology.find(row.device);
        if own == IoDelta::default()
            || device.is_some_and(|device| device.kind == BlockKind::Memory)
        {
            continue;
        }
        let mut from_above = IoDelta::default();
        for upper in now {
            if is_directly_on(topology, upper.device, row.device) {
                from_above.add(row_delta(before(upper.device), upper, most, gains));
            }
        }
        let beyond = own.less(from_above).at_least(IoDelta::default());
        if device.is_some_and(|device| device.below_unknown) {
            passed_to_unknown.add(beyond);
        } else {
            total.add(beyond);
        }
    }
    total.at_least(passed_to_unknown)
}

pub(super) fn is_directly_on(
    topology: &BlockTopology,
    upper: DeviceNumber,
    lower: DeviceNumber,
) -> bool {
    upper != lower && topology.find(upper).is_some_and(|device| device.below.contains(&lower))
}

/// The difference of one device; from 0 where there is no `before`.
pub(super) fn row_delta(
    before: Option<&IoRow>,
    now: &IoRow,
    most: u64,
    gains: &mut Gains,
) -> IoDelta {
    gains.unread |= now.is_odd || before.is_some_and(|before| before.is_odd);
    if gains.unread {
        return IoDelta::default();
    }
    let mut delta = |now: u64, before: Option<u64>, most: u64| {
        signed(gains.of(before.unwrap_or(0), now, CounterBounds::most(most)))
    };
    // No transfer is shorter than a sector.
    let most_ops = most / 512;
    IoDelta {
        read: delta(now.read.as_bytes(), before.map(|row| row.read.as_bytes()), most),
        written: delta(now.written.as_bytes(), before.map(|row| row.written.as_bytes()), most),
        read_ops: delta(now.read_ops, before.map(|row| row.read_ops), most_ops),
        write_ops: delta(now.write_ops, before.map(|row| row.write_ops), most_ops),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Bytes;
    use crate::snapshot::topology::BlockDevice;

    const DISK: DeviceNumber = DeviceNumber { major: 254, minor: 0 };
    const LOOP: DeviceNumber = DeviceNumber { major: 7, minor: 0 };
    /// A loop device whose file cannot be found.
    const LOST: DeviceNumber = DeviceNumber { major: 7, minor: 1 };
    const ZRAM: DeviceNumber = DeviceNumber { major: 253, minor: 0 };

    fn topology() -> BlockTopology {
        let device = |name: &[u8], number, kind| BlockDevice::new(name, number, kind).unwrap();
        let mut lower_known = device(b"loop0", LOOP, BlockKind::Stacked);
        lower_known.below.push(DISK);
        let mut lower_unknown = device(b"loop1", LOST, BlockKind::Stacked);
        lower_unknown.below_unknown = true;
        let zram = device(b"zram0", ZRAM, BlockKind::Memory);
        let disk = device(b"vda", DISK, BlockKind::Disk);
        BlockTopology { devices: vec![lower_known, lower_unknown, zram, disk] }
    }

    fn row(device: DeviceNumber, written: u64) -> IoRow {
        IoRow {
            device,
            read: Bytes::ZERO,
            written: Bytes::from_bytes(written),
            read_ops: 0,
            write_ops: 0,
            is_odd: false,
        }
    }

    fn delta(before: &[IoRow], now: &[IoRow]) -> IoDelta {
        delta_over_layers(before, now, &topology(), 10_000_000, |_| true, &mut Gains::default())
    }

    #[test]
    fn a_transfer_through_two_layers_counts_once() {
        // Figures of a real run: 200 MiB through a loop device, with direct-io on and off.
        let both = [row(LOOP, 200), row(DISK, 201)];
        assert_eq!(delta(&[], &both).written, 201);
        let upper_only = [row(LOOP, 200)];
        assert_eq!(delta(&[], &upper_only).written, 200);
        let beside = [row(LOOP, 200), row(DISK, 500)];
        assert_eq!(delta(&[], &beside).written, 500);
    }

    #[test]
    fn a_transfer_to_an_unknown_disk_counts_once() {
        let both = [row(LOST, 100), row(DISK, 300)];
        assert_eq!(delta(&[], &both).written, 300);
        let upper_only = [row(LOST, 200)];
        assert_eq!(delta(&[], &upper_only).written, 200);
        // 50 and 200 through the two loop devices.
        let all = [row(LOOP, 50), row(LOST, 200), row(DISK, 250)];
        assert_eq!(delta(&[], &all).written, 250);
    }

    #[test]
    fn differences_are_of_the_same_device_and_memory_is_no_disk() {
        let before = [row(DISK, 100)];
        let now = [row(DISK, 130), row(ZRAM, 900)];
        assert_eq!(delta(&before, &now).written, 30);
    }

    #[test]
    fn every_counter_of_a_device_has_its_own_gain_and_bound() {
        let figures = |by: u64| IoRow {
            read: Bytes::from_bytes(1000 * by),
            written: Bytes::from_bytes(2000 * by),
            read_ops: 3 * by,
            write_ops: 4 * by,
            ..row(DISK, 0)
        };
        let mut gains = Gains::default();
        let right = IoDelta { read: 2000, written: 4000, read_ops: 6, write_ops: 8 };
        assert_eq!(row_delta(Some(&figures(1)), &figures(3), u64::MAX, &mut gains), right);
        assert_eq!(gains, Gains::default());
        // No transfer is shorter than a sector.
        for (ops, too_much) in [(10, false), (11, true)] {
            let mut gains = Gains::default();
            row_delta(None, &IoRow { read_ops: ops, ..row(DISK, 0) }, 5120, &mut gains);
            assert_eq!(gains.too_much, too_much, "{ops}");
        }
    }

    #[test]
    fn an_odd_row_on_either_side_is_not_known() {
        let odd = IoRow { is_odd: true, ..row(DISK, 500) };
        for (before, now, unread) in [
            (row(DISK, 1), row(DISK, 2), false),
            (odd, row(DISK, 600), true),
            (row(DISK, 1), odd, true),
        ] {
            let mut gains = Gains::default();
            let delta = row_delta(Some(&before), &now, u64::MAX, &mut gains);
            assert_eq!((delta == IoDelta::default(), gains.unread), (unread, unread));
        }
    }
}
