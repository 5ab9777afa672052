//! The end of the table: the remainder of each resource and the gaps, in a line each or in full.

use std::fmt::Write as _;

use super::grid::Grid;
use super::lines::{cut, folded, printable_bytes, width};
use super::style::Style;
use crate::ledger::Account;
use crate::ledger::account::Balance;
use crate::payload::size::size;
use crate::quantity::{Bytes, CpuTime};
use crate::snapshot::gaps::Gaps;

/// The width of the first word of a line.
const HEAD_CHARS: usize = 11;

/// The remainder, and what cgroups used that came and went: a line each, or with `in_full` a table.
pub(super) fn balance(account: &Account, in_full: bool, style: Style, out: &mut String) {
    if in_full {
        table(account, style, out);
        return;
    }
    let parts = remainders(account);
    let has_exited = !account.exited.is_empty();
    if !parts.is_empty() || has_exited {
        out.push('\n');
    }
    if !parts.is_empty() {
        let long: Vec<String> = parts.iter().map(Remainder::in_full).collect();
        let mut text = long.join(", ");
        if style.width.is_some_and(|columns| HEAD_CHARS + width(&text) > columns) {
            text = parts.iter().map(Remainder::short).collect::<Vec<_>>().join(", ");
        }
        let _ = writeln!(out, "{}", line("remainder", &text, style));
    }
    if has_exited {
        let cpu: CpuTime = account.exited.iter().fold(CpuTime::ZERO, |sum, one| sum + one.cpu);
        let written = account.exited.iter().fold(Bytes::ZERO, |sum, one| sum + one.disk.written);
        let count = account.exited.len();
        let text = format!(
            "cpu {}, written {} below {count} {} (--balance)",
            time(cpu.as_usec()),
            size(written),
            if count == 1 { "cgroup" } else { "cgroups" },
        );
        let _ = writeln!(out, "{}", line("exited", &text, style));
    }
}

fn line(head: &str, text: &str, style: Style) -> String {
    // Filled up before it is painted, since the codes of colours have no width.
    let folded = folded(&format!("{head:<HEAD_CHARS$}"), text, HEAD_CHARS, style.width);
    match folded.split_at_checked(head.len()) {
        Some((head, rest)) => style.bold(head) + rest,
        None => folded,
    }
}

fn time(usec: u64) -> String {
    format!("{:.2} s", usec as f64 / 1e6)
}

/// The usage of one resource that no owner has.
struct Remainder {
    name: &'static str,
    amount: String,
    of: String,
    /// `None`: more than all of it in either direction, or of nothing, so that a share says nothing.
    share: Option<String>,
}

impl Remainder {
    fn in_full(&self) -> String {
        let Self { name, amount, of, .. } = self;
        match &self.share {
            Some(share) => format!("{name} {amount} of {of} ({share})"),
            None => format!("{name} {amount} of {of}"),
        }
    }

    fn short(&self) -> String {
        format!("{} {}", self.name, self.share.as_ref().unwrap_or(&self.amount))
    }
}

/// Of CPU and memory, and of each direction of disk and network the one where more is left.
fn remainders(account: &Account) -> Vec<Remainder> {
    let all = &account.conservation;
    let of = |name, balance: Balance, show: &dyn Fn(u64) -> String| Remainder {
        name,
        amount: signed(balance.unattributed, show),
        of: show(balance.node),
        share: share(&balance),
    };
    let bytes = |bytes: u64| size(Bytes::from_bytes(bytes));
    let larger = |a: (&'static str, Option<Balance>), b: (&'static str, Option<Balance>)| {
        let known = [a, b].into_iter().filter_map(|(name, balance)| Some((name, balance?)));
        // The first of equal ones.
        known.rev().max_by_key(|(_, balance)| balance.unattributed.unsigned_abs())
    };
    let disk = larger(("disk read", all.disk_read_bytes), ("disk written", all.disk_written_bytes));
    let network =
        larger(("network in", all.network_rx_bytes), ("network out", all.network_tx_bytes));
    let cpu = all.cpu_usec.map(|balance| of("cpu", balance, &time));
    let memory = all.memory_bytes.map(|balance| of("memory", balance, &bytes));
    let others = [disk, network].into_iter().flatten();
    let others = others.map(|(name, balance)| of(name, balance, &bytes));
    cpu.into_iter().chain(memory).chain(others).collect()
}

