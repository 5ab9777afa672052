//! The kernel's and the root cgroup's share of the node's memory.

use std::io::Write as _;
use std::process::Command;

use super::host::{BOTH, Host};

/// The figures are sums of the files. The kernel: slab, kernel stacks, page tables, per-CPU memory and
/// vmalloc of meminfo, each less that of the top-level cgroups' memory.stat. The root: `anon` and `file` of its memory.stat less
/// theirs. The last is what remains of MemTotal − MemFree beside both and memory.current of the
/// top-level cgroups.
#[test]
fn the_kernel_has_what_no_cgroup_is_charged_for() {
    let hosts = [
        ("6.1-containerd-kind", 204_472_320, 188_743_680, 214_958_080),
        ("6.12-podman-bare", 404_553_728, 880_803_840, 539_164_672),
        ("6.8-crio-systemd", 265_158_656, 377_487_360, 311_558_144),
        ("7.2-containerd-cgroupfs", 19_791_204, 16_789_504, 38_281_884),
        ("7.2-containerd-systemd", 20_577_688, 17_784_832, 33_317_480),
        ("7.2-containerd-systemd-static", 16_614_292, 16_879_616, 9_890_924),
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
    assert_eq!(balance["kernel"].as_u64(), Some(265_158_656));
    assert_eq!(balance["unattributed"].as_i64(), Some(311_558_144));
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
    // What was charged to user.slice: anon and file; slab. Of stacks and page tables the others are
    // charged more than the node has.
    let (own, slab) = (377_487_360 + 14_680_064 + 4_194_304 - resident, 265_158_656 + 589_824);
    let balance = &host.dump().0["conservation"]["memory_bytes"];
    assert_eq!(balance["kernel"].as_u64(), Some(own + slab));
    assert_eq!(balance["unattributed"].as_i64(), Some(312_016_896));
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
        assert_eq!(balance["kernel"].as_u64(), Some(265_158_656 + root), "{edit:?}");
    }
}

/// Without charges, the kernel's memory is all that meminfo has of it.
#[test]
fn without_a_memory_controller_the_kernel_has_its_whole_memory() {
    for (name, kernel) in [("3.10-v1-only", 138_412_032), ("5.15-hybrid", 201_326_592)] {
        let dump = Host::copy(name).dump();
        let balance = &dump.0["conservation"]["memory_bytes"];
        assert_eq!(balance["kernel"].as_u64(), Some(kernel), "{name}");
    }
}

/// 1,000 MiB in /dev/shm: page cache in the kernel's eyes, shared memory in the dump's.
#[test]
fn memory_in_dev_shm_is_shared_memory() {
    let host = Host::copy("7.2-containerd-systemd");
    let before = host.dump();
    for (key, more) in [("MemFree:", -1_024_000), ("Cached:", 1_024_000), ("Shmem:", 1_024_000)] {
        let is_key = |line: &str| line.starts_with(key);
        host.edit_line(1, "proc/meminfo", is_key, |line| {
            let kib: i64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
            format!("{key} {} kB", kib + more)
        });
    }
    let after = host.dump();
    let grown = |key: &str| {
        after.0["node"][key].as_u64().unwrap() - before.0["node"][key].as_u64().unwrap()
    };
    assert_eq!(grown("memory_shared_bytes"), 1_048_576_000);
    assert_eq!(grown("memory_used_bytes"), 1_048_576_000);
    assert_eq!(grown("memory_page_cache_bytes"), 0);
    assert_eq!(grown("memory_other_bytes"), 0);
}

/// Free pages on the lists of single CPUs, a pool of huge pages and ZFS' cache are in no other line:
/// they are the kernel's, and not without an owner.
#[test]
fn memory_that_only_other_files_show_is_named() {
    let host = Host::copy("7.2-containerd-systemd");
    let before = host.dump();
    for instant in BOTH {
        host.write(instant, "proc/zoneinfo", "  pagesets\n    cpu: 0\n      count: 2000\n");
        host.write(
            instant,
            "proc/spl/kstat/zfs/arcstats",
            "data_size 4 5000000\nmetadata_size 4 1000000\nhdr_size 4 900000\n",
        );
        let pool =
            "HugePages_Total: 4\nHugePages_Free: 1\nHugepagesize: 2048 kB\nHugetlb: 8192 kB\n";
        host.edit(instant, "proc/meminfo", |text| {
            let kept = text.lines().filter(|line| !line.starts_with("Huge"));
            kept.map(|line| format!("{line}\n")).collect::<String>() + pool
        });
    }
    let after = host.dump();
    let node = |key: &str| after.0["node"][key].as_u64();
    assert_eq!(node("memory_cpu_lists_bytes"), Some(2000 * 4096));
    assert_eq!(node("memory_zfs_arc_bytes"), Some(6_000_000));
    assert_eq!(node("memory_huge_pages_bytes"), Some(8_388_608));
    assert_eq!(node("memory_huge_pages_free_bytes"), Some(2_097_152));
    let balance = |dump: &super::host::Dump, key: &str| {
        dump.0["conservation"]["memory_bytes"][key].as_i64().unwrap()
    };
    let named = 2000 * 4096 + 6_000_000 + 8_388_608;
    assert_eq!(balance(&after, "kernel") - balance(&before, "kernel"), named);
    assert_eq!(balance(&before, "unattributed") - balance(&after, "unattributed"), named);
}

/// This machine, with 200 MiB of shared memory of the test's own.
#[test]
fn shared_memory_of_a_live_host_is_found() {
    let shared = || {
        let mut dump = Command::new(env!("CARGO_BIN_EXE_nodetally"));
        let done = dump.args(["dump", "--interval", "100ms", "--format", "json"]).output().unwrap();
        let dump: serde_json::Value = serde_json::from_slice(&done.stdout).unwrap();
        dump["node"]["memory_shared_bytes"].as_i64().unwrap()
    };
    let before = shared();
    let file = rustix::fs::memfd_create("two-hundred", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = std::fs::File::from(file);
    for _ in 0..200 {
        file.write_all(&[7; 1 << 20]).unwrap();
    }
    let grown = (shared() - before) >> 20;
    // Other programs have some, too, and give it back.
    assert!((130..=270).contains(&grown), "{grown} MiB");
}
