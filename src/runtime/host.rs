//! What the agent needs to know of the host it runs on before it samples.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{SysconfVar, sysconf};

use crate::config::Settings;
use crate::snapshot::roots::{Roots, Units};

/// The roots that the settings name, read in this kernel's units.
#[must_use]
pub fn roots(settings: &Settings) -> Roots {
    let paths = &settings.paths;
    Roots {
        procfs: paths.procfs.clone(),
        sysfs: paths.sysfs.clone(),
        cgroupfs: paths.cgroupfs.clone(),
        rootfs: paths.rootfs.clone(),
        units: Units {
            ticks_per_second: system_value(SysconfVar::CLK_TCK, 100),
            page_size_bytes: system_value(SysconfVar::PAGE_SIZE, 4096),
        },
        captured: None,
    }
}

fn system_value(variable: SysconfVar, otherwise: u64) -> u64 {
    let value = sysconf(variable).ok().flatten();
    value.and_then(|value| u64::try_from(value).ok()).filter(|v| *v > 0).unwrap_or(otherwise)
}

/// More open files than this are of no use: it is five for each of the cgroups that are followed.
const OPEN_FILES_MAX: u64 = 65_536;

/// Lifts the limit of open files as far as the process may and says how many the sampler can keep
/// open: what is left beside sockets, directories and files opened in passing.
#[must_use]
pub fn held_files_max() -> usize {
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 256 };
    let wanted = hard.min(OPEN_FILES_MAX).max(soft);
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
        Ok(()) => wanted,
        Err(_) => soft,
    };
    // A directory descriptor is held for each cgroup besides.
    usize::try_from(limit / 2).unwrap_or(usize::MAX).saturating_sub(128)
}

/// The host's own name, for when nobody gave the node another.
#[must_use]
pub fn host_name() -> String {
    sysinfo::System::host_name().unwrap_or_default()
}
