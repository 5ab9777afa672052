//! Accounts and catalogs made by hand, for this room's tests.

use std::sync::Arc;

use proptest::prelude::*;

use crate::attribution::{QosClass, Runtime};
use crate::directory::catalog::{CgroupNameRule, CgroupPattern, EntityName};
use crate::directory::pod::{
    Amounts, Container, ContainerKind, ContainerState, Labels, OwnerReference, Phase, Pod,
    Resources,
};
use crate::directory::resource_quantity::ResourceQuantity;
use crate::directory::{Catalog, Directory, SourceKind};
use crate::identity::{ContainerId, PodUid};
use crate::ledger::Account;
use crate::ledger::account::{
    ContainerUsage, CpuUsage, DiskUsage, NetworkUsage, PodUsage, UnitKind, UnitUsage, Usage,
};
use crate::quantity::{BootTime, Bytes, CpuTime};
use crate::snapshot::MemoryReading;
use crate::source::cgroup::memory_stat::MemoryStat;

pub fn uid(number: u32) -> PodUid {
    PodUid::parse(format!("{number:08x}-0000-0000-0000-000000000000").as_bytes()).unwrap()
}

pub fn container_id(number: u32) -> ContainerId {
    ContainerId::parse(format!("{number:064x}").as_bytes()).unwrap()
}

