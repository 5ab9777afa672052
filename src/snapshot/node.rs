//! The node's own files, held open and read every tick.

use std::ffi::CStr;
use std::time::Duration;

use super::gaps::{Gap, GapReason, Gaps};
use super::hardware::HardwareReader;
use super::interfaces;
use super::read_context::{ReadContext, Shape};
use super::reading::{InterfaceReading, PressureReading};
use super::roots::Roots;
use super::topology::{self, BlockSources, BlockTopology, LinkFiles};
use crate::identity::DeviceNumber;
use crate::quantity::{BootTime, Bytes, CpuTime};
use crate::source::cgroup::pressure;
use crate::source::proc::diskstats::{self, DiskstatsRow};
use crate::source::proc::loadavg::{self, LoadAverage};
use crate::source::proc::meminfo::{self, MemInfo};
use crate::source::proc::net_dev::{self, InterfaceName, InterfaceRow};
use crate::source::proc::stat::{self, NodeStat};
use crate::source::proc::uptime;
use crate::source::proc::zfs_arcstats::{self, ArcStats};
use crate::source::proc::zoneinfo;
use crate::source::proc::{net_ipv6_route, net_route};
use crate::source::root::{Buffer, Dir, KernelFile, ReadFailure};
use crate::source::text::figure;
use crate::source::{Malformed, Parsed};

/// The node's files at one instant; `None` or empty where a file gave nothing.
#[derive(Debug, Clone, Default)]
pub struct NodeReading {
    pub cpu_read_at: BootTime,
    /// Time the node had been awake when its CPU was read (CLOCK_MONOTONIC, which stops in
    /// suspend). `None` for a captured host, whose files were not all read at one instant.
    pub cpu_awake: Option<Duration>,
    pub cpu: Option<NodeStat>,
    pub interrupts: InterruptTime,
    pub memory: Option<MemInfo>,
    /// `None`: this kernel has no ZFS.
    pub zfs_arc: Option<ArcStats>,
    /// Free pages on the lists of single CPUs, which are not in `free` of `memory`.
    pub free_on_cpu_lists: Option<Bytes>,
    pub load: Option<LoadAverage>,
    pub uptime_hundredths: Option<u64>,
    pub pressure: PressureReading,
    pub disks_read_at: BootTime,
    /// Every row of /proc/diskstats; the topology has the kind of each.
    pub disks: Vec<DiskstatsRow>,
    pub disks_readable: bool,
    /// See [`Self::disk_sequence`].
    pub disk_sequences: Vec<(DeviceNumber, u64)>,
    pub interfaces_read_at: BootTime,
    /// Every interface of the host's network namespace.
    pub interfaces: Vec<InterfaceReading>,
    pub interfaces_readable: bool,
    /// See [`Self::link_rate`].
    pub link_rates: Vec<(InterfaceName, u64)>,
}

impl NodeReading {
    /// The sequence number of a disk, which the kernel gives out once in a boot. `None`: a kernel
    /// before 5.15, or no whole disk.
    #[must_use]
    pub fn disk_sequence(&self, device: DeviceNumber) -> Option<u64> {
        let found = self.disk_sequences.iter().find(|(known, _)| *known == device);
        found.map(|(_, sequence)| *sequence)
    }

    /// Bytes in a second that the link of a hardware interface carries in one direction; `None`: not
    /// known.
    #[must_use]
    pub fn link_rate(&self, name: InterfaceName) -> Option<u64> {
        self.link_rates.iter().find(|(known, _)| *known == name).map(|(_, rate)| *rate)
    }
}

/// The accounting of interrupt time in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InterruptTime {
    /// It is in no task's usage (CONFIG_IRQ_TIME_ACCOUNTING, in use), or this is not known.
    #[default]
    Apart,
    /// It is in the usage of the interrupted task and its cgroup. /proc/stat counts it by the tick
    /// as well.
    InTasks,
}

/// The source of [`InterruptTime`].
#[derive(Debug)]
enum InterruptClue {
    Known(InterruptTime),
    /// /proc/pressure/irq. Its total stays 0 if the kernel could account interrupts separately and
    /// does not, because it lacks a fast clock.
    Pressure(KernelFile),
}

