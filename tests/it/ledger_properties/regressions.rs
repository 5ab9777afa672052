//! Single cases, each named after what it guards.

use std::sync::Arc;
use std::time::Duration;

use nodetally::identity::{BootId, CgroupKey};
use nodetally::ledger::Ledger;
use nodetally::ledger::account::Account;
use nodetally::quantity::{BootTime, Bytes, CpuTime, Ticks};
use nodetally::snapshot::node::InterruptTime;
use nodetally::snapshot::topology::{InterfaceFacts, InterfaceKind};
use nodetally::snapshot::{
    CgroupReading, CountedAt, InterfaceReading, NamespaceReading, ProcessReading, Snapshot,
};
use nodetally::source::proc::net_dev::{InterfaceName, InterfaceRow};
use nodetally::source::proc::pid_io::ProcessIo;

use crate::ledger_properties::model::{Model, Op};
use crate::ledger_properties::{UNITS, given, sum};

/// A counter `by` ticks later.
fn ticks(counter: Option<Ticks>, by: i64) -> Option<Ticks> {
    Some(Ticks::from_ticks(counter.unwrap().as_ticks().checked_add_signed(by).unwrap()))
}

fn settled(snapshots: &[&Snapshot]) -> Account {
    let mut ledger = Ledger::new(UNITS);
    let mut account = Account::default();
    snapshots.iter().for_each(|snapshot| ledger.settle(snapshot, &mut account));
    account
}

#[test]
fn a_host_without_a_boot_id_still_has_its_deltas() {
    let mut model = Model::new();
    model.boot = None;
    let first = model.snapshot();
    model.apply(&Op::Spend { cgroup: 0, usec: 70_000, bytes: 0 });
    let second = model.snapshot();
    let account = settled(&[&first, &second]);
    assert_eq!(sum(given(&account).values()).usec, 70_000);
    // But nothing is carried over a restart: nobody can say that the kernel is the same.
    let mut ledger = Ledger::new(UNITS);
    let mut account = Account::default();
    ledger.settle(&first, &mut account);
    let kept = ledger.counters().unwrap().clone();
    let mut resumed = Ledger::new(UNITS);
    resumed.resume(kept);
    resumed.settle(&second, &mut account);
    assert_eq!(account.since, None);
    assert!(given(&account).is_empty());
}

/// Some kernels' user or steal time goes back by a tick (and so has it been seen of idle). Taken
/// for a reset it would give the node all it used since it started.
#[test]
fn a_tick_that_goes_back_is_no_spike() {
    let mut model = Model::new();
    model.apply(&Op::Spend { cgroup: 0, usec: 3_000_000, bytes: 0 });
    let first = model.snapshot();
    let mut second = model.snapshot();
    let cpu = second.node.cpu.as_mut().unwrap();
    cpu.user = ticks(cpu.user, -1);
    let account = settled(&[&first, &second]);
    assert_eq!(account.node.cpu.unwrap().busy.as_usec(), 0);
}

/// A virtual machine that is not run misses ticks of what it was busy with, never of its idle time.
#[test]
fn ticks_that_were_lost_are_still_busy_time() {
    let (first, mut second) = two_instants_awake_for(Duration::from_secs(10));
    let cpu = second.node.cpu.as_mut().unwrap();
    cpu.user = ticks(cpu.user, 900);
    cpu.idle = ticks(cpu.idle, 500);
    cpu.iowait = ticks(cpu.iowait, 50);
    cpu.steal = ticks(cpu.steal, 50);
    let cpu = settled(&[&first, &second]).node.cpu.unwrap();
    assert_eq!(cpu.busy.as_usec(), 14_000_000);
    assert_eq!(cpu.user.unwrap().as_usec(), 9_000_000);
}

