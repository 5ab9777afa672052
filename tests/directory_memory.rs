//! The memory of 250 known pods: the bytes that stay allocated.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what is not there fails the test")]
#![allow(clippy::disallowed_methods, reason = "it reads fixtures, no host")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use nodetally::directory::objects::{ObjectLimits, pods_of_list};
use nodetally::directory::{Directory, SourceKind};
use nodetally::quantity::BootTime;
use serde_json::Value;

/// The system's allocator, keeping count of what this thread has and has had at most.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let held = HELD.get() + bytes;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

#[expect(clippy::cast_possible_wrap, reason = "no allocation here has half of the address space")]
const fn signed(bytes: usize) -> isize {
    bytes as isize
}

// SAFETY: every call is handed on unchanged to the system's allocator, whose promises these are.
// Neither thread-local allocates: both start from constants and need no destructor.
#[allow(unsafe_code, reason = "an allocator cannot be written without; in this test only")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(signed(layout.size()));
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(signed(size) - signed(layout.size()));
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(-signed(layout.size()));
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

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
    let before = HELD.get();
    PEAK.set(before);
    let (directory, publishers) = Directory::new(&[SourceKind::Kubernetes]);
    let mut pods = Vec::new();
    for page in &pages {
        let page = pods_of_list(page, &limits).expect("a page");
        assert_eq!(page.unreadable, 0);
        pods.extend(page.pods);
    }
    publishers[0].replace_pods(pods, BootTime::from_nanos(1));
    // As a reader holds it.
    let catalog = directory.catalog();
    let held = HELD.get() - before;
    let peak = PEAK.get() - before;
    assert_eq!(catalog.pods().len(), PODS);
    assert!(held < 4 << 20, "{held} bytes for {PODS} pods");
    // On the way a page's objects are there once more, never its text.
    assert!(peak < 8 << 20, "{peak} bytes at most");

    drop((directory, publishers, catalog));
    assert_eq!(HELD.get(), before);
    println!("{PODS} pods: {held} bytes, {peak} at most on the way");
}
