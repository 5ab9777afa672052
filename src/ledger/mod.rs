//! The only place where counters are subtracted.
//!
//! [`Ledger::settle`] takes one snapshot after another and answers what happened between the last
//! one and this: first per kernel object, then summed by owner, and last as a balance of the whole
//! node. It is pure: no clock, no files.
//!
//! A cgroup's counters contain those of everything below it, removed cgroups included. So what a
//! cgroup has more than its children is its own: of a container's cgroup its processes, of a pod's
//! the containers that are gone, of a slice the pods or units that lived and died since the last
//! sample. Each own part goes to exactly one owner, and the sum over all of them is what the
//! top-level cgroups used, whatever was born or died.
//!
//! A new cgroup counts from 0, since it was born after the last sample; unless it shows more than
//! its parent gained meanwhile beyond its other children: then it was only not seen before, and its
//! past is nobody's gain.
//!
//! A cgroup that cannot be read has no figures for the interval and the full ones once it is read
//! again; no time is given twice on the way.

pub mod account;
mod attribute;
mod balance;
mod births;
mod counters;
mod delta;
mod flow;
mod io;
mod line;
mod own_parts;
mod running;
mod settle;
mod sockets;
mod unread;

pub use account::Account;
pub use counters::{
    CgroupCounters, Counters, InterfaceCounters, NamespaceCounters, ProcessCounters,
    SocketCounters, SocketsCounters,
};
pub use running::RunningContainer;
pub use settle::Ledger;
