//! The table of `dump`: aligned columns, readable units, optional colour.

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _};

use super::args::ColorChoice;
use super::view::{self, View};
use crate::directory::Catalog;
use crate::disk_usage::usage::FilesystemUsage;
use crate::identity::{ContainerId, PodUid};
use crate::ledger::account::{Balance, CpuUsage, DiskUsage, NetworkUsage, UnitKind, Usage};
use crate::ledger::{Account, MemoryKind, MemoryParts, ProcessOwner};
use crate::payload::dump::HostFacts;
use crate::payload::size::size;
use crate::payload::stamp::Rfc3339Millis;
use crate::printable::printable;
use crate::quantity::{Bytes, CpuTime};
use crate::snapshot::gaps::Gaps;

/// Colour, width and length of the table.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub colour: bool,
    /// The width of the terminal, to which names are shortened; `None`: no limit.
    pub width: Option<usize>,
    /// The most rows of each list.
    pub top: usize,
}

/// The data of the table.
pub struct Page<'a> {
    pub host: &'a HostFacts,
    pub account: &'a Account,
    pub catalog: &'a Catalog,
    pub view: &'a View<'a>,
    pub filesystems: &'a [FilesystemUsage],
    pub gaps: &'a Gaps,
}

/// The least width of the name column, in characters.
const NAME_CHARS_MIN: usize = 24;

#[must_use]
pub fn render(page: &Page<'_>, style: Style) -> String {
    let mut out = String::new();
    node(page, style, &mut out);
    pods(page, style, &mut out);
    units(page, style, &mut out);
    processes(page, style, &mut out);
    remainder(page, style, &mut out);
    gaps(page, style, &mut out);
    out
}

