//! One sample as `top` keeps it: the node, the balances, and a row for each entity.

use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;

use super::figure::{RowFigure, RowFigures};
use crate::payload::dump::decode::{BalanceLine, DumpLine, NodeLine, OwnerLine, ProcessLine};
use crate::printable::printable;

/// The list in which a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowKind {
    Pod,
    /// Of a pod; it is listed below it.
    Container,
    Unit,
    Process,
}

/// The names and limits of a row. They seldom change, so the samples of a history share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowEntity {
    pub kind: RowKind,
    /// Two rows of two samples with the same key are of one entity.
    pub key: Box<str>,
    /// For the terminal, as the other names are: what steers it is escaped.
    pub name: Box<str>,
    /// The owner of a process; empty of others.
    pub owner: Box<str>,
    /// The key of a container's pod; empty of others.
    pub parent: Box<str>,
    /// Of a process.
    pub pid: Option<u64>,
    /// In thousandths of a CPU; `None`: no limit is known.
    pub cpu_limit: Option<u64>,
    /// In bytes; `None`: no limit is known.
    pub memory_limit: Option<u64>,
}

impl RowEntity {
    fn size(&self) -> usize {
        let texts = [&self.key, &self.name, &self.owner, &self.parent];
        size_of::<Self>() + texts.iter().map(|text| text.len()).sum::<usize>()
    }
}

/// An entity in one sample.
#[derive(Debug, Clone)]
pub struct SampleRow {
    pub entity: Rc<RowEntity>,
    pub figures: RowFigures,
    /// The OOM killer killed one of its processes in the interval.
    pub has_oom: bool,
    /// It had to wait for its CPU limit in the interval.
    pub is_throttled: bool,
    pub has_exited: bool,
}

/// One sample.
#[derive(Debug, Clone, Default)]
pub struct TopSample {
    pub node: NodeLine,
    pub cpu: Option<BalanceLine>,
    pub memory: Option<BalanceLine>,
    pub rows: Vec<SampleRow>,
    /// The bytes of the entities that the sample before does not have.
    entity_bytes: usize,
}

impl TopSample {
    /// The sample of a dump's lines. Entities that `before` has too are shared with it.
    pub fn of_lines(lines: Vec<DumpLine>, before: Option<&Self>) -> Self {
        let known = before.map(|before| before.rows.as_slice()).unwrap_or_default();
        let known: HashMap<&str, &Rc<RowEntity>> =
            known.iter().map(|row| (&*row.entity.key, &row.entity)).collect();
        let entity_bytes = Cell::new(0);
        let shared = |entity: RowEntity| match known.get(&*entity.key) {
            Some(same) if ***same == entity => Rc::clone(same),
            _ => {
                entity_bytes.set(entity_bytes.get() + entity.size());
                Rc::new(entity)
            }
        };
        let mut sample = Self::default();
        let mut rows = Vec::with_capacity(lines.len());
        let names = OwnerNames::of(&lines);
        let interval = lines.iter().find_map(|line| match line {
            DumpLine::Node(node) => node.interval_usec,
            _ => None,
        });
        for line in lines {
            match line {
                DumpLine::Node(node) => sample.node = with_printable_names(*node),
                DumpLine::Pod(pod) => {
                    let key = format!("pod {}", pod.uid.as_deref().unwrap_or(&pod.cgroup));
                    rows.push(owner(RowKind::Pod, key, pod_name(&pod), &pod, interval, &shared));
                }
                DumpLine::Container(one) => {
                    let id = one.container_id.as_deref().unwrap_or(&one.cgroup);
                    let uid = one.pod_uid.as_deref().unwrap_or_default();
                    let key = format!("container {uid} {id}");
                    let name = container_name(&one);
                    rows.push(owner(RowKind::Container, key, name, &one, interval, &shared));
                }
                DumpLine::HostUnit(unit) => {
                    let key = format!("unit {}", unit.cgroup);
                    let name = unit_name(&unit);
                    rows.push(owner(RowKind::Unit, key, name, &unit, interval, &shared));
                }
                DumpLine::Process(one) => rows.push(process(&one, &names, interval, &shared)),
                DumpLine::ExitedChildren(one) => {
                    rows.push(exited_children(&one, &names, interval, &shared));
                }
                DumpLine::Conservation(balance) => match &*balance.resource {
                    "cpu_usec" => sample.cpu = Some(balance),
                    "memory_bytes" => sample.memory = Some(balance),
                    _ => {}
                },
                DumpLine::Other => {}
            }
        }
        sample.rows = rows;
        sample.entity_bytes = entity_bytes.get();
        sample
    }

