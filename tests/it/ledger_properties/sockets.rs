//! Whose the TCP traffic of the host's network namespace is.

use std::collections::BTreeMap;

use nodetally::ledger::Ledger;
use nodetally::ledger::account::{Account, NetworkSource, NetworkUsage};
use nodetally::quantity::{BootTime, Bytes};
use nodetally::snapshot::known_sockets::KnownSockets;
use nodetally::snapshot::sockets::{EndedSocket, SocketReading, SocketsReading};
use nodetally::snapshot::{NamespaceReading, Snapshot};
use nodetally::source::netlink::inet_diag::{IpFamily, SocketEnd, TcpSocket, TcpTraffic};
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
    let short_lived = Vec::new();
    snapshot.sockets = SocketsReading { readable: true, complete: true, rows, ended, short_lived };
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
            id: 40,
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

const ANY: [u8; 16] = [0; 16];
const PORT: u16 = 443;
const EPHEMERAL: u16 = 50_000;

fn end(port: u16, address: [u8; 16]) -> SocketEnd {
    SocketEnd { port, family: IpFamily::V4, address, interface: 0 }
}

fn address(last: u8) -> [u8; 16] {
    let mut bytes = ANY;
    bytes[..4].copy_from_slice(&[10, 0, 0, last]);
    bytes
}

fn listener(cookie: u64, cgroup: u64, end: SocketEnd) -> TcpSocket {
    let traffic = TcpTraffic::default();
    TcpSocket { cookie, cgroup: Some(cgroup), listens: true, end, is_local: true, traffic }
}

/// A connection as a dump has it.
fn connection(row: SocketReading, port: u16) -> TcpSocket {
    let SocketReading { cookie, cgroup, traffic } = row;
    let end = end(port, address(7));
    TcpSocket { cookie, cgroup: Some(cgroup), listens: false, end, is_local: false, traffic }
}

/// Its end, which names no cgroup.
fn notice(socket: TcpSocket) -> TcpSocket {
    TcpSocket { cgroup: None, listens: false, ..socket }
}

/// A sampler's sockets, fed by hand.
#[derive(Default)]
struct Fed {
    known: KnownSockets,
    listeners: Vec<TcpSocket>,
}

impl Fed {
    fn ends(&mut self, socket: TcpSocket) {
        self.known.end(&notice(socket));
    }

    /// A dump between two samples.
    fn look(&mut self, sockets: &[TcpSocket]) {
        self.known.begin_dump();
        self.listeners.iter().for_each(|socket| self.known.add_listener(socket));
        sockets.iter().for_each(|socket| self.known.add(socket));
        self.known.end_dump();
    }

    fn sample(&mut self, snapshot: &mut Snapshot, rows: &[SocketReading]) {
        self.known.begin_dump();
        self.listeners.iter().for_each(|socket| self.known.add_listener(socket));
        self.known.sampled(rows);
        let reading = &mut snapshot.sockets;
        (reading.readable, reading.complete, reading.rows) = (true, true, rows.to_vec());
        self.known.take(reading);
    }
}

/// Two samples of a pod and a unit, and what happens to sockets in between. The traffic of the pod
/// and of init.scope afterwards.
fn between(
    before: impl Fn(u64, u64) -> (Vec<TcpSocket>, Vec<SocketReading>),
    happens: impl Fn(&mut Fed, u64, u64),
) -> [Option<(u64, u64)>; 2] {
    let mut model = with_a_pod();
    let (mut first, mut second) = (model.snapshot(), model.snapshot());
    let (container, init) = (inode(&first, "1.scope"), inode(&first, "/init.scope"));
    let (listeners, rows) = before(container, init);
    let mut fed = Fed { listeners, ..Fed::default() };
    fed.sample(&mut first, &rows);
    happens(&mut fed, container, init);
    fed.sample(&mut second, &[]);
    let account = settled(&[first, second]).remove(1);
    [pod(&account), unit(&account, "init.scope")]
}

/// 300 requests of 1,000 bytes, answered with 2,000.
#[test]
fn what_a_listener_accepted_is_its_owners_however_short() {
    let [pod, unit] = between(
        |container, _| (vec![listener(1, container, end(PORT, ANY))], Vec::new()),
        |fed, container, _| {
            for cookie in 100..400 {
                fed.ends(connection(socket(cookie, container, 1000, 2000), PORT));
            }
            // One that only left from a port of its own.
            fed.ends(connection(socket(500, container, 77, 77), EPHEMERAL));
        },
    );
    assert_eq!((pod, unit), (Some((300_000, 600_000)), None));
}

