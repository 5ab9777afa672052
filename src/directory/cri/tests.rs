//! The messages against what protoc made of the published definition, and pods out of them.

use proptest::prelude::*;
use prost::Message as _;

use super::messages::{
    ContainerMetadata, CriContainer, ListContainersResponse, ListPodSandboxResponse, PodSandbox,
    PodSandboxMetadata, VersionResponse,
};
use super::pods::pods;
use crate::directory::pod::{CONFIG_HASH, ContainerKind, ContainerState, Phase, Pod, value_of};
use crate::identity::{ContainerId, PodUid};

const VERSION: &[u8] = include_bytes!("../../../fixtures/kubernetes/cri/version.binpb");
const SANDBOXES: &[u8] = include_bytes!("../../../fixtures/kubernetes/cri/sandboxes.binpb");
const CONTAINERS: &[u8] = include_bytes!("../../../fixtures/kubernetes/cri/containers.binpb");

/// Recorded answers of containerd 1.6.20.
const REAL_VERSION: &[u8] =
    include_bytes!("../../../fixtures/kubernetes/cri/containerd-1.6.20/version.bin");
const REAL_SANDBOXES: &[u8] =
    include_bytes!("../../../fixtures/kubernetes/cri/containerd-1.6.20/sandboxes.bin");
const REAL_CONTAINERS: &[u8] =
    include_bytes!("../../../fixtures/kubernetes/cri/containerd-1.6.20/containers.bin");

const ANNOTATION_BYTES_MAX: usize = 32;

fn published() -> Vec<Pod> {
    let sandboxes = ListPodSandboxResponse::decode(SANDBOXES).unwrap().items;
    let containers = ListContainersResponse::decode(CONTAINERS).unwrap().containers;
    assert_eq!((sandboxes.len(), containers.len()), (6, 9));
    pods(sandboxes, containers, ANNOTATION_BYTES_MAX)
}

fn of(pods: &[Pod], uid: &str) -> Pod {
    let uid = PodUid::parse(uid.as_bytes()).unwrap();
    pods.iter().find(|pod| pod.uid == uid).unwrap().clone()
}

fn id(text: &str) -> Option<ContainerId> {
    Some(ContainerId::parse(text.as_bytes()).unwrap())
}

#[test]
fn a_version_is_read() {
    let version = VersionResponse::decode(VERSION).unwrap();
    assert_eq!((&*version.runtime_name, &*version.runtime_version), ("containerd", "2.1.4"));
}

#[test]
fn a_static_pod_goes_by_its_hash_and_has_the_labels_that_it_was_given() {
    let pod = of(&published(), "72dd719cb36a6d92769b0e001945c7b5");
    assert!(pod.uid.is_config_hash());
    assert_eq!(
        (&*pod.namespace, &*pod.name, &*pod.api_uid),
        ("kube-system", "edge-worker-1", "72dd719cb36a6d92769b0e001945c7b5")
    );
    assert_eq!(pod.labels, [("component".into(), "edge".into())]);
    assert_eq!(value_of(&pod.annotations, CONFIG_HASH), Some(&*pod.api_uid));
    assert_eq!((pod.phase, pod.runtime_class), (Phase::Running, None));
    assert_eq!(pod.sandbox, id(&"1".repeat(64)));
    let [container] = &*pod.containers else { panic!("{:?}", pod.containers) };
    assert_eq!((&*container.name, &*container.image), ("fetch", "docker.io/library/fetch:3"));
    assert_eq!(
        container.id,
        id("e77ebefa3b9ee18f9a3d10e10fc18ae007e493aa18e642ab9fb11cebf7148a34")
    );
    assert_eq!((container.restart_count, container.ready), (0, true));
    assert_eq!(container.state, Some(ContainerState::Running { started_at: None }));
}

#[test]
fn of_two_sandboxes_the_one_that_is_ready_counts_and_runs_are_put_together() {
    let pod = of(&published(), "ea7d0c23-3f06-431f-bf11-d0a2eb46183d");
    assert_eq!((pod.phase, pod.sandbox), (Phase::Running, id(&"3".repeat(64))));
    // Neither the long one nor what `kubectl apply` leaves.
    assert_eq!(pod.annotations, [("kubernetes.io/config.source".into(), "api".into())]);
    let names: Vec<&str> = pod.containers.iter().map(|container| &*container.name).collect();
    assert_eq!(names, ["migrate", "proxy", "app"]);
    let app = &pod.containers[2];
    assert_eq!(app.id, id(&format!("cccc{:060}", 0)));
    assert_eq!(app.last_id, id(&format!("cccc{:060}", 1)));
    assert_eq!((app.restart_count, app.ready), (2, false));
    assert_eq!(app.state, Some(ContainerState::Waiting { reason: None, message: None }));
    let migrate = &pod.containers[0];
    assert_eq!((migrate.ready, &migrate.state, migrate.last_id), (false, &None, None));
    assert!(pod.containers.iter().all(|container| container.kind == ContainerKind::Regular));
}

