//! The table of metrics: one declaration for each exported figure.
//!
//! Encoders, the reference in docs/metrics.md and the tests read it. A figure without a value in a
//! sample is left out there.

mod exited;
mod filesystem;
mod node;
mod node_memory;
mod owner;
mod process;

use std::sync::LazyLock;

use super::entity::EntityClass;
use super::metric::Metric;

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

#[cfg(test)]
mod tests;
