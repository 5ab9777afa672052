//! Facts and limits of the host, read before the agent samples.

use std::ffi::CStr;
use std::path::Path;

use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{SysconfVar, sysconf};

use sysinfo::{CpuRefreshKind, RefreshKind, System};

use crate::config::Settings;
use crate::identity::BootId;
use crate::payload::dump::HostFacts;
use crate::snapshot::roots::{Roots, Units};
use crate::snapshot::sampler::SamplerOptions;
use crate::source::root::{Buffer, Dir};

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

/// The log text if [`forbid_core_dumps`] fails.
pub const CORE_DUMPS: &str =
    "core dumps, in which tokens and keys would stand, cannot be ruled out";

/// Keeps tokens and keys out of core dumps: there are none, or the answer is `false`.
///
/// A limit of 0 would not do: where `core_pattern` is a pipe, the kernel heeds no limit but 1, at
/// which it gives up the dump (core(5), `fs/coredump.c`); and no file begins with one byte.
#[must_use]
pub fn forbid_core_dumps() -> bool {
    // A limit may always be lowered; one of 0 is lifted by nobody but root. Who is not dumped at all
    // leaves most files of its own /proc/<pid> to root, so that is for where nothing else does: of
    // those the agent reads one that is not open to all, its own `io`.
    setrlimit(Resource::RLIMIT_CORE, 1, 1).is_ok() || set_dumpable(false).is_ok()
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
    // A directory descriptor is held for each cgroup besides, and each open file that the kernel
    // formats text for costs a page of its memory.
    let half = usize::try_from(limit / 2).unwrap_or(usize::MAX);
    half.saturating_sub(128).min(SamplerOptions::default().held_files_max)
}

/// Name, kernel, distribution and CPU model of the host, for `dump`.
#[must_use]
pub fn facts(settings: &Settings) -> HostFacts {
    let cpus = RefreshKind::nothing().with_cpu(CpuRefreshKind::nothing());
    let system = System::new_with_specifics(cpus).ok();
    let cpu = system.as_ref().and_then(|system| system.cpus().first());
    let cpu_model = cpu.map(|cpu| cpu.brand().trim().to_owned());
    // From inside a container the system's own answers are the container's.
    let is_host = settings.paths.rootfs == Path::new("/");
    HostFacts {
        name: settings.node.name.clone(),
        kernel_release: captured_facts(&roots(settings)).kernel_release,
        os: System::long_os_version().ok().filter(|_| is_host),
        cpu_model: cpu_model.filter(|model| !model.is_empty()),
    }
}

/// The same of a captured host, as far as its files say.
#[must_use]
pub fn captured_facts(roots: &Roots) -> HostFacts {
    let mut buffer = Buffer::default();
    let mut line = |name: &CStr| {
        let text = Dir::open(&roots.procfs).ok()?;
        let text = text.read_record(name, &mut buffer).ok()?;
        Some(String::from_utf8_lossy(text).trim().to_owned())
    };
    HostFacts {
        name: line(c"sys/kernel/hostname").unwrap_or_default(),
        kernel_release: line(c"sys/kernel/osrelease"),
        os: None,
        cpu_model: None,
    }
}

/// Which boot this is. Where the kernel does not say, a run of the agent is a boot of its own.
#[must_use]
pub fn boot_id(settings: &Settings) -> BootId {
    let read = || {
        let procfs = Dir::open(&settings.paths.procfs).ok()?;
        let mut buffer = Buffer::default();
        BootId::parse(procfs.read_record(c"sys/kernel/random/boot_id", &mut buffer).ok()?)
    };
    read().unwrap_or_else(|| BootId::from_bits(fastrand::u128(..)))
}

/// The host's own name, for when nobody gave the node another.
#[must_use]
pub fn host_name() -> String {
    System::host_name().unwrap_or_default()
}
