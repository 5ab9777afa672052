use k8s_openapi::api::core::v1 as newest;
use proptest::prelude::*;
use serde_json::Value;

use super::super::pod::value_of;
use super::super::resource_quantity::ResourceQuantity;
use super::*;
use crate::directory::node::StatedQuantity;

macro_rules! recorded {
    ($name:literal) => {
        include_bytes!(concat!("../../../fixtures/kubernetes/recorded/", $name)).as_slice()
    };
}

const NEWEST_PODS: &[u8] = include_bytes!("../../../fixtures/kubernetes/by-hand/pods-1.37.json");
const NEWEST_NODE: &[u8] = include_bytes!("../../../fixtures/kubernetes/by-hand/node-1.37.json");
const LIMITS: ObjectLimits = ObjectLimits { annotation_bytes_max: 256 };

fn quantity(text: &str) -> Option<ResourceQuantity> {
    Some(ResourceQuantity::parse(text).unwrap())
}

fn amounts(cpu: &str, memory: &str) -> Amounts {
    Amounts { cpu: quantity(cpu), memory: quantity(memory) }
}

fn id(text: &str) -> Option<ContainerId> {
    Some(ContainerId::parse(text.as_bytes()).unwrap())
}

fn named<'p>(pods: &'p [Pod], name: &str) -> &'p Pod {
    pods.iter().find(|pod| &*pod.name == name).unwrap()
}

fn events(body: &[u8]) -> Vec<WatchEvent> {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| watch_event(line, &LIMITS).unwrap()).collect()
}

#[test]
fn the_pods_of_a_node_are_read() {
    let page = pods_of_list(recorded!("api/pods-of-node.body"), &LIMITS).unwrap();
    assert_eq!(page.resource_version.as_deref(), Some("494"));
    assert_eq!((page.continue_token, page.unreadable), (None, 0));
    let names: Vec<String> =
        page.pods.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
    assert_eq!(
        names,
        [
            "batch/import-57q8w",
            "default/gone",
            "default/odd-quantities",
            "default/shell",
            "kube-system/kube-proxy-worker-1",
            "kube-system/log-shipper-rd78g",
            "shop/db-1",
            "shop/web-66c5cb679f-dccp2",
        ]
    );

    let web = named(&page.pods, "web-66c5cb679f-dccp2");
    assert_eq!(web.uid.to_string(), "b5414059-c9cf-4897-8988-d4c813352d04");
    assert_eq!(&*web.api_uid, "b5414059-c9cf-4897-8988-d4c813352d04");
    assert_eq!(&*web.node_name, "worker-1");
    assert_eq!(web.labels.len(), 5);
    assert_eq!(value_of(&web.labels, "app.kubernetes.io/name"), Some("web"));
    let notes = "Grüße, 世界 \"quoted\" back\\slash\nand a second line\tand a tab";
    assert_eq!(value_of(&web.annotations, "example.org/notes"), Some(notes));
    assert_eq!(web.owners.len(), 1);
    assert!(web.owners[0].controller);
    assert_eq!(web.workload(), Some(("Deployment", "web")));
    assert_eq!(web.creation_timestamp.as_deref(), Some("2026-11-20T17:15:56Z"));
    assert_eq!((web.deletion_timestamp.as_deref(), web.phase), (None, Phase::Running));
    assert_eq!(web.ips, ["10.244.1.8".into()]);
    assert_eq!((web.host_network, web.qos), (false, Some(QosClass::Burstable)));
    assert_eq!((&*web.service_account, &*web.priority_class), ("default", "business-critical"));
    let kinds: Vec<_> = web.containers.iter().map(|c| (&*c.name, c.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("migrate", ContainerKind::Init),
            ("web", ContainerKind::Regular),
            ("mesh-proxy", ContainerKind::Regular)
        ]
    );
    assert_eq!(web.containers[1].ports, [(8080, "TCP".into())]);
    assert_eq!(web.containers[1].resources.requests, amounts("100m", "128Mi"));
    assert_eq!(web.containers[1].resources.limits, amounts("1.5", "1G"));
    assert_eq!(
        web.containers[2].id,
        id("92d98c3649b7a4cf74361dc4a30bb1e156d7af5a0d2acfcc74b944a2010c0b53")
    );
    // 100m + 50m beside, 500m before: what the initialisation asks for is the most.
    assert_eq!(web.requests().cpu, quantity("500m"));
    assert_eq!(web.requests().memory, quantity("135753728"));
    assert_eq!(web.conditions.len(), 4);
    assert_eq!((&*web.conditions[3].kind, &*web.conditions[3].status), ("PodScheduled", "True"));
}