    /// About the memory of the sample, in bytes; entities that it shares with the sample before are not
    /// counted.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.rows.capacity() * size_of::<SampleRow>() + self.entity_bytes
    }

    /// The row with that key.
    pub fn row(&self, key: &str) -> Option<&SampleRow> {
        self.rows.iter().find(|row| *row.entity.key == *key)
    }
}

fn with_printable_names(mut node: NodeLine) -> NodeLine {
    node.name = printable(&node.name);
    node.sampled_at = printable(&node.sampled_at);
    node
}

fn owner(
    kind: RowKind,
    key: String,
    name: String,
    line: &OwnerLine,
    interval: Option<u64>,
    shared: &impl Fn(RowEntity) -> Rc<RowEntity>,
) -> SampleRow {
    let over = line.cpu_over_usec.or(interval);
    let parent = match kind {
        RowKind::Container => format!("pod {}", line.pod_uid.as_deref().unwrap_or_default()),
        RowKind::Pod | RowKind::Unit | RowKind::Process => String::new(),
    };
    let entity = RowEntity {
        kind,
        key: key.into(),
        name: name.into(),
        owner: Box::default(),
        parent: parent.into(),
        pid: None,
        cpu_limit: line.cpu_limit_millicores,
        memory_limit: line.memory_limit_bytes,
    };
    let figures = RowFigures::new(|figure| match figure {
        RowFigure::Cpu => line.cpu_millicores,
        RowFigure::Memory => line.memory_working_set_bytes.or(line.memory_resident_bytes),
        RowFigure::Read => a_second(line.disk_read_bytes, over),
        RowFigure::Written => a_second(line.disk_written_bytes, over),
        RowFigure::In => a_second(line.network_rx_bytes, over),
        RowFigure::Out => a_second(line.network_tx_bytes, over),
    });
    SampleRow {
        entity: shared(entity),
        figures,
        has_oom: line.oom_kills.is_some_and(|kills| kills > 0),
        is_throttled: line.cpu_throttled_usec.is_some_and(|throttled| throttled > 0),
        has_exited: line.exited,
    }
}

fn process(
    line: &ProcessLine,
    names: &OwnerNames,
    interval: Option<u64>,
    shared: &impl Fn(RowEntity) -> Rc<RowEntity>,
) -> SampleRow {
    let over = line.cpu_over_usec.or(interval);
    let (pid, start) = (line.pid.unwrap_or(0), line.start_ticks.unwrap_or(0));
    let key = format!("process {pid} {start}");
    let entity = process_entity(key, printable(&line.comm), names.of_process(line), line.pid);
    SampleRow {
        entity: shared(entity),
        figures: RowFigures::new(|figure| match figure {
            RowFigure::Cpu => line.cpu_millicores,
            RowFigure::Memory => line.memory_resident_bytes,
            RowFigure::Read => a_second(line.disk_read_bytes, over),
            RowFigure::Written => a_second(line.disk_written_bytes, over),
            RowFigure::In | RowFigure::Out => None,
        }),
        has_oom: false,
        is_throttled: false,
        has_exited: false,
    }
}

/// The processes that ended, below the parent that waited for them.
fn exited_children(
    line: &ProcessLine,
    names: &OwnerNames,
    interval: Option<u64>,
    shared: &impl Fn(RowEntity) -> Rc<RowEntity>,
) -> SampleRow {
    let (pid, start) = (line.parent_pid.unwrap_or(0), line.parent_start_ticks.unwrap_or(0));
    let key = format!("children {pid} {start}");
    let name = format!("ended children of {}", printable(&line.comm));
    let entity = process_entity(key, name, names.of_process(line), line.parent_pid);
    let millicores = line.cpu_usage_usec.zip(interval).and_then(|(usage, over)| {
        u64::try_from(u128::from(usage) * 1000 / u128::from(over.max(1))).ok()
    });
    SampleRow {
        entity: shared(entity),
        figures: RowFigures::new(|figure| millicores.filter(|_| figure == RowFigure::Cpu)),
        has_oom: false,
        is_throttled: false,
        has_exited: true,
    }
}

fn process_entity(key: String, name: String, owner: String, pid: Option<u64>) -> RowEntity {
    RowEntity {
        kind: RowKind::Process,
        key: key.into(),
        name: name.into(),
        owner: owner.into(),
        parent: Box::default(),
        pid,
        cpu_limit: None,
        memory_limit: None,
    }
}

