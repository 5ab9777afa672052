//! The conservation bar: whose the node's busy CPU or used memory is, as cells that add up.

use crate::payload::dump::decode::BalanceLine;

/// A part of the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BarPart {
    /// Its cells are this letter, so that the bar is read without colour.
    pub letter: char,
    pub name: &'static str,
    /// In the unit of the balance; negative of a remainder that is owed.
    pub amount: i128,
}

/// The parts, in the order of the bar. Interrupts are there only where they are counted apart.
pub fn parts(balance: &BalanceLine) -> Vec<BarPart> {
    let part = |letter, name, amount: u64| BarPart { letter, name, amount: amount.into() };
    let mut parts = vec![
        part('p', "pods", balance.pods),
        part('u', "units", balance.host_units),
        part('k', "kernel", balance.kernel),
        part('i', "irq", balance.interrupts),
        part('e', "exited", balance.exited),
        BarPart { letter: '?', name: "unattributed", amount: balance.unattributed.into() },
    ];
    parts.retain(|part| part.letter != 'i' || part.amount != 0);
    parts
}

/// The cells of each part in a bar of `width`. A negative part has none; the others share the bar in
/// proportion, and the largest remainders get what rounding left.
pub fn cells(parts: &[BarPart], width: usize) -> Vec<usize> {
    let amounts: Vec<u128> =
        parts.iter().map(|part| u128::try_from(part.amount).unwrap_or(0)).collect();
    let sum: u128 = amounts.iter().sum();
    if sum == 0 {
        return vec![0; parts.len()];
    }
    let scaled = |amount: u128| amount.saturating_mul(width as u128);
    let mut cells: Vec<usize> = amounts
        .iter()
        .map(|amount| usize::try_from(scaled(*amount) / sum).unwrap_or(width).min(width))
        .collect();
    let mut left = width.saturating_sub(cells.iter().sum());
    let mut order: Vec<usize> = (0..parts.len()).collect();
    let remainder = |at: &usize| amounts.get(*at).map_or(0, |amount| scaled(*amount) % sum);
    order.sort_by_key(|at| std::cmp::Reverse(remainder(at)));
    for at in order {
        if let Some(cell) = cells.get_mut(at).filter(|_| left > 0 && remainder(&at) > 0) {
            *cell += 1;
            left -= 1;
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(balance: &BalanceLine, width: usize) -> String {
        let parts = parts(balance);
        let cells = cells(&parts, width);
        parts.iter().zip(cells).map(|(part, cells)| part.letter.to_string().repeat(cells)).collect()
    }

    #[test]
    fn the_cells_are_in_proportion_and_fill_the_bar() {
        let balance = BalanceLine {
            node: 100,
            pods: 50,
            host_units: 25,
            kernel: 10,
            interrupts: 0,
            exited: 5,
            unattributed: 10,
            ..BalanceLine::default()
        };
        assert_eq!(drawn(&balance, 20), "ppppppppppuuuuukke??");
        // 1.5, 0.75, 0.3, 0.15 and 0.3 of three cells.
        assert_eq!(drawn(&balance, 3), "ppu");
        assert_eq!(drawn(&balance, 0), "");
    }

    #[test]
    fn a_negative_remainder_has_no_cells_and_nothing_overflows() {
        let balance =
            BalanceLine { pods: 3, interrupts: 1, unattributed: -1, ..BalanceLine::default() };
        assert_eq!(drawn(&balance, 8), "ppppppii");
        assert_eq!(drawn(&BalanceLine::default(), 8), "");
        let large = BalanceLine {
            pods: u64::MAX,
            host_units: u64::MAX,
            kernel: u64::MAX,
            exited: u64::MAX,
            unattributed: i64::MAX,
            ..BalanceLine::default()
        };
        assert_eq!(drawn(&large, 500).len(), 500);
        let owed = BalanceLine { unattributed: i64::MIN, ..BalanceLine::default() };
        assert_eq!(drawn(&owed, 8), "");
    }
}