#[test]
fn restarted_waiting_and_ended_containers_are_told_apart() {
    let page = pods_of_list(recorded!("api/pods-of-node.body"), &LIMITS).unwrap();
    let odd = named(&page.pods, "odd-quantities");
    let [a, b] = odd.containers.as_slice() else { panic!("{:?}", odd.containers) };
    assert_eq!(a.id, id("264e306fe0a0be705564fb1da825388df846d818ee4ea7117c17522193618919"));
    assert_eq!(a.last_id, id("a909d849daf083ecd19f745681e7ffbbe7f025aef472a368ac8f429f8589ad42"));
    assert_eq!((a.restart_count, a.ready), (1, true));
    let started_at = Some("2026-11-20T17:14:39Z".into());
    assert_eq!(a.state, Some(ContainerState::Running { started_at }));
    assert_eq!(
        a.last_state,
        Some(ContainerState::Terminated {
            exit_code: 137,
            signal: None,
            reason: Some("OOMKilled".into()),
            message: None,
            started_at: Some("2026-11-20T17:14:37Z".into()),
            finished_at: Some("2026-11-20T17:14:39Z".into()),
        })
    );
    assert_eq!((b.restart_count, b.ready), (7, false));
    let reason = Some("CrashLoopBackOff".into());
    let Some(ContainerState::Waiting { reason: waits_for, message }) = &b.state else {
        panic!("{:?}", b.state)
    };
    assert_eq!((waits_for, message.is_some()), (&reason, true), "{message:?}");
    assert_eq!(odd.limits(), amounts("1250m", "1129M"));

    let gone = named(&page.pods, "gone");
    assert_eq!((gone.phase, gone.reason.as_deref()), (Phase::Failed, Some("Evicted")));
    // A thousandth of a byte is a byte.
    assert_eq!(gone.requests().memory.unwrap().units(), 1);
    assert_eq!(named(&page.pods, "import-57q8w").phase, Phase::Succeeded);
}

#[test]
fn a_mirror_pod_has_the_uid_of_its_configuration_and_another_pod_cannot_take_it() {
    let page = pods_of_list(recorded!("joined-systemd/pods-of-node.json"), &LIMITS).unwrap();
    assert_eq!((page.pods.len(), page.unreadable), (25, 0));
    let edge = named(&page.pods, "edge-worker-1");
    assert_eq!(edge.uid.to_string(), "72dd719cb36a6d92769b0e001945c7b5");
    assert_eq!(&*edge.api_uid, "e712499e-89fd-48db-bf97-d60f33f5dc31");
    assert!(edge.host_network);
    assert_eq!(edge.workload(), Some(("Node", "worker-1")));

    // However few bytes of an annotation are kept.
    let small = ObjectLimits { annotation_bytes_max: 4 };
    let page = pods_of_list(recorded!("joined-systemd/pods-of-node.json"), &small).unwrap();
    let edge = named(&page.pods, "edge-worker-1");
    assert_eq!(edge.uid.to_string(), "72dd719cb36a6d92769b0e001945c7b5");
    assert_eq!(edge.annotations, [("kubernetes.io/config.source".into(), "file".into())]);

    let claims = r#"{"items":[{"metadata":{"name":"a","namespace":"b",
        "uid":"10000000-0000-4000-8000-000000000009",
        "annotations":{"kubernetes.io/config.hash":"72dd719cb36a6d92769b0e001945c7b5"}}}]}"#;
    let page = pods_of_list(claims.as_bytes(), &LIMITS).unwrap();
    assert_eq!(page.pods[0].uid.to_string(), "10000000-0000-4000-8000-000000000009");
}

