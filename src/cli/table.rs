//! The table of `dump`: aligned columns, readable units, optional colour.

use std::fmt::Write as _;

use super::args::SortKey;
pub(super) use super::grid::{Grid, Label, nothing};
use super::lines::{folded, more, printable_bytes, shortened, width};
use super::style::Grade;
pub use super::style::Style;
use super::summary;
use super::users::Users;
use super::view::{self, View};
use crate::directory::Catalog;
use crate::disk_usage::usage::FilesystemUsage;
use crate::identity::{ContainerId, PodUid};
use crate::ledger::account::{
    CpuUsage, DiskUsage, NetworkUsage, PodUsage, UnitKind, UnitUsage, Usage,
};
use crate::ledger::{Account, MemoryKind, MemoryParts, ProcessOwner};
use crate::payload::dump::HostFacts;
use crate::payload::size::size;
use crate::payload::stamp::Rfc3339Millis;
use crate::printable::printable;
use crate::quantity::{Bytes, CpuTime, Limit};
use crate::snapshot::gaps::Gaps;

/// The data of the table.
pub struct Page<'a> {
    pub host: &'a HostFacts,
    pub account: &'a Account,
    pub catalog: &'a Catalog,
    pub view: &'a View<'a>,
    pub filesystems: &'a [FilesystemUsage],
    pub gaps: &'a Gaps,
    pub users: &'a Users,
    /// The tables of the balance and of the gaps, and not one line of each.
    pub balance: bool,
    pub all_gaps: bool,
}

#[must_use]
pub fn render(page: &Page<'_>, style: Style) -> String {
    let mut out = String::new();
    node(page, style, &mut out);
    // The largest row is on the first screen.
    if page.view.largest_is_a_unit() {
        units(page, style, &mut out);
        pods(page, style, &mut out);
    } else {
        pods(page, style, &mut out);
        units(page, style, &mut out);
    }
    processes(page, style, &mut out);
    summary::balance(page.account, page.balance, style, &mut out);
    summary::gaps(page.gaps, page.all_gaps, style, &mut out);
    out
}

