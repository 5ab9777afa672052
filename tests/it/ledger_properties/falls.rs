//! Every kind of counter that goes back, and one that gains more than is possible.

use nodetally::ledger::Ledger;
use nodetally::ledger::account::Account;
use nodetally::quantity::{Bytes, CpuTime, Ticks};
use nodetally::snapshot::sockets::SocketReading;
use nodetally::snapshot::topology::{InterfaceFacts, InterfaceKind};
use nodetally::snapshot::{
    CgroupReading, InterfaceReading, NamespaceReading, ProcessReading, Snapshot,
};
use nodetally::source::cgroup::cpu_stat::Throttling;
use nodetally::source::cgroup::memory_events::MemoryEvents;
use nodetally::source::netlink::inet_diag::TcpTraffic;
use nodetally::source::proc::diskstats::DiskstatsRow;
use nodetally::source::proc::net_dev::{InterfaceName, InterfaceRow};
use nodetally::source::proc::pid_io::ProcessIo;
use proptest::prelude::*;

use crate::ledger_properties::UNITS;
use crate::ledger_properties::model::{DISK, Model, Op};
use crate::support::rounds::cases;

/// One kind of counter: where it stands in a snapshot, and where its gain stands in an account.
struct Kind {
    name: &'static str,
    set: fn(&mut Snapshot, u64),
    gain: fn(&Account) -> Option<u64>,
}

fn container(snapshot: &mut Snapshot) -> &mut CgroupReading {
    let is_it = |cgroup: &&mut CgroupReading| cgroup.key.path.ends_with(b"1.scope");
    snapshot.cgroups.iter_mut().find(is_it).unwrap()
}

fn process(snapshot: &mut Snapshot) -> &mut ProcessReading {
    &mut container(snapshot).processes[0]
}