/// 100 MiB sent over a connection that is opened and closed between the samples.
#[test]
fn a_connection_that_a_look_has_seen_is_given_whole_and_one_that_none_has_is_not() {
    const MIB: u64 = 1 << 20;
    for is_seen in [true, false] {
        let [pod, unit] = between(
            |_, _| (Vec::new(), Vec::new()),
            |fed, container, _| {
                if is_seen {
                    fed.look(&[connection(socket(9, container, 10, 3 * MIB), EPHEMERAL)]);
                }
                fed.ends(connection(socket(9, container, 500, 100 * MIB), EPHEMERAL));
                // Its event once more.
                if is_seen {
                    fed.ends(connection(socket(9, container, 500, 100 * MIB), EPHEMERAL));
                }
            },
        );
        assert_eq!((pod, unit), (is_seen.then_some((500, 100 * MIB)), None));
    }
}

#[test]
fn a_connection_goes_to_the_listener_of_its_own_address() {
    let [pod, unit] = between(
        |container, init| {
            let all = [(1, container, ANY), (2, init, address(7)), (3, container, address(8))];
            (all.map(|(cookie, cgroup, at)| listener(cookie, cgroup, end(PORT, at))).into(), vec![])
        },
        |fed, _, init| fed.ends(connection(socket(9, init, 50, 60), PORT)),
    );
    assert_eq!((pod, unit), (None, Some((50, 60))));
}

#[test]
fn where_two_owners_share_a_port_only_a_dump_can_tell() {
    let [pod, unit] = between(
        |container, init| {
            let all = [(1, container), (2, init)];
            (all.map(|(cookie, cgroup)| listener(cookie, cgroup, end(PORT, ANY))).into(), vec![])
        },
        |fed, container, init| {
            fed.ends(connection(socket(8, init, 1_000_000, 0), PORT));
            fed.look(&[connection(socket(9, container, 1, 1), PORT)]);
            fed.ends(connection(socket(9, container, 50, 60), PORT));
        },
    );
    assert_eq!((pod, unit), (Some((50, 60)), None));
}

/// Its successor on the port may be another owner, until a dump has seen it.
#[test]
fn a_listener_that_closed_is_given_nothing_more() {
    let [pod, unit] = between(
        |container, _| (vec![listener(1, container, end(PORT, ANY))], Vec::new()),
        |fed, container, init| {
            fed.ends(connection(socket(8, container, 5, 6), PORT));
            let old = fed.listeners.remove(0);
            fed.ends(old);
            assert!(fed.known.take_missed(), "it is worth a look");
            fed.ends(connection(socket(9, init, 1_000_000, 1_000_000), PORT));
            assert!(fed.known.take_missed());
            assert!(!fed.known.take_missed());
            fed.listeners.push(listener(2, init, end(PORT, ANY)));
            fed.look(&[]);
            fed.ends(connection(socket(10, init, 30, 40), PORT));
            assert!(!fed.known.take_missed());
        },
    );
    assert_eq!((pod, unit), (Some((5, 6)), Some((30, 40))));
}

#[test]
fn a_socket_that_one_dump_passed_over_is_not_taken_for_a_short_one() {
    let mut model = with_a_pod();
    let mut snapshots = [(); 5].map(|()| model.snapshot());
    let container = inode(&snapshots[0], "1.scope");
    let row = |received| socket(9, container, received, 0);
    let mut fed = Fed::default();
    fed.listeners.push(listener(1, container, end(PORT, ANY)));
    fed.sample(&mut snapshots[0], &[row(1_000_000_000)]);
    // Three dumps lack it.
    for snapshot in &mut snapshots[1..4] {
        fed.sample(snapshot, &[]);
    }
    fed.ends(connection(row(1_000_000_300), PORT));
    fed.sample(&mut snapshots[4], &[]);
    let accounts = settled(&snapshots);
    assert_eq!(
        accounts[1..].iter().map(pod).collect::<Vec<_>>(),
        [None, None, None, Some((300, 0))]
    );
}

/// A socket that the agent did not see from its start may be as old as the host.
#[test]
fn before_the_first_whole_dump_an_unknown_end_is_no_short_connection() {
    for (is_readable, is_complete) in [(false, false), (true, false)] {
        let mut model = with_a_pod();
        let mut snapshots = [model.snapshot(), model.snapshot(), model.snapshot()];
        let container = inode(&snapshots[0], "1.scope");
        let mut fed = Fed::default();
        fed.listeners.push(listener(1, container, end(PORT, ANY)));
        fed.sample(&mut snapshots[0], &[]);
        fed.known = KnownSockets::default();
        let reading = &mut snapshots[1].sockets;
        fed.look(&[]);
        fed.ends(connection(socket(8, container, 1_000_000, 0), PORT));
        fed.look(&[connection(socket(9, container, 1_000_000, 0), PORT)]);
        (reading.readable, reading.complete) = (is_readable, is_complete);
        fed.known.take(reading);
        assert_eq!(reading.ended.len(), 1, "the state file may know it");
        assert!(reading.short_lived.is_empty());
        fed.ends(connection(socket(9, container, 1_000_000, 0), PORT));
        fed.sample(&mut snapshots[2], &[]);
        assert!(snapshots[2].sockets.short_lived.is_empty());
    }
}