fn signed(amount: i64, show: impl Fn(u64) -> String) -> String {
    let sign = if amount < 0 { "-" } else { "" };
    format!("{sign}{}", show(amount.unsigned_abs()))
}

/// The share of the remainder in the node's usage; `None` beyond 100 % on either side.
fn share(balance: &Balance) -> Option<String> {
    if balance.node == 0 || balance.unattributed.unsigned_abs() > balance.node {
        return None;
    }
    Some(format!("{:.1} %", balance.unattributed as f64 * 100.0 / balance.node as f64))
}

/// The parts that go first where there is no room: see docs/dump.md.
const BALANCE_ORDER: &[&[usize]] = &[&[4], &[5], &[3], &[2], &[1]];

fn table(account: &Account, style: Style, out: &mut String) {
    let balances = &account.conservation;
    let heads = ["NODE", "PODS", "UNITS", "KERNEL", "IRQ", "EXITED", "UNATTRIBUTED", ""];
    let mut grid = Grid::new("REMAINDER".to_owned(), heads).dropping(BALANCE_ORDER);
    let bytes = |bytes: u64| size(Bytes::from_bytes(bytes));
    if let Some(balance) = balances.cpu_usec {
        grid.add("cpu".to_owned(), cells(&balance, time));
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
            grid.add(name.to_owned(), cells(&balance, bytes));
        }
    }
    if !grid.is_empty() {
        grid.draw(style, out);
    }
    let mut dim = |text: &str| {
        for line in folded("", text, 2, style.width).lines() {
            let _ = writeln!(out, "{}", style.dim(line));
        }
    };
    let inside = balances.network_rx_bytes.zip(balances.network_tx_bytes);
    let inside = inside.map(|(rx, tx)| (rx.inside_node, tx.inside_node));
    if let Some((rx, tx)) = inside.filter(|inside| *inside != (0, 0)) {
        dim(&format!(
            "network between owners of this node: in at least {}, out at least {}",
            bytes(rx),
            bytes(tx)
        ));
    }
    for exited in &account.exited {
        dim(&format!(
            "exited below {}: cpu {}, written {}",
            printable_bytes(&exited.path),
            time(exited.cpu.as_usec()),
            size(exited.disk.written)
        ));
    }
}

fn cells(balance: &Balance, show: impl Fn(u64) -> String) -> [String; 8] {
    let unattributed = signed(balance.unattributed, &show);
    [
        show(balance.node),
        show(balance.pods),
        show(balance.host_units),
        show(balance.kernel),
        show(balance.interrupts),
        show(balance.exited),
        match balance.uncertainty {
            Some(bound) => format!("{unattributed} ±{}", show(bound)),
            None => unattributed,
        },
        share(balance).unwrap_or_default(),
    ]
}

/// The end of the line of gaps.
const HINT: &str = " (--gaps)";

