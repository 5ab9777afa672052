//! The processes that have figures of their own, and the others by owner.

use std::collections::{BTreeMap, BTreeSet};

use super::input::ProcessInput;
use crate::identity::ProcessKey;
use crate::ledger::ProcessOwner;
use crate::ledger::account::ProcessUsage;

/// The processes of one interval.
#[derive(Debug, Default)]
pub(super) struct Processes<'a> {
    /// The busiest and the largest.
    pub own: Vec<(&'a ProcessUsage, ProcessInput)>,
    /// The others, by the text of their owner.
    pub others: BTreeMap<String, ProcessInput>,
}

impl<'a> Processes<'a> {
    /// Picks the `count` processes with the most CPU time and the `count` with the most memory.
    pub fn pick(processes: &'a [ProcessUsage], count: usize) -> Self {
        let mut own: BTreeSet<ProcessKey> = BTreeSet::new();
        let mut order: Vec<&ProcessUsage> = processes.iter().collect();
        order.sort_by_key(|process| {
            std::cmp::Reverse((process.cpu.map(|cpu| cpu.usage), process.key))
        });
        own.extend(order.iter().take(count).map(|process| process.key));
        order.sort_by_key(|process| std::cmp::Reverse((process.resident, process.key)));
        own.extend(order.iter().take(count).map(|process| process.key));
        let mut picked = Self::default();
        for process in processes {
            let input = input_of(process);
            if own.contains(&process.key) {
                picked.own.push((process, input));
            } else {
                let sum = picked.others.entry(owner_of(process)).or_default();
                *sum = plus(*sum, input);
            }
        }
        picked
    }
}

/// The owner in one word and its name: `pod <uid>`, `container <id>`, `unit <path>` or `kernel`.
pub(super) fn owner_of(process: &ProcessUsage) -> String {
    match ProcessOwner::of(process) {
        ProcessOwner::Kernel => "kernel".to_owned(),
        ProcessOwner::Pod { uid, .. } => format!("pod {uid}"),
        ProcessOwner::Container { id } => format!("container {id}"),
        ProcessOwner::Unit { path } => format!("unit {}", String::from_utf8_lossy(&path)),
    }
}

fn input_of(process: &ProcessUsage) -> ProcessInput {
    let kept = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    ProcessInput {
        cpu_usec: process.cpu.map(|cpu| kept(cpu.usage.as_usec())),
        resident_bytes: process.resident.map(|bytes| kept(bytes.as_bytes())),
        read_bytes: process.disk.map(|disk| kept(disk.read.as_bytes())),
        written_bytes: process.disk.map(|disk| kept(disk.written.as_bytes())),
        threads: process.threads.map(i64::from),
        processes: 1,
    }
}

/// The sum; what one of them does not know is the other's.
fn plus(a: ProcessInput, b: ProcessInput) -> ProcessInput {
    let sum = |a: Option<i64>, b: Option<i64>| match (a, b) {
        (Some(a), Some(b)) => Some(a.saturating_add(b)),
        (a, b) => a.or(b),
    };
    ProcessInput {
        cpu_usec: sum(a.cpu_usec, b.cpu_usec),
        resident_bytes: sum(a.resident_bytes, b.resident_bytes),
        read_bytes: sum(a.read_bytes, b.read_bytes),
        written_bytes: sum(a.written_bytes, b.written_bytes),
        threads: sum(a.threads, b.threads),
        processes: a.processes.saturating_add(b.processes),
    }
}
