//! What the log is told of an endpoint: changes of its state, and each kind of refusal once.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::queue::Handle;
use super::round::status_line;

#[derive(Debug, Default)]
pub(super) struct DeliveryLog {
    /// Present while the endpoint accepts nothing of what it is sent.
    down: Option<Down>,
    /// Statuses that the log has told of, and silence: each is told once in the worker's life.
    logged: BTreeSet<Option<u16>>,
    logged_unacknowledged: bool,
}

#[derive(Debug)]
struct Down {
    since: Instant,
    /// The count of posts pushed out when it began, to tell what the silence cost.
    pushed_out_before: u64,
    logged_full: bool,
}

/// Where samples wait, and how much of them.
#[derive(Debug, Clone, Copy)]
pub(super) enum Location {
    DiskQueue { bytes_max: u64 },
    Memory { bytes_max: u64 },
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, bytes_max) = match *self {
            Self::DiskQueue { bytes_max } => ("on disk, ", bytes_max),
            Self::Memory { bytes_max } => ("", bytes_max),
        };
        match bytes_max {
            0..1024 => write!(f, "{place}up to {bytes_max} B"),
            1024..0x10_0000 => write!(f, "{place}up to {} KiB", bytes_max >> 10),
            _ => write!(f, "{place}up to {} MiB", bytes_max >> 20),
        }
    }
}

impl DeliveryLog {
    /// A status for which posts are dropped, or that there was none; behind how many `tries`, if it was
    /// tried again.
    pub(super) fn dropped_post(
        &mut self,
        endpoint: &str,
        status: Option<u16>,
        path: &str,
        excerpt: &str,
        tries: Option<u32>,
    ) {
        if !self.logged.insert(status) {
            return;
        }
        let tries = tries.map_or(String::new(), |tries| format!(" {tries} times"));
        let excerpt = if excerpt.is_empty() { "no reason given" } else { excerpt };
        match status.map(status_line) {
            Some(status) => warn!(
                "endpoint {endpoint} answers {status}{tries} to POST {path}: {excerpt}; such posts are \
                 dropped and counted (said once per status)"
            ),
            None => warn!(
                "endpoint {endpoint} gives no answer{tries} to POST {path}, while it answers others: \
                 {excerpt}; such posts are dropped and counted (said once)"
            ),
        }
    }

    /// More was left of samples than is kept.
    pub(super) fn unacknowledged_full(
        &mut self,
        endpoint: &str,
        samples_max: usize,
        bytes_max: usize,
    ) {
        if !std::mem::replace(&mut self.logged_unacknowledged, true) {
            let kib = bytes_max >> 10;
            warn!(
                "endpoint {endpoint} takes a part of each sample and leaves the rest; no more than what \
                 is left of {samples_max} samples ({kib} KiB) waits for it, the oldest is dropped and \
                 counted (said once)"
            );
        }
    }

    pub(super) fn down(
        &mut self,
        endpoint: &str,
        handle: &Handle,
        reason: &str,
        location: &Location,
    ) {
        if self.down.is_some() {
            return;
        }
        self.down = Some(Down {
            since: Instant::now(),
            pushed_out_before: handle.pushed_out(),
            logged_full: false,
        });
        warn!(
            "endpoint {endpoint} is not answering: {reason}; samples are kept ({location}) and retried"
        );
    }

    pub(super) fn up(&mut self, endpoint: &str, handle: &Handle) {
        let Some(down) = self.down.take() else { return };
        let after = Duration::from_secs(down.since.elapsed().as_secs());
        let pushed_out = handle.pushed_out() - down.pushed_out_before;
        let cost = if pushed_out == 0 {
            String::new()
        } else {
            format!(", {pushed_out} posts were dropped")
        };
        info!(
            "endpoint {endpoint} answers again after {}, {} samples waited{cost}",
            humantime::format_duration(after),
            handle.waiting_samples(),
        );
    }

    pub(super) fn backlog_full(&mut self, endpoint: &str, handle: &Handle, location: &Location) {
        let Some(down) = &mut self.down else { return };
        if !down.logged_full && handle.pushed_out() > down.pushed_out_before {
            down.logged_full = true;
            warn!(
                "endpoint {endpoint}: no more samples can wait ({location}), the oldest are dropped \
                 from here on"
            );
        }
    }
}