fn node(page: &Page<'_>, style: Style, out: &mut String) {
    let (account, host) = (page.account, page.host);
    let node = &account.node;
    let name = printable(&host.name);
    let name = style.width.map_or_else(|| name.clone(), |columns| shortened(&name, columns));
    let _ = write!(out, "{}", style.bold(&name));
    let mut used = width(&name);
    for fact in [&host.kernel_release, &host.os, &host.cpu_model].into_iter().flatten() {
        let fact = printable(fact);
        used += 2 + width(&fact);
        if style.width.is_some_and(|columns| used > columns) {
            break;
        }
        let _ = write!(out, "  {fact}");
    }
    let _ = writeln!(out);
    let over = account.since.map(|since| account.until.usec_since(since));
    let mut when = Rfc3339Millis(account.wall).to_string();
    if let Some(over) = over {
        let _ = write!(when, "  over {:.1} s", over as f64 / 1e6);
    }
    if let Some(uptime) = node.uptime_hundredths {
        let uptime = std::time::Duration::from_secs(uptime / 100);
        let _ = write!(when, "  up {}", humantime::format_duration(uptime));
    }
    if let Some(load) = node.load {
        let [one, five, fifteen] = [
            load.one_minute_hundredths,
            load.five_minutes_hundredths,
            load.fifteen_minutes_hundredths,
        ]
        .map(|load| load.map_or("?".to_owned(), |load| format!("{:.2}", load as f64 / 100.0)));
        let _ = write!(when, "  load {one} {five} {fifteen}");
    }
    let _ = writeln!(out, "{}\n", folded("", &when, 2, style.width));

    let mut rows: Vec<(&str, String)> = Vec::new();
    if let Some(cpu) = node.cpu {
        let share = |usec: u64| cores(usec, cpu.over_usec);
        let part = |time: Option<CpuTime>| time.map_or("?".to_owned(), |it| share(it.as_usec()));
        let mut text = format!(
            "{} of {} busy: user {}, system {}, irq {}",
            share(cpu.busy.as_usec()),
            node.cpus,
            part(cpu.user),
            part(cpu.system),
            part(cpu.irq.zip(cpu.softirq).map(|(irq, softirq)| irq + softirq)),
        );
        if cpu.steal.is_some_and(|steal| steal > CpuTime::ZERO) {
            let _ = write!(text, "; stolen {}", part(cpu.steal));
        }
        rows.push(("cpu", text));
    }
    if let Some(memory) = node.memory {
        let or_unknown = |bytes: Option<Bytes>| bytes.map_or("?".to_owned(), size);
        let mut text =
            format!("{} of {} used", or_unknown(memory.used()), or_unknown(memory.total));
        if let Some(available) = memory.available {
            let _ = write!(text, ", {} available", size(available));
        }
        if let Some((total, free)) = memory.swap_total.zip(memory.swap_free)
            && total > Bytes::ZERO
        {
            let used = total.saturating_sub(free);
            let _ = write!(text, "; swap {} of {}", size(used), size(total));
        }
        rows.push(("memory", text));
        if let Some(parts) = node.memory_parts {
            rows.push(("", largest_kinds(&parts)));
        }
    }
    if let (Some(disk), Some(over)) = (node.disk, over) {
        let text = format!(
            "read {}, written {}; {} and {} operations",
            rate(disk.read, over),
            rate(disk.written, over),
            disk.read_ops,
            disk.write_ops
        );
        rows.push(("disk", text));
    }
    if let (Some(network), Some(over)) = (node.network, over) {
        let text = format!("in {}, out {}", rate(network.rx, over), rate(network.tx, over));
        rows.push(("network", text));
    }
    let pressures =
        [("cpu", node.pressure.cpu), ("memory", node.pressure.memory), ("io", node.pressure.io)];
    let pressures: Vec<String> = pressures
        .into_iter()
        .filter_map(|(name, pressure)| {
            let percent = pressure?.some?.avg10_basis_points as f64 / 100.0;
            Some(format!("{name} {percent:.1} %"))
        })
        .collect();
    if !pressures.is_empty() {
        rows.push(("pressure", format!("{} of the last 10 s", pressures.join(", "))));
    }
    rows.extend(largest(page).map(|text| ("largest", text)));
    for (name, text) in rows {
        let _ = writeln!(out, "{}", folded(&format!("{name:<10}"), &text, 10, style.width));
    }
    filesystems(page, style, out);
}

/// The fullest filesystems.
fn filesystems(page: &Page<'_>, style: Style, out: &mut String) {
    let full = |one: &FilesystemUsage| match one.capacity_bytes {
        0 => 0,
        all => u128::from(one.used_bytes) * 1000 / u128::from(all),
    };
    let mut all: Vec<&FilesystemUsage> = page.filesystems.iter().collect();
    all.sort_by_key(|one| std::cmp::Reverse(full(one)));
    // The rows below are to be on the first screen.
    let shown = all.len().min(style.top.div_ceil(4));
    for filesystem in all.iter().take(shown) {
        let mut text = format!(
            "{} of {} on {} ({})",
            size(Bytes::from_bytes(filesystem.used_bytes)),
            size(Bytes::from_bytes(filesystem.capacity_bytes)),
            printable_bytes(&filesystem.mount_point),
            filesystem.filesystem
        );
        let percent = full(filesystem) / 10;
        let note = (percent >= NEAR_PERCENT.into()).then(|| format!(" {percent} % full"));
        let note = note.unwrap_or_default();
        if let Some(columns) = style.width {
            text = shortened(&text, columns.saturating_sub(10 + width(&note)));
        }
        let note = style.graded(Grade::Warning, &note);
        let note = if percent >= NEAR_PERCENT.into() { note } else { String::new() };
        let _ = writeln!(out, "{:<10}{text}{note}", "files");
    }
    more(all.len() - shown, "filesystem", "filesystems", style, out);
}

/// The kinds of the node's memory that are at least 1 % of what is used, largest first, as many as fit
/// into a narrow terminal.
fn largest_kinds(parts: &MemoryParts) -> String {
    let known = MemoryKind::ALL.into_iter().filter_map(|kind| Some((kind, parts.get(kind)?)));
    let mut kinds: Vec<(MemoryKind, Bytes)> = known.collect();
    let used: u64 = kinds.iter().map(|(_, bytes)| bytes.as_bytes()).sum();
    kinds.retain(|(_, bytes)| bytes.as_bytes().saturating_mul(100) >= used);
    kinds.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let mut line = String::new();
    for (kind, bytes) in kinds {
        let between = if line.is_empty() { "" } else { ", " };
        let text = format!("{between}{} {}", kind.words(), size(bytes));
        if line.len() + text.len() > 70 {
            break;
        }
        line.push_str(&text);
    }
    line
}

