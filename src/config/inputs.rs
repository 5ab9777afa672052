//! What settings are made from.

use std::path::{Path, PathBuf};

use super::keys::{self, Key};

/// Everything that settings are made from.
///
/// `E` gives the environment's variables. `std::env::vars` panics on one that is not UTF-8, so it
/// is best made from `std::env::vars_os`.
#[derive(Debug, Clone, Default)]
pub struct Inputs<E> {
    /// The configuration file's path, for naming it, and its text.
    pub file: Option<(PathBuf, String)>,
    pub environment: E,
    pub flags: Flags,
    /// What the host is called: the node's name if nothing else names it.
    pub host_name: String,
    /// Whether the effective user is root, who keeps state in /run.
    pub is_root: bool,
    /// `$XDG_RUNTIME_DIR`, if set: where anybody else keeps it.
    pub xdg_runtime_dir: Option<String>,
    /// `$XDG_STATE_HOME` and `$HOME`, if set: where anybody else keeps what outlives a boot.
    pub xdg_state_home: Option<String>,
    pub home: Option<String>,
}

/// Flags as typed; `None` where one was not given. Named after the flag.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    pub interval: Option<String>,
    pub state_dir: Option<String>,
    pub node_name: Option<String>,
    pub listen: Option<String>,
    pub path_procfs: Option<String>,
    pub path_sysfs: Option<String>,
    pub path_cgroupfs: Option<String>,
    pub path_rootfs: Option<String>,
    pub log_level: Option<String>,
    pub cmdline: bool,
}

impl Flags {
    pub(super) fn into_values(self) -> impl Iterator<Item = (&'static Key, String)> {
        [
            (&keys::SAMPLING_INTERVAL, self.interval),
            (&keys::STATE_DIR, self.state_dir),
            (&keys::NODE_NAME, self.node_name),
            (&keys::RECEIVER_LISTEN, self.listen),
            (&keys::PATHS_PROCFS, self.path_procfs),
            (&keys::PATHS_SYSFS, self.path_sysfs),
            (&keys::PATHS_CGROUPFS, self.path_cgroupfs),
            (&keys::PATHS_ROOTFS, self.path_rootfs),
            (&keys::LOG_LEVEL, self.log_level),
            (&keys::SAMPLING_CMDLINE, self.cmdline.then(|| "true".to_owned())),
        ]
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)))
    }
}

/// The configuration file to read: the flag's, else the one `NODETALLY_CONFIG` names, else none.
#[must_use]
pub fn file_path<'e>(
    flag: Option<&Path>,
    environment: impl IntoIterator<Item = &'e (String, String)>,
) -> Option<PathBuf> {
    flag.map(PathBuf::from).or_else(|| {
        environment
            .into_iter()
            .find(|(name, value)| name == keys::CONFIG_VARIABLE && !value.is_empty())
            .map(|(_, value)| PathBuf::from(value))
    })
}