#[test]
fn long_annotations_and_what_is_nobodys_business_are_not_kept() {
    let body = recorded!("api/pods-of-node.body");
    assert!(String::from_utf8_lossy(body).contains("example.org/long"));
    let page = pods_of_list(body, &LIMITS).unwrap();
    assert_eq!(named(&page.pods, "shell").annotations, []);
    // A copy of the specification, of 221 bytes: short enough and none of ours.
    assert_eq!(named(&page.pods, "gone").annotations, []);
    let newest = format!("{:?}", pods_of_list(NEWEST_PODS, &LIMITS).unwrap());
    assert!(!newest.contains("kept-by-nobody") && !newest.contains("PASSWORD"));

    let all = ObjectLimits { annotation_bytes_max: usize::MAX };
    let page = pods_of_list(body, &all).unwrap();
    let kept = &named(&page.pods, "shell").annotations;
    assert_eq!((kept.len(), &*kept[0].0), (1, "example.org/long"));
}

#[test]
fn pages_end_with_an_empty_one() {
    let pages = [
        recorded!("api/pods-page-1.body"),
        recorded!("api/pods-page-2.body"),
        recorded!("api/pods-page-3.body"),
        recorded!("api/pods-page-4.body"),
        recorded!("api/pods-page-5.body"),
    ];
    let pages = pages.map(|body| pods_of_list(body, &LIMITS).unwrap());
    assert_eq!(pages.each_ref().map(|page| page.pods.len()), [2, 2, 2, 2, 0]);
    assert!(pages[..4].iter().all(|page| page.continue_token.is_some()));
    assert_eq!(pages[4].continue_token, None);
    assert!(pages.iter().all(|page| page.resource_version.as_deref() == Some("494")));
}

#[test]
fn a_watch_is_read_with_its_bookmarks() {
    let all = events(recorded!("api/watch-pods.body"));
    let told: Vec<String> = all
        .iter()
        .map(|event| match event {
            WatchEvent::Added { pod, resource_version } => {
                format!("+ {} {resource_version}", pod.name)
            }
            WatchEvent::Modified { resource_version, .. } => format!("~ {resource_version}"),
            WatchEvent::Deleted { pod, resource_version } => {
                format!("- {} {resource_version}", pod.name)
            }
            WatchEvent::Bookmark { resource_version } => format!("= {resource_version}"),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "+ fleeting 497",
            "~ 498",
            "~ 499",
            "~ 502",
            "~ 503",
            "~ 504",
            "~ 514",
            "~ 515",
            "- fleeting 516",
            "+ web-c588f84ff-zvlcg 528",
            "~ 535",
            "~ 536",
            "~ 567",
            "~ 584",
            "~ 585",
            "- web-66c5cb679f-dccp2 586",
            "= 622",
            "= 647",
            "= 647",
        ]
    );
    let WatchEvent::Modified { pod, .. } = &all[5] else { panic!("{:?}", all[5]) };
    assert_eq!(pod.deletion_timestamp.as_deref(), Some("2026-11-20T17:17:04Z"));
}

#[test]
fn an_expired_watch_is_an_event_of_a_good_answer() {
    let all = events(recorded!("api/410-watch-too-old.body"));
    let [WatchEvent::Error(status)] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((status.code, &*status.reason), (Some(410), "Expired"));
    assert_eq!(&*status.message, "too old resource version: 494 (655)");
}

#[test]
fn events_that_cannot_be_read_still_say_how_far_the_watch_is() {
    for line in [
        r#"{"type":"MODIFIED","object":{"metadata":{"name":"a","uid":7,"resourceVersion":"12"}}}"#,
        r#"{"type":"ADDED","object":{"metadata":{"name":"a","namespace":"b","uid":"no uid",
            "resourceVersion":"12"}}}"#,
        r#"{"type":"RENAMED","object":{"metadata":{"name":"a","namespace":"b",
            "uid":"10000000-0000-4000-8000-000000000009","resourceVersion":"12"}}}"#,
    ] {
        let event = watch_event(line.as_bytes(), &LIMITS).unwrap();
        let resource_version = Some("12".into());
        assert_eq!(event, WatchEvent::Unreadable { resource_version }, "{line}");
    }
}

