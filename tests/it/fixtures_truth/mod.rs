//! Every host of fixtures/ against what must come out of it: `truth.tsv`, row by row, and for the
//! captured ones what the kubelet said and what the kernel's files bound.

#![allow(clippy::disallowed_methods, reason = "it reads fixtures, no host")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a fixture that cannot be read fails the test"
)]

mod host;
mod kubelet;
mod rows;

use host::Host;
use nodetally::ledger::account::Balance;

/// The hosts, with the number of rows that their truth must have: a table that lost rows would
/// guard less without anybody noticing.
const HOSTS: [(&str, usize); 8] = [
    ("3.10-v1-only", 24),
    ("5.15-hybrid", 38),
    ("6.1-containerd-kind", 45),
    ("6.12-podman-bare", 41),
    ("6.8-crio-systemd", 56),
    ("7.2-containerd-cgroupfs", 56),
    ("7.2-containerd-systemd", 57),
    ("7.2-containerd-systemd-static", 52),
];

#[test]
fn every_row_of_every_truth_comes_out() {
    let mut wrong = Vec::new();
    for (name, rows) in HOSTS {
        let host = Host::load(name);
        assert_eq!(host.truth.len(), rows, "{name}");
        for row in &host.truth {
            let compared = rows::compare(&host, row, &mut wrong);
            if compared == 0 {
                wrong.push(format!("{name}: {row:?} was compared with nothing"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn there_is_no_host_without_a_place_in_the_table() {
    let mut found: Vec<String> = std::fs::read_dir(host::fixtures())
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    found.sort();
    assert_eq!(found, HOSTS.map(|(name, _)| name));
}

#[test]
fn pods_units_and_inner_cgroups_that_no_truth_names_used_nothing() {
    for (name, _) in HOSTS {
        let host = Host::load(name);
        let account = &host.account;
        let named = |path: &[u8]| {
            host.truth
                .iter()
                .any(|row| row.cgroup.as_bytes() == path || rows::owner_above(row) == path)
        };
        for pod in &account.pods {
            assert!(named(&pod.path), "{name}: pod {}", pod.uid);
        }
        for container in &account.containers {
            assert!(named(&container.path), "{name}: container {}", container.id);
        }
        for unit in account.units.iter().filter(|unit| !named(&unit.path)) {
            let used = unit.usage.cpu.map_or(0, |cpu| cpu.usage.as_usec());
            assert_eq!(used, 0, "{name}: {}", String::from_utf8_lossy(&unit.path));
        }
        for exited in account.exited.iter().filter(|exited| !named(&exited.path)) {
            // A microsecond of rounding.
            let used = exited.cpu.as_usec();
            assert!(used <= 1, "{name}: {} {used}", String::from_utf8_lossy(&exited.path));
        }
    }
}

#[test]
fn four_jobs_that_ran_between_the_instants_are_under_exited() {
    let host = Host::load("7.2-containerd-systemd");
    let slice = &b"/kubepods.slice/kubepods-besteffort.slice"[..];
    let exited = host.account.exited.iter().find(|exited| *exited.path == *slice).unwrap();
    assert_eq!(exited.cpu.as_usec(), 1_867_946);
}

#[test]
fn a_balance_is_its_parts_and_the_remainder_to_the_unit() {
    for (name, _) in HOSTS {
        let host = Host::load(name);
        let all = host.account.conservation;
        let balances = [
            ("cpu", all.cpu_usec),
            ("memory", all.memory_bytes),
            ("disk read", all.disk_read_bytes),
            ("disk written", all.disk_written_bytes),
            ("network rx", all.network_rx_bytes),
            ("network tx", all.network_tx_bytes),
        ];
        for (resource, balance) in balances {
            let balance = balance.unwrap_or_else(|| panic!("{name}: no balance of {resource}"));
            let Balance { node, pods, host_units, kernel, interrupts, exited, .. } = balance;
            let Balance { unattributed, inside_node, .. } = balance;
            let parts: u64 = [pods, host_units, kernel, interrupts, exited].into_iter().sum();
            let sum = i128::from(parts) + i128::from(unattributed);
            assert_eq!(sum, i128::from(node) + i128::from(inside_node), "{name}: {resource}");
            if !resource.starts_with("network") {
                assert_eq!(inside_node, 0, "{name}: {resource}");
            } else {
                // What came from outside and has no owner is no less than nothing.
                assert!(unattributed >= 0, "{name}: {resource}");
                assert!(unattributed == 0 || inside_node == 0, "{name}: {resource}");
            }
        }
        let cpu = all.cpu_usec.unwrap();
        let of_pods = host.account.pods.iter().filter_map(|pod| pod.usage.cpu);
        assert_eq!(cpu.pods, of_pods.map(|cpu| cpu.usage.as_usec()).sum::<u64>(), "{name}");
        let of_units = host.account.units.iter().filter_map(|unit| unit.usage.cpu);
        assert_eq!(cpu.host_units, of_units.map(|cpu| cpu.usage.as_usec()).sum::<u64>(), "{name}");
        assert_eq!(cpu.node, host.account.node.cpu.unwrap().busy.as_usec(), "{name}");
    }
}

/// The node's files were read before the cgroups and once more behind them, at both instants. What
/// ran between the cgroups' reads ran after the first of the inner two readings and before the last
/// of the outer two.
#[test]
fn what_the_parts_used_lies_between_what_the_nodes_files_bound() {
    for name in kubelet::HOSTS {
        let host = Host::load(name);
        let busy = |dir: &str| host.busy_usec(&host.dir.join(dir));
        let least = busy("t1").saturating_sub(busy("after-t0"));
        let most = busy("after-t1") - busy("t0");
        let parts = host.conservation_cpu();
        let given = parts.pods + parts.host_units + parts.kernel + parts.interrupts + parts.exited;
        // Ticks of 10 ms against nanoseconds: both ends may be a tick off, for the node and for
        // each kernel thread that was caught by one; and −4 ms of an inner cgroup's own part stand
        // in the remainder.
        let slack = 2 * 10_000 + 4_007;
        assert!(given + slack >= least, "{name}: {given} given, at least {least} used");
        assert!(given <= most + slack, "{name}: {given} given, at most {most} used");
        let node = host.account.node.cpu.unwrap().busy.as_usec();
        assert!(least <= node && node <= most, "{name}: {least} {node} {most}");
    }
}

#[test]
fn a_pod_on_the_hosts_network_has_none_of_its_own() {
    let mut found = 0;
    for (name, _) in HOSTS {
        let host = Host::load(name);
        for pod in &host.account.pods {
            let row = host.row("pod", &pod.path);
            let expected = row.owner.contains("hostNetwork");
            // A job's pod that was born between and has no process any more: nobody can be asked.
            let known = pod.usage.processes > 0;
            assert_eq!(pod.host_network, known.then_some(expected), "{name}: {}", row.owner);
            if expected {
                found += 1;
                assert_eq!(pod.usage.network, None, "{name}: {}", row.owner);
            }
        }
    }
    assert_eq!(found, 6);
}

#[test]
fn replaying_one_instant_twice_finds_that_nothing_was_used() {
    for (name, _) in HOSTS {
        let host = Host::load_twice(name, [0, 0]);
        let account = &host.account;
        assert!(account.since.is_some(), "{name}");
        for usage in account.pods.iter().map(|pod| &pod.usage) {
            assert_eq!(usage.cpu.unwrap().usage.as_usec(), 0, "{name}");
        }
        for unit in &account.units {
            assert_eq!(unit.usage.cpu.map_or(0, |cpu| cpu.usage.as_usec()), 0, "{name}");
        }
        assert!(account.exited.is_empty(), "{name}");
        assert_eq!(account.node.cpu.unwrap().busy.as_usec(), 0, "{name}");
    }
}

/// The 6.8 host throttles one container: 25 of 100 periods, half a second.
#[test]
fn throttling_is_a_difference_too() {
    let host = Host::load("6.8-crio-systemd");
    let busy = host.account.containers.iter().filter(|container| {
        container.usage.throttling.is_some_and(|throttling| throttling.periods > 0)
    });
    let found: Vec<_> = busy.collect();
    assert_eq!(found.len(), 1);
    assert!(found[0].id.to_string().starts_with("9ea3a0b56f9b"));
    let throttling = found[0].usage.throttling.unwrap();
    assert_eq!((throttling.periods, throttling.throttled_periods), (100, 25));
    assert_eq!(throttling.throttled.as_usec(), 500_000);
}

/// The killed container is gone with its own memory.events; the pod's slice still says it.
#[test]
fn an_oom_kill_of_a_removed_container_counts_for_its_pod() {
    let host = Host::load("6.8-crio-systemd");
    let kills = host.account.pods.iter().filter(|pod| pod.usage.events.oom_kills == Some(1));
    let pods: Vec<String> = kills.map(|pod| pod.uid.to_string()).collect();
    assert_eq!(pods, ["cd47dd0a-9310-4c43-afc3-a47f29343e3d"]);
}
