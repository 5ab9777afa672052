//! The process of the agent itself, from `/proc/self`, whatever procfs it samples. It is read when
//! somebody asks for it; the procfs crate takes the lines apart.

use std::time::Duration;

use procfs::process::Process;

use crate::quantity::BootTime;

/// The usage of the agent's process. A part is `None` where it cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnProcess {
    /// User and system time of all threads since the start.
    pub cpu: Duration,
    pub virtual_bytes: u64,
    pub resident_bytes: u64,
    pub threads: Option<u64>,
    pub open_files: Option<u64>,
    pub started: BootTime,
}

/// Reads the agent's process; `None` where there is no procfs.
// 4711 (nodetally) S 1 4711 4711 0 -1 4194304 2200 0 10 0 57 23 0 0 20 0 5 0 81230 204800000 5120 …
#[must_use]
pub fn read() -> Option<OwnProcess> {
    let process = Process::myself().ok()?;
    let stat = process.stat().ok()?;
    let tick_nanos = 1_000_000_000_u64.checked_div(procfs::ticks_per_second())?;
    let ticks = |count: u64| Duration::from_nanos(count.saturating_mul(tick_nanos));
    Some(OwnProcess {
        cpu: ticks(stat.utime.saturating_add(stat.stime)),
        virtual_bytes: stat.vsize,
        resident_bytes: stat.rss.saturating_mul(procfs::page_size()),
        threads: u64::try_from(stat.num_threads).ok(),
        open_files: process.fd_count().ok().and_then(|count| u64::try_from(count).ok()),
        started: BootTime::default().plus(ticks(stat.starttime)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn the_process_is_this_one() {
        let before = read().unwrap();
        let memory = vec![1_u8; 64 << 20];
        let files: Vec<_> =
            (0..20).map(|_| std::net::UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let now = read().unwrap();
        assert!(now.virtual_bytes >= now.resident_bytes);
        assert!(now.resident_bytes >= before.resident_bytes + (32 << 20), "{before:?} {now:?}");
        assert!(now.open_files >= Some(20 + 1) && now.threads >= Some(1), "{now:?}");
        assert_eq!(now.started, before.started);
        assert!(now.started <= clock::boot_time() && now.cpu >= before.cpu);
        drop((memory, files));
    }
}
