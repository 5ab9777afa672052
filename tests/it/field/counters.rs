//! Counters that go back, wrap, or hold an odd value.

use super::host::{Host, near};

/// A host whose pod `cd47dd0a` used 3.67 s of CPU, of a node that used 9.89 s.
const HOST: &str = "6.8-crio-systemd";

#[test]
fn an_unchanged_copy_has_the_figures_of_its_host() {
    let dump = Host::copy(HOST).dump();
    assert!(near(dump.node("cpu_busy_usec"), 9_890_000));
    assert!(near(dump.pod("cd47dd0a")["cpu_usage_usec"].as_u64(), 3_670_000));
}
