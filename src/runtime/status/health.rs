//! The answers to probes.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;

use super::view::StatusShared;
use crate::clock;

pub(super) async fn healthz(State(shared): State<Arc<StatusShared>>) -> (StatusCode, &'static str) {
    if shared.self_metrics.read().is_sampling(shared.started_at, clock::boot_time()) {
        (StatusCode::OK, "ok\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no sample for three intervals\n")
    }
}

pub(super) async fn readyz(State(shared): State<Arc<StatusShared>>) -> (StatusCode, &'static str) {
    match shared.self_metrics.read().last_at {
        Some(_) => (StatusCode::OK, "ok\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "no sample yet\n"),
    }
}
