//! The state file: the last counters, so that a restart of the agent loses and repeats no interval.
//!
//! One JSON file, written beside the old one and renamed over it. Counters hold within one boot, so
//! the directory is best on tmpfs, and a file of another boot is skipped. A damaged or missing file
//! never keeps the agent from starting: the first interval is then unknown.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::descriptors::describe;
use crate::ledger::Counters;
use crate::own_files::{self, DirLock, LockError};

const SCHEMA_VERSION: u32 = 3;
const FILE_NAME: &str = "counters.json";
/// Far more than a node of five hundred pods needs: some MiB.
const FILE_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Error)]
pub enum StateError {
    #[error("{}: {}", path.display(), describe(.source))]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
    /// `holder` is `another agent (pid N)`, or `another process` where the pid is unknown.
    #[error(
        "{holder} uses the state directory {}: two agents there would send everything twice; end the \
         other one, or give this one a directory of its own (--state-dir DIR)", path.display()
    )]
    InUse { path: PathBuf, holder: String },
}

/// The file's version. Read before the counters, whose form depends on it.
#[derive(Debug, Deserialize)]
struct Version {
    schema_version: u32,
}

/// The file: times in nanoseconds of CLOCK_BOOTTIME, CPU time in microseconds or ticks as the kernel
/// has it, the rest in bytes and counts.
#[derive(Debug, Serialize, Deserialize)]
struct File<C> {
    schema_version: u32,
    counters: C,
}

/// The directory of the state file.
#[derive(Debug, PartialEq)]
pub struct StateDir {
    dir: PathBuf,
    file: PathBuf,
    next: PathBuf,
}

