//! Selects and sorts the rows of an account that `dump` shows.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;

use super::args::{DumpFlags, PodSelector, SortKey};
use super::users::Users;
use crate::directory::{Catalog, SourceKind};
use crate::identity::{ContainerId, PodUid};
use crate::ledger::Account;
use crate::ledger::ProcessOwner;
use crate::ledger::account::{
    ContainerUsage, ExitedChildren, PodUsage, ProcessUsage, UnitUsage, Usage,
};
use crate::payload::dump::ProcessGroup;
use crate::quantity::{Bytes, counted};

/// The longest name of a process that the kernel keeps (TASK_COMM_LEN less its NUL).
const COMM_BYTES_MAX: usize = 15;

/// The rows to show, largest first.
pub struct View<'a> {
    pub pods: Vec<&'a PodUsage>,
    pub units: Vec<&'a UnitUsage>,
    /// The processes that have a row of their own.
    pub processes: Vec<&'a ProcessUsage>,
    /// The other processes, summed by owner.
    pub rests: Vec<ProcessGroup>,
    /// The processes that ended, by parent.
    pub exited_children: Vec<&'a ExitedChildren>,
    pub sort: SortKey,
    /// The sandboxes of pods that only hold namespaces.
    pauses: BTreeSet<ContainerId>,
}

impl<'a> View<'a> {
    /// The containers of a pod, largest first, without the sandbox where that only holds namespaces:
    /// what it uses is in the pod.
    pub fn containers_of(&self, account: &'a Account, pod: PodUid) -> Vec<&'a ContainerUsage> {
        let all = account.containers_of(pod).iter();
        let mut all: Vec<_> = all.filter(|one| !self.pauses.contains(&one.id)).collect();
        // Containers have no network usage of their own.
        let cpu = |one: &ContainerUsage| weight(&one.usage, SortKey::Cpu);
        all.sort_by_key(|one| (Reverse(weight(&one.usage, self.sort)), Reverse(cpu(one)), one.id));
        all
    }

    /// True if the largest unit is larger than the largest pod.
    pub fn largest_is_a_unit(&self) -> bool {
        let of = |usage: Option<&Usage>| usage.map(|usage| weight(usage, self.sort));
        of(self.units.first().map(|unit| &unit.usage)) > of(self.pods.first().map(|pod| &pod.usage))
    }
}

/// The containers whose only processes are called `pause`, as the sandboxes of all runtimes are.
fn pauses(account: &Account) -> BTreeSet<ContainerId> {
    let mut only_pause: BTreeMap<&[u8], bool> = BTreeMap::new();
    for process in &account.processes {
        let is_pause = process.comm.as_bytes() == b"pause";
        *only_pause.entry(&process.cgroup).or_insert(true) &= is_pause;
    }
    let is_pause = |one: &&ContainerUsage| only_pause.get(&*one.path) == Some(&true);
    account.containers.iter().filter(is_pause).map(|one| one.id).collect()
}

/// Selects and sorts the rows; `top` is the number of processes that have one. An unknown pod or unit is
/// an error with a suggestion.
pub fn select<'a>(
    account: &'a Account,
    catalog: &Catalog,
    flags: &DumpFlags,
    users: &Users,
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
    if let Some(wanted) = &flags.namespace {
        pods.retain(|pod| name_of(catalog, pod).is_some_and(|(namespace, _)| namespace == wanted));
        if pods.is_empty() {
            bail!("--namespace {wanted}: {}", why_none(account, catalog));
        }
    }
    let mut exited_children: Vec<&ExitedChildren> = account.exited_children.iter().collect();
    let (has_pods, has_units) =
        (flags.pod.is_some() || flags.namespace.is_some(), flags.unit.is_some());
    let has_owners = has_pods || has_units;
    if !has_pods && (has_units || flags.user.is_some() || flags.process.is_some()) {
        pods.clear();
    }
    if !has_units && (has_pods || flags.user.is_some() || flags.process.is_some()) {
        units.clear();
    }
    if has_owners {
        let of_pods: Vec<String> = pods.iter().map(|pod| pod.uid.to_string()).collect();
        let is_wanted = |owner: ProcessOwner, cgroup: &[u8]| match owner {
            ProcessOwner::Pod { uid, .. } => of_pods.contains(&uid),
            _ => units.iter().any(|unit| {
                // A unit's processes are in its cgroup or below.
                let rest = cgroup.strip_prefix(&*unit.path);
                rest.is_some_and(|rest| rest.is_empty() || rest.first() == Some(&b'/'))
            }),
        };
        processes.retain(|process| is_wanted(ProcessOwner::of(process), &process.cgroup));
        exited_children
            .retain(|exited| is_wanted(ProcessOwner::of_cgroup(&exited.cgroup), &exited.cgroup));
    }
    if let Some(wanted) = &flags.user {
        let Some(uid) = Users::uid_named(wanted) else {
            bail!("--user {wanted}: no such user on this host; allowed: a name or a uid");
        };
        processes.retain(|process| users.uid_of(process.key) == Some(uid));
        exited_children.retain(|exited| users.uid_of(exited.parent) == Some(uid));
        if processes.is_empty() {
            bail!("--user {wanted}: no process of this user here");
        }
    }
    if let Some(wanted) = &flags.process {
        // The kernel keeps 15 bytes of a name.
        let kept = wanted.as_bytes().get(..COMM_BYTES_MAX).unwrap_or(wanted.as_bytes());
        let names: Vec<String> = processes.iter().map(|one| shown(one.comm.as_bytes())).collect();
        processes.retain(|one| [kept, wanted.as_bytes()].contains(&one.comm.as_bytes()));
        exited_children.retain(|one| [kept, wanted.as_bytes()].contains(&one.comm.as_bytes()));
        if processes.is_empty() {
            let near = nearest(wanted, names.into_iter());
            let near = near.map_or_else(String::new, |name| format!("; did you mean {name}?"));
            bail!("--process {wanted}: no such process here{near}");
        }
    }
    pods.sort_by_key(|pod| (Reverse(weight(&pod.usage, sort)), pod.uid));
    units.sort_by(|a, b| {
        let by_weight = weight(&b.usage, sort).cmp(&weight(&a.usage, sort));
        by_weight.then_with(|| a.path.cmp(&b.path))
    });
    processes.sort_by_key(|process| (Reverse(process_weight(process, sort)), process.key));
    let others = processes.split_off(top.min(processes.len()));
    let (rests, pauses) = (rests(&others, sort), pauses(account));
    Ok(View { pods, units, processes, rests, exited_children, sort, pauses })
}

