//! The integration tests, as one program. `tests/allocations` and `tests/directory_memory` are programs of
//! their own, since each brings an allocator.

mod agent;
mod check;
mod cluster;
mod config;
mod delivery;
mod delivery_faults;
mod delivery_trust;
mod directory_kubernetes;
mod directory_sources;
mod dump;
mod durability;
mod fixtures_truth;
mod fuzz_targets;
mod ledger_properties;
mod live;
mod packaging;
mod parser_properties;
mod payloads;
mod pod_filesystem;
mod receiver;
mod reload;
mod sampler_faults;
mod service;
mod spool;
mod static_names;
mod status;
mod support;
mod tidy;
