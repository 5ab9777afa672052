//! The parsers against the procfs crate's, over the files of fixtures/ and of this machine.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use nodetally::quantity::{Bytes, Pages, Ticks};
use nodetally::source::cgroup::pressure;
use nodetally::source::proc::diskstats::DiskActivity;
use nodetally::source::proc::{
    diskstats, loadavg, meminfo, mountinfo, net_dev, net_route, pid_cgroup, pid_io, pid_stat, stat,
    uptime,
};
use procfs::process::{Io, Stat};
use procfs::{FromBufRead, FromRead, ProcessCGroups};

use crate::parser_properties::fixtures;

/// The files of a kind: of the hosts, and this machine's, all or one a process.
fn files(end: &str, live: &str) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fixtures(end)
        .into_iter()
        .map(|(path, text)| (path.to_string_lossy().into_owned(), text))
        .collect();
    let of_hosts = files.len();
    match live.strip_prefix("/proc/<pid>/") {
        Some(name) => {
            let entries = fs::read_dir("/proc").unwrap().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            for pid in names.filter(|name| name.parse::<u32>().is_ok()).take(200) {
                let path = format!("/proc/{pid}/{name}");
                // A process may exit, and some may not be asked.
                files.extend(fs::read(&path).ok().map(|text| (path, text)));
            }
            assert!(files.len() > of_hosts, "no {live}");
        }
        None if Path::new(live).exists() => {
            // Pressure is read from files that a kernel may refuse to fill.
            files.extend(fs::read(live).ok().map(|text| (live.to_owned(), text)));
        }
        None => {}
    }
    files
}

fn hundredths(value: f64) -> u64 {
    (value * 100.0).round() as u64
}

#[test]
fn processes_are_what_the_crate_says() {
    let mut compared = 0;
    for (path, text) in files("/stat", "/proc/<pid>/stat") {
        if path.ends_with("/proc/stat") {
            continue;
        }
        let ours = pid_stat::parse(&text).unwrap_or_else(|error| panic!("{path}: {error:?}"));
        // The crate wants UTF-8.
        let Ok(theirs) = Stat::from_read(Cursor::new(&text)) else {
            assert!(std::str::from_utf8(&text).is_err() || path.contains("fixtures"), "{path}");
            continue;
        };
        compared += 1;
        assert_eq!(ours.pid, theirs.pid as u32, "{path}");
        if std::str::from_utf8(&text).is_ok() {
            assert_eq!(ours.comm.as_bytes(), theirs.comm.as_bytes(), "{path}");
        }
        assert_eq!(char::from(ours.state), theirs.state, "{path}");
        assert_eq!(ours.parent_pid, theirs.ppid as u32, "{path}");
        assert_eq!(ours.user, Some(Ticks::from_ticks(theirs.utime)), "{path}");
        assert_eq!(ours.system, Some(Ticks::from_ticks(theirs.stime)), "{path}");
        assert_eq!(ours.threads, Some(theirs.num_threads as u32), "{path}");
        assert_eq!(ours.start_ticks, theirs.starttime, "{path}");
        assert_eq!(ours.resident, Some(Pages::from_pages(theirs.rss)), "{path}");
        let kernel = theirs.flags().unwrap().contains(procfs::process::StatFlags::PF_KTHREAD);
        assert_eq!(ours.kernel_thread, kernel, "{path}");
    }
    assert!(compared > 500, "{compared}");
}