/// Where `/proc/stat` is made up (lxcfs, gVisor), idle time stands still, and all that it leaves of
/// the CPUs' time would be busy. The same where it is that of more CPUs: then nothing would be.
#[test]
fn idle_time_that_cannot_be_leaves_the_ticks() {
    // Ticks of user and of idle time in 10 s of 2 CPUs, the busy time, and if there is a gap.
    for (user, idle, busy, gaps) in [
        (30, 0, 300_000, 1),
        (1, 0, 10_000, 1),
        // More than half of the time, as of a machine that loses ticks; but no idle time at all.
        (1200, 0, 12_000_000, 1),
        (300, 20, 3_000_000, 1),
        (300, 6400, 3_000_000, 1),
        // Busy throughout, with some ticks lost.
        (1800, 0, 20_000_000, 0),
        (300, 1700, 3_000_000, 0),
        (0, 2000, 0, 0),
        (200, 1500, 5_000_000, 0),
    ] {
        let (first, mut second) = two_instants_awake_for(Duration::from_secs(10));
        let cpu = second.node.cpu.as_mut().unwrap();
        cpu.user = ticks(cpu.user, user);
        cpu.idle = ticks(cpu.idle, idle);
        let account = settled(&[&first, &second]);
        let found = (account.node.cpu.unwrap().busy.as_usec(), account.gaps.count);
        assert_eq!(found, (busy, gaps), "user {user}, idle {idle}");
    }
}

#[test]
fn a_file_that_counts_nothing_says_nothing() {
    let (first, second) = two_instants_awake_for(Duration::from_secs(10));
    let account = settled(&[&first, &second]);
    assert_eq!((account.node.cpu, account.gaps.count), (None, 1));
}

/// One figure that is none takes only its own away.
#[test]
fn steal_time_below_zero_leaves_busy_time() {
    let (first, mut second) = two_instants_awake_for(Duration::from_secs(10));
    let cpu = second.node.cpu.as_mut().unwrap();
    cpu.user = ticks(cpu.user, 300);
    cpu.idle = ticks(cpu.idle, 1700);
    cpu.steal = None;
    let cpu = settled(&[&first, &second]).node.cpu.unwrap();
    assert_eq!((cpu.busy.as_usec(), cpu.steal), (3_000_000, None));
}

/// A CPU that is woken and not run at once is idle to itself and stolen as well.
#[test]
fn stolen_time_is_not_taken_off_twice() {
    let (first, mut second) = two_instants_awake_for(Duration::from_secs(10));
    let cpu = second.node.cpu.as_mut().unwrap();
    cpu.user = ticks(cpu.user, 81);
    cpu.idle = ticks(cpu.idle, 1907);
    cpu.steal = ticks(cpu.steal, 48);
    assert_eq!(settled(&[&first, &second]).node.cpu.unwrap().busy.as_usec(), 810_000);
}

/// Of a CPU that was taken off and on, older kernels begin to count the idle time anew.
#[test]
fn idle_time_that_starts_anew_is_no_busy_time() {
    let (mut first, mut second) = two_instants_awake_for(Duration::from_secs(10));
    first.node.cpu.as_mut().unwrap().idle = Some(Ticks::from_ticks(50_000));
    let cpu = second.node.cpu.as_mut().unwrap();
    cpu.idle = Some(Ticks::from_ticks(26_000));
    cpu.user = ticks(cpu.user, 70);
    assert_eq!(settled(&[&first, &second]).node.cpu.unwrap().busy.as_usec(), 700_000);
}

/// Where they are in the tasks' usage already, they would be counted twice: of those only what came
/// to idle CPUs is left, here 19 of 20.
#[test]
fn interrupts_are_a_part_only_where_no_task_has_them() {
    for (interrupts, part) in [(InterruptTime::Apart, 300_000), (InterruptTime::InTasks, 285_000)] {
        let (first, mut second) = two_instants_awake_for(Duration::from_secs(10));
        second.node.interrupts = interrupts;
        let cpu = second.node.cpu.as_mut().unwrap();
        cpu.irq = ticks(cpu.irq, 10);
        cpu.softirq = ticks(cpu.softirq, 20);
        cpu.idle = ticks(cpu.idle, 1900);
        let balance = settled(&[&first, &second]).conservation.cpu_usec.unwrap();
        assert_eq!((balance.node, balance.interrupts), (1_000_000, part));
        assert_eq!(balance.unattributed, 1_000_000 - i64::try_from(part).unwrap());
    }
}

