//! The pace of a polled source: when it is asked next, and which outcomes are logged.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{info, warn};

use super::error::PollError;
use super::publisher::Publisher;
use super::source_status::SourceKind;
use crate::quantity::BootTime;
use crate::retry_after::Backoff;

/// The first wait after a failure is up to this long; it doubles.
const BACKOFF_BASE: Duration = Duration::from_secs(1);

/// The pace of one source. Waits vary by a tenth, so that the nodes of a cluster do not ask in step. After
/// a failure the wait is short and doubles up to the interval.
#[derive(Debug)]
pub(super) struct Poller {
    kind: SourceKind,
    interval: Duration,
    /// The start and the text of the failure that lasts; `None` after an answer.
    failing: Option<(BootTime, String)>,
    backoff: Backoff,
}

impl Poller {
    pub(super) fn new(kind: SourceKind, interval: Duration, seed: u64) -> Self {
        let backoff = Backoff::equal_jitter(BACKOFF_BASE, interval, seed);
        Self { kind, interval, failing: None, backoff }
    }

    /// Reports the outcome of a poll and waits until the next one is due.
    pub(super) async fn report_and_wait(
        &mut self,
        outcome: Result<(), PollError>,
        publisher: &Publisher,
        now: BootTime,
    ) {
        sleep(self.wait_after(outcome, publisher, now)).await;
    }

    /// Logs each new failure and its end once, publishes failures, and returns the wait.
    fn wait_after(
        &mut self,
        outcome: Result<(), impl Display>,
        publisher: &Publisher,
        now: BootTime,
    ) -> Duration {
        let Err(error) = outcome else {
            if let Some((since, _)) = self.failing.take() {
                let seconds = Duration::from_secs(now.since(since).as_secs());
                let after = humantime::format_duration(seconds);
                info!("identity source {} answers again after {after}", self.kind);
            }
            self.backoff.reset();
            return self.backoff.between(self.interval.mul_f64(0.9), self.interval.mul_f64(1.1));
        };
        let text = error.to_string();
        publisher.failed(&text, now);
        let is_logged = self.failing.as_ref().is_some_and(|(_, before)| *before == text);
        if !is_logged {
            warn!(
                "identity source {}: {text}; its last answer stays in use, retry follows",
                self.kind
            );
            let since = self.failing.take().map_or(now, |(since, _)| since);
            self.failing = Some((since, text));
        }
        self.backoff.after_failure()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Directory;

    const ANSWERED: Result<(), &str> = Ok(());
    const FAILED: Result<(), &str> = Err("gone");

    #[test]
    fn waits_keep_near_the_interval_and_grow_while_it_fails() {
        let (directory, mut publishers) = Directory::new(&[SourceKind::Cri]);
        let publisher = publishers.remove(0);
        let interval = Duration::from_secs(10);
        let mut poller = Poller::new(SourceKind::Cri, interval, 7);
        let at = |seconds| BootTime::from_nanos(seconds * 1_000_000_000);
        let waits: Vec<Duration> =
            (0..100).map(|_| poller.wait_after(ANSWERED, &publisher, at(1))).collect();
        assert!(waits.iter().all(|wait| (9..=11).contains(&wait.as_secs())), "{waits:?}");
        assert!(waits.windows(2).any(|two| two[0] != two[1]));

        for failures in 0..40_u32 {
            let wait = poller.wait_after(FAILED, &publisher, at(5 + u64::from(failures)));
            let ceiling = Duration::from_secs(1 << failures.min(6)).min(interval);
            assert!(wait >= ceiling / 2 && wait <= ceiling, "{failures}: {wait:?}");
        }
        let error = directory.catalog().sources[0].last_error.clone().unwrap();
        assert_eq!((error.since, &*error.text), (at(5), "gone"));
        poller.wait_after(ANSWERED, &publisher, at(80));
        assert!(poller.wait_after(FAILED, &publisher, at(90)) <= BACKOFF_BASE);
    }

    #[test]
    fn two_seeds_do_not_ask_in_step() {
        let (_directory, publishers) = Directory::new(&[SourceKind::Cri]);
        let waits = |seed| {
            let mut poller = Poller::new(SourceKind::Cri, Duration::from_secs(10), seed);
            [(); 4].map(|()| poller.wait_after(ANSWERED, &publishers[0], BootTime::default()))
        };
        assert_ne!(waits(1), waits(2));
    }
}
