//! When a source is asked next, and what is said of how it went.

use std::time::Duration;

use tracing::{info, warn};

use super::{Publisher, SourceKind, bounded};
use crate::quantity::BootTime;
use crate::retry_after::Backoff;

/// The first wait after a failure is up to this long.
const BACKOFF_BASE: Duration = Duration::from_secs(1);

/// How much of a trouble's text is kept, in characters: parsers' errors repeat what they met.
const TEXT_CHARS_MAX: usize = 400;

/// How often one source is asked: about once in an interval while it answers, so that the nodes of a
/// cluster do not ask in step. After a failure it is asked sooner, then ever more seldom, but never
/// left alone for longer than while it answers.
#[derive(Debug)]
pub(super) struct Pace {
    kind: SourceKind,
    interval: Duration,
    /// Since when it has failed, and with what.
    failing: Option<(BootTime, String)>,
    backoff: Backoff,
}

impl Pace {
    pub(super) fn new(kind: SourceKind, interval: Duration, seed: u64) -> Self {
        let backoff = Backoff::equal_jitter(BACKOFF_BASE, interval, seed);
        Self { kind, interval, failing: None, backoff }
    }

    /// Tells log and directory how it went, each trouble once, and how long to wait now.
    pub(super) fn after(
        &mut self,
        outcome: Result<(), String>,
        publisher: &Publisher,
        now: BootTime,
    ) -> Duration {
        match outcome {
            Ok(()) => {
                if let Some((since, _)) = self.failing.take() {
                    let seconds = Duration::from_secs(now.since(since).as_secs());
                    let after = humantime::format_duration(seconds);
                    info!("identity source {} answers again after {after}", self.kind);
                }
                self.backoff.reset();
                self.backoff.between(self.interval.mul_f64(0.9), self.interval.mul_f64(1.1))
            }
            Err(text) => {
                let text = shown(text);
                publisher.failed(&text, now);
                let known = self.failing.as_ref().is_some_and(|(_, before)| *before == text);
                if !known {
                    warn!("identity source {}: {text}", self.kind);
                    let since = self.failing.take().map_or(now, |(since, _)| since);
                    self.failing = Some((since, text));
                }
                self.backoff.after_failure()
            }
        }
    }
}

/// What keeps a source from answering, as one line.
pub(super) fn shown(text: String) -> String {
    bounded::line(&text, TEXT_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Directory;

    #[test]
    fn waits_keep_near_the_interval_and_grow_while_it_fails() {
        let (directory, mut publishers) = Directory::new(&[SourceKind::Cri]);
        let publisher = publishers.remove(0);
        let interval = Duration::from_secs(10);
        let mut pace = Pace::new(SourceKind::Cri, interval, 7);
        let at = |seconds| BootTime::from_nanos(seconds * 1_000_000_000);
        let well = |pace: &mut Pace| pace.after(Ok(()), &publisher, at(1));
        let waits: Vec<Duration> = (0..100).map(|_| well(&mut pace)).collect();
        assert!(waits.iter().all(|wait| (9..=11).contains(&wait.as_secs())), "{waits:?}");
        assert!(waits.windows(2).any(|two| two[0] != two[1]));

        for failures in 0..40_u32 {
            let wait = pace.after(Err("gone".into()), &publisher, at(5 + u64::from(failures)));
            let ceiling = Duration::from_secs(1 << failures.min(6)).min(interval);
            assert!(wait >= ceiling / 2 && wait <= ceiling, "{failures}: {wait:?}");
        }
        let trouble = directory.catalog().sources[0].last_error.clone().unwrap();
        assert_eq!((trouble.since, &*trouble.text), (at(5), "gone"));
        well(&mut pace);
        assert!(pace.after(Err("gone".into()), &publisher, at(90)) <= BACKOFF_BASE);
    }

    #[test]
    fn two_seeds_do_not_ask_in_step() {
        let (_directory, publishers) = Directory::new(&[SourceKind::Cri]);
        let waits = |seed| {
            let mut pace = Pace::new(SourceKind::Cri, Duration::from_secs(10), seed);
            [(); 4].map(|()| pace.after(Ok(()), &publishers[0], BootTime::default()))
        };
        assert_ne!(waits(1), waits(2));
    }
}
