//! Disk bytes of an owner, each transfer counted once over the layers it went through.

use super::delta::gained;
use super::flow::{IoFlow, signed};
use crate::identity::DeviceNumber;
use crate::snapshot::topology::{BlockKind, BlockTopology};
use crate::source::cgroup::io_stat::IoRow;

/// What one cgroup gained over all devices: for each device what it has more than the devices
/// stacked directly upon it passed down.
///
/// A transfer to a loop device whose file lies on a disk stands in both rows, or, where the kernel's
/// worker does the lower half, in the upper alone; both ways it counts once. Memory that looks like
/// a disk is no disk traffic.
pub(super) fn gained_over_layers(
    before: &[IoRow],
    now: &[IoRow],
    topology: &BlockTopology,
) -> IoFlow {
    let mut total = IoFlow::default();
    for row in now {
        let own = row_gain(before, row);
        if own == IoFlow::default() || topology.kind(row.device) == Some(BlockKind::Memory) {
            continue;
        }
        let mut passed_down = IoFlow::default();
        for upper in now {
            if is_directly_upon(topology, upper.device, row.device) {
                passed_down.add(row_gain(before, upper));
            }
        }
        let rest = own.less(passed_down);
        total.add(IoFlow {
            read: rest.read.max(0),
            written: rest.written.max(0),
            read_ops: rest.read_ops.max(0),
            write_ops: rest.write_ops.max(0),
        });
    }
    total
}

fn is_directly_upon(topology: &BlockTopology, upper: DeviceNumber, lower: DeviceNumber) -> bool {
    upper != lower && topology.find(upper).is_some_and(|device| device.below.contains(&lower))
}

/// A device that the earlier reading does not have counts from 0.
fn row_gain(before: &[IoRow], now: &IoRow) -> IoFlow {
    let before = before.iter().find(|row| row.device == now.device);
    let gain = |now: u64, before: Option<u64>| signed(gained(before.unwrap_or(0), now));
    IoFlow {
        read: gain(now.read.as_bytes(), before.map(|row| row.read.as_bytes())),
        written: gain(now.written.as_bytes(), before.map(|row| row.written.as_bytes())),
        read_ops: gain(now.read_ops, before.map(|row| row.read_ops)),
        write_ops: gain(now.write_ops, before.map(|row| row.write_ops)),
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
        }
    }

    #[test]
    fn a_transfer_through_two_layers_counts_once() {
        // The figures of a real run: 200 MiB through a loop device, with direct-io on and off.
        let both = [row(LOOP, 200), row(DISK, 201)];
        assert_eq!(gained_over_layers(&[], &both, &topology()).written, 201);
        let upper_only = [row(LOOP, 200)];
        assert_eq!(gained_over_layers(&[], &upper_only, &topology()).written, 200);
        let beside = [row(LOOP, 200), row(DISK, 500)];
        assert_eq!(gained_over_layers(&[], &beside, &topology()).written, 500);
    }

    #[test]
    fn gains_are_against_the_same_device_and_memory_is_no_disk() {
        let before = [row(DISK, 100)];
        let now = [row(DISK, 130), row(ZRAM, 900)];
        assert_eq!(gained_over_layers(&before, &now, &topology()).written, 30);
    }
}
