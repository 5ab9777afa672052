//! Metrics: every exported figure, declared once, and its value in the last sample.
//!
//! [`table`] declares the figures: entity, meaning, unit, instrument, kernel source, and the name and
//! attributes in OpenTelemetry's semantic conventions. The name in Prometheus follows from them.
//! [`store::MetricStore`] adds the interval's amounts to running totals, and keeps what has ended
//! until those who pull have seen it. [`sample::MetricSample`] is what encoders read.

pub mod entity;
pub mod input;
pub mod metric;
mod names;
pub mod processes;
pub mod published;
pub mod pullers;
pub mod sample;
pub mod store;
pub mod table;

#[cfg(test)]
pub(crate) mod samples;