/// The largest owner and the largest process by the sort key, in one line.
fn largest(page: &Page<'_>) -> Option<String> {
    let view = page.view;
    let amount = |usage: &Usage| {
        let over = usage.cpu.map_or(0, |cpu| cpu.over_usec);
        match view.sort {
            SortKey::Cpu => format!("{} cores", cores(view::weight(usage, SortKey::Cpu), over)),
            SortKey::Memory => size(usage.memory_in_use()),
            sort => rate(Bytes::from_bytes(view::weight(usage, sort)), over),
        }
    };
    let (pod, unit) = (view.pods.first(), view.units.first());
    let owner = if view.largest_is_a_unit() {
        unit.map(|unit| (&unit.usage, unit_name(page.catalog, unit)))
    } else {
        pod.map(|pod| (&pod.usage, format!("pod {}", pod_name(page.catalog, pod))))
    };
    let owner = owner.filter(|(usage, _)| view::weight(usage, view.sort) > 0);
    let owner = owner.map(|(usage, name)| format!("{} in {name}", amount(usage)));
    let process = view.processes.first();
    let process = process.filter(|one| view::process_weight(one, view.sort) > 0).map(|process| {
        let over = process.cpu.map_or(0, |cpu| cpu.over_usec);
        let weight = view::process_weight(process, view.sort);
        let amount = match view.sort {
            SortKey::Cpu | SortKey::Network => format!("{} cores", cores(weight, over)),
            SortKey::Memory => size(Bytes::from_bytes(weight)),
            SortKey::Disk => rate(Bytes::from_bytes(weight), over),
        };
        let comm = printable_bytes(process.comm.as_bytes());
        format!("{amount} in process {comm} (pid {})", process.key.pid)
    });
    let parts: Vec<String> = owner.into_iter().chain(process).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}

const USAGE_HEADS: [&str; 8] =
    ["CORES", "LIMIT", "MEMORY", "LIMIT", "READ", "WRITTEN", "IN", "OUT"];

/// The columns of usage that go first where there is no room: see docs/dump.md.
const fn usage_order(sort: SortKey) -> &'static [&'static [usize]] {
    match sort {
        SortKey::Cpu | SortKey::Memory => &[&[6, 7], &[4, 5], &[1], &[3]],
        SortKey::Disk => &[&[6, 7], &[1], &[3], &[2]],
        SortKey::Network => &[&[4, 5], &[1], &[3], &[2]],
    }
}

const fn process_order(sort: SortKey) -> &'static [&'static [usize]] {
    match sort {
        SortKey::Disk => &[&[1], &[3]],
        SortKey::Cpu | SortKey::Memory | SortKey::Network => &[&[4, 5], &[1]],
    }
}

/// The part of a limit, in percent, from which a remark says that it is near.
const NEAR_PERCENT: u64 = 90;

/// Remarks on a usage, the most important first.
fn notes(usage: &Usage) -> Vec<(Grade, String)> {
    let mut notes = Vec::new();
    match usage.events.oom_kills {
        Some(1) => notes.push((Grade::Alarm, "OOM".to_owned())),
        Some(kills) if kills > 1 => notes.push((Grade::Alarm, format!("OOM {kills}"))),
        _ => {}
    }
    let percent = |part: u64, limit: u64| {
        let percent = u128::from(part) * 100 / u128::from(limit.max(1));
        (limit > 0 && percent >= NEAR_PERCENT.into()).then_some(percent)
    };
    let mut near = |what: &str, percent: Option<u128>| {
        if let Some(percent) = percent {
            notes.push((Grade::Warning, format!("{what} {percent} %")));
        }
    };
    let limit = usage.memory_limit().map(Bytes::as_bytes);
    near("memory limit", limit.and_then(|max| percent(usage.memory_in_use().as_bytes(), max)));
    let throttled = usage.throttling.filter(|of| of.throttled_periods > 0);
    if let Some(of) = throttled {
        let share = u128::from(of.throttled_periods) * 100 / u128::from(of.periods.max(1));
        notes.push((Grade::Warning, format!("throttled {share} %")));
    } else {
        let cpu = usage.cpu.filter(|cpu| cpu.over_usec > 0).zip(usage.cpu_limit_millicores());
        let cpu = cpu.and_then(|(cpu, limit)| percent(cpu.millicores(), limit));
        if let Some(percent) = cpu {
            notes.push((Grade::Warning, format!("cpu limit {percent} %")));
        }
    }
    if let (Some(tasks), Some(limit)) = (usage.pids.current, usage.pids.max.and_then(Limit::at))
        && let Some(percent) = percent(tasks, limit)
    {
        notes.push((Grade::Warning, format!("task limit {percent} %")));
    }
    notes
}

