//! The figures of a row, by which rows are sorted.

use std::cmp::Ordering;

/// An amount; `None` takes no room of its own, since a history has many of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedAmount(u64);

impl PackedAmount {
    pub const UNKNOWN: Self = Self(u64::MAX);

    pub fn new(amount: Option<u64>) -> Self {
        Self(amount.unwrap_or(u64::MAX))
    }

    pub fn get(self) -> Option<u64> {
        (self != Self::UNKNOWN).then_some(self.0)
    }
}

/// One figure of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RowFigure {
    Cpu,
    Memory,
    Read,
    Written,
    In,
    Out,
}

impl RowFigure {
    pub const ALL: [Self; 6] =
        [Self::Cpu, Self::Memory, Self::Read, Self::Written, Self::In, Self::Out];

    /// The figure in a sentence.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Cpu => "CPU",
            Self::Memory => "memory",
            Self::Read => "disk read",
            Self::Written => "disk written",
            Self::In => "network in",
            Self::Out => "network out",
        }
    }
}

/// CPU in thousandths of a CPU, memory in bytes, the others in bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowFigures([PackedAmount; 6]);

impl RowFigures {
    pub fn new(of: impl Fn(RowFigure) -> Option<u64>) -> Self {
        Self(RowFigure::ALL.map(|figure| PackedAmount::new(of(figure))))
    }

    /// `None`: not known.
    pub fn get(&self, figure: RowFigure) -> Option<u64> {
        let [cpu, memory, read, written, received, sent] = self.0;
        match figure {
            RowFigure::Cpu => cpu,
            RowFigure::Memory => memory,
            RowFigure::Read => read,
            RowFigure::Written => written,
            RowFigure::In => received,
            RowFigure::Out => sent,
        }
        .get()
    }

    /// The larger first; what is not known comes last.
    pub fn larger_first(&self, other: &Self, figure: RowFigure) -> Ordering {
        other.get(figure).cmp(&self.get(figure))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_figure_is_none_and_comes_behind_zero() {
        let figures = |cpu| RowFigures::new(|it| if it == RowFigure::Cpu { cpu } else { None });
        let (unknown, zero, some) = (figures(None), figures(Some(0)), figures(Some(7)));
        assert_eq!(unknown.get(RowFigure::Cpu), None);
        assert_eq!(zero.get(RowFigure::Cpu), Some(0));
        assert_eq!(some.get(RowFigure::Out), None);
        assert_eq!(some.larger_first(&zero, RowFigure::Cpu), Ordering::Less);
        assert_eq!(zero.larger_first(&unknown, RowFigure::Cpu), Ordering::Less);
    }
}
