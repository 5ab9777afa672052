//! Threads, clock, signals and wiring.

pub mod agent;
pub mod capture;
pub mod clock;
pub mod embedded;
pub mod endpoints;
pub mod filesystems;
pub mod host;
pub mod notify;
pub mod reload;
pub mod sampling;
pub mod state;
pub mod status;
pub mod usage_lane;
pub mod vitals;
pub mod wait;