fn usage_cells(usage: &Usage) -> [String; 8] {
    let over = usage.cpu.map_or(0, |cpu| cpu.over_usec);
    let disk = |part: fn(&DiskUsage) -> Bytes| {
        usage.disk.as_ref().map_or_else(nothing, |disk| rate(part(disk), over))
    };
    let network = |part: fn(&NetworkUsage) -> Bytes| {
        usage.network.as_ref().map_or_else(nothing, |network| rate(part(network), over))
    };
    [
        usage.cpu.map_or_else(nothing, |cpu| cores(cpu.usage.as_usec(), cpu.over_usec)),
        usage
            .cpu_limit_millicores()
            .map_or_else(nothing, |limit| format!("{:.2}", limit as f64 / 1000.0)),
        size(usage.memory_in_use()),
        usage.memory_limit().map_or_else(nothing, size),
        disk(|disk| disk.read),
        disk(|disk| disk.written),
        network(|network| network.rx),
        network(|network| network.tx),
    ]
}

fn pods(page: &Page<'_>, style: Style, out: &mut String) {
    let view = page.view;
    if view.pods.is_empty() {
        return;
    }
    let mut grid = Grid::new(format!("PODS ({})", view.pods.len()), USAGE_HEADS)
        .dropping(usage_order(view.sort));
    for pod in view.pods.iter().take(style.top) {
        let known = page.catalog.pod(pod.uid);
        let mut detail = pod.qos.as_str().to_owned();
        if pod.host_network == Some(true) {
            detail.push_str(" hostNetwork");
        }
        let name = pod_name(page.catalog, pod) + exited(pod.exited);
        let label = Label { name, detail, notes: notes(&pod.usage), text: String::new() };
        grid.add(label, usage_cells(&pod.usage));
        for container in view.containers_of(page.account, pod.uid) {
            let short = crate::attribution::short_name(container.id);
            let named = known.and_then(|pod| pod.container(container.id));
            let called = named.map_or(short, |container| printable(&container.name));
            let label = Label {
                name: format!("  {called}{}", exited(container.exited)),
                detail: container.runtime.to_string(),
                notes: notes(&container.usage),
                text: String::new(),
            };
            grid.add(label, usage_cells(&container.usage));
        }
    }
    let rest = view.pods.len().saturating_sub(style.top);
    grid.draw(style, out);
    more(rest, "pod", "pods", style, out);
}

fn units(page: &Page<'_>, style: Style, out: &mut String) {
    let view = page.view;
    if view.units.is_empty() {
        return;
    }
    let mut grid = Grid::new(format!("HOST UNITS ({})", view.units.len()), USAGE_HEADS)
        .dropping(usage_order(view.sort));
    for unit in view.units.iter().take(style.top) {
        let detail = match unit.kind {
            UnitKind::Unit | UnitKind::Named => String::new(),
            UnitKind::Guest(kind) => kind.as_str().to_owned(),
            UnitKind::Slice => "(processes in it)".to_owned(),
            UnitKind::Container { runtime, .. } => format!("{runtime} container"),
            UnitKind::Root => "(processes in the root cgroup)".to_owned(),
        };
        let name = unit_name(page.catalog, unit) + exited(unit.exited);
        let label = Label { name, detail, notes: notes(&unit.usage), text: String::new() };
        grid.add(label, usage_cells(&unit.usage));
    }
    let rest = view.units.len().saturating_sub(style.top);
    grid.draw(style, out);
    more(rest, "unit", "units", style, out);
}