impl InterruptClue {
    fn find(roots: &Roots, procfs: &Dir, has_pressure: bool) -> Self {
        if roots.captured.is_some() {
            // A file that a capture lacks may have been left out.
            return Self::Known(InterruptTime::Apart);
        }
        match procfs.open_file(c"pressure/irq") {
            Ok(file) => Self::Pressure(file),
            Err(ReadFailure::Absent) if has_pressure => {
                let mut buffer = Buffer::default();
                let release = procfs.read_record(c"sys/kernel/osrelease", &mut buffer);
                // Since 6.1 the file exists if the kernel was built with it.
                let has_file_if_built = release.ok().and_then(release_numbers) >= Some((6, 1));
                let known =
                    if has_file_if_built { InterruptTime::InTasks } else { InterruptTime::Apart };
                Self::Known(known)
            }
            Err(_) => Self::Known(InterruptTime::Apart),
        }
    }

    fn ask(&mut self, context: &mut ReadContext<'_>) -> InterruptTime {
        let file = match self {
            Self::Known(known) => return *known,
            Self::Pressure(file) => file,
        };
        let path: &[&[u8]] = &[b"/proc/pressure/irq"];
        let stall = context.read(file, Shape::OneRecord, path, pressure::parse_irq).present();
        if stall.is_some_and(|stall| stall.total > CpuTime::ZERO) {
            *self = Self::Known(InterruptTime::Apart);
            return InterruptTime::Apart;
        }
        InterruptTime::InTasks
    }
}

/// Major and minor of `6.1.0-25-amd64`.
fn release_numbers(release: &[u8]) -> Option<(u64, u64)> {
    let mut numbers = release.split(|byte| !byte.is_ascii_digit()).map(figure);
    Some((numbers.next()??, numbers.next()??))
}

/// Reads into a [`NodeReading`].
#[derive(Debug)]
pub struct NodeReader {
    stat: Option<KernelFile>,
    interrupts: InterruptClue,
    meminfo: Option<KernelFile>,
    zfs_arc: Option<KernelFile>,
    zoneinfo: Option<KernelFile>,
    loadavg: Option<KernelFile>,
    uptime: Option<KernelFile>,
    diskstats: Option<KernelFile>,
    pressure: [Option<KernelFile>; 3],
    block: BlockSources,
    ticks_to_topology: u32,
    hardware: HardwareReader,
    interface_rows: Vec<InterfaceRow>,
    /// The interfaces of the default routes, as last looked at.
    uplinks: Vec<InterfaceName>,
    ticks_to_routes: u32,
}

/// Ticks after which the stacking of devices is read again although no device came or went: a loop
/// device can change its file. After as many, default routes are looked at: one can move to another interface.
const TOPOLOGY_TICKS: u32 = 40;

/// Longer than it takes to read /proc/stat of a large host.
const HELD_UP: Duration = Duration::from_millis(2);

