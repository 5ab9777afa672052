//! The output of `dump` for programs: one JSON document, or one JSON object a line.
//!
//! Integers with their unit in the key. A key whose value is not known is left out: nothing is
//! null, and no 0 stands for "not known". docs/dump-schema.md describes every key.

pub mod decode;
mod input;
mod largest;
mod owners;
mod row;
mod rows;

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use super::stamp::Rfc3339Millis;
pub use input::{Dump, HostFacts, ProcessGroup};
pub use largest::largest_processes;
use row::DumpRow;
pub use rows::memory_part_keys;

/// Goes up when a key changes its meaning or goes away; new keys may come without it.
pub const SCHEMA_VERSION: u32 = 1;

/// The document, indented.
pub fn write_json(dump: &Dump<'_>, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &document(dump))?;
    out.write_all(b"\n")
}

/// The document, without spaces.
pub fn write_compact(dump: &Dump<'_>, out: &mut impl Write) -> io::Result<()> {
    serde_json::to_writer(out, &document(dump)).map_err(io::Error::from)
}

fn document<'a>(dump: &'a Dump<'a>) -> DumpDocument<'a> {
    let (account, catalog) = (dump.account, dump.catalog);
    let pod = |pod| {
        let containers = owners::containers(dump, pod);
        owners::pod(account, catalog, pod).with_rows("containers", containers)
    };
    let conservation = rows::balances(account)
        .fold(DumpRow::default(), |row, (resource, balance)| row.with_row(resource, balance));
    DumpDocument {
        schema_version: SCHEMA_VERSION,
        node: rows::node(dump),
        pods: dump.pods.iter().copied().map(pod).collect(),
        host_units: dump.units.iter().map(|unit| owners::unit(catalog, unit)).collect(),
        processes: dump,
        conservation: conservation.with_rows("exited", account.exited.iter().map(rows::exited)),
        gaps: rows::gaps(dump.gaps).collect(),
    }
}

/// One object a line, each with its kind.
pub fn write_ndjson(dump: &Dump<'_>, out: &mut impl Write) -> io::Result<()> {
    let (account, catalog) = (dump.account, dump.catalog);
    let sampled_at = Rfc3339Millis(account.wall).to_string();
    let mut write = |kind: &str, row: DumpRow| {
        let head = DumpRow::default()
            .with("schema_version", SCHEMA_VERSION)
            .with("sampled_at", &*sampled_at)
            .with("kind", kind);
        // The node has its time in the document too, and a key may be there once.
        serde_json::to_writer(&mut *out, &head.and_others(row))?;
        out.write_all(b"\n")
    };
    write("node", rows::node(dump))?;
    for pod in &dump.pods {
        write("pod", owners::pod(account, catalog, pod))?;
        for container in owners::containers(dump, pod) {
            let head = DumpRow::default().with("pod_uid", pod.uid.to_string());
            write("container", head.and(container))?;
        }
    }
    for unit in &dump.units {
        write("host_unit", owners::unit(catalog, unit))?;
    }
    for process in &dump.processes {
        write("process", rows::process(process))?;
    }
    for exited in &dump.exited_children {
        write("exited_children", rows::exited_children(exited))?;
    }
    for group in &dump.rests {
        write("rest", rows::process_group(group))?;
    }
    for (resource, balance) in rows::balances(account) {
        let head = DumpRow::default().with("resource", resource);
        write("conservation", head.and(balance))?;
    }
    for exited in &account.exited {
        write("exited", rows::exited(exited))?;
    }
    rows::gaps(dump.gaps).try_for_each(|gap| write("gap", gap))
}

#[derive(Serialize)]
struct DumpDocument<'a> {
    schema_version: u32,
    node: DumpRow,
    pods: Vec<DumpRow>,
    host_units: Vec<DumpRow>,
    #[serde(serialize_with = "processes")]
    processes: &'a Dump<'a>,
    conservation: DumpRow,
    gaps: Vec<DumpRow>,
}

/// The processes with a row of their own, those that ended, then the sum of the others by owner. A host can have tens
/// of thousands of them, so one row is made at a time.
fn processes<S: Serializer>(dump: &Dump<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    let own = dump.processes.iter().map(|process| rows::process(process));
    let own = own.chain(dump.exited_children.iter().map(|exited| rows::exited_children(exited)));
    serializer.collect_seq(own.chain(dump.rests.iter().map(rows::process_group)))
}