/// Sums are not rows: however many end, as many owners as there are have one.
#[test]
fn a_million_short_connections_take_no_room() {
    let mut fed = Fed::default();
    fed.listeners.push(listener(1, 5, end(PORT, ANY)));
    let mut snapshot = Snapshot::default();
    fed.sample(&mut snapshot, &[]);
    for cookie in 100..1_000_100 {
        fed.ends(connection(socket(cookie, 5, 3, 4), PORT));
    }
    fed.sample(&mut snapshot, &[]);
    let [sum] = snapshot.sockets.short_lived[..] else { panic!() };
    assert_eq!(
        (sum.cgroup, sum.received.as_bytes(), sum.acked.as_bytes()),
        (5, 3_000_000, 4_000_000)
    );
    assert_eq!((sum.segments_in, sum.segments_out), (3_000_000, 4_000_000));
    assert!(snapshot.sockets.ended.is_empty());
}

/// An event of the socket in a slot. Slots 0 and 1 are accepted sockets, of the pod and of
/// init.scope; 2 and 3 are opened from here.
#[derive(Debug, Clone, Copy)]
enum Event {
    Carries(u64, u64),
    Ends(u64),
    Look,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => (0..4_u64, 0..1000_u64).prop_map(|(slot, bytes)| Event::Carries(slot, bytes)),
        3 => (0..4_u64).prop_map(Event::Ends),
        1 => Just(Event::Look),
    ]
}

proptest! {
    #![proptest_config(cases(256))]

    /// Whenever dumps come, and whichever socket a sample passes over: every byte of a socket that
    /// was accepted or dumped is given once to its owner, and of the others none.
    #[test]
    fn every_byte_whose_owner_can_be_known_is_given_once(
        // With no more samples than may lack a socket.
        history in prop::collection::vec(
            (prop::collection::vec(event(), 0..20), 0..8_u64), 1..4),
    ) {
        let mut model = with_a_pod();
        let mut first = model.snapshot();
        let owners = [inode(&first, "1.scope"), inode(&first, "/init.scope")];
        let port = |slot: u64| match slot { 0 => 80, 1 => 81, _ => EPHEMERAL };
        let listeners =
            vec![listener(1, owners[0], end(80, ANY)), listener(2, owners[1], end(81, ANY))];
        let mut fed = Fed { listeners, ..Fed::default() };
        fed.sample(&mut first, &[]);
        let mut snapshots = vec![first];
        // By slot: the cookie, what it carried, and whether a dump has had it.
        let mut living: BTreeMap<u64, (u64, u64, bool)> = BTreeMap::new();
        let mut cookie = 10;
        let mut known = [0_u64; 2];
        let row = |slot: u64, (cookie, total, _): (u64, u64, bool)| socket(cookie, owners[(slot % 2) as usize], total, 0);
        for (events, passed_over) in history {
            for event in events {
                match event {
                    Event::Carries(slot, bytes) => {
                        let one = living.entry(slot).or_insert_with(|| {
                            cookie += 1;
                            (cookie, 0, false)
                        });
                        one.1 += bytes;
                    }
                    Event::Ends(slot) => {
                        let Some(one) = living.remove(&slot) else { continue };
                        fed.ends(connection(row(slot, one), port(slot)));
                        if one.2 || slot < 2 {
                            known[(slot % 2) as usize] += one.1;
                        }
                    }
                    Event::Look => {
                        let all: Vec<_> =
                            living.iter().map(|(slot, one)| connection(row(*slot, *one), port(*slot))).collect();
                        fed.look(&all);
                        living.values_mut().for_each(|one| one.2 = true);
                    }
                }
            }
            let mut rows = Vec::new();
            for (slot, one) in living.iter_mut().filter(|(slot, _)| **slot != passed_over) {
                one.2 = true;
                rows.push(row(*slot, *one));
            }
            rows.sort_by_key(|row| row.cookie);
            let mut snapshot = model.snapshot();
            fed.sample(&mut snapshot, &rows);
            snapshots.push(snapshot);
        }
        // The last sample has them all, so that what lives is known too.
        for (slot, one) in &living {
            known[(slot % 2) as usize] += one.1;
        }
        let mut rows: Vec<_> = living.iter().map(|(slot, one)| row(*slot, *one)).collect();
        rows.sort_by_key(|row| row.cookie);
        let mut last = model.snapshot();
        fed.sample(&mut last, &rows);
        snapshots.push(last);
        let accounts = settled(&snapshots);
        let sum = |of: fn(&Account) -> Option<(u64, u64)>| -> u64 {
            accounts.iter().filter_map(of).map(|(rx, _)| rx).sum()
        };
        prop_assert_eq!(sum(pod), known[0]);
        prop_assert_eq!(sum(|account| unit(account, "init.scope")), known[1]);
    }

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