fn node(page: &Page<'_>, style: Style, out: &mut String) {
    let (account, host) = (page.account, page.host);
    let node = &account.node;
    let _ = write!(out, "{}", style.bold(&printable(&host.name)));
    for fact in [&host.kernel_release, &host.os, &host.cpu_model].into_iter().flatten() {
        let _ = write!(out, "  {}", printable(fact));
    }
    let _ = writeln!(out);
    let over = account.since.map(|since| account.until.usec_since(since));
    let _ = write!(out, "{}", Rfc3339Millis(account.wall));
    if let Some(over) = over {
        let _ = write!(out, "  over {:.1} s", over as f64 / 1e6);
    }
    if let Some(uptime) = node.uptime_hundredths {
        let uptime = std::time::Duration::from_secs(uptime / 100);
        let _ = write!(out, "  up {}", humantime::format_duration(uptime));
    }
    if let Some(load) = node.load {
        let [one, five, fifteen] = [
            load.one_minute_hundredths,
            load.five_minutes_hundredths,
            load.fifteen_minutes_hundredths,
        ]
        .map(|load| load.map_or("?".to_owned(), |load| format!("{:.2}", load as f64 / 100.0)));
        let _ = write!(out, "  load {one} {five} {fifteen}");
    }
    let _ = writeln!(out, "\n");

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
    for (name, text) in rows {
        let _ = writeln!(out, "{name:<10}{text}");
    }
    for filesystem in page.filesystems {
        let (used, all) = (filesystem.used_bytes, filesystem.capacity_bytes);
        let _ = writeln!(
            out,
            "{:<10}{} of {} on {} ({})",
            "files",
            size(Bytes::from_bytes(used)),
            size(Bytes::from_bytes(all)),
            printable_bytes(&filesystem.mount_point),
            filesystem.filesystem
        );
    }
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

/// A table with a name column and right-aligned cells.
pub(super) struct Grid<const N: usize> {
    title: String,
    heads: [&'static str; N],
    rows: Vec<(String, [String; N])>,
}

impl<const N: usize> Grid<N> {
    pub(super) fn new(title: String, heads: [&'static str; N]) -> Self {
        Self { title, heads, rows: Vec::new() }
    }

    pub(super) fn add(&mut self, name: String, cells: [String; N]) {
        self.rows.push((name, cells));
    }

    pub(super) fn draw(self, style: Style, out: &mut String) {
        let mut widths = self.heads.map(|head| head.chars().count());
        for (_, cells) in &self.rows {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let cells_width: usize = widths.iter().map(|width| width + 2).sum();
        let names = self.rows.iter().map(|(name, _)| name.chars().count());
        let mut name_width = names.max().unwrap_or(0).max(self.title.chars().count());
        if let Some(width) = style.width {
            name_width = name_width.min(width.saturating_sub(cells_width).max(NAME_CHARS_MIN));
        }
        let mut head = style.bold(&format!("{:<name_width$}", self.title));
        for (text, width) in self.heads.iter().zip(widths) {
            let _ = write!(head, "  {}", style.bold(&format!("{text:>width$}")));
        }
        let _ = writeln!(out, "\n{}", head.trim_end());
        for (name, cells) in &self.rows {
            let mut line = format!("{:<name_width$}", shortened(name, name_width));
            for (cell, width) in cells.iter().zip(widths) {
                let text = format!("{cell:>width$}");
                let _ =
                    write!(line, "  {}", if is_nothing(cell) { style.dim(&text) } else { text });
            }
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
}

const USAGE_HEADS: [&str; 8] =
    ["CORES", "LIMIT", "MEMORY", "LIMIT", "READ", "WRITTEN", "IN", "OUT"];

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
    let mut grid = Grid::new(format!("PODS ({})", view.pods.len()), USAGE_HEADS);
    for pod in view.pods.iter().take(style.top) {
        let known = page.catalog.pod(pod.uid);
        let mut name = match view::name_of(page.catalog, pod) {
            Some((namespace, name)) => {
                format!("{} {}", printable(&format!("{namespace}/{name}")), pod.qos)
            }
            None => format!("{} {}", pod.uid, pod.qos),
        };
        if pod.host_network == Some(true) {
            name.push_str(" hostNetwork");
        }
        if pod.usage.events.oom_kills.is_some_and(|kills| kills > 0) {
            name.push_str(" OOM");
        }
        name.push_str(exited(pod.exited));
        grid.add(name, usage_cells(&pod.usage));
        for container in page.account.containers_of(pod.uid) {
            let short = crate::attribution::short_name(container.id);
            let named = known.and_then(|pod| pod.container(container.id));
            let called = named.map_or(short, |container| printable(&container.name));
            let name = format!("  {called} {}{}", container.runtime, exited(container.exited));
            grid.add(name, usage_cells(&container.usage));
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
    let mut grid = Grid::new(format!("HOST UNITS ({})", view.units.len()), USAGE_HEADS);
    for unit in view.units.iter().take(style.top) {
        let name = match unit.kind {
            UnitKind::Unit | UnitKind::Named => printable_bytes(&unit.name()),
            UnitKind::Guest(kind) => {
                format!("{} {}", printable_bytes(&unit.name()), kind.as_str())
            }
            UnitKind::Slice => format!("{} (processes in it)", printable_bytes(&unit.name())),
            UnitKind::Container { id, runtime } => {
                let named = page.catalog.container(id).map(|named| printable(&named.name));
                let called = named.unwrap_or_else(|| crate::attribution::short_name(id));
                format!("{called} {runtime} container")
            }
            UnitKind::Root => "/ (processes in the root cgroup)".to_owned(),
        };
        grid.add(name + exited(unit.exited), usage_cells(&unit.usage));
    }
    let rest = view.units.len().saturating_sub(style.top);
    grid.draw(style, out);
    more(rest, "unit", "units", style, out);
}

fn exited(exited: bool) -> &'static str {
    if exited { " exited" } else { "" }
}

fn more(rest: usize, one: &str, many: &str, style: Style, out: &mut String) {
    if rest > 0 {
        let what = if rest == 1 { one } else { many };
        let _ = writeln!(out, "{}", style.dim(&format!("and {rest} more {what} (--top)")));
    }
}

fn processes(page: &Page<'_>, style: Style, out: &mut String) {
    let view = page.view;
    if view.processes.is_empty() {
        return;
    }
    let heads = ["PID", "CORES", "MEMORY", "READ", "WRITTEN"];
    let mut grid = Grid::new("PROCESSES".to_owned(), heads);
    for process in &view.processes {
        let comm = printable_bytes(process.comm.as_bytes());
        let mut name = format!("{comm}  {}", owner(&ProcessOwner::of(process), page.catalog));
        if let Some(cmdline) = &process.cmdline {
            let text: Vec<u8> =
                cmdline.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect();
            let _ = write!(name, "  {}", printable_bytes(&text));
        }
        let over = process.cpu.map_or(0, |cpu| cpu.over_usec);
        let disk = |part: fn(&DiskUsage) -> Bytes| {
            process.disk.as_ref().map_or_else(nothing, |disk| rate(part(disk), over))
        };
        let cpu = |cpu: CpuUsage| cores(cpu.usage.as_usec(), cpu.over_usec);
        grid.add(
            name,
            [
                process.key.pid.to_string(),
                process.cpu.map_or_else(nothing, cpu),
                process.resident.map_or("?".to_owned(), size),
                disk(|disk| disk.read),
                disk(|disk| disk.written),
            ],
        );
    }
    let over = page.account.since.map_or(0, |since| page.account.until.usec_since(since));
    for exited in page.account.exited_children.iter().take(style.top) {
        let comm = printable_bytes(exited.comm.as_bytes());
        let owner = owner(&ProcessOwner::of_cgroup(&exited.cgroup), page.catalog);
        let cores = cores(exited.cpu.as_usec(), over);
        grid.add(
            format!("exited children of {comm}  {owner}"),
            [exited.parent.pid.to_string(), cores, nothing(), nothing(), nothing()],
        );
    }
    for rest in view.rests.iter().take(style.top) {
        let others = if rest.processes == 1 { "process" } else { "processes" };
        grid.add(
            format!("rest of {}: {} {others}", owner(&rest.owner, page.catalog), rest.processes),
            [
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

fn remainder(page: &Page<'_>, style: Style, out: &mut String) {
    let balances = &page.account.conservation;
    let heads = ["NODE", "PODS", "UNITS", "KERNEL", "IRQ", "EXITED", "UNATTRIBUTED", ""];
    let mut grid = Grid::new("REMAINDER".to_owned(), heads);
    let time = |usec: u64| format!("{:.2} s", usec as f64 / 1e6);
    let bytes = |bytes: u64| size(Bytes::from_bytes(bytes));
    if let Some(balance) = balances.cpu_usec {
        grid.add("cpu".to_owned(), balance_cells(&balance, time));
    }
    let in_bytes = [
        ("memory", balances.memory_bytes),
        ("disk read", balances.disk_read_bytes),
        ("disk written", balances.disk_written_bytes),
        ("network in", balances.network_rx_bytes),
        ("network out", balances.network_tx_bytes),
    ];
    for (name, balance) in in_bytes {
        if let Some(balance) = balance {
            grid.add(name.to_owned(), balance_cells(&balance, bytes));
        }
    }
    if !grid.rows.is_empty() {
        grid.draw(style, out);
    }
    let inside = balances.network_rx_bytes.zip(balances.network_tx_bytes);
    let inside = inside.map(|(rx, tx)| (rx.inside_node, tx.inside_node));
    if let Some((rx, tx)) = inside.filter(|inside| *inside != (0, 0)) {
        let text = format!(
            "network between owners of this node: in at least {}, out at least {}",
            bytes(rx),
            bytes(tx)
        );
        let _ = writeln!(out, "{}", style.dim(&text));
    }
    for exited in &page.account.exited {
        let _ = writeln!(
            out,
            "{}",
            style.dim(&format!(
                "exited below {}: cpu {}, written {}",
                printable_bytes(&exited.path),
                time(exited.cpu.as_usec()),
                size(exited.disk.written)
            ))
        );
    }
}

fn balance_cells(balance: &Balance, show: impl Fn(u64) -> String) -> [String; 8] {
    let unattributed = balance.unattributed;
    let sign = if unattributed < 0 { "-" } else { "" };
    let share = match balance.node {
        0 => String::new(),
        node => format!("{:.1} %", unattributed as f64 * 100.0 / node as f64),
    };
    [
        show(balance.node),
        show(balance.pods),
        show(balance.host_units),
        show(balance.kernel),
        show(balance.interrupts),
        show(balance.exited),
        match balance.uncertainty {
            Some(bound) => {
                format!("{sign}{} ±{}", show(unattributed.unsigned_abs()), show(bound))
            }
            None => format!("{sign}{}", show(unattributed.unsigned_abs())),
        },
        share,
    ]
}

fn gaps(page: &Page<'_>, style: Style, out: &mut String) {
    let all: Vec<_> = page.gaps.standing.iter().chain(&page.gaps.current).collect();
    if all.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{}", style.bold(&format!("GAPS ({})", all.len())));
    for gap in all.iter().take(style.top) {
        let _ = writeln!(out, "{}: {}", printable_bytes(&gap.path), gap.reason);
    }
    more(all.len().saturating_sub(style.top), "gap", "gaps", style, out);
}

impl Style {
    /// The style for standard output: colour and width depend on whether it is a terminal.
    #[must_use]
    pub fn of_output(colour: ColorChoice, top: usize) -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self {
            colour: match colour {
                ColorChoice::Always => true,
                ColorChoice::Never => false,
                ColorChoice::Auto => {
                    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
                }
            },
            width: is_terminal.then(terminal_width).flatten(),
            top,
        }
    }

    pub(super) fn bold(self, text: &str) -> String {
        if self.colour { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn dim(self, text: &str) -> String {
        if self.colour { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The columns of the terminal on standard output; `None` if it has none.
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// The cell of an unknown value.
pub(super) fn nothing() -> String {
    "-".to_owned()
}

fn is_nothing(cell: &str) -> bool {
    matches!(cell, "-" | "0" | "0 B" | "0 B/s" | "0.00" | "0.00 s")
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

fn printable_bytes(bytes: &[u8]) -> String {
    printable(&String::from_utf8_lossy(bytes))
}

/// `text` in at most `width` characters, without its middle: names differ at either end.
fn shortened(text: &str, width: usize) -> String {
    let count = text.chars().count();
    if count <= width || width < 3 {
        return text.to_owned();
    }
    let head = (width - 1).div_ceil(2);
    let tail = width - 1 - head;
    let start: String = text.chars().take(head).collect();
    let end: String = text.chars().skip(count - tail).collect();
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_steer_the_terminal() {
        assert_eq!(printable_bytes(b"a\x1b[31mb\n\xff"), "a\\u{1b}[31mb\\n\u{fffd}");
    }

    #[test]
    fn a_long_name_keeps_both_ends() {
        assert_eq!(shortened("kubepods-burstable", 9), "kube…able");
        assert_eq!(shortened("short", 9), "short");
    }

    #[test]
    fn a_rate_over_no_time_is_not_known() {
        assert_eq!(rate(Bytes::from_bytes(5), 0), "-");
        assert_eq!(rate(Bytes::from_bytes(3 << 20), 2_000_000), "1.50 MiB/s");
    }
}
