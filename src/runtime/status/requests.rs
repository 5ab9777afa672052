//! The count of requests to the metrics server.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;

/// The codes of answers that are counted apart, the last for all others.
const CODES: [&str; 5] = ["200", "400", "401", "503", "other"];

/// The requests to the metrics server since the start, by the code of the answer.
#[derive(Debug, Default)]
pub(super) struct RequestCounts([AtomicU64; CODES.len()]);

impl RequestCounts {
    pub fn count(&self, status: StatusCode) {
        let last = CODES.len() - 1;
        let at = CODES.iter().position(|code| *code == status.as_str()).unwrap_or(last);
        if let Some(count) = self.0.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The code and the count of those that occurred.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        CODES.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }
}
