//! From an account to the lists of this API.

use std::collections::BTreeMap;

use super::{
    ContainerMetrics, MetricsInterval, NodeMetrics, NodeMetricsList, PodMetrics, PodMetricsList,
    ResourceUsage,
};
use crate::directory::Catalog;
use crate::directory::pod::Labels;
use crate::ledger::Account;
use crate::payload::entities::{Entity, EntityKind, Observation};
use crate::payload::running_totals::RunningTotals;
use crate::quantity::WallTime;

/// The node and its pods in one interval that ended at `wall`.
///
/// Pods are those that the catalog knows and that run, with their running containers; the sandbox
/// is none of them. What a container used before it was restarted in the interval counts with what
/// it uses now. Memory is the working set. Something whose CPU is not known (in the first sample of
/// all, nothing is) is left out, as metrics-server leaves out what it has seen only once.
#[must_use]
pub fn of_account(
    account: &Account,
    catalog: &Catalog,
    node_name: &str,
    wall: WallTime,
) -> (NodeMetricsList, PodMetricsList) {
    let (filesystems, node_filesystem) = (&BTreeMap::new(), None);
    let metrics = None;
    let view = Observation { account, catalog, filesystems, node_filesystem, metrics };
    let entities = RunningTotals::default().add(&view).all;
    let pods = entities.iter().filter_map(|entity| pod_metrics(account, entity, wall));
    let node = node_metrics(account, catalog, node_name, wall);
    (NodeMetricsList::nodes(node.into_iter().collect()), PodMetricsList::pods(pods.collect()))
}

fn node_metrics(
    account: &Account,
    catalog: &Catalog,
    name: &str,
    wall: WallTime,
) -> Option<NodeMetrics> {
    let cpu = account.node.cpu?;
    let memory = account.node.memory?.working_set()?.as_bytes();
    let labels = catalog.node.as_ref().filter(|node| *node.name == *name);
    let labels = labels.map(|node| by_key(&node.labels)).unwrap_or_default();
    let usage = ResourceUsage::new(cpu.nanocores(), memory);
    Some(NodeMetrics::new(name, labels, MetricsInterval::new(wall, cpu.over_usec / 1000), usage))
}

fn pod_metrics(account: &Account, entity: &Entity<'_>, wall: WallTime) -> Option<PodMetrics> {
    let (EntityKind::Pod(pod), Some(used)) = (entity.kind, entity.usage) else { return None };
    // Of two running pods with one name only one is listed, as at the endpoints.
    entity.by_name.filter(|_| entity.runs)?;
    let containers: Vec<ContainerMetrics> = account
        .running_containers(pod)
        .into_iter()
        .map(|container| ContainerMetrics {
            name: container.name.to_owned(),
            usage: ResourceUsage::new(container.cpu_nanocores, container.memory_bytes),
        })
        .collect();
    if containers.is_empty() {
        return None;
    }
    let over_usec = account.over_interval(used.usage.cpu?).over_usec;
    let taken = MetricsInterval::new(wall, over_usec / 1000);
    Some(PodMetrics::new(&pod.namespace, &pod.name, by_key(&pod.labels), taken, containers))
}

