//! Whose the TCP traffic of the host's network namespace is.

use std::collections::BTreeMap;

use nodetally::ledger::Ledger;
use nodetally::ledger::account::{Account, NetworkSource, NetworkUsage};
use nodetally::quantity::{BootTime, Bytes};
use nodetally::snapshot::sockets::{EndedSocket, SocketReading, SocketsReading};
use nodetally::snapshot::{NamespaceReading, Snapshot};
use nodetally::source::netlink::inet_diag::TcpTraffic;
use proptest::prelude::*;

use crate::ledger_properties::UNITS;
use crate::ledger_properties::model::{Model, Op};
use crate::support::rounds::cases;

/// A pod with a container, which is the last cgroup born.
fn with_a_pod() -> Model {
    let mut model = Model::new();
    model.apply(&Op::Born { kind: 1, name: 0, below: 0, usec: 0 });
    model.apply(&Op::Born { kind: 2, name: 0, below: 0, usec: 0 });
    model
}

fn inode(snapshot: &Snapshot, end: &str) -> u64 {
    let found = snapshot.cgroups.iter().find(|one| one.key.path.ends_with(end.as_bytes()));
    found.unwrap_or_else(|| panic!("no {end}")).key.inode
}

fn socket(cookie: u64, cgroup: u64, received: u64, acked: u64) -> SocketReading {
    let traffic = TcpTraffic {
        received: Bytes::from_bytes(received),
        acked: Bytes::from_bytes(acked),
        segments_in: received as u32,
        segments_out: acked as u32,
    };
    SocketReading { cookie, cgroup, traffic }
}

fn show(snapshot: &mut Snapshot, rows: &[SocketReading], ended: &[SocketReading]) {
    // A notice names no cgroup.
    let ended = ended.iter().map(|row| EndedSocket { cookie: row.cookie, traffic: row.traffic });
    let (rows, ended) = (rows.to_vec(), ended.collect());
    snapshot.sockets = SocketsReading { readable: true, complete: true, rows, ended };
}

fn settled(snapshots: &[Snapshot]) -> Vec<Account> {
    let mut ledger = Ledger::new(UNITS);
    let mut account = Account::default();
    let settle = |snapshot| {
        ledger.settle(snapshot, &mut account);
        account.clone()
    };
    snapshots.iter().map(settle).collect()
}

fn figures(network: Option<NetworkUsage>) -> Option<(u64, u64)> {
    network.map(|network| (network.rx.as_bytes(), network.tx.as_bytes()))
}

fn pod(account: &Account) -> Option<(u64, u64)> {
    figures(account.pods[0].usage.network)
}

fn unit(account: &Account, name: &str) -> Option<(u64, u64)> {
    let unit = account.units.iter().find(|unit| unit.name() == name.as_bytes()).unwrap();
    figures(unit.usage.network)
}

#[test]
fn each_socket_counts_for_the_owner_of_its_cgroup() {
    let mut model = with_a_pod();
    let (mut first, mut second) = (model.snapshot(), model.snapshot());
    let (container, init) = (inode(&first, "1.scope"), inode(&first, "/init.scope"));
    show(&mut first, &[socket(1, container, 500, 50), socket(2, init, 10, 10)], &[]);
    show(
        &mut second,
        &[
            socket(1, container, 1500, 60),
            socket(2, init, 10, 17),
            // Made since.
            socket(3, container, 7, 700),
            // Of a cgroup that nobody knows.
            socket(4, 987_654, 1_000_000, 1_000_000),
        ],
        &[],
    );
    let accounts = settled(&[first, second]);
    assert_eq!(pod(&accounts[0]), None);
    assert_eq!(pod(&accounts[1]), Some((1007, 710)));
    let network = accounts[1].pods[0].usage.network.unwrap();
    assert_eq!(network.from, NetworkSource::TcpSockets);
    assert_eq!((network.rx_packets, network.tx_packets), (1007, 710));
    assert_eq!(unit(&accounts[1], "init.scope"), Some((0, 7)));
    assert_eq!(unit(&accounts[1], "user@1000.service"), None);
}

#[test]
fn an_owner_in_the_hosts_namespace_whose_sockets_carried_nothing_has_a_zero() {
    let mut model = with_a_pod();
    let mut snapshots = [model.snapshot(), model.snapshot()];
    for snapshot in &mut snapshots {
        show(snapshot, &[], &[]);
        for cgroup in snapshot.cgroups.iter_mut().filter(|one| one.key.path.ends_with(b".scope")) {
            cgroup.namespace = Some(40);
        }
        snapshot.namespaces = vec![NamespaceReading {
            inode: 40,
            is_host: true,
            leader_pid: 1,
            read_at: BootTime::default(),
            interfaces: Vec::new(),
            readable: true,
        }];
    }
    let accounts = settled(&snapshots);
    assert_eq!(pod(&accounts[1]), Some((0, 0)));
    assert_eq!(accounts[1].pods[0].host_network, Some(true));
    assert_eq!(unit(&accounts[1], "init.scope"), Some((0, 0)));
}

