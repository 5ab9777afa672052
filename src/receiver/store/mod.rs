//! Usage that was pushed, in memory and bounded. The time is passed in.
//!
//! A pod is live until `stale_after` has passed without a push. Then it leaves the lists and the
//! sums, and its past stays readable until it is older than `retention`. A node stays listed for all
//! of `retention`, marked stale: pods come and go, but a silent node is worth seeing.

mod deployments;
mod objects;
mod pushes;
mod records;
mod series;

pub(super) use objects::Candidate;
pub(super) use pushes::Store;