/// Suspend is no use of the CPU, and neither is a CPU that was not there all the time.
#[test]
fn busy_time_is_not_made_up_by_suspend_or_a_new_cpu() {
    let (first, mut second) = two_instants_awake_for(Duration::from_secs(10));
    let hour = Duration::from_secs(3600);
    second.node.cpu_read_at = second.node.cpu_read_at.plus(hour);
    second.ended_at = second.ended_at.plus(hour);
    let cpu = second.node.cpu.as_mut().unwrap();
    cpu.user = ticks(cpu.user, 300);
    cpu.idle = ticks(cpu.idle, 1700);
    let busy = |first: &Snapshot, second: &Snapshot| {
        settled(&[first, second]).node.cpu.unwrap().busy.as_usec()
    };
    assert_eq!(busy(&first, &second), 3_000_000);
    second.node.cpu.as_mut().unwrap().cpus = 4;
    assert_eq!(busy(&first, &second), 3_000_000);
}

/// The end of a container is told of before that of its pod, which is read no more: the pod has
/// used no less than its container.
#[test]
fn a_pod_that_is_gone_has_at_least_what_its_noticed_container_had() {
    let mut model = Model::new();
    model.apply(&Op::Born { kind: 1, name: 0, below: 0, usec: 50_000 });
    model.apply(&Op::Born { kind: 2, name: 0, below: 0, usec: 60_000 });
    let first = model.snapshot();
    let pod = first.cgroups.iter().find(|one| one.key.path.ends_with(b"a.slice")).unwrap();
    let container = first.cgroups.iter().find(|one| one.key.path.ends_with(b"1.scope")).unwrap();
    // Counted as the model counts what may be noticed or die: the pod first, then its container.
    let (pod_pick, container_pick) = (0, 1);
    assert!(container.key.inode > pod.key.inode);
    model.apply(&Op::Spend { cgroup: 3, usec: 900_000, bytes: 0 });
    model.apply(&Op::Notice { cgroup: container_pick });
    model.apply(&Op::Spend { cgroup: 3, usec: 4_000, bytes: 0 });
    model.apply(&Op::Die { cgroup: pod_pick });
    let second = model.snapshot();
    let account = settled(&[&first, &second]);
    let [pod] = &account.pods[..] else { panic!("{:?}", account.pods) };
    assert!(pod.exited);
    assert_eq!(pod.usage.cpu.unwrap().usage.as_usec(), 900_000);
    let [container] = &account.containers[..] else { panic!("{:?}", account.containers) };
    assert!(container.exited);
    assert_eq!(container.usage.cpu.unwrap().usage.as_usec(), 900_000);
    let [exited] = &account.exited[..] else { panic!("{:?}", account.exited) };
    assert_eq!(exited.cpu.as_usec(), 4_000);
}

/// Two snapshots of a node of two CPUs on which nothing happened.
fn two_instants_awake_for(awake: Duration) -> (Snapshot, Snapshot) {
    let mut model = Model::new();
    let (mut first, mut second) = (model.snapshot(), model.snapshot());
    for (snapshot, awake) in [(&mut first, Duration::ZERO), (&mut second, awake)] {
        snapshot.node.cpu.as_mut().unwrap().cpus = 2;
        snapshot.node.cpu_awake = Some(Duration::from_secs(100) + awake);
    }
    (first, second)
}

#[test]
fn the_nodes_files_count_on_from_their_last_reading() {
    let mut model = Model::new();
    let first = model.snapshot();
    model.apply(&Op::Spend { cgroup: 0, usec: 3_000_000, bytes: 0 });
    let mut second = model.snapshot();
    second.node.cpu = None;
    model.apply(&Op::Spend { cgroup: 0, usec: 1_000_000, bytes: 0 });
    let third = model.snapshot();
    let mut ledger = Ledger::new(UNITS);
    let mut account = Account::default();
    ledger.settle(&first, &mut account);
    ledger.settle(&second, &mut account);
    assert_eq!(account.node.cpu, None);
    assert_eq!(account.conservation.cpu_usec, None);
    ledger.settle(&third, &mut account);
    let cpu = account.node.cpu.unwrap();
    assert_eq!(cpu.busy.as_usec(), 4_000_000);
    assert_eq!(cpu.over_usec, 30_000_000);
}