impl StateDir {
    /// Makes the directory if it is missing.
    ///
    /// # Errors
    /// The directory cannot be made, or other users may write to it.
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        own_files::make_dir(dir)
            .map_err(|source| StateError::Io { path: dir.to_owned(), source })?;
        let (file, next) = (dir.join(FILE_NAME), dir.join("counters.json.new"));
        Ok(Self { dir: dir.to_owned(), file, next })
    }

    /// Locks the directory for the one agent that runs there. `None`: this process has locked it
    /// already.
    ///
    /// # Errors
    /// Another agent uses the directory, or it cannot be locked.
    pub fn lock(&self) -> Result<Option<DirLock>, StateError> {
        let path = || self.dir.clone();
        match own_files::lock(&self.dir) {
            Ok(lock) => Ok(Some(lock)),
            Err(LockError::Held { pid: Some(pid) }) if pid == std::process::id() => Ok(None),
            Err(LockError::Held { pid }) => {
                let holder = pid.map_or_else(
                    || "another process".to_owned(),
                    |pid| format!("another agent (pid {pid})"),
                );
                Err(StateError::InUse { path: path(), holder })
            }
            Err(LockError::Io(source)) => Err(StateError::Io { path: path(), source }),
        }
    }

    /// Tests that a file can be written there, and removes it again.
    pub fn is_writable(&self) -> Result<(), StateError> {
        let probe = self.file.with_extension("probe");
        own_files::create(&probe)
            .and_then(|_| fs::remove_file(&probe))
            .map_err(|source| StateError::Io { path: probe, source })
    }

    /// Replaces the file. A reader finds the old counters or the new, never a part. If the new ones
    /// cannot be written the file is removed, since the old ones would count an interval twice.
    pub fn save(&self, counters: &Counters) -> Result<(), StateError> {
        let saved = self.replace(counters);
        if saved.is_err() {
            self.forget();
        }
        saved
    }

    fn replace(&self, counters: &Counters) -> Result<(), StateError> {
        // Counters hold within one boot; without its id nobody could tell.
        if counters.boot.is_none() {
            return Ok(());
        }
        let file = File { schema_version: SCHEMA_VERSION, counters };
        let failed = |source| StateError::Io { path: self.next.clone(), source };
        let opened = own_files::create(&self.next).map_err(failed)?;
        let mut out = BufWriter::new(opened);
        serde_json::to_writer(&mut out, &file).map_err(|error| failed(error.into()))?;
        out.flush().map_err(failed)?;
        fs::rename(&self.next, &self.file)
            .map_err(|source| StateError::Io { path: self.file.clone(), source })
    }

    /// Removes the counters: they are older than the last sent interval.
    pub fn forget(&self) {
        // A file that cannot be removed was most likely never there.
        let _ = fs::remove_file(&self.file);
    }

    /// The counters of the last run; `None` if there are none of this version.
    ///
    /// # Errors
    /// The file cannot be read, is too large or is damaged.
    pub fn load(&self) -> Result<Option<Counters>, StateError> {
        let io = |source| StateError::Io { path: self.file.clone(), source };
        let malformed = |reason: String| StateError::Malformed { path: self.file.clone(), reason };
        let text = match own_files::read(&self.file, FILE_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        // serde_json quotes the file in its errors, so only the place is passed on.
        let damaged = |error: serde_json::Error| {
            let (line, column) = (error.line(), error.column());
            malformed(format!("not as it was written (line {line}, column {column})"))
        };
        let version: Version = serde_json::from_slice(&text).map_err(damaged)?;
        if version.schema_version != SCHEMA_VERSION {
            return Ok(None);
        }
        let file: File<Counters> = serde_json::from_slice(&text).map_err(damaged)?;
        let mut counters = file.counters;
        if counters.boot.is_none() {
            return Err(malformed("no boot id".to_owned()));
        }
        // The ledger searches these by order; an edited file need not have it.
        counters.sort();
        Ok(Some(counters))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test reads the files that it made")]

    use std::sync::Arc;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::identity::{BootId, CgroupKey, DeviceNumber, ProcessKey};
    use crate::ledger::{
        CgroupCounters, EventCounts, ProcessCounters, SocketCounters, SocketsCounters,
    };
    use crate::quantity::{BootTime, Bytes, CpuTime, Ticks};
    use crate::source::cgroup::cpu_stat::{CpuStat, Throttling};
    use crate::source::netlink::inet_diag::TcpTraffic;
    use crate::source::proc::diskstats::DiskstatsRow;
    use crate::source::proc::net_dev::InterfaceName;
    use crate::source::proc::pid_io::ProcessIo;
    use crate::source::proc::stat::NodeStat;

    fn counters() -> Counters {
        Counters {
            boot: BootId::parse(b"dcb0aa66-4b28-4a3b-b26c-358f9a3b5bb2"),
            begun_at: BootTime::from_nanos(5),
            ended_at: BootTime::from_nanos(7),
            node_cpu: Some(NodeStat {
                user: Some(Ticks::from_ticks(9)),
                cpus: 4,
                ..NodeStat::default()
            }),
            node_cpu_read_at: BootTime::from_nanos(6),
            node_cpu_awake: Some(Duration::from_nanos(5)),
            disks_read_at: BootTime::from_nanos(6),
            disks: Some(vec![
                DiskstatsRow::new(b"vda", DeviceNumber { major: 254, minor: 0 }, [1, 2, 3, 4])
                    .unwrap(),
            ]),
            disk_sequences: vec![(DeviceNumber { major: 254, minor: 0 }, 9)],
            interfaces: None,
            cgroups: vec![CgroupCounters {
                key: CgroupKey { path: Arc::from(&b"/a b%\xff\n/c"[..]), inode: 77 },
                read_at: BootTime::from_nanos(6),
                cpu: Some(CpuStat {
                    usage: CpuTime::from_usec(u64::MAX),
                    user: Some(CpuTime::from_usec(1)),
                    system: Some(CpuTime::from_usec(2)),
                    throttling: Some(Throttling::default()),
                    odd: None,
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
                cpu: Some(CpuTime::from_usec(10)),
                io: Some(ProcessIo::default()),
                in_counters: true,
                parent_pid: 1,
                children: Some(CpuTime::from_usec(20)),
                expected: CpuTime::from_usec(30),
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

    /// An interface's name as the rows of the file hold it.
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Held(#[serde(with = "crate::identity::escaped")] InterfaceName);

    proptest! {
        #[test]
        fn a_name_that_is_accepted_is_loaded_as_it_was_saved(
            name in prop::collection::vec(prop_oneof![Just(0), Just(b'%'), any::<u8>()], 0..=16),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let state = StateDir::open(dir.path()).unwrap();
            let mut saved = counters();
            saved.cgroups[0].key.path = Arc::from(&*name);
            let device = DeviceNumber { major: 8, minor: 0 };
            saved.disks = DiskstatsRow::new(&name, device, [1, 2, 3, 4]).map(|row| vec![row]);
            let accepted = InterfaceName::new(&name);
            prop_assert_eq!(accepted.is_some(), (1..16).contains(&name.len()) && !name.contains(&0));
            if let Some(accepted) = accepted {
                prop_assert_eq!(accepted.as_bytes(), &*name);
                let text = serde_json::to_string(&Held(accepted)).unwrap();
                prop_assert_eq!(serde_json::from_str::<Held>(&text).unwrap(), Held(accepted));
            }
            let text = name.iter().map(|byte| format!("%{byte:02X}")).collect::<String>();
            let read: Result<Held, _> = serde_json::from_value(serde_json::Value::String(text));
            prop_assert_eq!(read.ok(), accepted.map(Held));
            state.save(&saved).unwrap();
            prop_assert_eq!(state.load().unwrap().unwrap(), saved);
        }
    }

    #[test]
    fn a_spoilt_file_is_an_error_and_no_panic() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        state.save(&counters()).unwrap();
        let whole = own_files::read(&state.file, FILE_BYTES_MAX).unwrap();
        for cut in 0..whole.len() {
            fs::write(&state.file, &whole[..cut]).unwrap();
            assert!(state.load().is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_file_of_another_version_is_skipped_whatever_else_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let state = StateDir::open(dir.path()).unwrap();
        for version in [0, SCHEMA_VERSION - 1, SCHEMA_VERSION + 1] {
            let text = format!("{{\"schema_version\":{version},\"boot_id\":\"a\",\"disks\":[1]}}");
            fs::write(&state.file, text).unwrap();
            assert_eq!(state.load().unwrap(), None, "version {version}");
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
    fn a_link_in_the_directory_leads_nowhere() {
        let dir = tempfile::tempdir().unwrap();
        let foreign = dir.path().join("foreign");
        fs::write(&foreign, "foreign").unwrap();
        let state = StateDir::open(&dir.path().join("state")).unwrap();
        let (probe, file) = (state.file.with_extension("probe"), state.file.clone());
        for link in [&state.next, &probe] {
            std::os::unix::fs::symlink(&foreign, link).unwrap();
        }
        state.is_writable().unwrap();
        state.save(&counters()).unwrap();
        assert_eq!(state.load().unwrap().unwrap(), counters());
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(&foreign, &file).unwrap();
        assert!(state.load().unwrap_err().to_string().contains("it is a link"));
        state.save(&counters()).unwrap();
        assert_eq!(fs::read_to_string(&foreign).unwrap(), "foreign");
        assert_eq!(state.load().unwrap().unwrap(), counters());
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
