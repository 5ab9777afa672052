//! The state of the kernel at one instant, as plain data with the time of each read.
//!
//! [`sampler::Sampler`] keeps one [`Snapshot`] and updates it tick by tick. Nothing here knows what
//! a pod is, and nothing is subtracted: counters are as the kernel keeps them. A file that could
//! not be read is data too ([`gaps::Gap`]) and does not affect the other files.

pub mod cgroups;
mod controllers;
pub mod gaps;
pub mod hardware;
pub mod held;
pub mod huge_pages;
mod instant;
pub mod interfaces;
pub mod known_sockets;
mod listeners;
pub mod namespaces;
pub mod node;
mod placement;
pub mod processes;
pub mod read_context;
mod reading;
pub mod roots;
pub mod sampler;
pub mod socket_reader;
pub mod sockets;
pub mod topology;

pub use instant::Snapshot;
pub use read_context::ReadCounts;
pub use reading::{
    CgroupReading, CountedAt, InterfaceReading, MemoryReading, NamespaceReading, PidsReading,
    PressureReading, ProcessReading,
};