#[test]
fn one_bad_object_costs_none_of_the_others() {
    let mut list: Value = serde_json::from_slice(recorded!("api/pods-of-node.body")).unwrap();
    list["items"][1]["metadata"]["uid"] = Value::from("no uid");
    list["items"][3]["spec"]["containers"] = Value::from("none");
    list["items"][4]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = Value::from(2);
    list["items"][5]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = Value::from("x");
    list["items"][6]["spec"]["containers"][0]["resources"]["requests"]["cpu"] = Value::from(0.5);
    let page = pods_of_list(list.to_string().as_bytes(), &LIMITS).unwrap();
    assert_eq!((page.pods.len(), page.unreadable), (6, 2));
    let cpu = |name: &str| named(&page.pods, name).containers[0].resources.requests.cpu;
    assert_eq!(cpu("kube-proxy-worker-1"), quantity("2"));
    assert_eq!(cpu("log-shipper-rd78g"), None);
    assert_eq!(cpu("db-1"), quantity("500m"));
}

#[test]
fn a_body_that_is_no_list_is_an_error_and_an_empty_one_is_not() {
    let empty = pods_of_list(recorded!("api/pods-of-absent-node.body"), &LIMITS).unwrap();
    assert!(empty.pods.is_empty());
    let null = br#"{"kind":"PodList","apiVersion":"v1","metadata":{},"items":null}"#;
    assert!(pods_of_list(null, &LIMITS).unwrap().pods.is_empty());
    let status = recorded!("api/403-pods.body");
    assert!(matches!(pods_of_list(status, &LIMITS), Err(DecodeError::NotTheApis { .. })));
    let text = recorded!("api/429-max-in-flight.body");
    assert!(matches!(pods_of_list(text, &LIMITS), Err(DecodeError::NotJson { .. })));
    let whole = recorded!("api/pods-of-node.body");
    let cut = pods_of_list(&whole[..whole.len() / 2], &LIMITS);
    assert!(matches!(cut, Err(DecodeError::Cut { .. })));
}

#[test]
fn the_node_its_owners_and_the_version_are_read() {
    let node = super::node(recorded!("api/node-worker-1.body"), &LIMITS).unwrap();
    assert_eq!((&*node.name, node.labels.len()), ("worker-1", 9));
    assert_eq!(node.provider_id.as_deref(), Some("aws:///eu-west-1a/i-013029f9e83d15b3d"));
    assert_eq!(node.capacity.cpu, StatedQuantity::parse("4"));
    let memory = node.capacity.memory.unwrap();
    assert_eq!((memory.as_str(), memory.value().units()), ("16078924Ki", 16_078_924 * 1024));
    let cpu = node.allocatable.cpu.unwrap();
    assert_eq!((cpu.as_str(), cpu.value().milli_units()), ("3920m", 3920));
    assert_eq!(node.allocatable.pods, StatedQuantity::parse("110"));
    assert_eq!(node.allocatable.ephemeral_storage, StatedQuantity::parse("76224326324"));
    assert_eq!(node.conditions.len(), 4);
    assert_eq!(node.addresses[0], ("InternalIP".into(), "10.0.0.11".into()));
    assert_eq!(&*node.info.kubelet_version, "v1.20.2");
    assert_eq!(&*node.info.os_image, "Debian GNU/Linux 12 (bookworm)");
    let real = super::node(recorded!("joined-systemd/node.json"), &LIMITS).unwrap();
    assert_eq!((real.provider_id, real.capacity.cpu), (None, StatedQuantity::parse("1")));

    let found = pod_controller(recorded!("api/replicaset-metadata-only.body")).unwrap();
    let owner = found.owner.unwrap();
    assert_eq!((&*owner.kind, &*owner.name), ("Deployment", "web"));
    assert_eq!(found.match_labels, []);
    let whole = br#"{"kind":"ReplicaSet","metadata":{"name":"a-1","uid":"u"},"spec":{"replicas":1,
        "selector":{"matchLabels":{"app":"a","tier":"x"},"matchExpressions":[]},"template":{}}}"#;
    let found = pod_controller(whole).unwrap();
    let labels = [("app".into(), "a".into()), ("tier".into(), "x".into())];
    assert_eq!((found.owner, &*found.match_labels), (None, &labels[..]));
    assert_eq!(version(recorded!("api/version.body")).as_deref(), Ok("v1.20.2"));
}

