//! The users of processes, read once for the processes that are asked for.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::Path;

use nix::unistd::{Uid, User};

use crate::identity::ProcessKey;
use crate::ledger::account::ProcessUsage;
use crate::source::proc::pid_status;
use crate::source::root::{Buffer, Dir};

/// The users of processes. A process that has ended since its reading has none here.
#[derive(Debug, Default)]
pub struct Users {
    by_process: BTreeMap<ProcessKey, u32>,
    /// Names of the users of [`Self::by_process`]; a uid without a name is not here.
    names: BTreeMap<u32, String>,
}

impl Users {
    /// Reads the users of `processes` from `procfs`. Names are those of this host, so that those of a
    /// procfs elsewhere stay uids.
    pub fn read<'a>(procfs: &Path, processes: impl Iterator<Item = &'a ProcessUsage>) -> Self {
        let mut users = Self::default();
        let Ok(dir) = Dir::open(procfs) else { return users };
        let mut buffer = Buffer::default();
        for process in processes {
            let Ok(path) = CString::new(format!("{}/status", process.key.pid)) else { continue };
            let read = dir.read_record(&path, &mut buffer).map(pid_status::parse_uid);
            if let Ok(Ok(uid)) = read {
                users.by_process.insert(process.key, uid);
            }
        }
        if procfs == Path::new("/proc") {
            for uid in users.by_process.values() {
                if !users.names.contains_key(uid)
                    && let Ok(Some(user)) = User::from_uid(Uid::from_raw(*uid))
                {
                    users.names.insert(*uid, user.name);
                }
            }
        }
        users
    }

    /// The uid of a process; `None`: not known.
    #[must_use]
    pub fn uid_of(&self, process: ProcessKey) -> Option<u32> {
        self.by_process.get(&process).copied()
    }

    /// The name of the user of a process, or the uid where it has none; `None`: not known.
    #[must_use]
    pub fn name_of(&self, process: ProcessKey) -> Option<String> {
        let uid = self.uid_of(process)?;
        Some(self.names.get(&uid).cloned().unwrap_or_else(|| uid.to_string()))
    }

    /// The uid that `text` is or names on this host; `None`: it is no user.
    #[must_use]
    pub fn uid_named(text: &str) -> Option<u32> {
        text.parse().ok().or_else(|| Some(User::from_name(text).ok()??.uid.as_raw()))
    }
}
