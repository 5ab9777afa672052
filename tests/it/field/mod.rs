//! Odd hosts of public bug reports: each case edits a captured host and says what the figures must be.
//!
//! Every kind of fault has a file of its own, with more examples than the report.

mod counters;
mod disks;
mod exited_children;
mod hierarchies;
mod host;
mod memory;
mod network;
