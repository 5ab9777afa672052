//! The last counters on disk, so that a restart of the agent is no gap and no double count.
//!
//! One JSON file, written anew beside the old one and renamed over it. Counters hold within one
//! boot, so the directory is best on tmpfs, and a file of another boot is passed over. Whatever is
//! wrong with the file, the agent starts: without it, the first interval is merely not known.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::identity::{BootId, CgroupKey, DeviceNumber, ProcessKey};
use crate::ledger::{
    CgroupCounters, Counters, EventCounts, InterfaceCounters, NamespaceCounters, ProcessCounters,
    SocketCounters, SocketsCounters,
};
use crate::quantity::{BootTime, Bytes, CpuTime, Ticks};
use crate::source::cgroup::cpu_stat::{CpuStat, Throttling};
use crate::source::cgroup::io_stat::IoRow;
use crate::source::netlink::inet_diag::TcpTraffic;
use crate::source::proc::diskstats::DiskstatsRow;
use crate::source::proc::net_dev::{InterfaceName, InterfaceRow};
use crate::source::proc::pid_io::ProcessIo;
use crate::source::proc::stat::NodeStat;

const SCHEMA_VERSION: u32 = 1;
const FILE_NAME: &str = "counters.json";
/// A node of five hundred pods has about one MiB.
const FILE_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Error)]
pub enum StateError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
}

/// Times in nanoseconds of CLOCK_BOOTTIME, CPU in microseconds or ticks as the kernel has it, all
/// else in bytes and counts. Arrays are in the order of the kernel's columns.
#[derive(Debug, Serialize, Deserialize)]
struct File {
    schema_version: u32,
    boot_id: String,
    begun_at_ns: u64,
    ended_at_ns: u64,
    node_cpu_read_at_ns: u64,
    #[serde(default)]
    node_cpu_awake_ns: Option<u64>,
    #[serde(default)]
    cpus: u32,
    /// user, nice, system, idle, iowait, irq, softirq, steal
    node_cpu_ticks: Option<[u64; 8]>,
    disks: Option<Vec<Disk>>,
    interfaces: Option<Vec<Interface>>,
    cgroups: Vec<Cgroup>,
    #[serde(default)]
    sockets: Option<Sockets>,
    namespaces: Vec<Namespace>,
    processes: Vec<Process>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sockets {
    complete: bool,
    /// cookie, inode of the cgroup, received and acked bytes, segments in and out, samples missing
    rows: Vec<(u64, u64, u64, u64, u32, u32, u8)>,
}

/// read bytes, written bytes, read operations, write operations
type IoFigures = [u64; 4];

#[derive(Debug, Serialize, Deserialize)]
struct Disk {
    name: String,
    device: [u32; 2],
    io: IoFigures,
}

/// Name, then rx bytes, packets, errors, dropped, and tx likewise.
type Interface = (String, [u64; 8]);

#[derive(Debug, Serialize, Deserialize)]
struct Cgroup {
    path: String,
    inode: u64,
    read_at_ns: u64,
    /// usage, user, system
    cpu: Option<[u64; 3]>,
    /// periods, throttled periods, throttled time
    throttling: Option<[u64; 3]>,
    io: Option<Vec<([u32; 2], IoFigures)>>,
    #[serde(flatten)]
    events: EventCounts,
}

#[derive(Debug, Serialize, Deserialize)]
struct Namespace {
    inode: u64,
    readable: bool,
    interfaces: Vec<Interface>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Process {
    pid: u32,
    start_ticks: u64,
    read_at_ns: u64,
    cpu_usec: u64,
    /// read bytes, written bytes
    io: Option<[u64; 2]>,
}

/// A path may hold any byte; what is not plain ASCII, and the percent sign, is percent-encoded.
const ESCAPED: &AsciiSet = &CONTROLS.add(b'%');

fn escape(bytes: &[u8]) -> String {
    percent_encode(bytes, ESCAPED).to_string()
}

fn unescape(text: &str) -> Vec<u8> {
    percent_decode_str(text).collect()
}

/// The directory that holds the counters, made if it is not there.
#[derive(Debug, PartialEq)]
pub struct StateDir {
    file: PathBuf,
    next: PathBuf,
}

impl StateDir {
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(dir)
            .map_err(|source| StateError::Io { path: dir.to_owned(), source })?;
        Ok(Self { file: dir.join(FILE_NAME), next: dir.join("counters.json.new") })
    }