#[test]
fn an_unread_cgroup_has_no_figure_rather_than_a_zero() {
    let mut model = Model::new();
    let first = model.snapshot();
    model.apply(&Op::Spend { cgroup: 0, usec: 3_000_000, bytes: 0 });
    let mut second = model.snapshot();
    let init = |snapshot: &Snapshot| {
        snapshot.cgroups.iter().position(|one| *one.key.path == *b"/init.scope").unwrap()
    };
    let at = init(&second);
    second.cgroups[at].cpu = None;
    model.apply(&Op::Spend { cgroup: 0, usec: 1_000_000, bytes: 0 });
    let third = model.snapshot();
    let unit = |account: &Account| {
        account.units.iter().find(|unit| *unit.path == *b"/init.scope").unwrap().usage
    };
    let account = settled(&[&first, &second]);
    assert_eq!(unit(&account).cpu, None);
    assert!(account.exited.is_empty());
    let account = settled(&[&first, &second, &third]);
    let cpu = unit(&account).cpu.unwrap();
    assert_eq!((cpu.usage.as_usec(), cpu.over_usec), (4_000_000, 30_000_000));
}

/// Its own counter is too large to be new, so it was rejected, and its children had no parent's
/// gain to be held against: they came out with their whole past.
#[test]
fn children_of_what_was_only_not_seen_bring_no_past() {
    let mut model = Model::new();
    let first = model.snapshot();
    let mut hidden = first;
    model.apply(&Op::Born { kind: 4, name: 0, below: 0, usec: 900_000_000 });
    model.apply(&Op::Born { kind: 5, name: 1, below: 2, usec: 800_000_000 });
    let whole = model.snapshot();
    // The slice knows its past, but not the unit in it was seen before.
    hidden.node.cpu = whole.node.cpu;
    let slice = |snapshot: &Snapshot| {
        snapshot.cgroups.iter().position(|one| *one.key.path == *b"/system.slice").unwrap()
    };
    let (at, from) = (slice(&hidden), slice(&whole));
    hidden.cgroups[at].cpu = whole.cgroups[from].cpu;
    model.apply(&Op::Spend { cgroup: 0, usec: 50_000, bytes: 0 });
    let last = model.snapshot();
    let paths: Vec<_> = last.cgroups.iter().map(|one| one.key.path.to_vec()).collect();
    assert!(paths.contains(&b"/system.slice/unit0.service/app.service".to_vec()), "{paths:?}");
    let account = settled(&[&hidden, &last]);
    assert_eq!(sum(given(&account).values()).usec, 50_000);
}

/// The same at the top, where the node's busy time is the bound: what the known cgroups used is
/// not there for a new one.
#[test]
fn a_slice_that_was_only_not_seen_brings_no_past() {
    let mut model = Model::new();
    model.apply(&Op::Born { kind: 6, name: 0, below: 0, usec: 3_000_000 });
    let mut first = model.snapshot();
    first.cgroups.retain(|one| !one.key.path.starts_with(b"/lxc"));
    model.apply(&Op::Spend { cgroup: 0, usec: 4_000_000, bytes: 0 });
    let second = model.snapshot();
    let account = settled(&[&first, &second]);
    assert_eq!(sum(given(&account).values()).usec, 4_000_000);
}

fn interface(name: &[u8], rx_bytes: u64) -> InterfaceReading {
    let row = InterfaceRow {
        name: InterfaceName::new(name).unwrap(),
        rx_bytes,
        rx_packets: 0,
        rx_errors: 0,
        rx_dropped: 0,
        tx_bytes: 0,
        tx_packets: 0,
        tx_errors: 0,
        tx_dropped: 0,
        is_odd: false,
    };
    let facts = InterfaceFacts { index: None, kind: InterfaceKind::Virtual };
    InterfaceReading { row, facts }
}

/// A namespace in the container of a pod, with what its one interface received, or unreadable.
fn with_namespace(model: &mut Model, rx_bytes: u64, readable: bool) -> Snapshot {
    let mut snapshot = model.snapshot();
    let container = |path: &[u8]| path.ends_with(b".scope") && path.starts_with(b"/kubepods");
    let at = snapshot.cgroups.iter().position(|one| container(&one.key.path)).unwrap();
    snapshot.cgroups[at].namespace = Some(77);
    snapshot.namespaces.push(NamespaceReading {
        id: 77,
        is_host: false,
        leader_pid: snapshot.cgroups[at].processes[0].key.pid,
        read_at: BootTime::from_nanos(1),
        interfaces: vec![interface(b"eth0", rx_bytes)],
        readable,
    });
    snapshot
}

