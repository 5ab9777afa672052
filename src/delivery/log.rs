//! The log lines of an endpoint: changes of its health, and the first post dropped for each status.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::http::Remark;
use super::queue::Handle;
use super::refusal::{RefusalReason, RefusedPoints};
use super::round::status_line;
use crate::clock;
use crate::descriptors;
use crate::quantity::counted;

#[derive(Debug)]
pub(super) struct DeliveryLog {
    endpoint: String,
    handle: Handle,
    /// `Some` while the endpoint accepts nothing.
    down: Option<Down>,
    /// Statuses that were logged, `None` for no answer, with the reason for which points were refused.
    /// Each is logged once in the worker's life.
    logged: BTreeSet<(Option<u16>, Option<RefusalReason>)>,
    logged_unacknowledged: bool,
    /// The reasons for which points were refused of accepted posts; `None`: a remark without any.
    logged_remarks: BTreeSet<Option<RefusalReason>>,
}

#[derive(Debug)]
struct Down {
    since: Instant,
    /// The number of posts pushed out before the outage, to log what the outage cost.
    pushed_out_before: u64,
    logged_full: bool,
}

/// The place and limit of the backlog.
#[derive(Debug, Clone, Copy)]
pub(super) enum Location {
    DiskQueue { bytes_max: u64 },
    Memory { bytes_max: u64 },
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (place, bytes_max) = match *self {
            Self::DiskQueue { bytes_max } => ("on disk, ", bytes_max),
            Self::Memory { bytes_max } => ("in memory, ", bytes_max),
        };
        match bytes_max {
            0..1024 => write!(f, "{place}up to {bytes_max} B"),
            1024..0x10_0000 => write!(f, "{place}up to {} KiB", bytes_max >> 10),
            _ => write!(f, "{place}up to {} MiB", bytes_max >> 20),
        }
    }
}

fn whole_millis(time: Duration) -> Duration {
    Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}

impl DeliveryLog {
    pub(super) fn new(endpoint: &str, handle: Handle) -> Self {
        let (endpoint, logged) = (endpoint.to_owned(), BTreeSet::new());
        Self {
            endpoint,
            handle,
            down: None,
            logged,
            logged_unacknowledged: false,
            logged_remarks: BTreeSet::new(),
        }
    }

    /// Logs that the worker goes on after a panic.
    pub(super) fn restarted(&self, wait: Duration) {
        let (name, wait) = (&self.endpoint, humantime::format_duration(whole_millis(wait)));
        tracing::error!(
            "endpoint {name}: its task panicked, a fault of the program; it goes on in {wait} with the \
             posts that it had, sampling and other endpoints are unaffected"
        );
    }

    /// Logs the first post that is dropped for a status, or for no answer; `tries`: after how many,
    /// if it was retried.
    pub(super) fn dropped_post(
        &mut self,
        status: Option<u16>,
        path: &str,
        excerpt: &str,
        tries: Option<u32>,
    ) {
        self.dropped(status, None, path, excerpt, tries);
    }

    /// Logs the first post that is rejected with a status, and for a reason where points are refused.
    pub(super) fn rejected_post(
        &mut self,
        status: u16,
        path: &str,
        excerpt: &str,
        refused: RefusedPoints,
    ) {
        let reason = (refused.count > 0).then_some(refused.reason);
        self.dropped(Some(status), reason, path, excerpt, None);
    }

    fn dropped(
        &mut self,
        status: Option<u16>,
        reason: Option<RefusalReason>,
        path: &str,
        excerpt: &str,
        tries: Option<u32>,
    ) {
        if !self.logged.insert((status, reason)) {
            return;
        }
        let endpoint = &self.endpoint;
        let tries = tries.map_or(String::new(), |tries| format!(" {tries} times"));
        let path = shown_path(path);
        let excerpt = if excerpt.is_empty() { "no reason given" } else { excerpt };
        let once = if reason.is_some() { "status and reason" } else { "status" };
        match status.map(status_line) {
            Some(words) => warn!(
                "endpoint {endpoint} answers {words}{tries} to POST {path}: {excerpt}; such posts are \
                 dropped and counted{} (logged once per {once})",
                status.map_or("", advice)
            ),
            None => warn!(
                "endpoint {endpoint} gives no answer{tries} to POST {path}, while it answers others: \
                 {excerpt}; such posts are dropped and counted (logged once)"
            ),
        }
    }

