//! The table of metrics: one declaration for each exported figure.
//!
//! Encoders, the reference in docs/metrics.md and the tests read it. A figure without a value in a
//! sample is left out there.

mod exited;
mod filesystem;
mod node;
mod owner;
mod process;

use std::sync::LazyLock;

use super::entity::EntityClass;
use super::metric::Metric;
pub use node::NodeInput;
pub use owner::OwnerInput;
pub use process::ProcessInput;

use crate::disk_usage::usage::FilesystemUsage;
use crate::ledger::account::ExitedUsage;

/// The reader of a figure: the amount of the interval of a counter, the kernel's total of a kernel
/// counter, the present value of any other. `None`: not known.
#[derive(Debug, Clone, Copy)]
pub enum Read {
    Node(fn(&NodeInput<'_>) -> Option<i64>),
    Filesystem(fn(&FilesystemUsage) -> Option<i64>),
    Owner(fn(&OwnerInput<'_>) -> Option<i64>),
    Exited(fn(&ExitedUsage) -> Option<i64>),
    Process(fn(&ProcessInput) -> Option<i64>),
}

/// The input of one entity's figures.
#[derive(Debug, Clone, Copy)]
pub enum Input<'a> {
    Node(&'a NodeInput<'a>),
    Filesystem(&'a FilesystemUsage),
    Owner(&'a OwnerInput<'a>),
    Exited(&'a ExitedUsage),
    Process(&'a ProcessInput),
}

impl Metric {
    /// The figure in `input`, as [`Read`] has it.
    pub(super) fn read(&self, input: Input<'_>) -> Option<i64> {
        match (self.read, input) {
            (Read::Node(read), Input::Node(input)) => read(input),
            (Read::Filesystem(read), Input::Filesystem(input)) => read(input),
            (Read::Owner(read), Input::Owner(input)) => read(input),
            (Read::Exited(read), Input::Exited(input)) => read(input),
            (Read::Process(read), Input::Process(input)) => read(input),
            _ => None,
        }
    }
}

/// The metrics of each class.
static TABLE: LazyLock<[Vec<Metric>; EntityClass::ALL.len()]> = LazyLock::new(|| {
    let [pods, containers, units] = owner::metrics();
    [
        node::metrics(),
        filesystem::metrics(),
        pods,
        containers,
        units,
        exited::metrics(),
        process::metrics(),
    ]
});

/// The metrics of a class of entities, those of one name together.
#[must_use]
pub fn of(class: EntityClass) -> &'static [Metric] {
    let at = EntityClass::ALL.iter().position(|other| *other == class);
    at.and_then(|at| TABLE.get(at)).map_or(&[], |metrics| metrics)
}

/// Every metric.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    TABLE.iter().flatten()
}

/// A value as it is kept; beyond 2^63 it stays at the end.
fn kept(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
