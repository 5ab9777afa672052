//! Selects and sorts the rows of an account that `dump` shows.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use anyhow::bail;

use super::args::{DumpFlags, PodSelector, SortKey};
use crate::directory::Catalog;
use crate::ledger::Account;
use crate::ledger::ProcessOwner;
use crate::ledger::account::{PodUsage, ProcessUsage, UnitUsage, Usage};
use crate::payload::dump::ProcessGroup;
use crate::quantity::{Bytes, counted};

/// The rows to show, largest first.
pub struct View<'a> {
    pub pods: Vec<&'a PodUsage>,
    pub units: Vec<&'a UnitUsage>,
    /// The processes that have a row of their own.
    pub processes: Vec<&'a ProcessUsage>,
    /// The other processes, summed by owner.
    pub rests: Vec<ProcessGroup>,
}

/// Selects and sorts the rows; `top` is the number of processes that have one. An unknown pod or unit is
/// an error with a suggestion.
pub fn select<'a>(
    account: &'a Account,
    catalog: &Catalog,
    flags: &DumpFlags,
    top: usize,
) -> anyhow::Result<View<'a>> {
    let sort = flags.sort.unwrap_or_default();
    let mut pods: Vec<&PodUsage> = account.pods.iter().collect();
    let mut units: Vec<&UnitUsage> = account.units.iter().collect();
    let mut processes: Vec<&ProcessUsage> = account.processes.iter().collect();
    match &flags.pod {
        None => {}
        Some(PodSelector::Name { namespace, name }) => {
            let wanted = (namespace.as_str(), name.as_str());
            pods.retain(|pod| name_of(catalog, pod) == Some(wanted));
            if pods.is_empty() {
                bail!("--pod {namespace}/{name}: {}", why_none(account, catalog));
            }
        }
        Some(PodSelector::Uid(uid)) => {
            pods.retain(|pod| pod.uid == *uid);
            if pods.is_empty() {
                bail!(
                    "--pod {uid}: no such pod here; `nodetally dump` lists {} of them",
                    account.pods.len()
                );
            }
        }
    }
    if let Some(wanted) = &flags.unit {
        units.retain(|unit| *unit.name() == *wanted.as_bytes() || *unit.path == *wanted.as_bytes());
        if units.is_empty() {
            bail!("--unit {wanted}: no such unit here{}", near(account, wanted));
        }
    }
    if flags.pod.is_some() || flags.unit.is_some() {
        if flags.unit.is_none() {
            units.clear();
        }
        if flags.pod.is_none() {
            pods.clear();
        }
        let of_pods: Vec<String> = pods.iter().map(|pod| pod.uid.to_string()).collect();
        processes.retain(|process| match ProcessOwner::of(process) {
            ProcessOwner::Pod { uid, .. } => of_pods.contains(&uid),
            _ => units.iter().any(|unit| {
                // A unit's processes are in its cgroup or below.
                let rest = process.cgroup.strip_prefix(&*unit.path);
                rest.is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
            }),
        });
    }
    pods.sort_by_key(|pod| (Reverse(weight(&pod.usage, sort)), pod.uid));
    units.sort_by(|a, b| {
        let by_weight = weight(&b.usage, sort).cmp(&weight(&a.usage, sort));
        by_weight.then_with(|| a.path.cmp(&b.path))
    });
    processes.sort_by_key(|process| (Reverse(process_weight(process, sort)), process.key));
    let others = processes.split_off(top.min(processes.len()));
    Ok(View { pods, units, processes, rests: rests(&others) })
}

/// Namespace and name, where a source of identity knows them.
pub fn name_of<'c>(catalog: &'c Catalog, pod: &PodUsage) -> Option<(&'c str, &'c str)> {
    if let Some(pod) = catalog.pod(pod.uid) {
        return Some((&*pod.namespace, &*pod.name));
    }
    catalog.cgroup(&pod.path).map(|named| (&*named.namespace, &*named.name))
}

fn why_none(account: &Account, catalog: &Catalog) -> String {
    if catalog.sources.is_empty() {
        return "names of pods are not known without a source in directory.sources; use the pod's uid"
            .to_owned();
    }
    let error = catalog.sources.iter().find_map(|source| {
        let error = source.last_error.as_ref()?;
        Some(format!("; {}: {}", source.kind, error.text))
    });
    let count = account.pods.len();
    let error = error.unwrap_or_default();
    format!("no such pod here; `nodetally dump` lists {count} of them{error}")
}

fn weight(usage: &Usage, sort: SortKey) -> u64 {
    match sort {
        SortKey::Cpu => usage.cpu.map_or(0, |cpu| cpu.usage.as_usec()),
        SortKey::Memory => usage.memory_in_use().as_bytes(),
        SortKey::Disk => usage.disk.map_or(0, |disk| (disk.read + disk.written).as_bytes()),
        SortKey::Network => usage.network.map_or(0, |network| (network.rx + network.tx).as_bytes()),
    }
}

/// The sort key of a process. It has no network usage of its own, so network sorts by CPU.
fn process_weight(process: &ProcessUsage, sort: SortKey) -> u64 {
    match sort {
        SortKey::Cpu | SortKey::Network => process.cpu.map_or(0, |cpu| cpu.usage.as_usec()),
        SortKey::Memory => process.resident.map_or(0, Bytes::as_bytes),
        SortKey::Disk => process.disk.map_or(0, |disk| (disk.read + disk.written).as_bytes()),
    }
}

fn rests(others: &[&ProcessUsage]) -> Vec<ProcessGroup> {
    let mut by_owner: BTreeMap<ProcessOwner, ProcessGroup> = BTreeMap::new();
    for process in others {
        let owner = match ProcessOwner::of(process) {
            // One line a pod, whichever container it was.
            ProcessOwner::Pod { uid, .. } => ProcessOwner::Pod { uid, container: None },
            owner => owner,
        };
        let rest = by_owner.entry(owner.clone()).or_insert(ProcessGroup {
            owner,
            processes: 0,
            cpu_usage_usec: 0,
            resident: Bytes::ZERO,
        });
        rest.processes += 1;
        rest.cpu_usage_usec += process.cpu.map_or(0, |cpu| cpu.usage.as_usec());
        rest.resident += process.resident.unwrap_or_default();
    }
    let mut rests: Vec<ProcessGroup> = by_owner.into_values().collect();
    rests.sort_by_key(|rest| (Reverse(rest.cpu_usage_usec), Reverse(rest.resident)));
    rests
}

fn near(account: &Account, wanted: &str) -> String {
    let close = account
        .units
        .iter()
        .map(|unit| String::from_utf8_lossy(&unit.name()).escape_debug().to_string())
        .map(|name| (strsim::jaro_winkler(wanted, &name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match close {
        Some((_, name)) => format!("; did you mean {name}?"),
        None => {
            let units = counted(account.units.len(), "unit", "units");
            format!("; `nodetally dump` lists {units}")
        }
    }
}
