//! Threads, clock, signals and wiring.

pub mod agent;
pub mod capture;
pub mod clock;
pub mod embedded;
pub mod endpoints;
pub mod filesystems;
mod hand_over;
pub mod host;
pub mod identity;
pub mod lifecycle;
pub mod notify;
pub mod pod_files;
pub mod reload;
pub mod sampling;
pub mod state;
pub mod status;
pub mod told;
pub mod usage_lane;
pub mod vitals;
pub mod wait;