fn interface(rx_bytes: u64, kind: InterfaceKind) -> InterfaceReading {
    let row = InterfaceRow {
        name: InterfaceName::new(b"eth0").unwrap(),
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
    InterfaceReading { row, facts: InterfaceFacts { index: None, kind } }
}

const KINDS: &[Kind] = &[
    Kind {
        name: "cpu.stat",
        set: |to, value| container(to).cpu.as_mut().unwrap().usage = CpuTime::from_usec(value),
        gain: |account| Some(account.containers[0].usage.cpu?.usage.as_usec()),
    },
    Kind {
        name: "throttling",
        set: |to, value| {
            container(to).cpu.as_mut().unwrap().throttling =
                Some(Throttling { throttled_periods: value, ..Throttling::default() });
        },
        gain: |account| Some(account.containers[0].usage.throttling?.throttled_periods),
    },
    Kind {
        name: "io.stat",
        set: |to, value| {
            container(to).io.as_mut().unwrap()[0].written = Bytes::from_bytes(value);
        },
        gain: |account| Some(account.containers[0].usage.disk?.written.as_bytes()),
    },
    Kind {
        name: "memory.events",
        set: |to, value| {
            let events = MemoryEvents { oom_kill: Some(value), ..MemoryEvents::default() };
            container(to).memory.events = Some(events);
        },
        gain: |account| account.containers[0].usage.events.oom_kills,
    },
    Kind {
        name: "process CPU",
        set: |to, value| process(to).cpu = Some(CpuTime::from_usec(value)),
        gain: |account| {
            let process = account.processes.iter().find(|one| one.cgroup.ends_with(b"1.scope"));
            Some(process?.cpu?.usage.as_usec())
        },
    },
    Kind {
        name: "process bytes",
        set: |to, value| {
            process(to).io = Some(ProcessIo {
                read: Some(Bytes::from_bytes(value)),
                written: Some(Bytes::ZERO),
                ..ProcessIo::default()
            });
        },
        gain: |account| {
            let process = account.processes.iter().find(|one| one.cgroup.ends_with(b"1.scope"));
            Some(process?.disk?.read.as_bytes())
        },
    },
    Kind {
        name: "ticks of the node",
        set: |to, value| to.node.cpu.as_mut().unwrap().user = Some(Ticks::from_ticks(value)),
        gain: |account| Some(account.node.cpu?.user?.as_usec() / 10_000),
    },
    Kind {
        name: "diskstats",
        set: |to, value| {
            to.node.disks = vec![DiskstatsRow::new(b"vda", DISK, [0, value, 0, 0]).unwrap()];
            to.node.disks_readable = true;
            to.node.disks_read_at = to.ended_at;
        },
        gain: |account| Some(account.node.disk?.written.as_bytes()),
    },
    Kind {
        name: "interface of the node",
        set: |to, value| {
            to.node.interfaces = vec![interface(value, InterfaceKind::Hardware)];
            to.node.interfaces_readable = true;
            to.node.interfaces_read_at = to.ended_at;
        },
        gain: |account| Some(account.node.network?.rx.as_bytes()),
    },
    Kind {
        name: "interface of a pod",
        set: |to, value| {
            container(to).namespace = Some(77);
            to.namespaces = vec![NamespaceReading {
                id: 77,
                is_host: false,
                leader_pid: 100,
                read_at: to.ended_at,
                interfaces: vec![interface(value, InterfaceKind::Virtual)],
                readable: true,
            }];
        },
        gain: |account| Some(account.pods[0].usage.network?.rx.as_bytes()),
    },
    Kind {
        name: "socket",
        set: |to, value| {
            let received = Bytes::from_bytes(value);
            let traffic = TcpTraffic { received, ..TcpTraffic::default() };
            let cgroup = container(to).key.inode;
            to.sockets.rows = vec![SocketReading { cookie: 1, cgroup, traffic }];
            (to.sockets.readable, to.sockets.complete) = (true, true);
        },
        gain: |account| Some(account.pods[0].usage.network.map_or(0, |it| it.rx.as_bytes())),
    },
];

/// The gains of a counter that has these values one after another, with the number of gaps.
fn gains(kind: &Kind, values: &[u64]) -> Vec<(Option<u64>, u64)> {
    let mut model = Model::new();
    model.apply(&Op::Born { kind: 1, name: 0, below: 0, usec: 0 });
    model.apply(&Op::Born { kind: 2, name: 0, below: 0, usec: 0 });
    let mut ledger = Ledger::new(UNITS);
    let mut account = Account::default();
    let settled = values.iter().map(|value| {
        let mut snapshot = model.snapshot();
        (kind.set)(&mut snapshot, *value);
        ledger.settle(&snapshot, &mut account);
        match account.since {
            Some(_) => ((kind.gain)(&account), account.gaps.count),
            None => (None, account.gaps.count),
        }
    });
    settled.skip(1).collect()
}

proptest! {
    #![proptest_config(cases(64))]

    /// Whatever it falls by: nothing was gained, a gap says so, and the next gain counts from the
    /// new value.
    #[test]
    fn a_counter_that_falls_gained_nothing(
        before in 10_000_000_000_000..100_000_000_000_000_u64,
        fall in prop_oneof![1..100_000_u64, 1..9_000_000_000_000_u64],
        later in 0..100_000_u64,
    ) {
        for kind in KINDS {
            let fallen = before - fall;
            let found = gains(kind, &[before, fallen, fallen + later]);
            prop_assert_eq!(found, [(Some(0), 1), (Some(later), 0)], "{}", kind.name);
        }
    }
}

/// In 15 s of 64 CPUs, of a disk, of a link. Events are bounded by nothing.
#[test]
fn what_the_hardware_cannot_do_is_not_known() {
    for kind in KINDS {
        let found = gains(kind, &[1000, 1000 + (1 << 45), 1007 + (1 << 45)]);
        let first = match kind.name {
            "throttling" | "memory.events" => (Some(1 << 45), 0),
            // Its owner has other sockets.
            "socket" => (Some(0), 1),
            _ => (None, 1),
        };
        assert_eq!(found, [first, (Some(7), 0)], "{}", kind.name);
    }
}

#[test]
fn a_new_object_counts_from_zero_whatever_the_old_one_had() {
    for (sequence, gain) in [(8, 400), (9, 0)] {
        let mut model = Model::new();
        let mut ledger = Ledger::new(UNITS);
        let mut account = Account::default();
        for (written, sequence) in [(900_000_000_000_000, 9), (400, sequence)] {
            let mut snapshot = model.snapshot();
            let row = DiskstatsRow::new(b"vda", DISK, [0, written, 0, 0]).unwrap();
            snapshot.node.disks = vec![row];
            snapshot.node.disks_readable = true;
            snapshot.node.disk_sequences = vec![(DISK, sequence)];
            ledger.settle(&snapshot, &mut account);
        }
        assert_eq!(account.node.disk.unwrap().written.as_bytes(), gain);
    }
}