/// Bytes a second; `None`: the amount or the time is not known.
fn a_second(bytes: Option<u64>, over_usec: Option<u64>) -> Option<u64> {
    let over = over_usec.filter(|over| *over > 0)?;
    u64::try_from(u128::from(bytes?) * 1_000_000 / u128::from(over)).ok()
}

/// The first digits of an id, which tell containers of one node apart.
fn short(id: &str) -> String {
    printable(&id.chars().take(12).collect::<String>())
}

fn pod_name(pod: &OwnerLine) -> String {
    match (&pod.namespace, &pod.pod_name) {
        (Some(namespace), Some(name)) => printable(&format!("{namespace}/{name}")),
        (None, Some(name)) => printable(name),
        _ => printable(pod.uid.as_deref().unwrap_or(&pod.cgroup)),
    }
}

fn container_name(container: &OwnerLine) -> String {
    match (&container.container_name, &container.container_id) {
        (Some(name), _) => printable(name),
        (None, Some(id)) => short(id),
        (None, None) => printable(&container.cgroup),
    }
}

fn unit_name(unit: &OwnerLine) -> String {
    let name = || printable(unit.name.as_deref().unwrap_or(&unit.cgroup));
    match unit.unit_kind.as_deref() {
        Some("container") => {
            let id = unit.container_id.as_deref();
            let called = unit.pod_name.as_deref().map(printable).or_else(|| id.map(short));
            let runtime = printable(unit.runtime.as_deref().unwrap_or_default());
            format!("{} {runtime} container", called.unwrap_or_else(name))
        }
        Some("slice") => format!("{} (processes in it)", name()),
        Some("root") => "/ (root cgroup)".to_owned(),
        Some("unit" | "named") | None => name(),
        Some(guest) => format!("{} {}", name(), printable(guest)),
    }
}

/// The names of pods and containers, for the owners of processes.
struct OwnerNames {
    pods: HashMap<String, String>,
    containers: HashMap<String, String>,
    units: HashMap<String, String>,
}

impl OwnerNames {
    fn of(lines: &[DumpLine]) -> Self {
        let mut names =
            Self { pods: HashMap::new(), containers: HashMap::new(), units: HashMap::new() };
        for line in lines {
            match line {
                DumpLine::Pod(pod) => {
                    let uid = pod.uid.clone().unwrap_or_default();
                    names.pods.insert(uid, pod_name(pod));
                }
                DumpLine::Container(one) => {
                    let id = one.container_id.clone().unwrap_or_default();
                    names.containers.insert(id, container_name(one));
                }
                DumpLine::HostUnit(unit) => {
                    let name = unit_name(unit);
                    if let Some(id) = &unit.container_id {
                        names.containers.insert(id.clone(), name.clone());
                    }
                    names.units.insert(unit.cgroup.clone(), name);
                }
                _ => {}
            }
        }
        names
    }