fn by_key(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::attribution::{QosClass, Runtime};
    use crate::directory::node::Node;
    use crate::directory::pod::{Amounts, Container, ContainerKind, Phase, Pod, Resources};
    use crate::directory::{Directory, SourceKind};
    use crate::identity::{ContainerId, PodUid};
    use crate::ledger::account::{ContainerUsage, CpuUsage, NodeCpu, NodeUsage, PodUsage, Usage};
    use crate::quantity::{BootTime, Bytes, CpuTime};
    use crate::source::proc::meminfo::MemInfo;

    const WALL: WallTime = WallTime::from_unix_millis(1_749_654_000_000);

    fn uid(digit: char) -> PodUid {
        PodUid::parse(digit.to_string().repeat(32).as_bytes()).unwrap()
    }

    fn id(digit: char) -> ContainerId {
        ContainerId::parse(digit.to_string().repeat(64).as_bytes()).unwrap()
    }

    fn usage(usec: u64, over_usec: u64, resident: u64, processes: u32) -> Usage {
        let cpu = CpuUsage { usage: CpuTime::from_usec(usec), split: None, over_usec };
        let resident = Bytes::from_bytes(resident);
        Usage { cpu: Some(cpu), resident, processes, ..Usage::default() }
    }

    fn used(digit: char, usage: Usage) -> PodUsage {
        let path = Arc::from(&b"/kubepods"[..]);
        let qos = QosClass::Burstable;
        PodUsage { uid: uid(digit), qos, path, exited: false, host_network: None, usage }
    }

    fn container(pod: char, digit: char, exited: bool, usage: Usage) -> ContainerUsage {
        let path = Arc::from(&b"/kubepods/c"[..]);
        let (pod, id, runtime) = (uid(pod), id(digit), Runtime::Containerd);
        ContainerUsage { pod, id, runtime, path, exited, usage }
    }

    fn described(name: &str, id: Option<ContainerId>, last_id: Option<ContainerId>) -> Container {
        Container {
            name: name.into(),
            kind: ContainerKind::Regular,
            image: "i".into(),
            ports: Vec::new(),
            resources: Resources::default(),
            id,
            last_id,
            ready: true,
            restart_count: 0,
            state: None,
            last_state: None,
        }
    }

    fn pod(digit: char, name: &str, phase: Phase, containers: Vec<Container>) -> Pod {
        Pod {
            uid: uid(digit),
            api_uid: "".into(),
            namespace: "default".into(),
            name: name.into(),
            node_name: "node-1".into(),
            labels: vec![("app".into(), "web".into())],
            annotations: Vec::new(),
            owners: Vec::new(),
            workload: None,
            creation_timestamp: None,
            deletion_timestamp: None,
            phase,
            reason: None,
            message: None,
            conditions: Vec::new(),
            containers,
            sandbox: None,
            resources: Resources::default(),
            overhead: Amounts::default(),
            ips: Vec::new(),
            host_network: false,
            qos: None,
            service_account: "".into(),
            priority_class: "".into(),
            runtime_class: None,
        }
    }

    fn catalog(pods: Vec<Pod>) -> Arc<Catalog> {
        let (directory, publishers) = Directory::new(&[SourceKind::Kubernetes]);
        publishers[0].replace_pods(pods, BootTime::default());
        let labels = vec![("zone".into(), "a".into())];
        let node = Node { name: "node-1".into(), labels, ..Node::default() };
        publishers[0].set_node(node);
        directory.catalog()
    }

    fn pods(account: &Account, catalog: &Catalog) -> Value {
        json!(of_account(account, catalog, "node-1", WALL).1)["items"].clone()
    }

    #[test]
    fn a_node_is_what_it_used_and_its_working_set() {
        let cpu = NodeCpu {
            busy: CpuTime::from_usec(4_500_000),
            over_usec: 15_012_345,
            ..NodeCpu::default()
        };
        let memory = MemInfo {
            total: Some(Bytes::from_bytes(8 << 20)),
            free: Some(Bytes::from_bytes(3 << 20)),
            inactive_file: Some(Bytes::from_bytes(1 << 20)),
            ..MemInfo::default()
        };
        let node = NodeUsage { cpu: Some(cpu), memory: Some(memory), ..NodeUsage::default() };
        let mut account = Account { node, ..Account::default() };
        let list = json!(of_account(&account, &catalog(Vec::new()), "node-1", WALL).0);
        assert_eq!(
            list["items"],
            json!([{
                "metadata": {
                    "name": "node-1", "creationTimestamp": "2025-06-11T15:00:00Z",
                    "labels": {"zone": "a"}
                },
                "timestamp": "2025-06-11T15:00:00Z",
                "window": "15.012s",
                "usage": {"cpu": "299753303n", "memory": "4096Ki"}
            }])
        );
        account.node.cpu = None;
        let list = json!(of_account(&account, &catalog(Vec::new()), "node-1", WALL).0);
        assert_eq!(list["items"], json!([]), "in the first sample");
    }

    #[test]
    fn a_restarted_container_is_one_with_the_memory_of_its_latest_run() {
        let described =
            vec![described("b", Some(id('2')), Some(id('1'))), described("a", Some(id('3')), None)];
        let catalog = catalog(vec![pod('a', "web", Phase::Running, described)]);
        let account = Account {
            pods: vec![used('a', usage(900_000, 1_000_000, 1 << 20, 3))],
            containers: vec![
                container('a', '0', false, usage(1, 1_000_000, 1 << 20, 1)),
                container('a', '1', true, usage(200_000, 1_000_000, 2048, 0)),
                container('a', '2', false, usage(300_000, 1_000_000, 4096, 1)),
                container('a', '3', false, usage(0, 1_000_000, 8192, 1)),
            ],
            ..Account::default()
        };
        assert_eq!(
            pods(&account, &catalog),
            json!([{
                "metadata": {
                    "name": "web", "namespace": "default",
                    "creationTimestamp": "2025-06-11T15:00:00Z", "labels": {"app": "web"}
                },
                "timestamp": "2025-06-11T15:00:00Z",
                "window": "1s",
                "containers": [
                    {"name": "b", "usage": {"cpu": "500000000n", "memory": "4Ki"}},
                    {"name": "a", "usage": {"cpu": "0", "memory": "8Ki"}}
                ]
            }]),
            "the sandbox, which has no name, is not among them"
        );
    }

    #[test]
    fn only_known_and_running_pods_with_running_containers_are_listed() {
        let one = |digit| vec![described("c", Some(id(digit)), None)];
        let catalog = catalog(vec![
            pod('a', "done", Phase::Succeeded, one('a')),
            pod('b', "empty", Phase::Running, one('b')),
            pod('c', "gone", Phase::Running, one('c')),
            pod('d', "runs", Phase::Running, one('d')),
        ]);
        let some = usage(5, 1_000_000, 1024, 1);
        let mut account = Account {
            pods: "abcde".chars().map(|digit| used(digit, some)).collect(),
            containers: "abcde".chars().map(|d| container(d, d, false, some)).collect(),
            ..Account::default()
        };
        account.containers[1].usage.processes = 0;
        account.pods[2].exited = true;
        let listed = pods(&account, &catalog);
        assert_eq!(listed.as_array().unwrap().len(), 1);
        assert_eq!(listed[0]["metadata"]["name"], "runs");
    }
}