#[test]
fn the_last_counters_of_a_socket_that_ended_are_counted_once() {
    let mut model = with_a_pod();
    let mut snapshots = [model.snapshot(), model.snapshot(), model.snapshot()];
    let container = inode(&snapshots[0], "1.scope");
    let row = |received| socket(1, container, received, 0);
    show(&mut snapshots[0], &[row(100)], &[]);
    show(&mut snapshots[1], &[], &[row(450)]);
    show(&mut snapshots[2], &[], &[]);
    let accounts = settled(&snapshots);
    assert_eq!(pod(&accounts[1]), Some((350, 0)));
    assert_eq!(pod(&accounts[2]), None);
}

#[test]
fn a_dump_that_passed_over_a_socket_makes_no_spike_of_it() {
    let mut model = with_a_pod();
    let mut snapshots = [model.snapshot(), model.snapshot(), model.snapshot(), model.snapshot()];
    let container = inode(&snapshots[0], "1.scope");
    let row = |received| socket(1, container, received, 0);
    show(&mut snapshots[0], &[row(1_000_000)], &[]);
    show(&mut snapshots[1], &[], &[]);
    show(&mut snapshots[2], &[row(1_000_300)], &[]);
    // One whose end was told of late.
    show(&mut snapshots[3], &[], &[row(1_000_304)]);
    let accounts = settled(&snapshots);
    assert_eq!(pod(&accounts[1]), None);
    assert_eq!(pod(&accounts[2]), Some((300, 0)));
    assert_eq!(pod(&accounts[3]), Some((4, 0)));
}

#[test]
fn a_socket_that_is_new_to_an_incomplete_list_may_be_old() {
    let mut model = with_a_pod();
    let mut snapshots = [model.snapshot(), model.snapshot(), model.snapshot()];
    let container = inode(&snapshots[0], "1.scope");
    show(&mut snapshots[0], &[], &[]);
    snapshots[0].sockets.complete = false;
    show(&mut snapshots[1], &[socket(1, container, 1_000_000, 0)], &[]);
    show(&mut snapshots[2], &[socket(1, container, 1_000_005, 0)], &[]);
    let accounts = settled(&snapshots);
    assert_eq!(pod(&accounts[1]), None);
    assert_eq!(pod(&accounts[2]), Some((5, 0)));
}

#[test]
fn sockets_that_cannot_be_read_for_once_are_held_against_the_last_that_were() {
    let mut model = with_a_pod();
    let mut snapshots = [model.snapshot(), model.snapshot(), model.snapshot()];
    let container = inode(&snapshots[0], "1.scope");
    show(&mut snapshots[0], &[socket(1, container, 100, 0)], &[]);
    show(&mut snapshots[2], &[socket(1, container, 160, 0)], &[]);
    let accounts = settled(&snapshots);
    assert_eq!(pod(&accounts[1]), None);
    assert_eq!(pod(&accounts[2]), Some((60, 0)));
}

/// Its container is gone, or its whole pod: then it is with what died in the class.
#[test]
fn what_a_dead_cgroups_socket_carried_goes_to_the_nearest_that_lives() {
    for (dies, expect_pod, expect_exited) in [(1, Some((30, 0)), 0), (0, None, 30)] {
        let mut model = with_a_pod();
        let mut first = model.snapshot();
        let container = inode(&first, "1.scope");
        show(&mut first, &[socket(1, container, 100, 0)], &[]);
        model.apply(&Op::Die { cgroup: dies });
        let mut second = model.snapshot();
        second.node.interfaces_readable = true;
        show(&mut second, &[], &[socket(1, container, 130, 0)]);
        let account = settled(&[first, second]).remove(1);
        assert_eq!(account.pods.first().and_then(|pod| figures(pod.usage.network)), expect_pod);
        let exited: u64 = account.exited.iter().map(|one| one.network.rx.as_bytes()).sum();
        assert_eq!(exited, expect_exited);
    }
}

#[test]
fn segments_that_begin_again_from_zero_are_still_few() {
    let mut model = with_a_pod();
    let (mut first, mut second) = (model.snapshot(), model.snapshot());
    let container = inode(&first, "1.scope");
    let (mut before, mut now) = (socket(1, container, 0, 0), socket(1, container, 9, 9));
    before.traffic.segments_in = u32::MAX - 1;
    now.traffic.segments_in = 3;
    show(&mut first, &[before], &[]);
    show(&mut second, &[now], &[]);
    let account = settled(&[first, second]).remove(1);
    assert_eq!(account.pods[0].usage.network.unwrap().rx_packets, 5);
}