    fn of_process(&self, line: &ProcessLine) -> String {
        let container = line.container_id.as_deref();
        let called =
            container.map(|id| self.containers.get(id).cloned().unwrap_or_else(|| short(id)));
        if let Some(uid) = &line.pod_uid {
            let pod = self.pods.get(uid).cloned().unwrap_or_else(|| printable(uid));
            return called.map_or(pod.clone(), |called| format!("{pod}/{called}"));
        }
        if let Some(called) = called {
            return called;
        }
        let Some(path) = &line.unit_cgroup else { return printable(&line.owner) };
        let last = || printable(path.rsplit('/').find(|part| !part.is_empty()).unwrap_or("/"));
        self.units.get(path).cloned().unwrap_or_else(last)
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::payload::dump::decode::decode_lines;

    /// Two pods, of which one has a name and a container, a unit, two processes.
    pub const LINES: &str = r#"{"kind":"node","name":"n\u001b1","sampled_at":"2026-11-30T02:33:50.120Z","interval_usec":2000000,"cpus":4,"cpu_millicores":2500,"memory_total_bytes":17179869184,"memory_used_bytes":8589934592,"memory_working_set_bytes":6442450944,"memory_available_bytes":9663676416,"swap_total_bytes":0,"disk_read_bytes":4194304,"disk_written_bytes":2097152,"network_rx_bytes":1048576,"network_tx_bytes":20480,"load_1m_hundredths":312,"pressure_cpu":{"some":{"avg10_basis_points":1250}},"pressure_memory":{"some":{"avg10_basis_points":0}},"pressure_io":{"some":{"avg10_basis_points":31}}}
{"kind":"pod","uid":"aa","namespace":"shop","pod_name":"web-7d9","cgroup":"/kubepods/podaa","cpu_over_usec":1000000,"cpu_millicores":1500,"cpu_limit_millicores":1600,"cpu_throttled_usec":5,"memory_working_set_bytes":734003200,"memory_limit_bytes":1073741824,"disk_read_bytes":3145728,"disk_written_bytes":0,"network_rx_bytes":524288,"network_tx_bytes":10240}
{"kind":"container","pod_uid":"aa","container_id":"0123456789abcdef","container_name":"app","cgroup":"/kubepods/podaa/c","cpu_over_usec":1000000,"cpu_millicores":1480,"memory_working_set_bytes":730857472}
{"kind":"container","pod_uid":"aa","container_id":"fedcba98765432100","cgroup":"/kubepods/podaa/s","cpu_over_usec":1000000,"cpu_millicores":0,"memory_working_set_bytes":409600}
{"kind":"pod","uid":"bb","cgroup":"/kubepods/podbb","cpu_over_usec":2000000,"cpu_millicores":100,"memory_working_set_bytes":1610612736,"oom_kills":1}
{"kind":"host_unit","name":"ssh\u202e.service","unit_kind":"unit","cgroup":"/system.slice/ssh.service","cpu_over_usec":2000000,"cpu_millicores":40,"memory_resident_bytes":8388608}
{"kind":"process","pid":77,"start_ticks":5,"comm":"burn","owner":"pod","pod_uid":"aa","container_id":"0123456789abcdef","cpu_over_usec":2000000,"cpu_millicores":1470,"memory_resident_bytes":700000000,"disk_read_bytes":0}
{"kind":"process","pid":9,"start_ticks":1,"comm":"sshd","owner":"unit","unit_cgroup":"/system.slice/ssh.service","cpu_over_usec":2000000,"cpu_millicores":40,"memory_resident_bytes":8388608}
{"kind":"exited_children","parent_pid":9,"parent_start_ticks":1,"comm":"sshd","owner":"unit","unit_cgroup":"/system.slice/ssh.service","cpu_usage_usec":500000}
{"kind":"conservation","resource":"cpu_usec","node":5000000,"pods":3200000,"host_units":80000,"kernel":900000,"interrupts":100000,"exited":500000,"unattributed":220000}
{"kind":"conservation","resource":"memory_bytes","node":8589934592,"pods":2344615936,"host_units":8388608,"kernel":1073741824,"unattributed":5163188224}
"#;

    pub fn sample(text: &str) -> TopSample {
        TopSample::of_lines(decode_lines(text.as_bytes()).unwrap(), None)
    }

    #[test]
    fn rows_have_names_figures_and_owners() {
        let sample = sample(LINES);
        let names: Vec<(&str, &str)> =
            sample.rows.iter().map(|row| (&*row.entity.name, &*row.entity.owner)).collect();
        assert_eq!(
            names,
            [
                ("shop/web-7d9", ""),
                ("app", ""),
                ("fedcba987654", ""),
                ("bb", ""),
                ("ssh\\u{202e}.service", ""),
                ("burn", "shop/web-7d9/app"),
                ("sshd", "ssh\\u{202e}.service"),
                ("ended children of sshd", "ssh\\u{202e}.service"),
            ]
        );
        let web = sample.row("pod aa").unwrap();
        let all = RowFigure::ALL.map(|figure| web.figures.get(figure));
        let known = [1500, 734_003_200, 3_145_728, 0, 524_288, 10_240];
        assert_eq!(all, known.map(Some));
        assert!(web.is_throttled && !web.has_oom);
        let other = sample.row("pod bb").unwrap();
        assert!(other.has_oom && other.figures.get(RowFigure::Read).is_none());
        // 0.5 s of CPU in 2 s.
        let ended = sample.row("children 9 1").unwrap();
        assert_eq!(ended.figures.get(RowFigure::Cpu), Some(250));
        assert_eq!(sample.node.name, "n\\u{1b}1");
        assert_eq!(sample.cpu.unwrap().unattributed, 220_000);
    }

    #[test]
    fn entities_are_shared_while_they_do_not_change() {
        let first = sample(LINES);
        let renamed = LINES.replace("\"pod_name\":\"web-7d9\"", "\"pod_name\":\"web-8\"");
        let second = TopSample::of_lines(decode_lines(renamed.as_bytes()).unwrap(), Some(&first));
        let same =
            |key| Rc::ptr_eq(&first.row(key).unwrap().entity, &second.row(key).unwrap().entity);
        assert!(same("pod bb") && same("process 9 1"));
        assert!(!same("pod aa"));
    }
}
