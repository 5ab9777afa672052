//! Disk space that pods and the node's filesystems use, counted beside the samples.

mod capacity;
pub mod node;
pub mod pace;
mod quota;
pub mod rounds;
pub mod target;
mod trees;
pub mod usage;
pub mod walk;
pub mod worker;
