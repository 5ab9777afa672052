//! The end of a flush.

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Returns once a deadline is set and over.
pub async fn reached(mut deadline: watch::Receiver<Option<Instant>>) {
    let end = match deadline.wait_for(Option::is_some).await {
        Ok(end) => *end,
        Err(_) => None,
    };
    match end {
        Some(end) => sleep_until(end).await,
        // Nothing can set a deadline any more.
        None => std::future::pending().await,
    }
}
