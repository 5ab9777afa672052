//! The count of requests to the metrics server.

use std::sync::atomic::{AtomicU64, Ordering};

use axum::http::StatusCode;

/// The codes of answers that are counted apart, the last for all others.
const CODES: [&str; 6] = ["200", "400", "401", "404", "503", "other"];

/// The requests to the metrics server since the start, by the code of the answer.
#[derive(Debug, Default)]
pub(super) struct RequestCounts([AtomicU64; CODES.len()]);

impl RequestCounts {
    /// Returns whether it is the first of its code.
    pub fn count(&self, status: StatusCode) -> bool {
        let last = CODES.len() - 1;
        let at = CODES.iter().position(|code| *code == status.as_str()).unwrap_or(last);
        self.0.get(at).is_some_and(|count| count.fetch_add(1, Ordering::Relaxed) == 0)
    }

    /// The code and the count of those that occurred.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        CODES.into_iter().zip(counts).filter(|(_, count)| *count > 0)
    }
}
