//! The output of `dump` for programs: one JSON document, or one JSON object a line.
//!
//! Integers with their unit in the key. A key whose value is not known is left out: nothing is
//! null, and no 0 stands for "not known". docs/dump-schema.md describes every key.

mod input;
mod owners;
mod rows;

use std::io::{self, Write};

use serde::Serialize;
use serde::ser::SerializeSeq as _;

use super::stamp::Rfc3339Millis;
pub use input::{Dump, HostFacts, ProcessGroup, ProcessOwner};
use owners::{InPod, PodRow, UnitRow};
use rows::{ConservationRow, GapRow, NodeRow, ResourceRow, conservation, gaps, node, process};

/// Goes up when a key changes its meaning or goes away; new keys may come without it.
pub const SCHEMA_VERSION: u32 = 1;

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
