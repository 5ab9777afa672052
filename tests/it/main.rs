//! The integration tests, as one program. `tests/allocations` is a program of its own, since it brings an
//! allocator.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test is at the edge: it starts programs, reads files and the clock, and fails where it cannot go on"
)]

mod agent;
mod check;
mod cluster;
mod config;
mod dashboards;
mod delivery;
mod delivery_faults;
mod delivery_trust;
mod descriptors;
mod directory_kubernetes;
mod directory_sources;
mod document_commands;
mod dry_run;
mod dump;
mod durability;
mod ended_pods;
mod field;
mod fixtures_truth;
mod fuzz_replay;
mod fuzz_targets;
mod kubelet_paths;
mod ledger_properties;
mod live;
mod manual;
mod metrics;
mod ndjson;
mod otlp;
mod packaging;
mod parser_properties;
mod payloads;
mod pictures;
mod pod_filesystem;
mod receiver;
mod reload;
mod remote_write;
mod sampler_faults;
mod service;
mod spool;
mod state_dir;
mod static_names;
mod status;
mod support;
mod tidy;
mod top;
mod wire_documents;
mod wire_fields;