#[test]
fn a_namespace_counts_on_from_its_last_reading() {
    let mut model = Model::new();
    model.apply(&Op::Born { kind: 0, name: 0, below: 0, usec: 0 });
    model.apply(&Op::Born { kind: 2, name: 0, below: 0, usec: 0 });
    let first = with_namespace(&mut model, 1_000, true);
    // What an unreadable namespace shows are the rows of when it was readable.
    let second = with_namespace(&mut model, 1_000, false);
    let third = with_namespace(&mut model, 5_000, true);
    let rx = |account: &Account| account.pods[0].usage.network.map(|network| network.rx.as_bytes());
    assert_eq!(rx(&settled(&[&first, &second])), None);
    assert_eq!(rx(&settled(&[&first, &second, &third])), Some(4_000));
    assert_eq!(rx(&settled(&[&first, &third])), Some(4_000));
    let fallen = with_namespace(&mut model, 300, true);
    let account = settled(&[&first, &third, &fallen]);
    assert_eq!((rx(&account), account.gaps.count), (Some(0), 1));
}

/// Without a cgroup2 tree there are only the paths that processes name. Those of one container
/// with systemd in it were as many units.
#[test]
fn a_container_of_a_v1_host_is_one_owner_whatever_runs_in_it() {
    let id = "3f".repeat(32);
    let mut model = Model::new();
    let mut on_v1 = |ticks: [u64; 3]| {
        let mut snapshot = model.snapshot();
        let template =
            snapshot.cgroups.iter().find(|one| !one.processes.is_empty()).unwrap().clone();
        let paths = [
            format!("/docker/{id}/init.scope"),
            format!("/docker/{id}/system.slice/web.service"),
            "/system.slice/ssh.service".to_owned(),
        ];
        let cgroups = paths.iter().zip(ticks).enumerate().map(|(number, (path, ticks))| {
            let mut cgroup = template.clone();
            cgroup.key = CgroupKey { path: Arc::from(path.as_bytes()), inode: 0 };
            (cgroup.parent, cgroup.cpu, cgroup.io, cgroup.placed) = (None, None, None, true);
            cgroup.processes[0].key.pid = 10 + number as u32;
            cgroup.processes[0].cpu = Some(CpuTime::from_usec(ticks * 10_000));
            cgroup
        });
        snapshot.cgroups = cgroups.collect();
        snapshot
    };
    let (first, second) = (on_v1([1, 1, 1]), on_v1([4, 8, 3]));
    let account = settled(&[&first, &second]);
    let units = account.units.iter().map(|unit| {
        let usec = unit.usage.cpu.unwrap().usage.as_usec();
        (String::from_utf8(unit.path.to_vec()).unwrap(), usec, unit.usage.processes)
    });
    let expected = [
        (format!("/docker/{id}"), 100_000, 2),
        ("/system.slice/ssh.service".to_owned(), 20_000, 1),
    ];
    assert_eq!(units.collect::<Vec<_>>(), expected);
}

/// write_bytes less cancelled_write_bytes goes back when a file is removed before its pages were
/// written. Taken for a reset, all that the process ever wrote counted anew.
#[test]
fn writes_that_were_cancelled_are_no_reset() {
    let mut model = Model::new();
    let written = |model: &mut Model, bytes: u64| {
        let mut snapshot = model.snapshot();
        let at = snapshot.cgroups.iter().position(|one| !one.processes.is_empty()).unwrap();
        let written = Bytes::from_bytes(bytes);
        snapshot.cgroups[at].processes[0].io = Some(ProcessIo {
            read: Some(Bytes::ZERO),
            written: Some(written),
            ..ProcessIo::default()
        });
        snapshot
    };
    let first = written(&mut model, 100_000_000);
    let second = written(&mut model, 60_000_000);
    let third = written(&mut model, 61_000_000);
    let of = |account: &Account| {
        let disk = account.processes.iter().find_map(|process| process.disk);
        disk.unwrap().written.as_bytes()
    };
    assert_eq!(of(&settled(&[&first, &second])), 0);
    assert_eq!(of(&settled(&[&first, &second, &third])), 1_000_000);
}

