//! The kernel's share of the node's memory.

use super::host::Host;

/// The figures are sums of the files: slab, kernel stacks and page tables of meminfo less those of
/// the top-level cgroups' memory.stat. The last is what remains of MemTotal − MemFree beside
/// memory.current of the top-level cgroups and the kernel.
#[test]
fn the_kernel_has_what_no_cgroup_is_charged_for() {
    let hosts = [
        ("6.1-containerd-kind", 122_683_392, 485_490_688),
        ("6.12-podman-bare", 331_022_336, 1_493_499_904),
        ("6.8-crio-systemd", 176_291_840, 777_912_320),
        ("7.2-containerd-cgroupfs", 18_533_952, 56_328_640),
        ("7.2-containerd-systemd", 19_260_696, 52_419_304),
        ("7.2-containerd-systemd-static", 15_360_592, 28_024_240),
    ];
    for (name, kernel, unattributed) in hosts {
        let dump = Host::copy(name).dump();
        let balance = &dump.0["conservation"]["memory_bytes"];
        assert_eq!(balance["kernel"].as_u64(), Some(kernel), "{name}");
        assert_eq!(balance["unattributed"].as_i64(), Some(unattributed), "{name}");
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
