//! The memory of 250 known pods: the bytes that stay allocated.

use nodetally::directory::objects::{ObjectLimits, pods_of_list};
use nodetally::directory::{Directory, SourceKind};
use nodetally::quantity::BootTime;
use serde_json::Value;

use crate::counting::{held, peak_in};

const PODS: usize = 250;
const PAGE: usize = 50;

/// Recorded pods over and over, each time of another uid and name, as pages of a list.
fn pages() -> Vec<Vec<u8>> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/kubernetes/recorded/");
    let mut recorded: Vec<Value> = Vec::new();
    for file in ["api/pods-of-node.body", "joined-systemd/pods-of-node.json"] {
        let body = std::fs::read(format!("{folder}{file}")).expect(file);
        let list: Value = serde_json::from_slice(&body).expect(file);
        recorded.extend(list["items"].as_array().expect("items").iter().cloned());
    }
    let pods: Vec<Value> = (0..PODS)
        .map(|at| {
            let mut pod = recorded[at % recorded.len()].clone();
            pod["metadata"]["uid"] = format!("10000000-0000-4000-8000-{at:012x}").into();
            pod["metadata"]["name"] = format!("a-deployment-of-ours-66c5cb679f-{at:05}").into();
            if let Some(annotations) = pod["metadata"]["annotations"].as_object_mut() {
                annotations.remove("kubernetes.io/config.mirror");
            }
            pod
        })
        .collect();
    let page = |items: &[Value]| {
        serde_json::json!({"kind": "PodList", "apiVersion": "v1", "items": items}).to_string()
    };
    pods.chunks(PAGE).map(|items| page(items).into_bytes()).collect()
}

#[test]
fn two_hundred_and_fifty_pods_cost_less_than_four_mebibytes() {
    let pages = pages();
    let limits = ObjectLimits { annotation_bytes_max: 256 };
    let before = held();
    let (peak, (directory, publishers)) = peak_in(|| {
        let (directory, publishers) = Directory::new(&[SourceKind::Kubernetes]);
        let mut pods = Vec::new();
        for page in &pages {
            let page = pods_of_list(page, &limits).expect("a page");
            assert_eq!(page.unreadable, 0);
            pods.extend(page.pods);
        }
        publishers[0].replace_pods(pods, BootTime::from_nanos(1));
        (directory, publishers)
    });
    // As a reader holds it.
    let catalog = directory.catalog();
    let known = held() - before;
    let peak = peak - before;
    assert_eq!(catalog.pods().len(), PODS);
    assert!(known < 4 << 20, "{known} bytes for {PODS} pods");
    // On the way a page's objects are there once more, never its text.
    assert!(peak < 8 << 20, "{peak} bytes at most");

    drop((directory, publishers, catalog));
    assert_eq!(held(), before);
    println!("{PODS} pods: {known} bytes, {peak} at most on the way");
}
