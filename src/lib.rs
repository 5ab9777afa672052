//! nodetally: a node agent that gives every CPU second and every byte of a Linux node to somebody,
//! or shows what is left over. ARCHITECTURE.md describes the street these modules stand along.

#![deny(unsafe_code)]

mod aside;
pub mod attribution;
mod certificate_fault;
pub mod checkpoint;
pub mod cli;
pub mod clock;
pub mod config;
pub mod delivery;
pub mod descriptors;
pub mod directory;
pub mod disk_usage;
pub mod endpoint;
pub mod identity;
pub mod ledger;
mod mask;
pub mod metrics;
mod own_files;
mod panics;
pub mod payload;
mod printable;
pub mod quantity;
pub mod receiver;
mod retry_after;
pub mod runtime;
mod small_file;
pub mod snapshot;
pub mod source;
pub mod spool;
