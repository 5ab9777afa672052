//! Threads, clock, signals and wiring.

pub mod agent;
pub mod capture;
pub mod embedded;
pub mod host;
pub mod identity;
pub mod notify;
pub mod pod_files;
pub mod reload;
pub mod sampling;
pub mod status;
pub mod vitals;
pub mod wait;
