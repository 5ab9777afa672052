//! Values of the real binary, worked out by hand from the files of a captured host.

use std::process::Command;

use serde_json::Value;

use super::fixtures;

fn summary(host: &str) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_nodetally"))
        .env_clear()
        .args(["dump", "--format", "stats-summary", "--replay"])
        .arg(fixtures().join("hosts").join(host))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn pod<'s>(summary: &'s Value, name: &str) -> &'s Value {
    let pods = summary["pods"].as_array().unwrap();
    pods.iter().find(|pod| pod["podRef"]["name"] == name).unwrap_or(&Value::Null)
}

#[test]
fn a_pod_and_the_node() {
    let summary = summary("7.2-containerd-cgroupfs");
    let web = pod(&summary, "web-6877cbddcc-j6hdb");
    assert_eq!(web["podRef"]["namespace"], "shop");
    // cpu.stat usage_usec at the second instant: all since the pod's start, as a kubelet has it.
    assert_eq!(web["cpu"]["usageCoreNanoSeconds"], 1_818_613_000_u64);
    // memory.current, less inactive_file (1048576), and memory.max less that.
    assert_eq!(web["memory"]["usageBytes"], 1_884_160);
    assert_eq!(web["memory"]["workingSetBytes"], 835_584);
    assert_eq!(web["memory"]["availableBytes"], 33_554_432 - 835_584);
    assert_eq!(web["memory"]["rssBytes"], 147_456);
    // pgfault 8535, then 10130.
    assert_eq!(web["memory"]["pageFaults"], 1595);
    assert_eq!(web["memory"]["majorPageFaults"], 0);
    // eth0 of its namespace: 10551282 and 46880, then 13451278 and 59732.
    assert_eq!(web["network"]["name"], "eth0");
    assert_eq!(web["network"]["rxBytes"], 2_899_996);
    assert_eq!(web["network"]["txBytes"], 12_852);
    assert_eq!(web["network"]["interfaces"][0]["rxBytes"], 2_899_996);
    // The boot was 102.714 s before 17:33:49.813. Its oldest process started 43.38 s after it, that of
    // the container 45.33 s: the time that the kubelet has for it.
    assert_eq!(web["startTime"], "2026-11-20T17:32:50Z");
    assert_eq!(web["containers"][0]["startTime"], "2026-11-20T17:32:52Z");

    let node = &summary["node"];
    // /proc/stat: user, nice, system 10.97 s, irq and softirq 0.02 s.
    assert_eq!(node["cpu"]["usageCoreNanoSeconds"], 10_990_000_000_u64);
    // MemTotal and AnonPages of /proc/meminfo, MemTotal less MemFree.
    let memory = &node["memory"];
    assert_eq!(memory["usageBytes"], 1_012_555_776);
    assert_eq!(memory["rssBytes"], 458_808 * 1024);
    let (used, free) = (memory["workingSetBytes"].as_u64(), memory["availableBytes"].as_u64());
    assert_eq!(used.unwrap() + free.unwrap(), 6_170_336 * 1024);
    // memory.stat of the root: pgfault 612806, then 689866.
    assert_eq!(memory["pageFaults"], 77_060);
    assert_eq!(memory["majorPageFaults"], 631);
    // eth0 of the host: 6474547 and 43982, then 7927966 and 53596.
    assert_eq!(node["network"]["name"], "eth0");
    assert_eq!(node["network"]["rxBytes"], 1_453_419);
    assert_eq!(node["network"]["txBytes"], 9614);
    assert_eq!(node["nodeName"], "worker-1");
}

/// A kubelet gives a pod in the host's network the host's traffic, has no network of pods with the
/// systemd driver, and leaves a pod out that crashes again and again.
#[test]
fn where_the_kubelet_is_wrong() {
    let cgroupfs = summary("7.2-containerd-cgroupfs");
    let edge = pod(&cgroupfs, "edge-worker-1");
    assert!(edge["cpu"]["usageCoreNanoSeconds"].is_u64(), "{edge}");
    assert_ne!(edge["network"]["rxBytes"], 1_453_419);
    assert_ne!(edge["network"]["name"], "eth0");
    let systemd = summary("7.2-containerd-systemd");
    let pods = systemd["pods"].as_array().unwrap();
    let with_network = pods.iter().filter(|pod| pod["network"]["name"] == "eth0");
    assert!(with_network.count() >= 4, "{systemd}");
    let fixed = summary("7.2-containerd-systemd-static");
    let flaky = fixed["pods"]
        .as_array()
        .unwrap()
        .iter()
        .find(|pod| pod["podRef"]["uid"] == "d6204a0a787166c3e77afa1f7e4f6ba5");
    let used = flaky.unwrap()["cpu"]["usageCoreNanoSeconds"].as_u64().unwrap();
    assert!(used > 1_200_000_000, "{used}");
}