pub fn labels(all: &[(&str, &str)]) -> Labels {
    all.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

/// A running pod of the namespace `shop`.
pub fn pod(number: u32, name: &str) -> Pod {
    Pod {
        uid: uid(number),
        api_uid: uid(number).to_string().into(),
        namespace: "shop".into(),
        name: name.into(),
        node_name: "node-1".into(),
        labels: labels(&[("app", name)]),
        annotations: Labels::new(),
        owners: Vec::new(),
        workload: None,
        creation_timestamp: Some(format!("2026-01-01T00:00:{:02}Z", number % 60).into()),
        deletion_timestamp: None,
        phase: Phase::Running,
        reason: None,
        message: None,
        conditions: Vec::new(),
        containers: Vec::new(),
        sandbox: None,
        resources: Resources::default(),
        overhead: Amounts::default(),
        ips: vec![format!("10.0.0.{number}").into()],
        host_network: false,
        qos: None,
        service_account: Box::default(),
        priority_class: Box::default(),
        runtime_class: None,
    }
}

pub fn owner(kind: &str, name: &str) -> OwnerReference {
    OwnerReference { kind: kind.into(), name: name.into(), uid: "u".into(), controller: true }
}

pub fn container(name: &str, id: u32) -> Container {
    let quantity = |text| ResourceQuantity::parse(text);
    Container {
        name: name.into(),
        kind: ContainerKind::Regular,
        image: "registry.example/app:1".into(),
        ports: vec![(8080, "TCP".into())],
        resources: Resources {
            requests: Amounts { cpu: quantity("250m"), memory: quantity("64Mi") },
            limits: Amounts { cpu: None, memory: quantity("128Mi") },
        },
        id: Some(container_id(id)),
        last_id: None,
        ready: true,
        restart_count: 0,
        state: Some(ContainerState::Running { started_at: None }),
        last_state: None,
    }
}

/// `number` is in every figure, so that sums show what went into them.
pub fn usage(number: u64) -> Usage {
    Usage {
        cpu: Some(CpuUsage {
            usage: CpuTime::from_usec(number * 15_000),
            split: None,
            over_usec: 15_000_000,
        }),
        disk: Some(DiskUsage {
            read: Bytes::from_bytes(number),
            written: Bytes::from_bytes(number * 10),
            ..DiskUsage::default()
        }),
        network: Some(NetworkUsage {
            rx: Bytes::from_bytes(number * 100),
            tx: Bytes::from_bytes(number * 1000),
            ..NetworkUsage::default()
        }),
        memory: MemoryReading {
            current: Some(Bytes::from_bytes(number << 20)),
            stat: Some(MemoryStat { inactive_file: Some(Bytes::ZERO), ..MemoryStat::default() }),
            ..MemoryReading::default()
        },
        processes: 1,
        ..Usage::default()
    }
}

pub fn used(number: u32, figure: u64) -> PodUsage {
    PodUsage {
        uid: uid(number),
        qos: QosClass::Burstable,
        path: format!("/kubepods/burstable/pod{}", uid(number)).into_bytes().into(),
        exited: false,
        host_network: Some(false),
        usage: usage(figure),
    }
}

pub fn used_by_container(pod: u32, id: u32, figure: u64) -> ContainerUsage {
    ContainerUsage {
        pod: uid(pod),
        id: container_id(id),
        runtime: Runtime::Containerd,
        path: Arc::from(&b"/c"[..]),
        exited: false,
        usage: usage(figure),
    }
}

pub fn used_by_unit(path: &str, figure: u64) -> UnitUsage {
    let path = path.as_bytes().into();
    UnitUsage { path, kind: UnitKind::Unit, exited: false, usage: usage(figure) }
}

pub fn account(mut pods: Vec<PodUsage>) -> Account {
    pods.sort_by_key(|pod| pod.uid);
    Account {
        since: Some(BootTime::from_nanos(0)),
        until: BootTime::from_nanos(15_000_000_000),
        pods,
        ..Account::default()
    }
}

pub fn named(name: &str) -> EntityName {
    EntityName { namespace: "host".into(), name: name.into(), labels: labels(&[("on", "host")]) }
}

/// A catalog of the API server, the static file and Docker.
pub fn catalog(
    pods: Vec<Pod>,
    cgroups: &[(&str, &str)],
    containers: &[(u32, &str)],
) -> Arc<Catalog> {
    let kinds = [SourceKind::Kubernetes, SourceKind::File, SourceKind::Docker];
    let (directory, publishers) = Directory::new(&kinds);
    publishers[0].replace_pods(pods, BootTime::default());
    let cgroups = cgroups.iter().map(|(pattern, name)| CgroupNameRule {
        pattern: CgroupPattern::new(pattern).unwrap(),
        entity: named(name),
        makes_owner: false,
    });
    publishers[1].replace_cgroups(cgroups.collect(), BootTime::default());
    let containers = containers.iter().map(|(id, name)| (container_id(*id), named(name)));
    publishers[2].replace_containers(containers, BootTime::default());
    directory.catalog()
}

/// Texts as a directory can hold them: any, and at times nothing.
fn text() -> impl Strategy<Value = Box<str>> {
    "[a-z]{0,3}|\\PC{0,5}".prop_map(String::into)
}

fn phase() -> impl Strategy<Value = Phase> {
    prop::sample::select(vec![
        Phase::Pending,
        Phase::Running,
        Phase::Running,
        Phase::Succeeded,
        Phase::Failed,
        Phase::Unknown,
    ])
}

fn any_labels() -> impl Strategy<Value = Labels> {
    prop::collection::btree_map(text(), text(), 0..3).prop_map(|map| map.into_iter().collect())
}

prop_compose! {
    /// A pod with few names to choose from, so that some have the same.
    pub fn any_pod()(
        number in 0..6_u32,
        name in prop::sample::select(vec!["a", "b", "c", "", "ü/ü"]),
        namespace in prop::sample::select(vec!["shop", "kube-system", ""]),
        phase in phase(),
        labels in any_labels(),
        (owner_kind, owner_name, owned) in (text(), text(), any::<bool>()),
        (annotations, reason) in (any_labels(), prop::option::of(text())),
        ids in prop::collection::vec((0..6_u32, prop::option::of(0..6_u32)), 0..3),
        (deleted, ips) in (any::<bool>(), prop::collection::vec(text(), 0..2)),
    ) -> Pod {
        let state = |of: Option<u8>| of.map(|of| match of {
            0 => ContainerState::Waiting { reason: reason.clone(), message: reason.clone() },
            1 => ContainerState::Running { started_at: reason.clone() },
            _ => ContainerState::Terminated {
                exit_code: -1, signal: Some(9), reason: reason.clone(), message: reason.clone(),
                started_at: None, finished_at: reason.clone(),
            },
        });
        let containers = ids.iter().map(|(id, last)| Container {
            last_id: last.map(container_id),
            state: state(state_of(*id, number)),
            last_state: state(state_of(number, *id)),
            ..container(&format!("c{id}"), *id)
        });
        Pod {
            namespace: namespace.into(),
            phase,
            labels,
            annotations,
            reason: reason.clone(),
            message: reason.clone(),
            owners: owned.then(|| owner(&owner_kind, &owner_name)).into_iter().collect(),
            containers: containers.collect(),
            deletion_timestamp: deleted.then(|| "2026-01-02T00:00:00Z".into()),
            ips,
            ..pod(number, name)
        }
    }
}

fn state_of(a: u32, b: u32) -> Option<u8> {
    u8::try_from((a + b) % 4).ok().filter(|state| *state < 3)
}

prop_compose! {
    /// Pods with and without usage, some gone, with containers; and units of the host.
    pub fn any_account()(
        pods in prop::collection::btree_map(
            0..6_u32,
            (0..1_u64 << 50, any::<bool>(), any::<bool>(), 0..2_u32),
            0..5,
        ),
        containers in prop::collection::vec((0..6_u32, 0..6_u32, 0..1000_u64), 0..6),
        units in prop::collection::vec((0..4_u32, 0..1000_u64, any::<bool>()), 0..4),
    ) -> Account {
        let pods = pods.into_iter().map(|(number, (figure, exited, known, processes))| {
            let usage = if known { usage(figure % (1 << 20)) } else { Usage::default() };
            let usage = Usage { processes, ..usage };
            PodUsage { exited, usage, ..used(number, 0) }
        });
        let mut account = account(pods.collect());
        let containers = containers.into_iter();
        account.containers =
            containers.map(|(pod, id, figure)| used_by_container(pod, id, figure)).collect();
        account.containers.sort_by_key(|container| (container.pod, container.id));
        account.units = units
            .into_iter()
            .map(|(number, figure, in_container)| {
                let unit = used_by_unit(&format!("/unit-{number}"), figure);
                let (id, runtime) = (container_id(number), Runtime::Docker);
                let container = UnitKind::Container { id, runtime };
                UnitUsage { kind: if in_container { container } else { unit.kind }, ..unit }
            })
            .collect();
        account
    }
}

pub fn any_catalog() -> impl Strategy<Value = Arc<Catalog>> {
    prop::collection::vec(any_pod(), 0..6).prop_map(|pods| {
        let cgroups = [("/unit-0", "a"), ("/unit-*", "all"), ("/kubepods/burstable/pod*5*", "p")];
        catalog(pods, &cgroups, &[(0, "docker-0"), (1, "docker-1")])
    })
}
