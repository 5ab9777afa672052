//! The dialects in which samples leave the node: one file per wire format, pure, bytes out.
//!
//! The wire structs live here and nowhere else; the domain's types carry no serde. A dialect takes
//! plain integers whose unit its field names say, and writes into a buffer the caller keeps.

pub mod dump;
pub mod open_metrics;
pub mod posts;
pub mod resource_api;
pub mod selector;
pub mod stamp;
pub mod subjects;

#[cfg(test)]
mod samples;