impl NodeReader {
    /// Opens the node's files. What is missing for as long as the agent runs is a standing gap.
    pub fn open(roots: &Roots, procfs: &Dir, gaps: &mut Gaps) -> Self {
        let mut open = |name: &CStr, consequence: Option<&'static str>| {
            let opened = procfs.open_file(name);
            if let (Err(failure), Some(consequence)) = (&opened, consequence) {
                let reason = match failure {
                    ReadFailure::Denied => GapReason::Denied,
                    _ => GapReason::NotOffered { consequence },
                };
                let path = [b"/proc/", name.to_bytes()].concat().into();
                gaps.standing.push(Gap { path, reason });
            }
            opened.ok()
        };
        let has_pressure = procfs.has(c"pressure/cpu");
        Self {
            interrupts: InterruptClue::find(roots, procfs, has_pressure),
            stat: open(c"stat", Some("the node's CPU is not known")),
            meminfo: open(c"meminfo", Some("the node's memory is not known")),
            zfs_arc: open(c"spl/kstat/zfs/arcstats", None),
            zoneinfo: open(c"zoneinfo", None),
            loadavg: open(c"loadavg", None),
            uptime: open(c"uptime", None),
            diskstats: open(c"diskstats", Some("the node's disk traffic is not known")),
            pressure: [
                open(
                    c"pressure/cpu",
                    Some("the kernel keeps no pressure figures (PSI is off or not built in)"),
                ),
                open(c"pressure/memory", None),
                open(c"pressure/io", None),
            ],
            block: BlockSources::open(roots),
            ticks_to_topology: 0,
            hardware: HardwareReader::open(roots),
            interface_rows: Vec::new(),
            uplinks: Vec::new(),
            ticks_to_routes: 0,
        }
    }

    /// Brings all but CPU up to date.
    pub fn read(
        &mut self,
        roots: &Roots,
        procfs: &Dir,
        node: &mut NodeReading,
        topology: &mut BlockTopology,
        context: &mut ReadContext<'_>,
    ) {
        use Shape::{AnyRecords, OneRecord, ShortRecords};
        node.memory = read(&self.meminfo, OneRecord, b"meminfo", context, meminfo::parse);
        let arc = b"spl/kstat/zfs/arcstats";
        node.zfs_arc = read(&self.zfs_arc, OneRecord, arc, context, zfs_arcstats::parse);
        // A record is a node of memory.
        let zones = read(&self.zoneinfo, AnyRecords, b"zoneinfo", context, zoneinfo::parse);
        let page_size = roots.units.page_size_bytes;
        node.free_on_cpu_lists = zones.map(|zones| zones.free_on_cpu_lists.to_bytes(page_size));
        node.load = read(&self.loadavg, OneRecord, b"loadavg", context, loadavg::parse);
        node.uptime_hundredths = read(&self.uptime, OneRecord, b"uptime", context, uptime::parse);
        let [cpu, memory, io] = &self.pressure;
        node.pressure = PressureReading {
            read_at: context.now(),
            cpu: read(cpu, OneRecord, b"pressure/cpu", context, pressure::parse),
            memory: read(memory, OneRecord, b"pressure/memory", context, pressure::parse),
            io: read(io, OneRecord, b"pressure/io", context, pressure::parse),
        };

        let disks = &mut node.disks;
        let parse = |text: &[u8]| diskstats::parse(text, disks);
        node.disks_readable =
            read(&self.diskstats, AnyRecords, b"diskstats", context, parse).is_some();
        node.disks_read_at = context.now();
        if node.disks_readable {
            if self.ticks_to_topology == 0 || !topology.fits(&node.disks) {
                topology.update(&mut self.block, &node.disks, context.buffer);
                self.ticks_to_topology = TOPOLOGY_TICKS;
            }
            self.ticks_to_topology -= 1;
            let sequences = &mut node.disk_sequences;
            self.hardware.read_disks(&node.disks, sequences, context.buffer);
        }

        // Pid 1's, since the agent may run in a namespace of its own; opened each time, since an
        // open net/dev would keep a namespace alive.
        let rows = &mut self.interface_rows;
        let mut parse = |text: &[u8]| net_dev::parse(text, rows);
        let names: [(&CStr, &[u8]); 2] = [(c"1/net/dev", b"1"), (c"net/dev", b"self")];
        let read_from = names.iter().find(|(name, _)| {
            let path: &[&[u8]] = &[b"/proc/", name.to_bytes()];
            context.read_at(procfs, name, ShortRecords, path, &mut parse).present().is_some()
        });
        node.interfaces_read_at = context.now();
        node.interfaces_readable = read_from.is_some();
        if let Some((_, process)) = read_from {
            let rows = &self.interface_rows;
            self.hardware.read_links(rows, &mut node.link_rates, context.buffer);
            let open = || {
                let class = Dir::open(&roots.sysfs.join("class/net")).ok();
                LinkFiles::open(procfs, process, class, rows)
            };
            let mut have_moved = false;
            if self.ticks_to_routes == 0 {
                self.ticks_to_routes = TOPOLOGY_TICKS;
                let uplinks = default_routes(procfs, context.buffer);
                have_moved = uplinks != self.uplinks;
                self.uplinks = uplinks;
            }
            self.ticks_to_routes -= 1;
            interfaces::update(&mut node.interfaces, rows, have_moved, context.buffer, open, {
                |files, buffer| {
                    let routes = || default_routes(procfs, &mut Buffer::default());
                    topology::host_facts(files, rows, routes, buffer)
                }
            });
        }
    }

    /// Brings the node's CPU up to date: behind the cgroups, children before their parent.
    pub fn read_cpu(
        &mut self,
        node: &mut NodeReading,
        awake: Option<fn() -> Duration>,
        context: &mut ReadContext<'_>,
    ) {
        node.interrupts = self.interrupts.ask(context);
        // A delay between file and clock would distort the time of all CPUs, so it is read once
        // more.
        for _ in 0..2 {
            let before = awake.map(|awake| awake());
            node.cpu = read(&self.stat, Shape::OneRecord, b"stat", context, stat::parse);
            let took = before.zip(awake).map(|(before, awake)| awake().saturating_sub(before));
            node.cpu_awake = before.zip(took).map(|(before, took)| before + took / 2);
            if took.is_none_or(|took| took < HELD_UP) {
                break;
            }
        }
        node.cpu_read_at = context.now();
    }
}