#[test]
fn errors_say_what_is_wrong() {
    let denied = status(recorded!("api/403-pods.body")).unwrap();
    assert_eq!((denied.code, &*denied.reason, &*denied.kind), (Some(403), "Forbidden", "pods"));
    let expired = status(recorded!("api/410-continue-expired.body")).unwrap();
    assert!(expired.continue_token.unwrap().starts_with("eyJ2"));
    let later = status(recorded!("api/504-resource-version-too-large.body")).unwrap();
    assert_eq!(later.retry_after_seconds, Some(1));
    let absent = status(recorded!("api/404-node.body")).unwrap();
    assert_eq!((&*absent.kind, &*absent.name), ("nodes", "absent"));
    assert!(status(recorded!("api/429-max-in-flight.body")).is_err());
    assert!(status(recorded!("api/404-group.body")).is_err());
    assert!(status(recorded!("api/version.body")).is_err());
}

#[test]
fn what_newer_versions_write_is_read() {
    let page = pods_of_list(NEWEST_PODS, &LIMITS).unwrap();
    assert_eq!((page.pods.len(), page.unreadable), (4, 0));
    let mesh = named(&page.pods, "mesh-0");
    let kinds: Vec<_> = mesh.containers.iter().map(|c| (&*c.name, c.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("setup", ContainerKind::Init),
            ("proxy", ContainerKind::Sidecar),
            ("app", ContainerKind::Regular),
            ("debugger-x2k4m", ContainerKind::Ephemeral),
        ]
    );
    assert_eq!(mesh.ips, ["10.244.1.20".into(), "fd00:10:244:1::14".into()]);
    assert_eq!(mesh.containers[2].ports, [(8080, "TCP".into()), (8443, "UDP".into())]);
    assert_eq!(mesh.containers[1].last_id, id(&format!("a1{}2", "0".repeat(61))));
    let signal = match &mesh.containers[1].last_state {
        Some(ContainerState::Terminated { signal, .. }) => *signal,
        other => panic!("{other:?}"),
    };
    assert_eq!(signal, Some(9));
    assert!(mesh.containers[3].id.is_some());
    // The initialisation's 2 cores stand alone: it runs before the sidecar.
    assert_eq!(mesh.requests(), amounts("2", "1152Mi"));
    assert_eq!(mesh.workload(), Some(("StatefulSet", "mesh")));

    let resized = named(&page.pods, "resized");
    assert_eq!(resized.requests(), amounts("750m", "512Mi"));
    assert_eq!(&*resized.conditions[0].kind, "PodResizePending");
    assert_eq!(resized.containers[0].id, id(&format!("b2{}1", "0".repeat(61))));

    let sandboxed = named(&page.pods, "sandboxed");
    assert_eq!(sandboxed.runtime_class.as_deref(), Some("gvisor"));
    assert_eq!(sandboxed.requests(), amounts("1250m", "320Mi"));
    assert_eq!(sandboxed.limits(), amounts("2250m", "520Mi"));
    assert_eq!(sandboxed.ips, ["fd00:10:244:1::30".into()]);

    let machine = named(&page.pods, "virtual-machine");
    assert_eq!(machine.deletion_timestamp.as_deref(), Some("2026-08-01T10:00:30Z"));
    assert_eq!((machine.containers[0].id, machine.ips.len()), (None, 0));

    let node = super::node(NEWEST_NODE, &LIMITS).unwrap();
    assert_eq!((node.addresses.len(), &*node.info.architecture), (3, "arm64"));
}