    /// Logs the first remark of each reason for which points are refused, and the first without any.
    pub(super) fn remark(&mut self, remark: &Remark, path: &str) {
        let Remark { refused: RefusedPoints { count, reason }, message } = remark;
        let is_refusal = *count > 0;
        if !self.logged_remarks.insert(is_refusal.then_some(*reason)) {
            return;
        }
        let (endpoint, path) = (&self.endpoint, shown_path(path));
        let message = if message.is_empty() { "no reason given" } else { message };
        if is_refusal {
            warn!(
                "endpoint {endpoint} accepted a POST {path} but for {}: {message}; points \
                 that it refuses are dropped and counted, check its limits and what else sends the same \
                 series (logged once per reason)",
                counted(*count, "point", "points")
            );
        } else {
            warn!(
                "endpoint {endpoint} accepted a POST {path} with a warning: {message}; nothing is dropped \
                 (logged once)"
            );
        }
    }

    /// Logs that unacknowledged posts are dropped beyond their limit.
    pub(super) fn unacknowledged_full(&mut self, samples_max: usize, bytes_max: usize) {
        if !std::mem::replace(&mut self.logged_unacknowledged, true) {
            let (endpoint, kib) = (&self.endpoint, bytes_max >> 10);
            warn!(
                "endpoint {endpoint} accepts only a part of each sample; at most {samples_max} samples ({kib} KiB) of \
                 unacknowledged posts wait for a retry, the oldest are dropped and counted \
                 (logged once)"
            );
        }
    }

    pub(super) fn down(&mut self, reason: &str, location: &Location) {
        if self.down.is_some() {
            return;
        }
        self.down = Some(Down {
            since: clock::timer_now(),
            pushed_out_before: self.handle.pushed_out(),
            logged_full: false,
        });
        warn!("{}", down_line(&self.endpoint, reason, location));
    }

    pub(super) fn up(&mut self) {
        let Some(down) = self.down.take() else { return };
        let after = Duration::from_secs(down.since.elapsed().as_secs());
        let pushed_out = self.handle.pushed_out() - down.pushed_out_before;
        let cost = if pushed_out == 0 {
            String::new()
        } else {
            format!(", {} dropped", counted(pushed_out, "post was", "posts were"))
        };
        let endpoint = &self.endpoint;
        info!(
            "endpoint {endpoint} answers again after {}; the backlog of {} is sent{cost}",
            humantime::format_duration(after),
            counted(self.handle.waiting_samples(), "sample", "samples"),
        );
    }

    pub(super) fn backlog_full(&mut self, location: &Location) {
        let Self { endpoint, down: Some(down), .. } = self else { return };
        if !down.logged_full && self.handle.pushed_out() > down.pushed_out_before {
            down.logged_full = true;
            warn!(
                "endpoint {endpoint}: the backlog is full ({location}), its oldest posts are dropped \
                 until the endpoint answers"
            );
        }
    }
}

/// The settings to look at where a status says that nothing is wrong with the post.
const fn advice(status: u16) -> &'static str {
    match status {
        401 | 403 => ", check the token (bearer_token_file) or the headers",
        404 | 405 => ", check the path in url",
        _ => "",
    }
}

/// The path of a post; without one it goes to the endpoint's URL itself.
const fn shown_path(path: &str) -> &str {
    if path.is_empty() { "its URL" } else { path }
}

/// The line of an endpoint that accepts nothing. A lack of descriptors is no fault of the endpoint.
fn down_line(endpoint: &str, reason: &str, location: &Location) -> String {
    let (first, follows) = if descriptors::is_shortage(reason) {
        (format!("{reason}; endpoint {endpoint} cannot be reached until then"), "its")
    } else {
        (format!("endpoint {endpoint} is not answering: {reason}"), "the")
    };
    format!("{first}; {follows} backlog is kept ({location}), a retry follows")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_descriptors_is_not_the_endpoints_fault() {
        let location = Location::Memory { bytes_max: 16 << 20 };
        // EMFILE.
        let short = descriptors::describe(&std::io::Error::from_raw_os_error(24));
        for (reason, line) in [
            (
                short.as_str(),
                "the agent has no file descriptor left (RLIMIT_NOFILE): raise LimitNOFILE= of its \
                 unit, or `ulimit -n`; endpoint central cannot be reached until then; its backlog \
                 is kept (in memory, up to 16 MiB), a retry follows",
            ),
            (
                "connection refused",
                "endpoint central is not answering: connection refused; the backlog is kept (in \
                 memory, up to 16 MiB), a retry follows",
            ),
        ] {
            assert_eq!(down_line("central", reason, &location), line);
        }
    }
}
