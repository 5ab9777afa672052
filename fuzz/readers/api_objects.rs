//! Answers of the API server, a kubelet and a container engine: lists, watches, nodes, owners,
//! versions and errors, each reader with every input.

use nodetally::directory::docker::{Engine, containers_of_list};
use nodetally::directory::objects::{
    ObjectLimits, PodPage, WatchEvent, node, pod_controller, pods_of_list, status, token_review,
    version, watch_event,
};
use nodetally::directory::pod::Pod;
use nodetally::directory::{Directory, SourceKind};
use nodetally::payload::pod_lifecycle::{decode_spec, spec_body};
use nodetally::quantity::{BootTime, WallTime};

const LIMITS: ObjectLimits = ObjectLimits { annotation_bytes_max: 64 };
const TEXT_BYTES_MAX: usize = 1024;

/// Reads one input.
pub fn run(body: &[u8]) {
    if let Ok(page) = pods_of_list(body, &LIMITS) {
        list(body, page);
    }
    for line in body.split(|byte| *byte == b'\n') {
        match watch_event(line, &LIMITS) {
            Ok(
                WatchEvent::Added { pod, .. }
                | WatchEvent::Modified { pod, .. }
                | WatchEvent::Deleted { pod, .. },
            ) => check(line, &pod),
            Ok(WatchEvent::Error(said)) => assert!(said.message.len() <= TEXT_BYTES_MAX),
            Ok(WatchEvent::Bookmark { .. } | WatchEvent::Unreadable { .. }) => {}
            // Nothing of a body stands in what is logged.
            Err(error) => assert!(error.to_string().len() < 100),
        }
    }
    if let Ok(node) = node(body, &LIMITS) {
        assert!(node.name.len() <= TEXT_BYTES_MAX && node.labels.len() <= 256);
        assert!(node.annotations.iter().all(|(_, value)| value.len() <= 64));
        let (directory, publishers) = Directory::new(&[SourceKind::Kubernetes]);
        for publisher in publishers {
            publisher.set_node(node.clone());
        }
        assert!(directory.catalog().node.is_some());
    }
    if let Ok(found) = pod_controller(body) {
        let owner = found.owner.iter();
        assert!({ owner }.all(|owner| owner.controller && owner.name.len() <= TEXT_BYTES_MAX));
        assert!(found.match_labels.len() <= 256);
    }
    if let Ok(status) = status(body) {
        assert!(status.message.len() <= TEXT_BYTES_MAX);
    }
    if let Ok(Some(user)) = token_review(body, "nodetally") {
        let node_name = user.node_name.unwrap_or_default();
        assert!(user.name.len().max(node_name.len()) <= TEXT_BYTES_MAX);
    }
    if let Ok(version) = version(body) {
        assert!(version.len() <= TEXT_BYTES_MAX);
    }
    if let Ok(containers) = containers_of_list(body, Engine::Docker) {
        for (id, named) in &containers {
            let said = named.name.len() <= 512 && named.labels.len() <= 256;
            assert!(said && !named.name.contains('\n'), "{id}");
        }
        // An id and the quotes around it.
        assert!(containers.len() * 66 <= body.len());
    }
}

fn list(body: &[u8], page: PodPage) {
    assert!(page.pods.len() * 36 + page.unreadable <= body.len());
    page.pods.iter().for_each(|pod| check(body, pod));
    let (directory, publishers) = Directory::new(&[SourceKind::Kubernetes, SourceKind::Kubelet]);
    let read = page.pods.len();
    for publisher in publishers {
        publisher.replace_pods(page.pods.clone(), BootTime::default());
    }
    let catalog = directory.catalog();
    assert!(catalog.pods().len() <= read);
    for pod in &page.pods {
        assert!(catalog.pod(pod.uid).is_some(), "{} was read and is not known", pod.uid);
    }
}

fn check(body: &[u8], pod: &Pod) {
    assert!(!pod.name.is_empty() && !pod.namespace.is_empty());
    assert!(pod.name.len() <= TEXT_BYTES_MAX && pod.labels.len() <= 256);
    assert!(pod.annotations.iter().all(|(_, value)| value.len() <= LIMITS.annotation_bytes_max));
    assert!(pod.containers.len() <= body.len() / 2);
    // A row that is made of it can be read again.
    let spec = spec_body(pod, "node", WallTime::from_unix_millis(0));
    match decode_spec(&spec) {
        Ok(read) => assert_eq!(*read.row.pod_name, *pod.name),
        Err(error) => {
            let is_named = pod.name.len() <= 253 && pod.namespace.len() <= 253;
            let has_short_ip = pod.ips.first().is_none_or(|ip| ip.len() <= 64);
            let is_owned_by_short =
                pod.workload.is_none() && pod.owners.iter().all(|one| one.name.len() <= 512);
            let has_short_labels = pod.labels.iter().all(|(_, value)| value.len() <= 512);
            assert!(
                !(is_named && has_short_ip && is_owned_by_short && has_short_labels),
                "{error}: {}",
                String::from_utf8_lossy(&spec)
            );
        }
    }
}