/// Every key that was written by hand is one of the newest API's, at its place: what its types do
/// not know is lost on the way through them.
#[test]
fn what_was_written_by_hand_is_the_newest_api() {
    fn survives(before: &Value, after: &Value, at: &str) {
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => {
                for (key, value) in before {
                    let at = format!("{at}.{key}");
                    // The types leave out what is empty.
                    let empty = value.as_object().is_some_and(serde_json::Map::is_empty);
                    match after.get(key) {
                        Some(after) => survives(value, after, &at),
                        None => assert!(empty, "{at} is not in the API"),
                    }
                }
            }
            (Value::Array(before), Value::Array(after)) => {
                assert_eq!(before.len(), after.len(), "{at}");
                for (at_index, (before, after)) in before.iter().zip(after).enumerate() {
                    survives(before, after, &format!("{at}[{at_index}]"));
                }
            }
            _ => assert_eq!(before, after, "{at}"),
        }
    }
    let before: Value = serde_json::from_slice(NEWEST_PODS).unwrap();
    let items = before["items"].as_array().unwrap();
    assert_eq!(items.len(), 4);
    for item in items {
        let pod: newest::Pod = serde_json::from_value(item.clone()).unwrap();
        survives(
            item,
            &serde_json::to_value(pod).unwrap(),
            item["metadata"]["name"].as_str().unwrap(),
        );
    }
    let before: Value = serde_json::from_slice(NEWEST_NODE).unwrap();
    let node: newest::Node = serde_json::from_value(before.clone()).unwrap();
    survives(&before, &serde_json::to_value(node).unwrap(), "node");
}

#[test]
fn lists_and_texts_beyond_their_bounds_are_cut() {
    let many: Vec<Value> = (0..500)
        .map(|at| serde_json::json!({"name": format!("c{at}"), "image": "é".repeat(2000)}))
        .collect();
    let labels: serde_json::Map<String, Value> =
        (0..5000).map(|at| (format!("l{at}"), Value::from("v"))).collect();
    let body = serde_json::json!({"items": [{
        "metadata": {
            "name": "a", "namespace": "b", "uid": "10000000-0000-4000-8000-000000000009",
            "labels": labels,
        },
        "spec": {"containers": many},
    }]});
    let page = pods_of_list(body.to_string().as_bytes(), &LIMITS).unwrap();
    assert_eq!((page.pods[0].containers.len(), page.pods[0].labels.len()), (128, 256));
    assert_eq!(&*page.pods[0].containers[0].image, "é".repeat(512));
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = pods_of_list(&bytes, &LIMITS);
        let _ = watch_event(&bytes, &LIMITS);
        let _ = super::node(&bytes, &LIMITS);
        let _ = pod_controller(&bytes);
        let _ = version(&bytes);
        let _ = status(&bytes);
    }

    #[test]
    fn an_answer_cut_anywhere_is_an_error(cut in 0.0_f64..1.0) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a place somewhere in the text"
        )]
        let at = |body: &[u8]| (body.len() as f64 * cut) as usize;
        let list = recorded!("api/pods-of-node.body");
        prop_assert!(pods_of_list(&list[..at(list)], &LIMITS).is_err());
        let event = recorded!("api/410-watch-too-old.body").trim_ascii_end();
        prop_assert!(watch_event(&event[..at(event)], &LIMITS).is_err());
        let node = recorded!("api/node-worker-1.body").trim_ascii_end();
        prop_assert!(super::node(&node[..at(node)], &LIMITS).is_err());
    }

    #[test]
    fn an_answer_with_other_bytes_in_it_never_panics(
        at in 0_usize..66_000, bytes in prop::collection::vec(any::<u8>(), 1..16)
    ) {
        let mut body = recorded!("api/pods-of-node.body").to_vec();
        let end = body.len().min(at + bytes.len());
        body.splice(at.min(end)..end, bytes);
        let _ = pods_of_list(&body, &LIMITS);
    }
}