    /// Whether a file can be written there; leaves none behind.
    pub fn is_writable(&self) -> Result<(), StateError> {
        let probe = self.file.with_extension("probe");
        let tried = OpenOptions::new().write(true).create(true).truncate(true).open(&probe);
        tried
            .and_then(|_| fs::remove_file(&probe))
            .map_err(|source| StateError::Io { path: probe, source })
    }

    /// Replaces the file. A reader finds the old counters or the new, never a part; where the new
    /// cannot be written, none, since the old ones would give again what was sent since.
    pub fn save(&self, counters: &Counters) -> Result<(), StateError> {
        let saved = self.replace(counters);
        if saved.is_err() {
            self.forget();
        }
        saved
    }

    fn replace(&self, counters: &Counters) -> Result<(), StateError> {
        let Some(boot) = counters.boot else { return Ok(()) };
        let file = wire(counters, boot);
        let failed = |source| StateError::Io { path: self.next.clone(), source };
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&self.next)
            .map_err(failed)?;
        let mut out = BufWriter::new(opened);
        serde_json::to_writer(&mut out, &file).map_err(|error| failed(error.into()))?;
        out.flush().map_err(failed)?;
        fs::rename(&self.next, &self.file)
            .map_err(|source| StateError::Io { path: self.file.clone(), source })
    }

    /// Removes the counters, which are older than what was sent.
    pub fn forget(&self) {
        // What cannot be removed was most likely never there.
        let _ = fs::remove_file(&self.file);
    }

    /// The counters that the last run left; `None` if there are none of this version.
    pub fn load(&self) -> Result<Option<Counters>, StateError> {
        let io = |source| StateError::Io { path: self.file.clone(), source };
        let malformed = |reason: String| StateError::Malformed { path: self.file.clone(), reason };
        let size = match fs::metadata(&self.file) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        if size > FILE_BYTES_MAX {
            return Err(malformed(format!("larger than {FILE_BYTES_MAX} bytes")));
        }
        let text = read(&self.file).map_err(io)?;
        // serde_json's own words can quote the file, and so be as long as it.
        let file: File = serde_json::from_slice(&text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            malformed(format!("not as it was written (line {line}, column {column})"))
        })?;
        if file.schema_version != SCHEMA_VERSION {
            return Ok(None);
        }
        domain(file).map(Some).ok_or_else(|| malformed("a name or boot id that is none".to_owned()))
    }
}

#[expect(clippy::disallowed_methods, reason = "the agent's own file is no file of the kernel's")]
fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    fs::read(path)
}

fn wire(counters: &Counters, boot: BootId) -> File {
    let interface = |row: &InterfaceRow| {
        let figures = [
            row.rx_bytes,
            row.rx_packets,
            row.rx_errors,
            row.rx_dropped,
            row.tx_bytes,
            row.tx_packets,
            row.tx_errors,
            row.tx_dropped,
        ];
        (escape(row.name.as_bytes()), figures)
    };
    File {
        schema_version: SCHEMA_VERSION,
        boot_id: boot.to_string(),
        begun_at_ns: counters.begun_at.as_nanos(),
        ended_at_ns: counters.ended_at.as_nanos(),
        node_cpu_read_at_ns: counters.node_cpu_read_at.as_nanos(),
        node_cpu_awake_ns: counters
            .node_cpu_awake
            .map(|awake| u64::try_from(awake.as_nanos()).unwrap_or(u64::MAX)),
        cpus: counters.node_cpu.map_or(0, |cpu| cpu.cpus),
        node_cpu_ticks: counters.node_cpu.map(|cpu| {
            [cpu.user, cpu.nice, cpu.system, cpu.idle, cpu.iowait, cpu.irq, cpu.softirq, cpu.steal]
                .map(Ticks::as_ticks)
        }),
        disks: counters.disks.as_ref().map(|rows| {
            rows.iter()
                .map(|row| Disk {
                    name: escape(row.name()),
                    device: [row.device.major, row.device.minor],
                    io: [row.read.as_bytes(), row.written.as_bytes(), row.read_ops, row.write_ops],
                })
                .collect()
        }),
        interfaces: counters
            .interfaces
            .as_ref()
            .map(|interfaces| interfaces.rows.iter().map(interface).collect()),
        cgroups: counters
            .cgroups
            .iter()
            .map(|cgroup| Cgroup {
                path: escape(&cgroup.key.path),
                inode: cgroup.key.inode,
                read_at_ns: cgroup.read_at.as_nanos(),
                cpu: cgroup.cpu.map(|cpu| [cpu.usage, cpu.user, cpu.system].map(CpuTime::as_usec)),
                throttling: cgroup.cpu.and_then(|cpu| cpu.throttling).map(|throttling| {
                    [
                        throttling.periods,
                        throttling.throttled_periods,
                        throttling.throttled.as_usec(),
                    ]
                }),
                io: cgroup.io.as_ref().map(|rows| {
                    rows.iter()
                        .map(|row| {
                            let io = [
                                row.read.as_bytes(),
                                row.written.as_bytes(),
                                row.read_ops,
                                row.write_ops,
                            ];
                            ([row.device.major, row.device.minor], io)
                        })
                        .collect()
                }),
                events: cgroup.events,
            })
            .collect(),
        sockets: counters.sockets.as_ref().map(|sockets| Sockets {
            complete: sockets.complete,
            rows: sockets
                .rows
                .iter()
                .map(|row| {
                    let TcpTraffic { received, acked, segments_in, segments_out } = row.traffic;
                    let (received, acked) = (received.as_bytes(), acked.as_bytes());
                    let (cookie, cgroup) = (row.cookie, row.cgroup);
                    (cookie, cgroup, received, acked, segments_in, segments_out, row.missing)
                })
                .collect(),
        }),
        namespaces: counters
            .namespaces
            .iter()
            .map(|namespace| Namespace {
                inode: namespace.inode,
                readable: namespace.readable,
                interfaces: namespace.rows.iter().map(interface).collect(),
            })
            .collect(),
        processes: counters
            .processes
            .iter()
            .map(|process| Process {
                pid: process.key.pid,
                start_ticks: process.key.start_ticks,
                read_at_ns: process.read_at.as_nanos(),
                cpu_usec: process.cpu.as_usec(),
                io: process.io.map(|io| [io.read.as_bytes(), io.written.as_bytes()]),
            })
            .collect(),
    }
}

