//! The identity of pods and containers: which name, labels and owner belong to a uid or id.
//!
//! ```text
//! kubernetes ─┐
//! kubelet ────┤ Publisher          watch            ┌─ sampling thread: Directory::catalog
//! cri ────────┼──────────▶ merged Catalog ──────────┤
//! file, … ────┘                                     └─ life cycle: Directory::changes
//! ```
//!
//! Each source is a task of the asynchronous side and has a [`Publisher`]. The published pods are
//! merged by uid, in the configured order: the first source that knows a pod wins. That includes its
//! end: a pod that a source has dropped is not taken from a later source. Readers get an immutable
//! [`Catalog`] and never wait for a source.

mod bounded;
pub mod catalog;
pub mod cri;
pub mod docker;
mod dropped;
pub mod error;
pub mod kubelet;
pub mod kubernetes;
pub mod node;
pub mod objects;
pub mod pod;
mod pod_budget;
mod poll;
mod publisher;
pub mod resource_quantity;
mod source_status;
pub mod static_file;
mod unix_socket;

pub use catalog::Catalog;
pub use publisher::{Directory, Publisher};
pub use source_status::{PODS_MAX, SourceError, SourceKind, SourceStatus};