/// A process that was moved stands in two cgroups until the idle one is read again. The reading
/// with more CPU is the later one, whichever cgroup comes first.
#[test]
fn of_a_process_in_two_cgroups_the_later_reading_is_kept() {
    for order in [[300_000, 700_000], [700_000, 300_000]] {
        let mut model = Model::new();
        let mut first = model.snapshot();
        let runs = |snapshot: &Snapshot| -> Vec<usize> {
            let all = snapshot.cgroups.iter().enumerate();
            all.filter(|(_, one)| !one.processes.is_empty()).map(|(at, _)| at).collect()
        };
        let template = first.cgroups[runs(&first)[0]].processes[0].clone();
        let places: Vec<usize> = runs(&first).into_iter().take(2).collect();
        for (at, usec) in places.iter().zip(order) {
            let mut process = template.clone();
            process.cpu = Some(CpuTime::from_usec(usec));
            first.cgroups[*at].processes = vec![process];
        }
        let mut second = model.snapshot();
        for at in &places {
            second.cgroups[*at].processes.clear();
        }
        let mut process = template.clone();
        process.cpu = Some(CpuTime::from_usec(750_000));
        second.cgroups[places[0]].processes = vec![process];
        let account = settled(&[&first, &second]);
        let gained = account.processes.iter().find(|process| process.key == template.key);
        assert_eq!(gained.unwrap().cpu.unwrap().usage.as_usec(), 50_000);
    }
}

#[test]
fn a_kept_file_from_the_future_is_not_used() {
    let mut model = Model::new();
    let first = model.snapshot();
    let second = model.snapshot();
    let mut account = Account::default();
    let mut ledger = Ledger::new(UNITS);
    ledger.settle(&second, &mut account);
    let kept = ledger.counters().unwrap().clone();
    let mut resumed = Ledger::new(UNITS);
    resumed.resume(kept);
    resumed.settle(&first, &mut account);
    assert_eq!(account.since, None);
    assert!(BootId::parse(b"no boot id").is_none());
}

/// A pod whose class changes gets another cgroup. What it used in the old one since the last sample
/// is its own if the old one was read at its end, else it is under `exited` in the old class.
#[test]
fn a_pod_that_moves_to_another_class_keeps_the_sum() {
    for noticed in [true, false] {
        let mut model = Model::new();
        model.apply(&Op::Born { kind: 1, name: 0, below: 0, usec: 1_000_000 });
        let first = model.snapshot();
        // Of what runs, the pod is the third.
        model.apply(&Op::Spend { cgroup: 2, usec: 300_000, bytes: 8192 });
        if noticed {
            model.apply(&Op::Notice { cgroup: 0 });
        }
        model.apply(&Op::Die { cgroup: 0 });
        // The same uid, without a class directory.
        model.apply(&Op::Born { kind: 0, name: 10, below: 0, usec: 0 });
        model.apply(&Op::Spend { cgroup: 2, usec: 200_000, bytes: 4096 });
        let second = model.snapshot();
        let account = settled(&[&first, &second]);
        let [pod] = &account.pods[..] else { panic!("{:?}", account.pods) };
        assert!(!pod.exited);
        let exited: Vec<_> = account
            .exited
            .iter()
            .map(|exited| {
                (exited.path.to_vec(), exited.cpu.as_usec(), exited.disk.written.as_bytes())
            })
            .collect();
        if noticed {
            assert_eq!(pod.usage.cpu.unwrap().usage.as_usec(), 500_000);
            assert_eq!(pod.usage.disk.unwrap().written.as_bytes(), 12_288);
            assert!(exited.is_empty(), "{exited:?}");
        } else {
            assert_eq!(pod.usage.cpu.unwrap().usage.as_usec(), 200_000);
            let class = b"/kubepods.slice/kubepods-burstable.slice".to_vec();
            assert_eq!(exited, [(class, 300_000, 8192)]);
        }
    }
}

/// The index of a cgroup by its path.
fn at(snapshot: &Snapshot, path: &[u8]) -> usize {
    snapshot.cgroups.iter().position(|one| *one.key.path == *path).unwrap()
}