/// The gaps: one line that names the first, or with `in_full` each with its reason.
pub(super) fn gaps(gaps: &Gaps, in_full: bool, style: Style, out: &mut String) {
    let all: Vec<_> = gaps.standing.iter().chain(&gaps.current).collect();
    let unlisted = gaps.count.saturating_sub(gaps.current.len() as u64);
    let count = all.len() as u64 + unlisted;
    if count == 0 {
        return;
    }
    if in_full {
        let _ = writeln!(out, "\n{}", style.bold(&format!("GAPS ({count})")));
        for gap in all {
            let text = format!("{}: {}", printable_bytes(&gap.path), gap.reason);
            let _ = writeln!(out, "{}", folded("", &text, 2, style.width));
        }
        if unlisted > 0 {
            let _ = writeln!(out, "{}", style.dim(&format!("and {unlisted} that are not listed")));
        }
        return;
    }
    let paths: Vec<String> = all.iter().map(|gap| printable_bytes(&gap.path)).collect();
    let mut text = format!("{count}: {}", paths.join(", "));
    let columns = style.width.unwrap_or(200);
    text = cut(&text, columns.saturating_sub(HEAD_CHARS + HINT.len()));
    let _ = writeln!(out, "{}", line("gaps", &(text + HINT), style));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::gaps::{Gap, GapReason};

    fn account(cpu: Balance, written: Balance) -> Account {
        let mut account = Account::default();
        account.conservation.cpu_usec = Some(cpu);
        account.conservation.disk_read_bytes = Some(Balance::new(4096, 4096, 0, 0, 0, 0));
        account.conservation.disk_written_bytes = Some(written);
        account
    }

    fn printed(account: &Account, in_full: bool, width: Option<usize>) -> String {
        let mut out = String::new();
        balance(account, in_full, Style { colour: false, width, top: 10 }, &mut out);
        out
    }

    #[test]
    fn the_remainder_is_a_line_with_its_share() {
        let cpu = Balance::new(9_890_000, 9_000_000, 740_000, 0, 0, 0);
        let account = account(cpu, Balance::new(8 << 20, 6 << 20, 0, 0, 0, 0));
        assert_eq!(
            printed(&account, false, Some(90)),
            "\nremainder  cpu 0.15 s of 9.89 s (1.5 %), disk written 2.00 MiB of 8.00 MiB (25.0 %)\n"
        );
        assert_eq!(
            printed(&account, false, Some(60)),
            "\nremainder  cpu 1.5 %, disk written 25.0 %\n"
        );
    }

    #[test]
    fn more_than_all_of_it_is_an_amount_and_no_share() {
        // 4 KiB of the node's 1 MiB and 147 MiB of the owners'.
        let account = account(
            Balance::new(0, 10_000, 0, 0, 0, 0),
            Balance::new(1 << 20, 148 << 20, 0, 0, 0, 0),
        );
        for (in_full, width) in [(false, None), (false, Some(34)), (true, None), (true, Some(80))] {
            let text = printed(&account, in_full, width);
            assert!(text.contains("-147 MiB"), "{text}");
            assert!(text.contains("-0.01 s"), "{text}");
            assert!(!text.contains("-14700"), "{text}");
            for line in text.lines() {
                assert!(width.is_none_or(|width| line.chars().count() <= width), "{text}");
            }
        }
        // All of it, and not more.
        let all = Balance::new(100, 0, 0, 0, 0, 0);
        assert_eq!(share(&all).as_deref(), Some("100.0 %"));
        assert_eq!(share(&Balance::new(100, 200, 0, 0, 0, 0)).as_deref(), Some("-100.0 %"));
        assert_eq!(share(&Balance::new(100, 201, 0, 0, 0, 0)), None);
    }

    #[test]
    fn gaps_are_one_line_that_fits() {
        let gap = |path: &str| Gap {
            path: path.as_bytes().into(),
            reason: GapReason::NotOffered { consequence: "some figures are missing" },
        };
        let standing = vec![gap("/proc/pressure/cpu"), gap("cgroup2")];
        let all = Gaps { standing, ..Gaps::default() };
        let printed = |in_full, width| {
            let mut out = String::new();
            gaps(&all, in_full, Style { colour: false, width, top: 1 }, &mut out);
            out
        };
        assert_eq!(
            printed(false, Some(80)),
            "gaps       2: /proc/pressure/cpu, cgroup2 (--gaps)\n"
        );
        assert_eq!(printed(false, Some(40)), "gaps       2: /proc/pressure/c… (--gaps)\n");
        let table = printed(true, None);
        assert!(table.starts_with("\nGAPS (2)\n"), "{table}");
        assert!(table.contains("cgroup2: ") && table.contains("some figures"), "{table}");
    }
}