/// The unit as people call it: a container by its engine's name where that is known, else by the beginning of
/// its id.
fn unit_name(catalog: &Catalog, unit: &UnitUsage) -> String {
    match unit.kind {
        UnitKind::Container { id, .. } => {
            let named = catalog.container(id).map(|named| printable(&named.name));
            named.unwrap_or_else(|| crate::attribution::short_name(id))
        }
        UnitKind::Root => "/".to_owned(),
        UnitKind::Unit | UnitKind::Named | UnitKind::Guest(_) | UnitKind::Slice => {
            printable_bytes(&unit.name())
        }
    }
}

/// The pod as NAMESPACE/NAME where that is known, else its uid.
fn pod_name(catalog: &Catalog, pod: &PodUsage) -> String {
    match view::name_of(catalog, pod) {
        Some((namespace, name)) => printable(&format!("{namespace}/{name}")),
        None => pod.uid.to_string(),
    }
}

fn exited(exited: bool) -> &'static str {
    if exited { " exited" } else { "" }
}

fn processes(page: &Page<'_>, style: Style, out: &mut String) {
    let view = page.view;
    if view.processes.is_empty() {
        return;
    }
    let heads = ["PID", "USER", "CORES", "MEMORY", "READ", "WRITTEN"];
    let count = view.processes.len() as u64 + view.rests.iter().map(|it| it.processes).sum::<u64>();
    let mut grid = Grid::new(format!("PROCESSES ({count})"), heads)
        .dropping(process_order(view.sort))
        .only_with_values(1);
    for process in &view.processes {
        let comm = printable_bytes(process.comm.as_bytes());
        let mut label =
            Label::from(format!("{comm}  {}", owner(&ProcessOwner::of(process), page.catalog)));
        if let Some(cmdline) = &process.cmdline {
            let text: Vec<u8> =
                cmdline.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect();
            label.text = printable_bytes(&text);
        }
        let over = process.cpu.map_or(0, |cpu| cpu.over_usec);
        let disk = |part: fn(&DiskUsage) -> Bytes| {
            process.disk.as_ref().map_or_else(nothing, |disk| rate(part(disk), over))
        };
        let cpu = |cpu: CpuUsage| cores(cpu.usage.as_usec(), cpu.over_usec);
        grid.add(
            label,
            [
                process.key.pid.to_string(),
                page.users.name_of(process.key).map_or_else(nothing, |name| printable(&name)),
                process.cpu.map_or_else(nothing, cpu),
                process.resident.map_or("?".to_owned(), size),
                disk(|disk| disk.read),
                disk(|disk| disk.written),
            ],
        );
    }
    let over = page.account.since.map_or(0, |since| page.account.until.usec_since(since));
    for exited in view.exited_children.iter().take(style.top) {
        let comm = printable_bytes(exited.comm.as_bytes());
        let owner = owner(&ProcessOwner::of_cgroup(&exited.cgroup), page.catalog);
        let cores = cores(exited.cpu.as_usec(), over);
        grid.add(
            format!("exited children of {comm}  {owner}"),
            [exited.parent.pid.to_string(), nothing(), cores, nothing(), nothing(), nothing()],
        );
    }
    for rest in view.rests.iter().take(style.top) {
        let others = if rest.processes == 1 { "process" } else { "processes" };
        grid.add(
            format!("rest of {}: {} {others}", owner(&rest.owner, page.catalog), rest.processes),
            [
                nothing(),
                nothing(),
                cores(rest.cpu_usage_usec, over),
                size(rest.resident),
                nothing(),
                nothing(),
            ],
        );
    }
    let more_rests = view.rests.len().saturating_sub(style.top);
    grid.draw(style, out);
    more(more_rests, "owner with idler processes", "owners with idler processes", style, out);
}

