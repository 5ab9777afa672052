//! The output of `dump` for programs: one JSON document, or one JSON object a line.
//!
//! Integers with their unit in the key. A key whose value is not known is left out: nothing is
//! null, and no 0 stands for "not known". docs/dump-schema.md describes every key.

mod owners;
mod rows;

use std::io::{self, Write};

use serde::Serialize;
use serde::ser::SerializeSeq as _;

use super::stamp::Rfc3339Millis;
use crate::attribution::Owner;
use crate::directory::Catalog;
use crate::disk_usage::usage::FilesystemUsage;
use crate::ledger::account::{Account, PodUsage, ProcessUsage, UnitUsage};
use crate::quantity::Bytes;
use crate::snapshot::gaps::Gaps;
use owners::{InPod, PodRow, UnitRow};
use rows::{ConservationRow, GapRow, NodeRow, ResourceRow, conservation, gaps, node, process};

/// Goes up when a key changes its meaning or goes away; new keys may come without it.
pub const SCHEMA_VERSION: u32 = 1;

/// Facts about the host.
#[derive(Debug, Clone, Default)]
pub struct HostFacts {
    pub name: String,
    pub kernel_release: Option<String>,
    pub os: Option<String>,
    pub cpu_model: Option<String>,
}

/// The input of a dump: the account, and the rows to print.
pub struct Dump<'a> {
    pub host: &'a HostFacts,
    pub account: &'a Account,
    /// The names of pods and containers; an empty catalog leaves them out.
    pub catalog: &'a Catalog,
    pub gaps: &'a Gaps,
    pub filesystems: &'a [FilesystemUsage],
    /// In the order wanted; those left out by a filter are not here.
    pub pods: Vec<&'a PodUsage>,
    pub units: Vec<&'a UnitUsage>,
    /// The processes with a row of their own.
    pub processes: Vec<&'a ProcessUsage>,
    /// The other processes, by owner.
    pub rests: Vec<ProcessGroup>,
}

/// The owner of a process.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ProcessOwner {
    Kernel,
    Pod { uid: String, container: Option<String> },
    Container { id: String },
    Unit { path: Vec<u8> },
}

impl ProcessOwner {
    #[must_use]
    pub fn of(process: &ProcessUsage) -> Self {
        if process.kernel_thread {
            return Self::Kernel;
        }
        let located = Owner::locate(&process.cgroup);
        match located.owner {
            Owner::Pod { uid, .. } => Self::Pod { uid: uid.to_string(), container: None },
            Owner::PodContainer { uid, id, .. } => {
                Self::Pod { uid: uid.to_string(), container: Some(id.to_string()) }
            }
            Owner::Container { id, .. } => Self::Container { id: id.to_string() },
            Owner::Unit => Self::Unit { path: located.starts_at.to_vec() },
            Owner::Root | Owner::Inner(_) => Self::Unit { path: process.cgroup.to_vec() },
        }
    }
}

/// The processes of one owner without a row of their own, summed.
#[derive(Debug, Clone)]
pub struct ProcessGroup {
    pub owner: ProcessOwner,
    pub processes: u64,
    pub cpu_usage_usec: u64,
    pub resident: Bytes,
}

/// The document.
pub fn write_json(dump: &Dump<'_>, out: &mut impl Write) -> io::Result<()> {
    let document = DumpDocument {
        schema_version: SCHEMA_VERSION,
        node: node(dump),
        pods: dump.pods.iter().map(|pod| owners::pod(dump.account, dump.catalog, pod)).collect(),
        host_units: dump.units.iter().map(|unit| owners::unit(dump.catalog, unit)).collect(),
        processes: Processes(dump),
        conservation: conservation(dump.account),
        gaps: gaps(dump.gaps),
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    out.write_all(b"\n")
}

/// One object a line, each with its kind.
pub fn write_ndjson(dump: &Dump<'_>, out: &mut impl Write) -> io::Result<()> {
    let account = dump.account;
    let mut lines = NdjsonWriter { out, sampled_at: Rfc3339Millis(account.wall).to_string() };
    lines.write("node", &node(dump))?;
    for pod in &dump.pods {
        let PodRow { containers, pod } = owners::pod(account, dump.catalog, pod);
        lines.write("pod", &pod)?;
        for container in containers {
            lines.write("container", &InPod { pod_uid: &pod.uid, container })?;
        }
    }
    for unit in &dump.units {
        lines.write("host_unit", &owners::unit(dump.catalog, unit))?;
    }
    for row in &dump.processes {
        lines.write("process", &process(row))?;
    }
    for rest in &dump.rests {
        lines.write("rest", &rows::rest(rest))?;
    }
    let conservation = conservation(account);
    for (resource, balance) in conservation.rows() {
        lines.write("conservation", &ResourceRow { resource, balance })?;
    }
    for exited in conservation.exited {
        lines.write("exited", &exited)?;
    }
    for gap in gaps(dump.gaps) {
        lines.write("gap", &gap)?;
    }
    Ok(())
}

struct NdjsonWriter<'a, W> {
    out: &'a mut W,
    sampled_at: String,
}

#[derive(Serialize)]
struct NdjsonLine<'a, T> {
    schema_version: u32,
    sampled_at: &'a str,
    kind: &'a str,
    #[serde(flatten)]
    object: &'a T,
}

impl<W: Write> NdjsonWriter<'_, W> {
    fn write(&mut self, kind: &str, object: &impl Serialize) -> io::Result<()> {
        let sampled_at = &self.sampled_at;
        let line = NdjsonLine { schema_version: SCHEMA_VERSION, sampled_at, kind, object };
        serde_json::to_writer(&mut *self.out, &line)?;
        self.out.write_all(b"\n")
    }
}

#[derive(Serialize)]
struct DumpDocument<'a> {
    schema_version: u32,
    node: NodeRow<'a>,
    pods: Vec<PodRow>,
    host_units: Vec<UnitRow>,
    processes: Processes<'a>,
    conservation: ConservationRow,
    gaps: Vec<GapRow>,
}

/// The processes with a row of their own, then the sum of the others by owner.
struct Processes<'a>(&'a Dump<'a>);

impl Serialize for Processes<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let dump = self.0;
        let mut list = serializer.serialize_seq(Some(dump.processes.len() + dump.rests.len()))?;
        for row in &dump.processes {
            list.serialize_element(&process(row))?;
        }
        for rest in &dump.rests {
            list.serialize_element(&rows::rest(rest))?;
        }
        list.end()
    }
}
