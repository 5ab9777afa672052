//! Counters that go back, wrap, or hold an odd value.

use super::host::{BOTH, Dump, Host, MIB, near};

/// A host whose pod `cd47dd0a` used 3.67 s of CPU, of a node that used 9.89 s, in 10 s.
const HOST: &str = "6.8-crio-systemd";
const POD: &str = "cd47dd0a";
const CONTAINER: &str = "d0a94e0e";
const SLICE: &str = "sys/fs/cgroup/kubepods.slice/kubepods-burstable.slice/\
    kubepods-burstable-podcd47dd0a_9310_4c43_afc3_a47f29343e3d.slice";
const SCOPE: &str = "crio-d0a94e0efca245d531730228a43bdf3d00f567237ac2394c72590df134a6527a.scope";

fn scope(file: &str) -> String {
    format!("{SLICE}/{SCOPE}/{file}")
}

/// Replaces the value of a row's field, counted from 0, in both copies of the host's net/dev.
fn set_interface(host: &Host, instant: usize, name: &str, fields: &[(usize, i128)]) {
    for file in ["proc/1/net/dev", "proc/net/dev"] {
        host.edit_line(
            instant,
            file,
            |line| line.trim_start().starts_with(&format!("{name}:")),
            |line| {
                let (_, figures) = line.split_once(':').unwrap();
                let mut figures: Vec<String> =
                    figures.split_whitespace().map(str::to_owned).collect();
                for (at, value) in fields {
                    figures[*at] = value.to_string();
                }
                format!("{name}: {}", figures.join(" "))
            },
        );
    }
}

/// The figure of a row: of an interface by its name, of a disk behind its name.
fn figure(host: &Host, instant: usize, file: &str, name: &str, at: usize) -> i128 {
    let text = host.read(instant, file).replace(':', ": ");
    let fields = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut rows = fields.filter_map(|fields| {
        let start = fields.iter().position(|field| field.trim_end_matches(':') == name)?;
        fields.get(start + 1 + at)?.parse().ok()
    });
    rows.next().unwrap()
}

fn set_disk(host: &Host, instant: usize, name: &str, at: usize, value: impl ToString) {
    host.edit_line(
        instant,
        "proc/diskstats",
        |line| line.split_whitespace().nth(2) == Some(name),
        |line| {
            let mut fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            fields[3 + at] = value.to_string();
            fields.join(" ")
        },
    );
}

/// Replaces the value behind a key in lines of key and value.
fn set_key(host: &Host, instant: usize, file: &str, key: &str, value: impl ToString) {
    let starts = |line: &str| line.split_whitespace().next() == Some(key);
    let value = value.to_string();
    host.edit_line(instant, file, starts, |_| format!("{key} {value}"));
}

fn gaps(dump: &Dump) -> Vec<(String, String)> {
    let all = dump.0["gaps"].as_array().unwrap().iter();
    let text = |gap: &serde_json::Value, key: &str| gap[key].as_str().unwrap().to_owned();
    all.map(|gap| (text(gap, "path"), text(gap, "reason"))).collect()
}

#[track_caller]
fn assert_gap(dump: &Dump, path: &str, reason: &str) {
    let all = gaps(dump);
    let found = all.iter().any(|(gap, why)| gap.contains(path) && why.contains(reason));
    assert!(found, "no {path}: {reason} in {all:#?}");
}

const BACK: &str = "went back";
const TOO_MUCH: &str = "gained more than";
const ODD: &str = "odd row or figure";

#[test]
fn an_unchanged_copy_has_the_figures_of_its_host() {
    let dump = Host::copy(HOST).dump();
    assert!(near(dump.node("cpu_busy_usec"), 9_890_000));
    assert!(near(dump.pod(POD)["cpu_usage_usec"].as_u64(), 3_670_000));
    let odd = gaps(&dump).into_iter().filter(|(_, why)| why.contains(BACK) || why.contains(ODD));
    assert_eq!(odd.count(), 0);
}

/// Without a change eno1 and eno2 have 50 MiB in, 20 of them eno2.
#[test]
fn an_interface_that_slips_back_gained_nothing() {
    for slip in [1, 1000, 1_000_000_000] {
        let host = Host::copy(HOST);
        let before = figure(&host, 0, "proc/1/net/dev", "eno1", 0);
        set_interface(&host, 1, "eno1", &[(0, before - slip)]);
        let dump = host.dump();
        // What eno2 carried.
        assert_eq!(dump.node("network_rx_bytes"), Some(20 * MIB), "{slip}");
        assert!(near(dump.node("network_tx_bytes"), 20 * MIB));
        assert_gap(&dump, "/proc/1/net/dev eno1", BACK);
    }
}