#[test]
fn process_io_is_what_the_crate_says() {
    let mut compared = 0;
    for (path, text) in files("/io", "/proc/<pid>/io") {
        if path.ends_with("/pressure/io") {
            continue;
        }
        let (ours, theirs) = (pid_io::parse(&text), Io::from_buf_read(Cursor::new(&text)));
        let (Ok(ours), Ok(theirs)) = (ours, theirs) else { panic!("{path}") };
        compared += 1;
        assert_eq!(ours.read, Some(Bytes::from_bytes(theirs.read_bytes)), "{path}");
        let written = theirs.write_bytes.saturating_sub(theirs.cancelled_write_bytes);
        assert_eq!(ours.written, Some(Bytes::from_bytes(written)), "{path}");
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn the_cpus_are_what_the_crate_says() {
    let info = procfs::ExplicitSystemInfo {
        boot_time_secs: 0,
        ticks_per_second: 100,
        page_size: 4096,
        is_little_endian: true,
    };
    use procfs::FromBufReadSI;
    for (path, text) in files("/proc/stat", "/proc/stat") {
        let ours = stat::parse(&text).unwrap_or_else(|error| panic!("{path}: {error:?}"));
        let theirs = procfs::KernelStats::from_buf_read(Cursor::new(&text), &info).unwrap();
        let total = theirs.total;
        let ticks = [
            (ours.user, total.user),
            (ours.nice, total.nice),
            (ours.system, total.system),
            (ours.idle, total.idle),
            (ours.iowait, total.iowait.unwrap_or(0)),
            (ours.irq, total.irq.unwrap_or(0)),
            (ours.softirq, total.softirq.unwrap_or(0)),
            (ours.steal, total.steal.unwrap_or(0)),
            (ours.guest, total.guest.unwrap_or(0)),
            (ours.guest_nice, total.guest_nice.unwrap_or(0)),
        ];
        for (ours, theirs) in ticks {
            assert_eq!(ours, Some(Ticks::from_ticks(theirs)), "{path}");
        }
        assert_eq!(ours.cpus as usize, theirs.cpu_time.len(), "{path}");
        assert_eq!(ours.boot_time_unix_seconds, Some(theirs.btime), "{path}");
        assert_eq!(ours.procs_running.map(|count| count as u32), theirs.procs_running, "{path}");
        assert_eq!(ours.procs_blocked.map(|count| count as u32), theirs.procs_blocked, "{path}");
    }
}

#[test]
fn memory_is_what_the_crate_says() {
    for (path, text) in files("/proc/meminfo", "/proc/meminfo") {
        let ours = meminfo::parse(&text).unwrap_or_else(|error| panic!("{path}: {error:?}"));
        let theirs = match procfs::Meminfo::from_buf_read(Cursor::new(&text)) {
            Ok(theirs) => theirs,
            // It asks for keys that the hand-written hosts leave out.
            Err(error) if path.contains("fixtures") => {
                println!("{path}: {error}");
                continue;
            }
            Err(error) => panic!("{path}: {error}"),
        };
        let required = [
            (ours.total, theirs.mem_total),
            (ours.free, theirs.mem_free),
            (ours.buffers, theirs.buffers),
            (ours.cached, theirs.cached),
            (ours.swap_total, theirs.swap_total),
            (ours.swap_free, theirs.swap_free),
        ];
        for (ours, theirs) in required {
            assert_eq!(ours, Some(Bytes::from_bytes(theirs)), "{path}");
        }
        let optional = [
            (ours.available, theirs.mem_available),
            (ours.inactive_file, theirs.inactive_file),
            (ours.slab_unreclaimable, theirs.s_unreclaim),
            (ours.slab_reclaimable, theirs.s_reclaimable),
            (ours.kernel_stack, theirs.kernel_stack),
            (ours.page_tables, theirs.page_tables),
        ];
        for (ours, theirs) in optional {
            assert_eq!(ours.map(Bytes::as_bytes), theirs, "{path}");
        }
    }
}

#[test]
fn disks_are_what_the_crate_says() {
    for (path, text) in files("/proc/diskstats", "/proc/diskstats") {
        let mut ours = Vec::new();
        diskstats::parse(&text, &mut ours).unwrap();
        let theirs = procfs::DiskStats::from_buf_read(Cursor::new(&text)).unwrap().0;
        assert_eq!(ours.len(), theirs.len(), "{path}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours.name(), theirs.name.as_bytes(), "{path}");
            assert_eq!(ours.device.major, theirs.major as u32, "{path}");
            assert_eq!(ours.device.minor, theirs.minor as u32, "{path}");
            assert_eq!(ours.read.as_bytes(), theirs.sectors_read * 512, "{path}");
            assert_eq!(ours.written.as_bytes(), theirs.sectors_written * 512, "{path}");
            assert_eq!((ours.read_ops, ours.write_ops), (theirs.reads, theirs.writes), "{path}");
            let activity = DiskActivity {
                merged_reads: Some(theirs.merged),
                merged_writes: Some(theirs.writes_merged),
                read_ms: Some(theirs.time_reading),
                write_ms: Some(theirs.time_writing),
                in_progress: Some(theirs.in_progress),
                io_ms: Some(theirs.time_in_progress),
                weighted_io_ms: Some(theirs.weighted_time_in_progress),
            };
            assert_eq!(ours.activity, activity, "{path}");
        }
    }
}

#[test]
fn interfaces_are_what_the_crate_says() {
    use procfs::net::InterfaceDeviceStatus;
    for (path, text) in files("/net/dev", "/proc/net/dev") {
        let mut ours = Vec::new();
        net_dev::parse(&text, &mut ours).unwrap();
        let theirs = InterfaceDeviceStatus::from_buf_read(Cursor::new(&text)).unwrap().0;
        assert_eq!(ours.len(), theirs.len(), "{path}");
        for ours in &ours {
            let name = std::str::from_utf8(ours.name.as_bytes()).unwrap();
            let theirs = &theirs[name];
            let received = [ours.rx_bytes, ours.rx_packets, ours.rx_errors, ours.rx_dropped];
            let sent = [ours.tx_bytes, ours.tx_packets, ours.tx_errors, ours.tx_dropped];
            let expected =
                [theirs.recv_bytes, theirs.recv_packets, theirs.recv_errs, theirs.recv_drop];
            assert_eq!(received, expected, "{path}");
            let expected =
                [theirs.sent_bytes, theirs.sent_packets, theirs.sent_errs, theirs.sent_drop];
            assert_eq!(sent, expected, "{path}");
        }
    }
}

#[test]
fn default_routes_are_what_the_crate_says() {
    use procfs::net::RouteEntries;
    for (path, text) in files("/net/route", "/proc/net/route") {
        let Ok(ours) = net_route::parse(&text) else {
            assert!(text.is_empty(), "{path}");
            continue;
        };
        let theirs = RouteEntries::from_buf_read(Cursor::new(&text)).unwrap().0;
        let defaults = theirs
            .iter()
            .filter(|route| route.destination.is_unspecified() && route.mask.is_unspecified());
        let expected: Vec<&[u8]> = defaults.map(|route| route.iface.as_bytes()).collect();
        let ours: Vec<&[u8]> = ours.iter().map(|name| name.as_bytes()).collect();
        assert_eq!(ours, expected, "{path}");
    }
}

#[test]
fn load_and_uptime_are_what_the_crate_says() {
    for (path, text) in files("/proc/loadavg", "/proc/loadavg") {
        let ours = loadavg::parse(&text).unwrap();
        let theirs = procfs::LoadAverage::from_read(Cursor::new(&text)).unwrap();
        assert_eq!(ours.one_minute_hundredths, Some(hundredths(theirs.one.into())), "{path}");
        assert_eq!(ours.five_minutes_hundredths, Some(hundredths(theirs.five.into())), "{path}");
        assert_eq!(
            ours.fifteen_minutes_hundredths,
            Some(hundredths(theirs.fifteen.into())),
            "{path}"
        );
    }
    for (path, text) in files("/proc/uptime", "/proc/uptime") {
        let theirs = procfs::Uptime::from_read(Cursor::new(&text)).unwrap();
        assert_eq!(uptime::parse(&text), Ok(hundredths(theirs.uptime)), "{path}");
    }
}

#[test]
fn pressure_is_what_the_crate_says() {
    let mut compared = 0;
    for end in ["memory", "io"] {
        let live = format!("/proc/pressure/{end}");
        let mut all = files(&format!("/pressure/{end}"), &live);
        all.extend(files(&format!("/{end}.pressure"), "/sys/fs/cgroup/init.scope/none"));
        for (path, text) in all {
            let ours = pressure::parse(&text).unwrap();
            let theirs = procfs::MemoryPressure::from_buf_read(Cursor::new(&text)).unwrap();
            compared += 1;
            for (ours, theirs) in [(ours.some, theirs.some), (ours.full, theirs.full)] {
                let ours = ours.unwrap();
                assert_eq!(ours.avg10_basis_points, hundredths(theirs.avg10.into()), "{path}");
                assert_eq!(ours.total.as_usec(), theirs.total, "{path}");
            }
        }
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn a_processs_cgroup_is_one_that_the_crate_lists() {
    let mut compared = 0;
    for (path, text) in files("/cgroup", "/proc/<pid>/cgroup") {
        let ours = pid_cgroup::parse(&text, |_, _| false);
        let ours = ours.unwrap_or_else(|error| panic!("{path}: {error:?}")).best;
        let Ok(theirs) = ProcessCGroups::from_buf_read(Cursor::new(&text)) else { continue };
        compared += 1;
        let unified = theirs.0.iter().find(|one| one.hierarchy == 0 && one.pathname != "/");
        match unified {
            Some(unified) => assert_eq!(ours, unified.pathname.as_bytes(), "{path}"),
            None => {
                let listed = theirs.0.iter().any(|one| one.pathname.as_bytes() == ours);
                assert!(listed || ours == b"/", "{path}");
            }
        }
    }
    assert!(compared > 300, "{compared}");
}

#[test]
fn mounts_are_as_many_as_the_crate_says() {
    for (path, text) in files("/mountinfo", "/proc/self/mountinfo") {
        let (ours, malformed) = mountinfo::parse(&text);
        let theirs = procfs::process::MountInfos::from_buf_read(Cursor::new(&text)).unwrap().0;
        assert_eq!((ours.len(), malformed), (theirs.len(), 0), "{path}");
        for (ours, theirs) in ours.iter().zip(&theirs) {
            assert_eq!(ours.filesystem, theirs.fs_type, "{path}");
            assert_eq!(ours.device, theirs.majmin, "{path}");
            assert_eq!(ours.source, theirs.mount_source, "{path}");
        }
    }
}