/// The interfaces of the host's default routes.
fn default_routes(procfs: &Dir, buffer: &mut Buffer) -> Vec<InterfaceName> {
    let mut of = |names: [&CStr; 2], parse: fn(&[u8]) -> Result<Vec<InterfaceName>, Malformed>| {
        let read = |name: &&CStr| parse(procfs.read_records(name, buffer).ok()?).ok();
        names.iter().find_map(read).unwrap_or_default()
    };
    let mut uplinks = of([c"1/net/route", c"net/route"], net_route::parse);
    uplinks.extend(of([c"1/net/ipv6_route", c"net/ipv6_route"], net_ipv6_route::parse));
    uplinks
}

fn read<T: Parsed>(
    file: &Option<KernelFile>,
    shape: Shape,
    name: &[u8],
    context: &mut ReadContext<'_>,
    parse: impl FnOnce(&[u8]) -> Result<T, Malformed>,
) -> Option<T> {
    context.read(file.as_ref()?, shape, &[b"/proc/", name], parse).present()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::snapshot::ReadCounts;
    use crate::snapshot::roots::Units;

    fn interrupts_of(root: &Path) -> InterruptTime {
        let roots = Roots {
            procfs: root.to_owned(),
            sysfs: root.to_owned(),
            cgroupfs: None,
            rootfs: root.to_owned(),
            units: Units { ticks_per_second: 100, page_size_bytes: 4096 },
            captured: None,
        };
        let procfs = Dir::open(root).unwrap();
        let (mut buffer, mut gaps, mut counts) =
            (Buffer::default(), Gaps::default(), ReadCounts::default());
        let mut context = ReadContext {
            buffer: &mut buffer,
            gaps: &mut gaps,
            counts: &mut counts,
            clock: &BootTime::default,
            tick: 0,
        };
        let mut reader = NodeReader::open(&roots, &procfs, context.gaps);
        let mut node = NodeReading::default();
        reader.read_cpu(&mut node, None, &mut context);
        node.interrupts
    }

    #[test]
    fn the_kernels_files_show_if_interrupts_are_in_its_tasks_time() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for dir in ["pressure", "sys/kernel"] {
            fs::create_dir_all(root.join(dir)).unwrap();
        }
        let release = |text: &str| fs::write(root.join("sys/kernel/osrelease"), text).unwrap();
        let irq = |total: u64| {
            let line = format!("full avg10=0.00 avg60=0.00 avg300=0.00 total={total}\n");
            fs::write(root.join("pressure/irq"), line).unwrap();
        };
        release("6.1.0-56-cloud-amd64\n");
        // Without any pressure files nothing follows from there being none of interrupts.
        assert_eq!(interrupts_of(root), InterruptTime::Apart);
        fs::write(root.join("pressure/cpu"), "").unwrap();
        assert_eq!(interrupts_of(root), InterruptTime::InTasks);
        release("5.15.0-119-generic\n");
        assert_eq!(interrupts_of(root), InterruptTime::Apart);
        irq(0);
        assert_eq!(interrupts_of(root), InterruptTime::InTasks);
        irq(77);
        assert_eq!(interrupts_of(root), InterruptTime::Apart);
    }
}
