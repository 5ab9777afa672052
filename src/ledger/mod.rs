//! The only place where counters are subtracted.
//!
//! [`Ledger::settle`] takes one snapshot after another. For each interval between two snapshots it
//! computes the usage per kernel object, sums it by owner, and balances it against the node. It is
//! pure: no clock, no files.
//!
//! A cgroup's counters include everything below it, removed cgroups too. So each cgroup has a total
//! usage (inclusive) and a self usage (exclusive): the total less its children's totals. The self
//! usage of a container's cgroup is that of its processes. A pod's includes the containers that are
//! gone. A slice's includes the pods and units that started and ended since the last sample. Each
//! self usage is attributed to exactly one owner. Their sum is what the top-level cgroups used,
//! whatever was created or removed.
//!
//! A new cgroup counts from 0, since it was created after the last sample. The exception is one
//! that shows more usage than its parent's delta has left beside its other children: it existed
//! before, and its past is nobody's usage.
//!
//! A cgroup that cannot be read has no usage for the interval. Once it is readable again it gets
//! the usage of the whole time, and no usage is attributed twice meanwhile.

pub mod account;
mod attribute;
mod balance;
mod cgroup_delta;
mod counters;
mod created;
mod delta;
mod event_counts;
mod exited_children;
mod interfaces;
mod io;
mod memory_parts;
mod namespaces;
mod node;
mod owner_entry;
mod passed_down;
mod process_owner;
mod room;
mod running;
mod self_usage;
mod settle;
mod sockets;
mod split;
mod uncharged_memory;
mod unowned_cpu;
mod unread;

pub use account::Account;
pub use counters::{
    CgroupCounters, Counters, InterfaceCounters, KnownInterface, NamespaceCounters,
    ProcessCounters, SocketCounters, SocketsCounters,
};
pub use event_counts::EventCounts;
pub use memory_parts::{MemoryKind, MemoryParts};
pub use process_owner::ProcessOwner;
pub use running::RunningContainer;
pub use settle::Ledger;
