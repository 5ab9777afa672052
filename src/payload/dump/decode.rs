//! Reads the lines of a dump back, for a program that shows them.
//!
//! ```text
//! {"schema_version":1,"sampled_at":"2026-11-30T02:33:50.120Z","kind":"pod","uid":"d757cf9d-…",…}
//! ```
//!
//! Only the keys that such a program needs are read. Keys and kinds that this release does not know
//! are passed over, so that it can read a newer agent's lines.

use serde::Deserialize;

/// The most lines that are read. An agent follows 16,384 cgroups and lists 1,000 processes.
const LINES_MAX: usize = 1 << 15;

/// One line of a dump. A value that is not known is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum DumpLine {
    Node(Box<NodeLine>),
    Pod(Box<OwnerLine>),
    Container(Box<OwnerLine>),
    HostUnit(Box<OwnerLine>),
    Process(Box<ProcessLine>),
    ExitedChildren(Box<ProcessLine>),
    Conservation(BalanceLine),
    #[serde(other)]
    Other,
}

/// The node. Amounts are those of the interval.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct NodeLine {
    pub name: String,
    pub sampled_at: String,
    pub interval_usec: Option<u64>,
    pub cpus: Option<u64>,
    pub cpu_millicores: Option<u64>,
    pub memory_total_bytes: Option<u64>,
    pub memory_used_bytes: Option<u64>,
    pub memory_working_set_bytes: Option<u64>,
    pub memory_available_bytes: Option<u64>,
    pub swap_total_bytes: Option<u64>,
    pub swap_free_bytes: Option<u64>,
    pub disk_read_bytes: Option<u64>,
    pub disk_written_bytes: Option<u64>,
    pub network_rx_bytes: Option<u64>,
    pub network_tx_bytes: Option<u64>,
    pub load_1m_hundredths: Option<u64>,
    pub pressure_cpu: Option<PressureLine>,
    pub pressure_memory: Option<PressureLine>,
    pub pressure_io: Option<PressureLine>,
}

/// The pressure on one resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PressureLine {
    pub some: Option<StallLine>,
}

/// The share of the last ten seconds, in hundredths of a percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct StallLine {
    pub avg10_basis_points: u64,
}

/// A pod, container or host unit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct OwnerLine {
    pub uid: Option<String>,
    pub pod_uid: Option<String>,
    pub container_id: Option<String>,
    pub container_name: Option<String>,
    pub name: Option<String>,
    pub unit_kind: Option<String>,
    pub runtime: Option<String>,
    pub namespace: Option<String>,
    pub pod_name: Option<String>,
    pub workload_name: Option<String>,
    pub cgroup: String,
    pub exited: bool,
    pub cpu_over_usec: Option<u64>,
    pub cpu_millicores: Option<u64>,
    pub cpu_limit_millicores: Option<u64>,
    pub cpu_throttled_usec: Option<u64>,
    pub memory_working_set_bytes: Option<u64>,
    pub memory_resident_bytes: Option<u64>,
    pub memory_limit_bytes: Option<u64>,
    pub oom_kills: Option<u64>,
    pub disk_read_bytes: Option<u64>,
    pub disk_written_bytes: Option<u64>,
    pub network_rx_bytes: Option<u64>,
    pub network_tx_bytes: Option<u64>,
}

/// A process, or the ended children of one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ProcessLine {
    pub pid: Option<u64>,
    pub parent_pid: Option<u64>,
    pub start_ticks: Option<u64>,
    pub parent_start_ticks: Option<u64>,
    pub comm: String,
    pub owner: String,
    pub pod_uid: Option<String>,
    pub container_id: Option<String>,
    pub unit_cgroup: Option<String>,
    pub cpu_usage_usec: Option<u64>,
    pub cpu_over_usec: Option<u64>,
    pub cpu_millicores: Option<u64>,
    pub memory_resident_bytes: Option<u64>,
    pub disk_read_bytes: Option<u64>,
    pub disk_written_bytes: Option<u64>,
}

/// The balance of one resource, in the unit at the end of its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct BalanceLine {
    pub resource: String,
    pub node: u64,
    pub pods: u64,
    pub host_units: u64,
    pub kernel: u64,
    pub interrupts: u64,
    pub exited: u64,
    pub unattributed: i64,
}

/// The reason why lines are none of a dump.
#[derive(Debug, thiserror::Error)]
pub enum LinesError {
    #[error("line {line} is no line of a dump: {source}")]
    Malformed { line: usize, source: serde_json::Error },
    #[error("more than {LINES_MAX} lines")]
    TooMany,
}

/// The lines of a dump in their order.
///
/// # Errors
/// A line is not one, or there are too many.
pub fn decode_lines(body: &[u8]) -> Result<Vec<DumpLine>, LinesError> {
    let lines = body.split(|byte| *byte == b'\n').enumerate();
    let mut found = Vec::new();
    for (at, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
        if found.len() == LINES_MAX {
            return Err(LinesError::TooMany);
        }
        let read = serde_json::from_slice(line);
        found.push(read.map_err(|source| LinesError::Malformed { line: at + 1, source })?);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_what_is_new_is_passed_over() {
        let body = br#"{"kind":"node","name":"n1","cpus":4,"pressure_cpu":{"some":{"avg10_basis_points":70,"total_usec":1}}}
{"kind":"pod","uid":"u","cgroup":"/a","exited":true,"cpu_millicores":1500,"key_of_2030":{"a":[1]}}

{"kind":"kind_of_2030","cpu_millicores":"many"}
{"kind":"conservation","resource":"cpu_usec","node":10,"exited":3,"unattributed":-2}
"#;
        let lines = decode_lines(body).unwrap();
        let DumpLine::Node(node) = &lines[0] else { panic!("{:?}", lines[0]) };
        assert_eq!((&*node.name, node.cpus, node.cpu_millicores), ("n1", Some(4), None));
        assert_eq!(node.pressure_cpu.unwrap().some.unwrap().avg10_basis_points, 70);
        let DumpLine::Pod(pod) = &lines[1] else { panic!("{:?}", lines[1]) };
        assert!(pod.exited && pod.cpu_millicores == Some(1500) && pod.disk_read_bytes.is_none());
        assert_eq!(lines[2], DumpLine::Other);
        let DumpLine::Conservation(balance) = &lines[3] else { panic!("{:?}", lines[3]) };
        assert_eq!((balance.node, balance.exited, balance.unattributed), (10, 3, -2));
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn a_line_that_is_none_is_named() {
        let error = decode_lines(b"{\"kind\":\"node\"}\n<html>").unwrap_err().to_string();
        assert!(error.starts_with("line 2 is no line of a dump"), "{error}");
        let many = b"{\"kind\":\"gap\"}\n".repeat(LINES_MAX + 1);
        assert!(matches!(decode_lines(&many), Err(LinesError::TooMany)));
    }
}
