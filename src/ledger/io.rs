//! Disk bytes of a cgroup, each transfer counted once over the layers it went through.

use super::delta::{CounterBounds, Gains, IoDelta, most_disk_bytes, signed};
use crate::identity::DeviceNumber;
use crate::snapshot::topology::{BlockKind, BlockTopology};
use crate::source::cgroup::io_stat::IoRow;

/// The difference over all devices: of each device, what it has beyond the devices stacked directly
/// on it.
///
/// A transfer to a loop device whose file lies on a disk is in both rows, or, where a kernel worker
/// does the lower half, in the upper row alone. It counts once either way. Memory that looks like a
/// disk is no disk traffic. `is_same`: the device of this number is the one of before.
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
    for row in now {
        let own = row_delta(before(row.device), row, most, gains);
        if own == IoDelta::default() || topology.kind(row.device) == Some(BlockKind::Memory) {
            continue;
        }
        let mut from_above = IoDelta::default();
        for upper in now {
            if is_directly_on(topology, upper.device, row.device) {
                from_above.add(row_delta(before(upper.device), upper, most, gains));
            }
        }
        let beyond = own.less(from_above);
        total.add(IoDelta {
            read: beyond.read.max(0),
            written: beyond.written.max(0),
            read_ops: beyond.read_ops.max(0),
            write_ops: beyond.write_ops.max(0),
        });
    }
    total
}

fn is_directly_on(topology: &BlockTopology, upper: DeviceNumber, lower: DeviceNumber) -> bool {
    upper != lower && topology.find(upper).is_some_and(|device| device.below.contains(&lower))
}

/// The difference of one device; from 0 where there is no `before`.
fn row_delta(before: Option<&IoRow>, now: &IoRow, most: u64, gains: &mut Gains) -> IoDelta {
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
    const ZRAM: DeviceNumber = DeviceNumber { major: 253, minor: 0 };

    fn topology() -> BlockTopology {
        BlockTopology {
            devices: vec![
                BlockDevice { number: LOOP, kind: BlockKind::Stacked, below: vec![DISK] },
                BlockDevice { number: ZRAM, kind: BlockKind::Memory, below: vec![] },
                BlockDevice { number: DISK, kind: BlockKind::Disk, below: vec![] },
            ],
        }
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
    fn differences_are_of_the_same_device_and_memory_is_no_disk() {
        let before = [row(DISK, 100)];
        let now = [row(DISK, 130), row(ZRAM, 900)];
        assert_eq!(delta(&before, &now).written, 30);
    }
}
