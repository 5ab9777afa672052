//! The kernel's and the root cgroup's share of the node's memory.

use super::host::{BOTH, Host};

/// The figures are sums of the files. The kernel: slab, kernel stacks and page tables of meminfo less
/// those of the top-level cgroups' memory.stat. The root: `anon` and `file` of its memory.stat less
/// theirs. The last is what remains of MemTotal − MemFree beside both and memory.current of the
/// top-level cgroups.
#[test]
fn the_kernel_has_what_no_cgroup_is_charged_for() {
    let hosts = [
        ("6.1-containerd-kind", 122_683_392, 188_743_680, 296_747_008),
        ("6.12-podman-bare", 331_022_336, 880_803_840, 612_696_064),
        ("6.8-crio-systemd", 176_291_840, 377_487_360, 400_424_960),
        ("7.2-containerd-cgroupfs", 18_533_952, 16_789_504, 39_539_136),
        ("7.2-containerd-systemd", 19_260_696, 17_784_832, 34_634_472),
        ("7.2-containerd-systemd-static", 15_360_592, 16_879_616, 11_144_624),
    ];
    for (name, kernel, root, unattributed) in hosts {
        let dump = Host::copy(name).dump();
        let balance = &dump.0["conservation"]["memory_bytes"];
        assert_eq!(balance["kernel"].as_u64(), Some(kernel + root), "{name}");
        assert_eq!(balance["unattributed"].as_i64(), Some(unattributed), "{name}");
        assert!(dump.unit("/").is_null(), "{name}: no process stands in the root");
    }
}

/// The compiler of a session stands in the root cgroup. Its memory is what the root is charged for,
/// once, and not its resident set beside it.
#[test]
fn memory_of_the_root_is_that_of_the_processes_in_it() {
    let host = Host::copy("6.8-crio-systemd");
    let session = "sys/fs/cgroup/user.slice/user-0.slice/session-3.scope/cgroup.procs";
    for instant in BOTH {
        host.edit(instant, session, |pids| pids.replace("1280\n", ""));
        host.append(instant, "sys/fs/cgroup/cgroup.procs", "1280\n");
        host.write(instant, "proc/1280/cgroup", "0::/\n");
    }
    let dump = host.dump();
    let balance = &dump.0["conservation"]["memory_bytes"];
    assert_eq!(balance["kernel"].as_u64(), Some(176_291_840));
    assert_eq!(balance["unattributed"].as_i64(), Some(400_424_960));
    let root = dump.unit("/");
    assert_eq!(root["memory_current_bytes"].as_u64(), Some(377_487_360));
    assert_eq!(root["memory_anon_bytes"].as_u64(), Some(62_914_560));
    assert_eq!(root["memory_file_bytes"].as_u64(), Some(314_572_800));
    assert_eq!(root["memory_working_set_bytes"].as_u64(), Some(377_487_360 - 209_715_200));
    assert_eq!(root["memory_resident_bytes"].as_u64(), Some(2560 * 4096));
}

/// Without the controller in user.slice, its three processes have their resident sets, and what they
/// are charged is in the root's file. It is taken off there.
#[test]
fn memory_of_processes_without_a_controller_counts_once() {
    let host = Host::copy("6.8-crio-systemd");
    for instant in BOTH {
        for cgroup in
            ["user.slice", "user.slice/user-0.slice", "user.slice/user-0.slice/session-3.scope"]
        {
            for file in ["current", "stat", "max", "peak", "events", "swap.current"] {
                host.remove(instant, &format!("sys/fs/cgroup/{cgroup}/memory.{file}"));
            }
        }
    }
    let resident = (1792 + 1280 + 2560) * 4096;
    // What was charged to user.slice: anon and file; slab, stacks and page tables.
    let (own, slab) = (377_487_360 + 14_680_064 + 4_194_304 - resident, 176_291_840 + 983_040);
    let balance = &host.dump().0["conservation"]["memory_bytes"];
    assert_eq!(balance["kernel"].as_u64(), Some(own + slab));
    assert_eq!(balance["unattributed"].as_i64(), Some(400_490_496));
}

/// The memory of the root is never below 0, and unknown where a figure is.
#[test]
fn memory_of_the_root_is_not_negative_and_unknown_without_its_file() {
    let is_anon = |line: &str| line.starts_with("anon ");
    for (edit, root) in [
        // All but the page cache.
        (Some("anon 1"), 314_572_800),
        // 2^64 − 8192.
        (Some("anon 18446744073709543424"), 0),
        (None, 0),
    ] {
        let host = Host::copy("6.8-crio-systemd");
        let file = "sys/fs/cgroup/memory.stat";
        match edit {
            Some(line) => host.edit_line(1, file, is_anon, |_| line.to_owned()),
            None => BOTH.into_iter().for_each(|instant| host.remove(instant, file)),
        }
        let balance = &host.dump().0["conservation"]["memory_bytes"];
        assert_eq!(balance["kernel"].as_u64(), Some(176_291_840 + root), "{edit:?}");
    }
}

/// Without charges, the kernel's memory is all that meminfo has of it.
#[test]
fn without_a_memory_controller_the_kernel_has_its_whole_memory() {
    for (name, kernel) in [("3.10-v1-only", 75_497_472), ("5.15-hybrid", 138_412_032)] {
        let dump = Host::copy(name).dump();
        let balance = &dump.0["conservation"]["memory_bytes"];
        assert_eq!(balance["kernel"].as_u64(), Some(kernel), "{name}");
    }
}
