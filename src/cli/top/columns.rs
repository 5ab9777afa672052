//! The columns of a table, and which of them a narrow terminal leaves out.

use super::figure::RowFigure;
use super::model::TopTable;

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopColumn {
    Pid,
    Name,
    Owner,
    Figure(RowFigure),
    CpuLimit,
    MemoryLimit,
}

use RowFigure::{Cpu, In, Memory, Out, Read, Written};
use TopColumn::{CpuLimit, Figure, MemoryLimit, Name, Owner, Pid};

/// The least width of names. Below that a column is left out.
const NAME_COLUMNS_MIN: usize = 20;

/// The same of processes, whose names are short, and of their owners.
const COMM_COLUMNS_MIN: usize = 15;
const OWNER_COLUMNS_MIN: usize = 16;

/// The space before a column, but the first.
pub const SPACE: usize = 2;

const OWNERS: &[TopColumn] = &[
    Name,
    Figure(Cpu),
    CpuLimit,
    Figure(Memory),
    MemoryLimit,
    Figure(Read),
    Figure(Written),
    Figure(In),
    Figure(Out),
];

/// The first is left out first.
const OWNERS_DROPPED: &[TopColumn] = &[
    CpuLimit,
    MemoryLimit,
    Figure(Out),
    Figure(In),
    Figure(Written),
    Figure(Read),
    Figure(Memory),
    Figure(Cpu),
];

const PROCESSES: &[TopColumn] =
    &[Pid, Name, Owner, Figure(Cpu), Figure(Memory), Figure(Read), Figure(Written)];

const PROCESSES_DROPPED: &[TopColumn] =
    &[Figure(Written), Figure(Read), Owner, Figure(Memory), Pid, Figure(Cpu)];

impl TopColumn {
    pub const fn head(self) -> &'static str {
        match self {
            Pid => "PID",
            Name => "NAME",
            Owner => "OWNER",
            Figure(Cpu) => "CPU",
            Figure(Memory) => "MEMORY",
            Figure(Read) => "READ/s",
            Figure(Written) => "WRITE/s",
            Figure(In) => "IN/s",
            Figure(Out) => "OUT/s",
            CpuLimit | MemoryLimit => "LIMIT",
        }
    }

    /// The width of what it shows; of names, the least.
    pub const fn width(self, table: TopTable) -> usize {
        match self {
            Pid => 7,
            Name => match table {
                TopTable::Pods | TopTable::Units => NAME_COLUMNS_MIN,
                TopTable::Processes => COMM_COLUMNS_MIN,
            },
            Owner => OWNER_COLUMNS_MIN,
            Figure(Cpu) | CpuLimit => 6,
            // 99.9 MiB
            Figure(_) | MemoryLimit => 8,
        }
    }

    pub const fn is_text(self) -> bool {
        matches!(self, Name | Owner)
    }
}

/// The columns of the table that fit, in their order. The one that rows are sorted by stays.
pub fn fitting(table: TopTable, sorted_by: RowFigure, width: usize) -> Vec<TopColumn> {
    let (all, dropped) = match table {
        TopTable::Pods | TopTable::Units => (OWNERS, OWNERS_DROPPED),
        TopTable::Processes => (PROCESSES, PROCESSES_DROPPED),
    };
    let mut columns = all.to_vec();
    for left_out in dropped.iter().filter(|column| **column != Figure(sorted_by)) {
        if least_width(&columns, table) <= width {
            break;
        }
        columns.retain(|column| column != left_out);
    }
    columns
}

fn least_width(columns: &[TopColumn], table: TopTable) -> usize {
    let widths: usize = columns.iter().map(|column| column.width(table) + SPACE).sum();
    widths.saturating_sub(SPACE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heads(table: TopTable, sorted_by: RowFigure, width: usize) -> String {
        let columns = fitting(table, sorted_by, width);
        columns.iter().map(|column| column.head()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn columns_are_left_out_in_their_order() {
        for (width, expected) in [
            (200, "NAME CPU LIMIT MEMORY LIMIT READ/s WRITE/s IN/s OUT/s"),
            (96, "NAME CPU LIMIT MEMORY LIMIT READ/s WRITE/s IN/s OUT/s"),
            (95, "NAME CPU MEMORY LIMIT READ/s WRITE/s IN/s OUT/s"),
            (80, "NAME CPU MEMORY READ/s WRITE/s IN/s OUT/s"),
            (77, "NAME CPU MEMORY READ/s WRITE/s IN/s"),
            (40, "NAME CPU MEMORY"),
            (30, "NAME CPU"),
            (1, "NAME CPU"),
        ] {
            assert_eq!(heads(TopTable::Pods, RowFigure::Cpu, width), expected, "{width}");
        }
        for (width, expected) in [
            (80, "PID NAME OWNER CPU MEMORY READ/s WRITE/s"),
            (79, "PID NAME OWNER CPU MEMORY READ/s"),
            (60, "PID NAME OWNER CPU MEMORY"),
            (59, "PID NAME CPU MEMORY"),
            (40, "PID NAME CPU"),
            (30, "NAME CPU"),
        ] {
            assert_eq!(heads(TopTable::Processes, RowFigure::Cpu, width), expected, "{width}");
        }
    }

    #[test]
    fn the_column_that_rows_are_sorted_by_stays() {
        assert_eq!(heads(TopTable::Units, RowFigure::Out, 40), "NAME CPU OUT/s");
        assert_eq!(heads(TopTable::Processes, RowFigure::Written, 40), "NAME CPU WRITE/s");
    }
}