/// `None` if a name or the boot id is not one.
fn domain(file: File) -> Option<Counters> {
    let interface = |(name, figures): Interface| {
        let [
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
        ] = figures;
        Some(InterfaceRow {
            name: InterfaceName::new(&unescape(&name))?,
            rx_bytes,
            rx_packets,
            rx_errors,
            rx_dropped,
            tx_bytes,
            tx_packets,
            tx_errors,
            tx_dropped,
        })
    };
    let interfaces = |rows: Vec<Interface>| rows.into_iter().map(interface).collect::<Option<_>>();
    let device = |[major, minor]: [u32; 2]| DeviceNumber { major, minor };
    let mut counters = Counters {
        boot: Some(BootId::parse(file.boot_id.as_bytes())?),
        begun_at: BootTime::from_nanos(file.begun_at_ns),
        ended_at: BootTime::from_nanos(file.ended_at_ns),
        node_cpu_read_at: BootTime::from_nanos(file.node_cpu_read_at_ns),
        node_cpu_awake: file.node_cpu_awake_ns.map(Duration::from_nanos),
        node_cpu: file.node_cpu_ticks.map(|ticks| {
            let [user, nice, system, idle, iowait, irq, softirq, steal] =
                ticks.map(Ticks::from_ticks);
            NodeStat {
                user,
                nice,
                system,
                idle,
                iowait,
                irq,
                softirq,
                steal,
                cpus: file.cpus,
                ..NodeStat::default()
            }
        }),
        ..Counters::default()
    };
    if let Some(disks) = file.disks {
        let rows = disks
            .into_iter()
            .map(|disk| DiskstatsRow::new(&unescape(&disk.name), device(disk.device), disk.io));
        counters.disks = Some(rows.collect::<Option<_>>()?);
    }
    if let Some(rows) = file.interfaces {
        counters.interfaces = Some(InterfaceCounters { rows: interfaces(rows)? });
    }
    counters.sockets = file.sockets.map(|sockets| SocketsCounters {
        complete: sockets.complete,
        rows: sockets
            .rows
            .into_iter()
            .map(|(cookie, cgroup, received, acked, segments_in, segments_out, missing)| {
                let (received, acked) = (Bytes::from_bytes(received), Bytes::from_bytes(acked));
                let traffic = TcpTraffic { received, acked, segments_in, segments_out };
                SocketCounters { cookie, cgroup, traffic, missing }
            })
            .collect(),
    });
    for cgroup in file.cgroups {
        let throttling = cgroup.throttling.map(|[periods, throttled_periods, usec]| Throttling {
            periods,
            throttled_periods,
            throttled: CpuTime::from_usec(usec),
        });
        let cpu = cgroup.cpu.map(|usec| {
            let [usage, user, system] = usec.map(CpuTime::from_usec);
            CpuStat { usage, user, system, throttling }
        });
        let row = |(number, [read, written, read_ops, write_ops]): ([u32; 2], IoFigures)| IoRow {
            device: device(number),
            read: Bytes::from_bytes(read),
            written: Bytes::from_bytes(written),
            read_ops,
            write_ops,
        };
        counters.cgroups.push(CgroupCounters {
            key: CgroupKey { path: Arc::from(unescape(&cgroup.path)), inode: cgroup.inode },
            read_at: BootTime::from_nanos(cgroup.read_at_ns),
            cpu,
            io: cgroup.io.map(|rows| rows.into_iter().map(row).collect()),
            events: cgroup.events,
        });
    }
    for namespace in file.namespaces {
        counters.namespaces.push(NamespaceCounters {
            inode: namespace.inode,
            readable: namespace.readable,
            rows: interfaces(namespace.interfaces)?,
        });
    }
    for process in file.processes {
        counters.processes.push(ProcessCounters {
            key: ProcessKey { pid: process.pid, start_ticks: process.start_ticks },
            read_at: BootTime::from_nanos(process.read_at_ns),
            cpu: CpuTime::from_usec(process.cpu_usec),
            io: process.io.map(|[read, written]| ProcessIo {
                read: Bytes::from_bytes(read),
                written: Bytes::from_bytes(written),
            }),
        });
    }
    // The ledger searches these by order; a file put together by hand need not have it.
    counters.sort();
    Some(counters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters() -> Counters {
        Counters {
            boot: BootId::parse(b"dcb0aa66-4b28-4a3b-b26c-358f9a3b5bb2"),
            begun_at: BootTime::from_nanos(5),
            ended_at: BootTime::from_nanos(7),
            node_cpu: Some(NodeStat { user: Ticks::from_ticks(9), cpus: 4, ..NodeStat::default() }),
            node_cpu_read_at: BootTime::from_nanos(6),
            node_cpu_awake: Some(Duration::from_nanos(5)),
            disks: Some(vec![
                DiskstatsRow::new(b"vda", DeviceNumber { major: 254, minor: 0 }, [1, 2, 3, 4])
                    .unwrap(),
            ]),
            interfaces: None,
            cgroups: vec![CgroupCounters {
                key: CgroupKey { path: Arc::from(&b"/a b%\xff\n/c"[..]), inode: 77 },
                read_at: BootTime::from_nanos(6),
                cpu: Some(CpuStat {
                    usage: CpuTime::from_usec(u64::MAX),
                    user: CpuTime::from_usec(1),
                    system: CpuTime::from_usec(2),
                    throttling: Some(Throttling::default()),
                }),
                io: Some(vec![]),
                events: EventCounts::default(),
            }],
            sockets: Some(SocketsCounters {
                complete: true,
                rows: vec![SocketCounters {
                    cookie: 9,
                    cgroup: 77,
                    traffic: TcpTraffic {
                        received: Bytes::from_bytes(1),
                        acked: Bytes::from_bytes(2),
                        segments_in: 3,
                        segments_out: 4,
                    },
                    missing: 1,
                }],
            }),
            namespaces: vec![],
            processes: vec![ProcessCounters {
                key: ProcessKey { pid: 1, start_ticks: 3 },
                read_at: BootTime::from_nanos(6),
                cpu: CpuTime::from_usec(10),
                io: Some(ProcessIo::default()),
            }],
        }
    }

    #[test]
    fn what_is_saved_is_loaded_whatever_a_path_holds() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(&dir.path().join("deep/state")).unwrap();
        assert!(state.load().unwrap().is_none());
        state.save(&counters()).unwrap();
        assert_eq!(state.load().unwrap().unwrap(), counters());
    }

    #[test]
    fn a_spoilt_file_is_an_error_and_no_panic() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        state.save(&counters()).unwrap();
        let whole = read(&state.file).unwrap();
        for cut in 0..whole.len() {
            fs::write(&state.file, &whole[..cut]).unwrap();
            assert!(state.load().is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn an_error_does_not_repeat_what_stands_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        fs::write(&state.file, format!("{{\"schema_version\":\"{}\"}}", "7".repeat(9999))).unwrap();
        let error = state.load().unwrap_err().to_string();
        let reason = "counters.json: not as it was written (line 1, column 10019)";
        assert!(error.ends_with(reason), "{error}");
    }

    #[test]
    fn only_its_owner_may_read_the_file() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        state.save(&counters()).unwrap();
        let mode = fs::metadata(&state.file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
