//! Threads, clock, signals and wiring.

pub mod agent;
pub mod asked_sample;
pub mod capture;
pub mod certificate;
pub mod embedded;
pub mod error;
pub mod handshakes;
pub mod host;
pub mod metrics_feed;
pub mod notify;
pub mod pod_files;
pub mod receive;
pub mod receiver_access;
pub mod reload;
pub mod sampling;
pub mod self_metrics;
pub mod sources;
pub mod startup;
pub mod status;
pub mod wait;