/// Two snapshots in which `/system.slice/unit0.service` used 300 ms and a pod 100 ms. The unit's
/// process had 400 ms, and is in neither cgroup of the second snapshot.
fn two_instants_of_a_migration() -> (Snapshot, Snapshot, ProcessReading) {
    let mut model = Model::new();
    model.apply(&Op::Born { kind: 4, name: 0, below: 0, usec: 0 });
    model.apply(&Op::Born { kind: 1, name: 0, below: 0, usec: 0 });
    let first = model.snapshot();
    model.apply(&Op::Spend { cgroup: 2, usec: 300_000, bytes: 0 });
    model.apply(&Op::Spend { cgroup: 3, usec: 100_000, bytes: 0 });
    let mut second = model.snapshot();
    let unit = at(&second, b"/system.slice/unit0.service");
    let mut process = second.cgroups[unit].processes.pop().unwrap();
    process.cpu = Some(CpuTime::from_usec(400_000));
    let pod = second.cgroups.iter().position(|one| one.key.path.ends_with(b"a.slice")).unwrap();
    second.cgroups[pod].processes.clear();
    (first, second, process)
}

/// Its process row has its whole time. The pod has what its own counter says, and no more of it is
/// said to be of live processes.
#[test]
fn a_process_that_migrates_brings_no_time_with_it() {
    let (first, mut second, process) = two_instants_of_a_migration();
    let pod = second.cgroups.iter().position(|one| one.key.path.ends_with(b"a.slice")).unwrap();
    second.cgroups[pod].processes.push(process);
    let account = settled(&[&first, &second]);
    let usage = &account.pods[0].usage;
    assert_eq!(usage.cpu.unwrap().usage.as_usec(), 100_000);
    assert_eq!(usage.processes_cpu.as_usec(), 100_000);
    assert_eq!(usage.exited_processes_cpu().unwrap().as_usec(), 0);
    assert_eq!(sum(given(&account).values()).usec, 400_000);
    let row = account.processes.iter().find(|row| *row.cgroup == *account.pods[0].path).unwrap();
    assert_eq!(row.cpu.unwrap().usage.as_usec(), 400_000);
}

/// The root's strays are counted by process. One that was in a unit until now is in the unit's
/// counter already; the next interval is the root's.
#[test]
fn a_process_that_leaves_the_counters_is_not_counted_twice() {
    let (first, mut second, process) = two_instants_of_a_migration();
    second.cgroups[0].processes.push(process.clone());
    let (_, mut third, _) = two_instants_of_a_migration();
    let later = |at: BootTime| at.plus(Duration::from_secs(15));
    (third.begun_at, third.ended_at) = (later(third.begun_at), later(third.ended_at));
    third.cgroups[0]
        .processes
        .push(ProcessReading { cpu: Some(CpuTime::from_usec(450_000)), ..process });
    let mut ledger = Ledger::new(UNITS);
    let mut account = Account::default();
    ledger.settle(&first, &mut account);
    ledger.settle(&second, &mut account);
    assert_eq!(sum(given(&account).values()).usec, 400_000);
    assert!(account.units.iter().any(|unit| *unit.path == *b"/" && unit.usage.processes == 1));
    ledger.settle(&third, &mut account);
    assert_eq!(sum(given(&account).values()).usec, 50_000);
}

/// A process that cgroup2 lists in a unit and v1 in a pod: the unit's counter has its time, and the
/// pod gets it.
#[test]
fn time_of_a_placed_process_leaves_the_cgroup_that_counts_it() {
    let mut model = Model::new();
    model.apply(&Op::Born { kind: 4, name: 0, below: 0, usec: 0 });
    let mut first = model.snapshot();
    model.apply(&Op::Spend { cgroup: 2, usec: 300_000, bytes: 8192 });
    let mut second = model.snapshot();
    let unit = at(&second, b"/system.slice/unit0.service");
    // 200 ms are of its process, the rest of one that ended.
    second.cgroups[unit].processes[0].cpu = Some(CpuTime::from_usec(200_000));
    for snapshot in [&mut first, &mut second] {
        place(snapshot, unit, POD_IN_V1);
    }
    let account = settled(&[&first, &second]);
    let [pod] = &account.pods[..] else { panic!("{:?}", account.pods) };
    assert_eq!(pod.usage.cpu.unwrap().usage.as_usec(), 200_000);
    assert_eq!(pod.usage.processes, 1);
    let unit = account.units.iter().find(|one| one.path.ends_with(b"unit0.service")).unwrap();
    assert_eq!(unit.usage.cpu.unwrap().usage.as_usec(), 100_000);
    assert_eq!(unit.usage.processes, 0);
    assert_eq!(sum(given(&account).values()).usec, 300_000);
    // One row for each process.
    let rows =
        account.processes.iter().filter(|row| row.cpu.is_some_and(|cpu| cpu.usage.as_usec() > 0));
    assert_eq!(rows.count(), 1);
}