#[test]
fn an_interface_of_32_bits_wraps() {
    let host = Host::copy(HOST);
    let zero: Vec<(usize, i128)> = (0..16).map(|at| (at, 0)).collect();
    for (instant, rx, tx) in [(0, 4_294_967_000, 4_294_000_000), (1, 500, 1_000_000)] {
        set_interface(&host, instant, "eno2", &zero);
        set_interface(&host, instant, "eno1", &zero);
        set_interface(&host, instant, "eno1", &[(0, rx), (8, tx)]);
    }
    let dump = host.dump();
    assert_eq!(dump.node("network_rx_bytes"), Some(796));
    assert_eq!(dump.node("network_tx_bytes"), Some(1_967_296));
}

/// Its other direction is beyond 32 bits, so the driver counts in 64.
#[test]
fn an_interface_of_64_bits_does_not_wrap() {
    let host = Host::copy(HOST);
    for (instant, rx) in [(0, 4_294_967_000), (1, 500)] {
        set_interface(&host, instant, "eno1", &[(0, rx), (8, 900_000_000_000)]);
    }
    let dump = host.dump();
    assert_eq!(dump.node("network_rx_bytes"), Some(20 * MIB));
    assert_gap(&dump, "eno1", BACK);
}

#[test]
fn a_disk_that_slips_back_gained_nothing() {
    let host = Host::copy(HOST);
    let before = figure(&host, 0, "proc/diskstats", "nvme0n1", 6);
    set_disk(&host, 1, "nvme0n1", 6, before - 8);
    let dump = host.dump();
    assert_eq!(dump.node("disk_written_bytes"), Some(0));
    assert_gap(&dump, "/proc/diskstats nvme0n1", BACK);
}

/// Another disk took the number and the name of one that was pulled. Its sequence number tells.
#[test]
fn another_disk_of_the_same_name_counts_from_zero() {
    for (sequences, written) in [([7, 9], 512 * 4000), ([7, 7], 0)] {
        let host = Host::copy(HOST);
        for (instant, sequence) in BOTH.into_iter().zip(sequences) {
            let block = std::fs::canonicalize(host.path(instant, "sys/block/nvme0n1")).unwrap();
            std::fs::write(block.join("diskseq"), format!("{sequence}\n")).unwrap();
        }
        set_disk(&host, 1, "nvme0n1", 6, 4000);
        assert_eq!(host.dump().node("disk_written_bytes"), Some(written), "{sequences:?}");
    }
}

/// 100 GB in 10 s: more than 1 Gbit/s, and possible where the link is not known.
#[test]
fn a_link_bounds_what_it_carried() {
    for (speed, is_known) in [(Some("1000\n"), false), (Some("-1\n"), true), (None, true)] {
        let host = Host::copy(HOST);
        let rx = figure(&host, 0, "proc/1/net/dev", "eno1", 0);
        set_interface(&host, 1, "eno1", &[(0, rx + 100_000_000_000)]);
        for instant in BOTH {
            let link = std::fs::canonicalize(host.path(instant, "sys/class/net/eno1")).unwrap();
            if let Some(speed) = speed {
                std::fs::write(link.join("speed"), speed).unwrap();
            }
        }
        assert_eq!(host.dump().node("network_rx_bytes").is_some(), is_known, "{speed:?}");
    }
}

/// 8 sectors before 2^32 and 24 behind it: 16 KiB.
#[test]
fn sectors_of_32_bits_wrap() {
    let host = Host::copy(HOST);
    for (instant, written) in [(0, (1_i64 << 32) - 8), (1, 24)] {
        set_disk(&host, instant, "nvme0n1", 2, 1000);
        set_disk(&host, instant, "nvme0n1", 6, written);
    }
    assert_eq!(host.dump().node("disk_written_bytes"), Some(16_384));
}

#[test]
fn what_cannot_be_is_not_known() {
    let host = Host::copy(HOST);
    let rx = figure(&host, 0, "proc/1/net/dev", "eno1", 0);
    set_interface(&host, 1, "eno1", &[(0, rx + (1 << 50))]);
    let written = figure(&host, 0, "proc/diskstats", "nvme0n1", 6);
    set_disk(&host, 1, "nvme0n1", 6, written + (1 << 40));
    // An hour of CPU time in 10 s of 4 CPUs.
    set_key(&host, 1, &scope("cpu.stat"), "usage_usec", 61_400_000_u64 + 3_600_000_000);
    host.edit_line(
        1,
        &scope("io.stat"),
        |line| line.starts_with("259:0 "),
        |line| line.replace("wbytes=", "wbytes=9999"),
    );
    let dump = host.dump();
    for key in ["network_rx_bytes", "disk_written_bytes"] {
        assert_eq!(dump.node(key), None, "{key}");
    }
    let container = dump.container(POD, CONTAINER);
    assert!(container["cpu_usage_usec"].is_null(), "{container}");
    assert!(container["disk_written_bytes"].is_null(), "{container}");
    // What the pod's own cgroup says is not affected.
    assert!(near(dump.pod(POD)["cpu_usage_usec"].as_u64(), 3_670_000));
    for path in ["eno1", "nvme0n1", ".scope/cpu.stat", ".scope/io.stat"] {
        assert_gap(&dump, path, TOO_MUCH);
    }
}