/// Namespace and name, where a source of identity knows them.
pub fn name_of<'c>(catalog: &'c Catalog, pod: &PodUsage) -> Option<(&'c str, &'c str)> {
    if let Some(pod) = catalog.pod(pod.uid) {
        return Some((&*pod.namespace, &*pod.name));
    }
    catalog.cgroup(&pod.path).map(|named| (&*named.namespace, &*named.name))
}

fn why_none(account: &Account, catalog: &Catalog) -> String {
    let names_pods = |kind| !matches!(kind, SourceKind::Docker | SourceKind::Podman);
    if !catalog.sources.iter().any(|source| names_pods(source.kind)) {
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

pub(super) fn weight(usage: &Usage, sort: SortKey) -> u64 {
    match sort {
        SortKey::Cpu => usage.cpu.map_or(0, |cpu| cpu.usage.as_usec()),
        SortKey::Memory => usage.memory_in_use().as_bytes(),
        SortKey::Disk => usage.disk.map_or(0, |disk| (disk.read + disk.written).as_bytes()),
        SortKey::Network => usage.network.map_or(0, |network| (network.rx + network.tx).as_bytes()),
    }
}

/// [`weight`] by this key.
pub(super) const fn weight_by(sort: SortKey) -> fn(&Usage) -> u64 {
    match sort {
        SortKey::Cpu => |usage| weight(usage, SortKey::Cpu),
        SortKey::Memory => |usage| weight(usage, SortKey::Memory),
        SortKey::Disk => |usage| weight(usage, SortKey::Disk),
        SortKey::Network => |usage| weight(usage, SortKey::Network),
    }
}

/// The sort key of a process. It has no network usage of its own, so network sorts by CPU.
pub(super) fn process_weight(process: &ProcessUsage, sort: SortKey) -> u64 {
    match sort {
        SortKey::Cpu | SortKey::Network => process.cpu.map_or(0, |cpu| cpu.usage.as_usec()),
        SortKey::Memory => process.resident.map_or(0, Bytes::as_bytes),
        SortKey::Disk => process.disk.map_or(0, |disk| (disk.read + disk.written).as_bytes()),
    }
}

fn rests(others: &[&ProcessUsage], sort: SortKey) -> Vec<ProcessGroup> {
    let mut by_owner: BTreeMap<ProcessOwner, (u64, ProcessGroup)> = BTreeMap::new();
    for process in others {
        let owner = match ProcessOwner::of(process) {
            // One line a pod, whichever container it was.
            ProcessOwner::Pod { uid, .. } => ProcessOwner::Pod { uid, container: None },
            owner => owner,
        };
        let (weight, rest) = by_owner.entry(owner.clone()).or_insert_with(|| {
            let (processes, cpu_usage_usec, resident) = (0, 0, Bytes::ZERO);
            (0, ProcessGroup { owner, processes, cpu_usage_usec, resident })
        });
        *weight = weight.saturating_add(process_weight(process, sort));
        rest.processes += 1;
        rest.cpu_usage_usec += process.cpu.map_or(0, |cpu| cpu.usage.as_usec());
        rest.resident += process.resident.unwrap_or_default();
    }
    let mut rests: Vec<(u64, ProcessGroup)> = by_owner.into_values().collect();
    rests.sort_by_key(|(weight, rest)| {
        (Reverse(*weight), Reverse(rest.cpu_usage_usec), Reverse(rest.resident))
    });
    rests.into_iter().map(|(_, rest)| rest).collect()
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().to_string()
}

fn nearest(wanted: &str, names: impl Iterator<Item = String>) -> Option<String> {
    let close = names
        .map(|name| (strsim::jaro_winkler(wanted, &name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    close.map(|(_, name)| name)
}

fn near(account: &Account, wanted: &str) -> String {
    match nearest(wanted, account.units.iter().map(|unit| shown(&unit.name()))) {
        Some(name) => format!("; did you mean {name}?"),
        None => {
            let units = counted(account.units.len(), "unit", "units");
            format!("; `nodetally dump` lists {units}")
        }
    }
}
