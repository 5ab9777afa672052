//! Threads, clock, signals and wiring.

pub mod capture;