/// Where the counting cgroup could not be read, its later reading is less what the pod got meanwhile.
#[test]
fn an_unread_unit_gives_the_placed_time_away_once() {
    let mut model = Model::new();
    model.apply(&Op::Born { kind: 4, name: 0, below: 0, usec: 0 });
    let mut snapshots = vec![model.snapshot()];
    for _ in 0..2 {
        model.apply(&Op::Spend { cgroup: 2, usec: 200_000, bytes: 0 });
        snapshots.push(model.snapshot());
    }
    let unit = at(&snapshots[0], b"/system.slice/unit0.service");
    snapshots[1].cgroups[unit].cpu = None;
    let mut ledger = Ledger::new(UNITS);
    let (mut account, mut total) = (Account::default(), 0);
    for snapshot in &mut snapshots {
        place(snapshot, unit, POD_IN_V1);
        ledger.settle(snapshot, &mut account);
        total += sum(given(&account).values()).usec;
    }
    assert_eq!(total, 400_000);
}

const POD_IN_V1: &str = "/kubepods/pod00000000000000000000000000000007/\
    6aa202e329f75489799803e56efd7f73194cff763d2e0daa22b693e94ff7e1ce";

/// Moves the processes of the cgroup at `unit` into a placed reading.
fn place(snapshot: &mut Snapshot, unit: usize, path: &str) {
    let key = CgroupKey { path: Arc::from(path.as_bytes()), inode: 0 };
    let mut placed = CgroupReading { placed: true, ..CgroupReading::unread(key) };
    placed.read_at = snapshot.ended_at;
    for process in &mut snapshot.cgroups[unit].processes {
        let moved = ProcessReading { place: CountedAt::CountedIn(unit), ..process.clone() };
        placed.processes.push(moved);
        process.place = CountedAt::Elsewhere;
    }
    snapshot.cgroups.push(placed);
}

/// A process counts in clock ticks, so in one interval it can show more than the counter that
/// includes it. The sum is the counter's all the same.
#[test]
fn ticks_that_run_ahead_of_a_counter_add_nothing() {
    let unreadable = |snapshot: &mut Snapshot, unit: usize| {
        snapshot.cgroups[unit].cpu = None;
        snapshot.cgroups[unit].cpu_unreadable = true;
    };
    let elsewhere = |snapshot: &mut Snapshot, unit: usize| place(snapshot, unit, POD_IN_V1);
    type Change = fn(&mut Snapshot, usize);
    let cases: [(&str, Change); 2] =
        [("without a counter", unreadable), ("counted elsewhere", elsewhere)];
    for (case, change) in cases {
        let mut model = Model::new();
        model.apply(&Op::Born { kind: 4, name: 0, below: 0, usec: 0 });
        let mut snapshots = vec![model.snapshot()];
        let steps = [14_500, 14_500, 9_000, 25_999, 1, 10_001, 14_500];
        for usec in steps {
            model.apply(&Op::Spend { cgroup: 2, usec, bytes: 0 });
            snapshots.push(model.snapshot());
        }
        let unit = at(&snapshots[0], b"/system.slice/unit0.service");
        let mut ledger = Ledger::new(UNITS);
        let mut account = Account::default();
        for (at, snapshot) in snapshots.iter_mut().enumerate() {
            change(snapshot, unit);
            ledger.settle(snapshot, &mut account);
            let expected = at.checked_sub(1).map_or(0, |at| u64::from(steps[at]));
            assert_eq!(sum(given(&account).values()).usec, expected, "{case}, sample {at}");
        }
    }
}
