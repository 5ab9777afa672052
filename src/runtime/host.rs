//! Facts and limits of the host, read before the agent samples.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::prctl::set_dumpable;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{SysconfVar, sysconf};

use sysinfo::{CpuRefreshKind, RefreshKind, System};

use crate::config::Settings;
use crate::identity::BootId;
use crate::payload::dump::HostFacts;
use crate::payload::kubelet::MachineFacts;
use crate::snapshot::roots::{Roots, Units};
use crate::source::root::{Buffer, Dir};

/// The most CPUs that are looked at, those of the largest kernels.
const CPUS_MAX: u32 = 8192;

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
pub const CORE_DUMPS: &str = "core dumps cannot be prevented and could contain tokens and keys";

/// Prevents core dumps, which could contain tokens and keys. `false` if that fails.
///
/// The limit is 1 and not 0: if `core_pattern` is a pipe, the kernel honours no limit but 1, at
/// which it gives up the dump (core(5), `fs/coredump.c`); and no file begins with one byte.
#[must_use]
pub fn forbid_core_dumps() -> bool {
    // A limit may always be lowered; only root may raise one of 0. A process that is not dumpable
    // loses most files of its own /proc/<pid> to root, among them `io`, so that is the fallback.
    setrlimit(Resource::RLIMIT_CORE, 1, 1).is_ok() || set_dumpable(false).is_ok()
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

/// Name and kernel of a captured host, from its files.
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

/// Facts about the machine for the kubelet's paths. `rootfs` has `/etc`.
#[must_use]
pub fn machine(roots: &Roots) -> MachineFacts {
    let mut buffer = Buffer::default();
    let mut line = |root: &Path, name: &CStr| {
        let text = Dir::open(root).ok()?;
        let text = text.read_record(name, &mut buffer).ok()?;
        Some(String::from_utf8_lossy(text).trim().to_owned())
    };
    let machine_id = line(&roots.rootfs, c"etc/machine-id").unwrap_or_default();
    let os = line(&roots.rootfs, c"etc/os-release").unwrap_or_default();
    let name = os.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let mut facts = MachineFacts {
        boot_id: line(&roots.procfs, c"sys/kernel/random/boot_id").unwrap_or_default(),
        machine_id,
        system_uuid: line(&roots.sysfs, c"class/dmi/id/product_uuid").unwrap_or_default(),
        kernel_version: line(&roots.procfs, c"sys/kernel/osrelease").unwrap_or_default(),
        os_version: name.unwrap_or_default().trim_matches('"').to_owned(),
        physical_cores: None,
        sockets: None,
        pid_max: line(&roots.procfs, c"sys/kernel/pid_max").and_then(|text| text.parse().ok()),
    };
    let (cores, sockets) = topology(&mut |name| line(&roots.sysfs, name));
    (facts.physical_cores, facts.sockets) = (cores, sockets);
    facts
}

/// The number of cores and of sockets, by the ids that the CPUs have; `None`: the kernel has none.
fn topology(line: &mut dyn FnMut(&CStr) -> Option<String>) -> (Option<u64>, Option<u64>) {
    let mut cores: BTreeSet<(String, String)> = BTreeSet::new();
    let mut sockets: BTreeSet<String> = BTreeSet::new();
    let possible = line(c"devices/system/cpu/possible").unwrap_or_default();
    let last = possible.rsplit(['-', ',']).next().and_then(|last| last.parse::<u32>().ok());
    for cpu in 0..=last.unwrap_or(0).min(CPUS_MAX) {
        let mut id = |file: &str| {
            let path = format!("devices/system/cpu/cpu{cpu}/topology/{file}");
            line(&CString::new(path).ok()?)
        };
        // A CPU that is off has no ids.
        if let (Some(socket), Some(core)) = (id("physical_package_id"), id("core_id")) {
            cores.insert((socket.clone(), core));
            sockets.insert(socket);
        }
    }
    let count = |count: usize| u64::try_from(count).ok().filter(|count| *count > 0);
    (count(cores.len()), count(sockets.len()))
}

/// The id of this boot; a random one if the kernel has none, so that each run counts as a boot.
#[must_use]
pub fn boot_id(settings: &Settings) -> BootId {
    let read = || {
        let procfs = Dir::open(&settings.paths.procfs).ok()?;
        let mut buffer = Buffer::default();
        BootId::parse(procfs.read_record(c"sys/kernel/random/boot_id", &mut buffer).ok()?)
    };
    read().unwrap_or_else(|| BootId::from_bits(fastrand::u128(..)))
}

/// The host's own name, the default of the node's name; empty if it is unknown.
#[must_use]
pub fn host_name() -> String {
    System::host_name().unwrap_or_default()
}

/// The longest look-up of a host's name.
const LOOK_UP_MAX: Duration = Duration::from_secs(3);

/// The addresses of a host's name with this port, by the system's resolver. Empty if there are none,
/// or none within three seconds.
#[must_use]
pub fn addresses_of(host: &str, port: u16) -> Vec<SocketAddr> {
    let (found, answer) = mpsc::channel();
    let host = host.to_owned();
    // The resolver has no time limit that can be set.
    let looking = thread::Builder::new().name("look-up".to_owned()).spawn(move || {
        let addresses = (host.as_str(), port).to_socket_addrs();
        let _ = found.send(addresses.map(Iterator::collect).unwrap_or_default());
    });
    if looking.is_err() {
        return Vec::new();
    }
    answer.recv_timeout(LOOK_UP_MAX).unwrap_or_default()
}

/// The address at which this host reaches a server on `address`: loopback if that is unspecified.
#[must_use]
pub fn reached_at(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