/// Closed with SO_LINGER 0, or connected to somebody else: the kernel begins again from 0. The
/// cookie is the same, so nothing was gained, and nothing says that the counter was new.
#[test]
fn a_socket_that_was_reset_makes_no_spike() {
    let mut model = with_a_pod();
    let mut snapshots = [model.snapshot(), model.snapshot(), model.snapshot()];
    let container = inode(&snapshots[0], "1.scope");
    show(
        &mut snapshots[0],
        &[socket(1, container, 0, 1_000_001), socket(2, container, 0, 5001)],
        &[],
    );
    show(&mut snapshots[1], &[socket(2, container, 0, 3)], &[socket(1, container, 0, 0)]);
    show(&mut snapshots[2], &[socket(2, container, 0, 10)], &[]);
    let accounts = settled(&snapshots);
    let network = |at: usize| {
        let network = accounts[at].pods[0].usage.network.unwrap();
        (network.tx.as_bytes(), network.tx_packets)
    };
    assert_eq!((network(1), network(2)), ((0, 0), (7, 7)));
    // One gap, for the connection that is there; the other was cleared by the kernel at its end.
    assert_eq!(accounts[1].gaps.count, 1);
}

/// Three dumps in a row may miss a socket. After a fourth it is dropped, and new when it is back.
#[test]
fn a_socket_is_remembered_over_three_dumps_that_miss_it() {
    for (missed, gained) in [(1, 300), (3, 300), (4, 1_000_300)] {
        let mut model = with_a_pod();
        let mut first = model.snapshot();
        let container = inode(&first, "1.scope");
        show(&mut first, &[socket(1, container, 1_000_000, 0)], &[]);
        let mut snapshots = vec![first];
        for _ in 0..missed {
            let mut between = model.snapshot();
            show(&mut between, &[], &[]);
            snapshots.push(between);
        }
        let mut last = model.snapshot();
        show(&mut last, &[socket(1, container, 1_000_300, 0)], &[]);
        snapshots.push(last);
        let accounts = settled(&snapshots);
        assert_eq!(pod(accounts.last().unwrap()), Some((gained, 0)), "missed {missed} times");
    }
}

/// The dump fails, and a socket ends all the same: its notice counts, and only once.
#[test]
fn an_end_is_counted_although_the_sockets_could_not_be_dumped() {
    let mut model = with_a_pod();
    let mut snapshots = [model.snapshot(), model.snapshot(), model.snapshot()];
    let container = inode(&snapshots[0], "1.scope");
    show(&mut snapshots[0], &[socket(1, container, 100, 0)], &[]);
    show(&mut snapshots[1], &[], &[socket(1, container, 140, 0)]);
    snapshots[1].sockets.readable = false;
    show(&mut snapshots[2], &[], &[socket(1, container, 140, 0)]);
    let accounts = settled(&snapshots);
    assert_eq!(pod(&accounts[1]), Some((40, 0)));
    assert_eq!(pod(&accounts[2]), None);
}

proptest! {
    #![proptest_config(cases(256))]

    /// Sockets come, carry and go, some of them between two samples: every byte that one carried
    /// while it was known is given once, and never one more.
    #[test]
    fn every_byte_of_a_known_socket_is_given_once(
        history in prop::collection::vec(
            prop::collection::vec((0..6_u64, 0..1000_u64, any::<bool>()), 0..8), 1..8),
    ) {
        let mut model = with_a_pod();
        let mut first = model.snapshot();
        let owners = [inode(&first, "1.scope"), inode(&first, "/init.scope")];
        show(&mut first, &[], &[]);
        let mut snapshots = vec![first];
        // The living, by slot: its cookie, what it carried, and whether a sample has seen it.
        let mut living: BTreeMap<u64, (u64, u64, bool)> = BTreeMap::new();
        let mut cookie = 0;
        // Of those that were seen, by owner.
        let mut carried = [0_u64; 2];
        let mut unseen: BTreeMap<u64, u64> = BTreeMap::new();
        for interval in history {
            let mut ended = Vec::new();
            for (slot, bytes, ends) in interval {
                let (number, total, seen) = living.entry(slot).or_insert_with(|| {
                    cookie += 1;
                    (cookie, 0, false)
                });
                *total += bytes;
                let owner = (slot % 2) as usize;
                if *seen {
                    carried[owner] += bytes;
                } else {
                    *unseen.entry(*number).or_default() += bytes;
                }
                if ends {
                    ended.push(socket(*number, owners[owner], *total, 0));
                    unseen.remove(number);
                    living.remove(&slot);
                }
            }
            ended.sort_by_key(|row| row.cookie);
            let mut rows = Vec::new();
            for (slot, (number, total, seen)) in &mut living {
                let owner = (slot % 2) as usize;
                rows.push(socket(*number, owners[owner], *total, 0));
                *seen = true;
                carried[owner] += unseen.remove(number).unwrap_or_default();
            }
            rows.sort_by_key(|row| row.cookie);
            let mut snapshot = model.snapshot();
            show(&mut snapshot, &rows, &ended);
            snapshots.push(snapshot);
        }
        let accounts = settled(&snapshots);
        let sum = |of: fn(&Account) -> Option<(u64, u64)>| -> u64 {
            accounts.iter().filter_map(of).map(|(rx, _)| rx).sum()
        };
        prop_assert_eq!(sum(pod), carried[0]);
        prop_assert_eq!(sum(|account| unit(account, "init.scope")), carried[1]);
    }
}