#[test]
fn a_container_that_slips_back_leaves_its_pod_alone() {
    let host = Host::copy(HOST);
    let before = host.read(0, &scope("cpu.stat"));
    host.write(1, &scope("cpu.stat"), &before);
    set_key(&host, 1, &scope("cpu.stat"), "usage_usec", 61_399_993);
    let dump = host.dump();
    assert_eq!(dump.container(POD, CONTAINER)["cpu_usage_usec"], 0);
    assert!(near(dump.pod(POD)["cpu_usage_usec"].as_u64(), 3_670_000));
    assert_gap(&dump, ".scope/cpu.stat", BACK);
}

/// The pod's own counter slips: it has what its containers have, not less.
#[test]
fn a_pod_that_slips_back_has_what_its_containers_have() {
    let host = Host::copy(HOST);
    set_key(&host, 1, &format!("{SLICE}/cpu.stat"), "usage_usec", 67_469_993);
    let dump = host.dump();
    let pod = dump.pod(POD)["cpu_usage_usec"].as_u64().unwrap();
    assert!((3_000_000..3_670_000).contains(&pod), "{pod}");
    assert!(near(dump.container(POD, CONTAINER)["cpu_usage_usec"].as_u64(), 3_000_000));
}

#[test]
fn io_and_events_that_slip_back_gained_nothing() {
    let host = Host::copy(HOST);
    let slips = |line: &str| line.replace("wbytes=", "wbytes=0 dios=");
    for row in ["253:0 ", "259:0 "] {
        host.edit_line(1, &scope("io.stat"), |line| line.starts_with(row), slips);
    }
    set_key(&host, 0, &scope("memory.events"), "oom_kill", 4);
    set_key(&host, 1, &scope("memory.events"), "oom_kill", 3);
    let dump = host.dump();
    let container = dump.container(POD, CONTAINER);
    assert_eq!((&container["disk_written_bytes"], &container["oom_kills"]), (&0.into(), &0.into()));
    assert!(near(dump.pod(POD)["disk_written_bytes"].as_u64(), 200 * MIB));
    assert_gap(&dump, ".scope/io.stat", BACK);
    assert_gap(&dump, ".scope/memory.events", BACK);
}

/// Steal time goes back after a migration of the virtual machine. The others stay.
#[test]
fn a_tick_that_slips_back_gained_nothing() {
    let host = Host::copy(HOST);
    host.edit_line(
        1,
        "proc/stat",
        |line| line.starts_with("cpu "),
        |line| {
            let mut fields: Vec<&str> = line.split_whitespace().collect();
            fields[8] = "90";
            fields.join(" ")
        },
    );
    let dump = host.dump();
    assert!(near(dump.node("cpu_busy_usec"), 9_890_000));
    assert_eq!(dump.node("cpu_steal_usec"), Some(0));
    assert_gap(&dump, "/proc/stat", BACK);
}

/// The device has no name, as the paths of NVMe multipath. The other rows count.
#[test]
fn a_row_without_a_device_takes_no_other_away() {
    for row in ["(unknown) rbytes=0 wbytes=0 rios=5 wios=7 dbytes=0 dios=0", "(unknown)", "x=1"] {
        for first in [true, false] {
            let host = Host::copy(HOST);
            for instant in BOTH {
                for file in [format!("{SLICE}/io.stat"), scope("io.stat")] {
                    host.edit(instant, &file, |text| match first {
                        true => format!("{row}\n{text}"),
                        false => format!("{text}{row}\n"),
                    });
                }
            }
            let dump = host.dump();
            assert!(near(dump.pod(POD)["disk_written_bytes"].as_u64(), 200 * MIB), "{row}");
            assert!(near(dump.node("disk_written_bytes"), 249 * MIB));
            assert_gap(&dump, "io.stat", ODD);
        }
    }
}