fn owner(owner: &ProcessOwner, catalog: &Catalog) -> String {
    let short = |id: &str| id.chars().take(12).collect::<String>();
    match owner {
        ProcessOwner::Kernel => "kernel".to_owned(),
        ProcessOwner::Pod { uid, container } => {
            let pod = PodUid::of_text(uid.as_bytes()).and_then(|uid| catalog.pod(uid));
            let called = match pod {
                Some(pod) => printable(&format!("{}/{}", pod.namespace, pod.name)),
                None => uid.clone(),
            };
            let Some(id) = container else { return called };
            let named = ContainerId::parse(id.as_bytes()).and_then(|id| pod?.container(id));
            let container = named.map_or_else(|| short(id), |one| printable(&one.name));
            format!("{called}/{container}")
        }
        ProcessOwner::Container { id } => {
            let named = ContainerId::parse(id.as_bytes()).and_then(|id| catalog.container(id));
            named.map_or_else(|| short(id), |named| printable(&named.name))
        }
        ProcessOwner::Unit { path } => {
            let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
            let name = crate::attribution::guest_name(name);
            if name.is_empty() { "/".to_owned() } else { printable_bytes(&name) }
        }
    }
}

/// CPUs in use, in hundredths.
fn cores(usec: u64, over_usec: u64) -> String {
    if over_usec == 0 {
        return nothing();
    }
    format!("{:.2}", usec as f64 / over_usec as f64)
}

fn rate(bytes: Bytes, over_usec: u64) -> String {
    if over_usec == 0 {
        return nothing();
    }
    let per_second = u128::from(bytes.as_bytes()) * 1_000_000 / u128::from(over_usec);
    let per_second = Bytes::from_bytes(u64::try_from(per_second).unwrap_or(u64::MAX));
    format!("{}/s", size(per_second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(printable_bytes(b"a\x1b[31mb\n\xff"), "a\\u{1b}[31mb\\n\u{fffd}");
    }

    #[test]
    fn a_rate_over_no_time_is_not_known() {
        assert_eq!(rate(Bytes::from_bytes(5), 0), "-");
        assert_eq!(rate(Bytes::from_bytes(3 << 20), 2_000_000), "1.50 MiB/s");
    }

    /// Percentages by hand: 480 of 512 MiB are 93.75 %, 0.95 of 1 CPU 95 %, 25 of 100 periods 25 %.
    #[test]
    fn what_is_near_its_limit_is_said_in_words() {
        use crate::ledger::EventCounts;
        use crate::snapshot::{MemoryReading, PidsReading};
        use crate::source::cgroup::cpu_max::CpuMax;
        use crate::source::cgroup::cpu_stat::Throttling;

        let mib = |mib: u64| Bytes::from_bytes(mib << 20);
        let memory = |used, max| {
            let max = Some(Limit::At(mib(max)));
            let memory = MemoryReading { max, ..MemoryReading::default() };
            Usage { memory, resident: mib(used), ..Usage::default() }
        };
        let cpu = |usec, quota, throttled_periods| Usage {
            cpu: Some(CpuUsage {
                usage: CpuTime::from_usec(usec),
                over_usec: 1_000_000,
                ..CpuUsage::default()
            }),
            cpu_max: Some(CpuMax {
                quota: Limit::At(CpuTime::from_usec(quota)),
                period: CpuTime::from_usec(100_000),
            }),
            throttling: Some(Throttling {
                periods: 100,
                throttled_periods,
                throttled: CpuTime::from_usec(7),
            }),
            ..Usage::default()
        };
        let events = |oom_kills| Usage {
            events: EventCounts { oom_kills, ..EventCounts::default() },
            ..Usage::default()
        };
        let tasks = |current, max| Usage {
            pids: PidsReading { current: Some(current), max },
            ..Usage::default()
        };
        for (usage, expected) in [
            (memory(480, 512), "memory limit 93 %"),
            (memory(460, 512), ""),
            (memory(512, 512), "memory limit 100 %"),
            (cpu(950_000, 100_000, 0), "cpu limit 95 %"),
            (cpu(890_000, 100_000, 0), ""),
            (cpu(950_000, 100_000, 25), "throttled 25 %"),
            (events(Some(0)), ""),
            (events(None), ""),
            (events(Some(1)), "OOM"),
            (events(Some(3)), "OOM 3"),
            (tasks(95, Some(Limit::At(100))), "task limit 95 %"),
            (tasks(95, Some(Limit::Max)), ""),
            (tasks(95, None), ""),
            (Usage::default(), ""),
        ] {
            let words: Vec<String> = notes(&usage).into_iter().map(|(_, note)| note).collect();
            assert_eq!(words.join(", "), expected);
        }
    }
}
