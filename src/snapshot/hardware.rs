//! Facts of sysfs about disks and links that the subtraction of their counters needs.

use super::roots::Roots;
use super::topology::PathBuffer;
use crate::identity::DeviceNumber;
use crate::source::cgroup::single;
use crate::source::proc::diskstats::{DiskstatsRow, NAME_BYTES_MAX};
use crate::source::proc::net_dev::{InterfaceName, InterfaceRow};
use crate::source::root::{Buffer, Dir};

/// Ticks after which the rates of links are read again: a link can become faster.
const LINK_TICKS: u32 = 8;

/// Reads sequence numbers and rates. Allocates nothing but for new disks and interfaces.
#[derive(Debug)]
pub struct HardwareReader {
    block: Option<Dir>,
    class: Option<Dir>,
    disks: Vec<DiskstatsRow>,
    interfaces: Vec<InterfaceName>,
    ticks_to_links: u32,
}

impl HardwareReader {
    #[must_use]
    pub fn open(roots: &Roots) -> Self {
        Self {
            block: Dir::open(&roots.sysfs.join("block")).ok(),
            class: Dir::open(&roots.sysfs.join("class/net")).ok(),
            disks: Vec::new(),
            interfaces: Vec::new(),
            ticks_to_links: 0,
        }
    }

    /// Reads the disks' sequence numbers, if disks came or went. The counters of another disk under
    /// the same number and name begin at 0, so one that fell is a reason too.
    pub fn read_disks(
        &mut self,
        rows: &[DiskstatsRow],
        sequences: &mut Vec<(DeviceNumber, u64)>,
        buffer: &mut Buffer,
    ) {
        let is_same = |(before, now): (&DiskstatsRow, &DiskstatsRow)| {
            before.device == now.device
                && before.name() == now.name()
                && before.read <= now.read
                && before.written <= now.written
        };
        let same = self.disks.len() == rows.len() && self.disks.iter().zip(rows).all(is_same);
        self.disks.clear();
        self.disks.extend_from_slice(rows);
        if same {
            return;
        }
        sequences.clear();
        let Some(block) = &self.block else { return };
        for row in rows {
            // In sysfs the slash of a name such as cciss/c0d0 is an exclamation mark.
            let mut entry = [0; NAME_BYTES_MAX];
            for (to, from) in entry.iter_mut().zip(row.name()) {
                *to = if *from == b'/' { b'!' } else { *from };
            }
            let entry = entry.get(..row.name().len()).unwrap_or_default();
            if let Some(sequence) = figure(block, &[entry, b"/diskseq"], buffer) {
                sequences.push((row.device, sequence));
            }
        }
    }

    /// Reads the rates of the host's links, if interfaces came or went, and at times.
    pub fn read_links(
        &mut self,
        rows: &[InterfaceRow],
        rates: &mut Vec<(InterfaceName, u64)>,
        buffer: &mut Buffer,
    ) {
        let same = self.interfaces.iter().eq(rows.iter().map(|row| &row.name));
        if same && self.ticks_to_links > 0 {
            self.ticks_to_links -= 1;
            return;
        }
        self.ticks_to_links = LINK_TICKS;
        self.interfaces.clear();
        self.interfaces.extend(rows.iter().map(|row| row.name));
        rates.clear();
        let Some(class) = &self.class else { return };
        for name in &self.interfaces {
            // What a virtual interface calls its speed bounds nothing.
            let mut space = PathBuffer::default();
            let device = space.join(&[name.as_bytes(), b"/device"]);
            if !device.is_some_and(|device| class.has(device)) {
                continue;
            }
            // A link that is down, and many a virtual machine's, has -1 or an error.
            let speed = figure(class, &[name.as_bytes(), b"/speed"], buffer);
            if let Some(megabits) = speed.filter(|speed| *speed > 0) {
                rates.push((*name, megabits.saturating_mul(125_000)));
            }
        }
    }
}

/// The figure in the file whose path below `dir` is `parts` joined.
fn figure(dir: &Dir, parts: &[&[u8]], buffer: &mut Buffer) -> Option<u64> {
    let mut space = PathBuffer::default();
    let text = dir.read_record(space.join(parts)?, buffer).ok()?;
    single::parse_figure(text).ok()
}
