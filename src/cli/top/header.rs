//! The node's figures above the table, in as many lines as there are.

use super::text::{bytes, cores};
use crate::cli::lines::width;
use crate::payload::dump::decode::{NodeLine, PressureLine};

/// The space between two facts.
pub const SPACE: usize = 3;

/// One fact about the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFact {
    pub name: &'static str,
    pub text: String,
    /// Both are known where the amount has a limit.
    pub amount: Option<u64>,
    pub limit: Option<u64>,
}

impl NodeFact {
    fn new(name: &'static str, text: String) -> Self {
        Self { name, text, amount: None, limit: None }
    }
}

/// The facts that are known, the most important first.
pub fn facts(node: &NodeLine) -> Vec<NodeFact> {
    let mut facts = Vec::new();
    if let Some(busy) = node.cpu_millicores {
        let of = node.cpus.map(|cpus| format!(" of {cpus}")).unwrap_or_default();
        let limit = node.cpus.map(|cpus| cpus.saturating_mul(1000));
        let text = format!("{}{of}", cores(busy));
        facts.push(NodeFact { name: "cpu", text, amount: Some(busy), limit });
    }
    if let Some((used, total)) = node.memory_used_bytes.zip(node.memory_total_bytes) {
        // Page cache is used and no reason for an alarm.
        let needed = node.memory_available_bytes.map(|available| total.saturating_sub(available));
        let text = format!("{} of {}", bytes(used), bytes(total));
        facts.push(NodeFact { name: "memory", text, amount: needed, limit: Some(total) });
    }
    if let Some(load) = node.load_1m_hundredths {
        facts.push(NodeFact::new("load", format!("{:.2}", load as f64 / 100.0)));
    }
    let over = node.interval_usec.filter(|over| *over > 0);
    let rate = |amount: u64, over: u64| {
        let a_second = u128::from(amount) * 1_000_000 / u128::from(over);
        format!("{}/s", bytes(u64::try_from(a_second).unwrap_or(u64::MAX)))
    };
    let both = |name, words: [&str; 2], amounts: [Option<u64>; 2]| {
        let [first, second] = amounts;
        let (first, second, over) = (first?, second?, over?);
        let text =
            format!("{} {}, {} {}", words[0], rate(first, over), words[1], rate(second, over));
        Some(NodeFact::new(name, text))
    };
    let disk = [node.disk_read_bytes, node.disk_written_bytes];
    facts.extend(both("disk", ["read", "written"], disk));
    let network = [node.network_rx_bytes, node.network_tx_bytes];
    facts.extend(both("network", ["in", "out"], network));
    let pressure = |name: &str, pressure: Option<PressureLine>| {
        let points = pressure?.some?.avg10_basis_points;
        Some(format!("{name} {:.1} %", points as f64 / 100.0))
    };
    let pressures: Vec<String> = [
        pressure("cpu", node.pressure_cpu),
        pressure("memory", node.pressure_memory),
        pressure("io", node.pressure_io),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !pressures.is_empty() {
        facts.push(NodeFact::new("pressure", pressures.join(", ")));
    }
    if let Some(available) = node.memory_available_bytes {
        facts.push(NodeFact::new("available", bytes(available)));
    }
    if let Some((total, free)) = node.swap_total_bytes.zip(node.swap_free_bytes)
        && total > 0
    {
        let used = total.saturating_sub(free);
        let text = format!("{} of {}", bytes(used), bytes(total));
        facts.push(NodeFact { name: "swap", text, amount: Some(used), limit: Some(total) });
    }
    facts
}

/// The facts in at most `most` lines of `columns`. What does not fit is left out, but for the first of
/// a line.
pub fn lines(facts: &[NodeFact], columns: usize, most: usize) -> Vec<Vec<&NodeFact>> {
    let mut lines: Vec<(usize, Vec<&NodeFact>)> = Vec::new();
    for fact in facts {
        let needed = width(fact.name) + 1 + width(&fact.text);
        let has_room = lines.len() < most;
        // An earlier line may have the room.
        let place = lines.iter_mut().find(|(used, _)| used + SPACE + needed <= columns);
        match place {
            Some((used, line)) => {
                *used += SPACE + needed;
                line.push(fact);
            }
            None if has_room => lines.push((needed, vec![fact])),
            None => {}
        }
    }
    lines.into_iter().map(|(_, line)| line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::tests::{LINES, sample};
    use super::*;

    fn drawn(columns: usize, most: usize) -> Vec<String> {
        let facts = facts(&sample(LINES).node);
        let one = |fact: &&NodeFact| format!("{} {}", fact.name, fact.text);
        lines(&facts, columns, most)
            .iter()
            .map(|line| line.iter().map(one).collect::<Vec<_>>().join("   "))
            .collect()
    }

    #[test]
    fn facts_fill_the_lines() {
        assert_eq!(
            drawn(80, 3),
            [
                "cpu 2.50 of 4   memory 8.00 GiB of 16.0 GiB   load 3.12   available 9.00 GiB",
                "disk read 2.00 MiB/s, written 1.00 MiB/s   network in 512 KiB/s, out 10.0 KiB/s",
                "pressure cpu 12.5 %, memory 0.0 %, io 0.3 %",
            ]
        );
        assert_eq!(drawn(40, 1), ["cpu 2.50 of 4   load 3.12"], "what fits, in its order");
        assert_eq!(drawn(300, 1).len(), 1);
        assert!(drawn(300, 1)[0].ends_with("available 9.00 GiB"));
        assert_eq!(drawn(0, 1).len(), 1, "the first is cut and not left out");
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        assert_eq!(facts(&NodeLine::default()), []);
    }
}