/// A figure of the row that matters is none: the usage is unknown, and neither 0 nor all that the
/// row shows once it is whole again.
#[test]
fn an_odd_figure_is_unknown_and_no_zero() {
    for instant in BOTH {
        let host = Host::copy(HOST);
        let odd = |line: &str| line.replace("wbytes=", "wbytes=-");
        host.edit_line(instant, &scope("io.stat"), |line| line.starts_with("259:0 "), odd);
        let dump = host.dump();
        let container = dump.container(POD, CONTAINER);
        assert!(container["disk_written_bytes"].is_null(), "{instant} {container}");
        assert!(near(dump.pod(POD)["disk_written_bytes"].as_u64(), 200 * MIB), "{instant}");

        let host = Host::copy(HOST);
        set_disk(&host, instant, "nvme0n1", 6, "-8");
        set_interface(&host, instant, "eno1", &[(0, -1)]);
        let dump = host.dump();
        assert_eq!(dump.node("disk_written_bytes"), None);
        assert_eq!(dump.node("network_rx_bytes"), None);
        assert!(near(dump.node("cpu_busy_usec"), 9_890_000));
    }
}

/// Rows that do not count may hold anything.
#[test]
fn odd_rows_beside_those_that_count_do_no_harm() {
    let host = Host::copy(HOST);
    for instant in BOTH {
        host.append(instant, "proc/diskstats", " 8 16 sdb 1 2 -3 4\n what is this\n");
        for file in ["proc/1/net/dev", "proc/net/dev"] {
            host.append(instant, file, "veth9: -1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\nno colon\n");
        }
    }
    let dump = host.dump();
    assert!(near(dump.node("network_rx_bytes"), 50 * MIB));
    assert_gap(&dump, "/net/dev", ODD);
    assert_gap(&dump, "/proc/diskstats", ODD);
}

#[test]
fn gauges_below_zero_are_unknown() {
    let host = Host::copy(HOST);
    set_key(&host, 1, "proc/stat", "procs_running", -3);
    set_key(&host, 1, "proc/stat", "procs_blocked", u64::MAX);
    set_key(&host, 1, &scope("memory.stat"), "inactive_file", u64::MAX - 8191);
    set_key(&host, 1, &scope("memory.stat"), "kernel", u64::MAX - 4095);
    set_key(&host, 1, "proc/meminfo", "SwapFree:", "-4 kB");
    let dump = host.dump();
    assert!(near(dump.node("cpu_busy_usec"), 9_890_000));
    for key in ["procs_running", "procs_blocked", "swap_free_bytes"] {
        assert_eq!(dump.node(key), None, "{key}");
    }
    assert!(dump.node("memory_total_bytes").is_some());
    let container = dump.container(POD, CONTAINER);
    for key in ["memory_working_set_bytes", "memory_kernel_bytes"] {
        assert!(container[key].is_null(), "{key}: {container}");
    }
    assert!(container["memory_current_bytes"].is_u64() && container["memory_anon_bytes"].is_u64());
    for path in ["/proc/stat", "/proc/meminfo", ".scope/memory.stat"] {
        assert_gap(&dump, path, ODD);
    }
}

/// A tool that copies files may strip the last newline.
#[test]
fn files_without_their_last_newline_are_read() {
    let whole = Host::copy(HOST).dump();
    let host = Host::copy(HOST);
    let files = ["proc/diskstats", "proc/1/net/dev", "proc/stat", "proc/meminfo", "proc/loadavg"];
    let files = files.map(str::to_owned).into_iter();
    let of_scope = ["cpu.stat", "io.stat", "memory.stat", "memory.current", "cgroup.procs"];
    for file in files.chain(of_scope.map(scope)) {
        for instant in BOTH {
            host.edit(instant, &file, |text| text.trim_end().to_owned());
        }
    }
    let bare = host.dump();
    for key in ["node", "pods", "gaps"] {
        assert_eq!(bare.0[key], whole.0[key], "{key}");
    }
}

/// Its first thread has exited and others run on: the kernel shows no memory for the first, and all
/// of it for each other.
#[test]
fn a_process_without_its_first_thread_has_the_memory_of_the_others() {
    let resident = |host: &Host| {
        let dump = host.dump();
        let processes = dump.0["processes"].as_array().unwrap().clone();
        let is_it = |process: &serde_json::Value| process["pid"] == 1641;
        processes.into_iter().find(is_it).unwrap()["memory_resident_bytes"].clone()
    };
    let host = Host::copy(HOST);
    let stat = host.read(1, "proc/1641/stat");
    let with = |state: &str, threads: &str, pages: &str| {
        let mut fields: Vec<&str> = stat.split_whitespace().collect();
        (fields[2], fields[19], fields[23]) = (state, threads, pages);
        format!("{}\n", fields.join(" "))
    };
    host.write(1, "proc/1641/stat", &with("Z", "1", "0"));
    assert_eq!(resident(&host), 0, "a zombie has none");
    host.write(1, "proc/1641/stat", &with("Z", "3", "0"));
    assert!(resident(&host).is_null(), "no other thread can be read");
    host.write(1, "proc/1641/task/1641/stat", &with("Z", "3", "0"));
    host.write(1, "proc/1641/task/1643/stat", &with("S", "3", "9000"));
    assert_eq!(resident(&host), 9000 * 4096);
}