#[test]
fn runtime_classes_and_ended_pods_are_kept_and_sandboxes_of_no_kubelet_are_not() {
    let pods = published();
    let gvisor = of(&pods, "e3d5296e-b697-4cba-af3c-352149101fda");
    assert_eq!(gvisor.runtime_class.as_deref(), Some("runsc"));
    let ended = of(&pods, "49c3e27b-4970-4478-9345-74e43b3a8c56");
    assert_eq!((ended.phase, ended.containers.len()), (Phase::Unknown, 1));
    assert_eq!(pods.len(), 4, "not the sandbox made by hand");
    let ready: Vec<bool> = pods.iter().map(|pod| pod.phase == Phase::Running).collect();
    assert_eq!(ready, [true, true, true, false], "what runs stands before what could be cut off");
}

#[test]
fn a_uid_of_another_form_is_a_pods_where_the_kubelets_label_has_it_too() {
    let sandbox = |label: Option<&str>| PodSandbox {
        id: "1".repeat(64),
        metadata: Some(PodSandboxMetadata {
            name: "n".into(),
            uid: "my-own_uid".into(),
            namespace: "ns".into(),
            attempt: 0,
        }),
        labels: label
            .map(|uid| ("io.kubernetes.pod.uid".to_owned(), uid.to_owned()))
            .into_iter()
            .collect(),
        ..PodSandbox::default()
    };
    let found = pods(vec![sandbox(Some("my-own_uid"))], vec![], 0);
    assert_eq!(found[0].uid, PodUid::of_text(b"my-own_uid").unwrap());
    assert!(pods(vec![sandbox(None), sandbox(Some("another"))], vec![], 0).is_empty());
}

#[test]
fn what_containerd_answered_is_read() {
    let version = VersionResponse::decode(REAL_VERSION).unwrap();
    assert_eq!((&*version.runtime_name, &*version.runtime_version), ("containerd", "1.6.20~ds1"));
    let sandboxes = ListPodSandboxResponse::decode(REAL_SANDBOXES).unwrap().items;
    let containers = ListContainersResponse::decode(REAL_CONTAINERS).unwrap().containers;
    assert_eq!((sandboxes.len(), containers.len()), (2, 2));
    // What `kubernetes.io/config.hash` takes, and not a byte more.
    let pods = pods(sandboxes, containers, 32);
    let web = of(&pods, "ea7d0c23-3f06-431f-bf11-d0a2eb46183d");
    assert_eq!((&*web.namespace, &*web.name, web.phase), ("shop", "web-0", Phase::Running));
    assert_eq!(web.labels, [("app".into(), "web".into())]);
    assert_eq!(web.sandbox, id("3cb65f6fab3fd6379a742422e73dcaa2252a2ccdbad3e3200fd8a189b39671f6"));
    assert_eq!(web.runtime_class, None);
    let [app] = &*web.containers else { panic!("{:?}", web.containers) };
    assert_eq!((&*app.name, &*app.image), ("app", "docker.io/local/pause:1"));
    assert_eq!(app.id, id("356778fd526cbfa6bc1d3f1b88176e8a7c12a8933293adea5b777049ada9b35c"));
    assert_eq!(app.last_id, id("955c0bd8d64ed0e18b6308f68c5447898b78c241ea1d680029031f5cf3847d50"));
    assert_eq!((app.restart_count, app.ready), (1, true));
    let edge = of(&pods, "72dd719cb36a6d92769b0e001945c7b5");
    assert_eq!((&*edge.name, edge.phase), ("edge-worker-1", Phase::Unknown));
    assert_eq!(value_of(&edge.annotations, CONFIG_HASH), Some(&*edge.api_uid));
}

#[test]
fn a_pod_has_no_more_containers_than_can_be_kept() {
    let sandbox = PodSandbox {
        id: "1".repeat(64),
        metadata: Some(PodSandboxMetadata {
            name: "n".into(),
            uid: "72dd719cb36a6d92769b0e001945c7b5".into(),
            namespace: "ns".into(),
            attempt: 0,
        }),
        ..PodSandbox::default()
    };
    let container = |n: usize| CriContainer {
        id: format!("{n:064x}"),
        pod_sandbox_id: "1".repeat(64),
        metadata: Some(ContainerMetadata { name: format!("c{n}"), attempt: 0 }),
        ..CriContainer::default()
    };
    let pods = pods(vec![sandbox], (0..1000).map(container).collect(), 0);
    assert_eq!(pods[0].containers.len(), 256);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = ListPodSandboxResponse::decode(&*bytes);
        let _ = ListContainersResponse::decode(&*bytes);
        let _ = VersionResponse::decode(&*bytes);
    }

    #[test]
    fn no_answer_with_a_byte_changed_panics(
        at in 0_usize..SANDBOXES.len(), byte: u8, other_at in 0_usize..CONTAINERS.len(),
    ) {
        let (mut sandboxes, mut containers) = (SANDBOXES.to_vec(), CONTAINERS.to_vec());
        sandboxes[at] = byte;
        containers[other_at] = byte;
        let sandboxes = ListPodSandboxResponse::decode(&*sandboxes).unwrap_or_default();
        let containers = ListContainersResponse::decode(&*containers).unwrap_or_default();
        let pods = pods(sandboxes.items, containers.containers, ANNOTATION_BYTES_MAX);
        prop_assert!(pods.len() <= 6);
    }
}
