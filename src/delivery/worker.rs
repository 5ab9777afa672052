//! Sends what waits for one endpoint, round by round.
//!
//! A round sends the posts of one batch concurrently. Accepted and refused posts are settled; the
//! rest goes back to the queue and is tried again after a pause. When the endpoint took part of a
//! batch and not the rest, the rest travels with the next batch: so one post on which the endpoint
//! always fails cannot hold up the samples behind it, and whether it is the post or the endpoint
//! that is ill shows in the same round.

use std::collections::{BTreeSet, VecDeque};
use std::mem;
use std::time::Duration;

use reqwest::StatusCode;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{info, warn};

use super::Settings;
use super::backoff::Backoff;
use super::http::{Answer, Sender};
use super::queue::{Handle, Remains, Waiting};
use crate::quantity::WallTime;

/// The longest pause between two tries once the queue is being flushed.
const FLUSH_PAUSE_MAX: Duration = Duration::from_secs(1);

/// The sending end of an endpoint.
#[derive(Debug)]
pub struct Worker {
    settings: Settings,
    sender: Sender,
    handle: Handle,
    backoff: Backoff,
    /// Present while the endpoint accepts nothing of what it is sent.
    down: Option<Down>,
    /// Statuses that the log has told of: each is told once in the worker's life.
    told: BTreeSet<u16>,
}

#[derive(Debug)]
struct Down {
    since: Instant,
    /// The count of posts pushed out when it began, to tell what the silence cost.
    pushed_out_before: u64,
    told_full: bool,
}

/// What one round has come to so far.
#[derive(Debug, Default)]
struct Round {
    accepted: u32,
    refused: u32,
    /// Of posts that were too large: sent in the next round.
    halves: Vec<Waiting>,
    failed: Vec<Failed>,
    /// Failures since the last post that was settled.
    failed_in_a_row: usize,
    /// The endpoint asked for a pause.
    throttled: bool,
    retry_after: Option<Duration>,
}

#[derive(Debug)]
struct Failed {
    waiting: Waiting,
    /// Absent when there was no answer.
    status: Option<u16>,
    /// Of the answer's body, or why there was none.
    reason: String,
    /// How many posts had been accepted in this round when this try began.
    accepted_before: u32,
}

impl Worker {
    pub(super) fn new(settings: Settings, sender: Sender, handle: Handle) -> Self {
        let backoff = Backoff::new(settings.backoff_base, settings.backoff_max, settings.seed);
        Self { settings, sender, handle, backoff, down: None, told: BTreeSet::new() }
    }

    /// Sends until [`Handle::flush`] ends it.
    pub async fn run(mut self) {
        let mut deadline = self.handle.deadline();
        loop {
            let Some(mut remains) = self.handle.take() else {
                if deadline.borrow().is_some() {
                    break;
                }
                tokio::select! {
                    () = self.handle.arrived() => {}
                    _ = deadline.changed() => {}
                }
                continue;
            };
            self.drop_old(&mut remains);
            // All that is not settled is at every moment in a slot or in the round, so the
            // sending may be cut off at the deadline.
            let mut slots: Vec<_> = mem::take(&mut remains.posts).into_iter().map(Some).collect();
            let mut round = Round::default();
            let in_time = tokio::select! {
                () = self.send_all(&mut slots, remains.taken_at, &mut round) => true,
                () = reached(deadline.clone()) => false,
            };
            remains.posts.extend(slots.into_iter().flatten());
            let pause = self.conclude(remains, round);
            if !in_time {
                break;
            }
            if let Some(pause) = pause {
                self.rest(pause, &mut deadline).await;
                self.tell_when_full();
            }
        }
        self.handle.finish();
    }

    /// Waits before the next try; the beginning of a flush cuts the wait short.
    async fn rest(&self, pause: Duration, deadline: &mut watch::Receiver<Option<Instant>>) {
        let ending = *deadline.borrow_and_update();
        if let Some(end) = ending {
            sleep_until(end.min(Instant::now() + pause.min(FLUSH_PAUSE_MAX))).await;
        } else {
            tokio::select! {
                () = sleep(pause) => {}
                _ = deadline.changed() => {}
            }
        }
    }

    fn drop_old(&self, remains: &mut Remains) {
        let Some(age_max) = self.settings.age_max else { return };
        remains.posts.retain(|waiting| {
            let young = waiting.offered_at.elapsed() <= age_max;
            if !young {
                self.handle.dropped(waiting, |drops| &mut drops.too_old);
            }
            young
        });
    }

    async fn send_all(
        &mut self,
        slots: &mut [Option<Waiting>],
        taken_at: WallTime,
        round: &mut Round,
    ) {
        let limit = self.settings.concurrency_max.max(1);
        let mut unsent: VecDeque<usize> = (0..slots.len()).collect();
        let mut under_way = JoinSet::new();
        loop {
            // As many failures in a row as posts are let out at once: the endpoint is down, and
            // the rest of the batch would only hammer it.
            while under_way.len() < limit
                && !round.throttled
                && round.failed_in_a_row < limit
                && let Some(at) = unsent.pop_front()
            {
                let Some(Some(waiting)) = slots.get_mut(at) else { continue };
                if mem::replace(&mut waiting.sent, true) {
                    self.handle.count(|figures| &mut figures.retries);
                }
                let (sender, post) = (self.sender.clone(), waiting.post.clone());
                let accepted_before = round.accepted;
                under_way.spawn(async move { (at, accepted_before, sender.send(&post).await) });
            }
            let Some(done) = under_way.join_next().await else { break };
            // A try that panicked counts as not made; its post is still in its slot.
            let Ok((at, accepted_before, answer)) = done else { continue };
            let Some(waiting) = slots.get_mut(at).and_then(Option::take) else { continue };
            self.settle(waiting, answer, accepted_before, taken_at, round);
        }
    }

    fn settle(
        &mut self,
        waiting: Waiting,
        answer: Answer,
        accepted_before: u32,
        taken_at: WallTime,
        round: &mut Round,
    ) {
        match answer {
            Answer::Accepted => {
                self.handle.count(|figures| &mut figures.answers_2xx);
                self.handle.accepted(&waiting, taken_at);
                round.accepted += 1;
                round.failed_in_a_row = 0;
            }
            Answer::Refused { status: 413, .. } if let Some(halves) = waiting.post.halves() => {
                self.handle.count(|figures| &mut figures.answers_4xx);
                round.halves.extend(self.handle.split(&waiting, halves));
                round.failed_in_a_row = 0;
            }
            Answer::Refused { status, excerpt } => {
                if status < 400 {
                    self.handle.count(|figures| &mut figures.answers_3xx);
                    self.handle.dropped(&waiting, |drops| &mut drops.rejected_3xx);
                } else {
                    self.handle.count(|figures| &mut figures.answers_4xx);
                    self.handle.dropped(&waiting, |drops| &mut drops.rejected_4xx);
                }
                self.tell_once(status, &waiting.post.path, &excerpt, "");
                round.refused += 1;
                round.failed_in_a_row = 0;
            }
            Answer::Later { status, retry_after, excerpt } => {
                if status < 500 {
                    self.handle.count(|figures| &mut figures.answers_4xx);
                } else {
                    self.handle.count(|figures| &mut figures.answers_5xx);
                }
                round.throttled |= status == 429 || retry_after.is_some();
                round.retry_after = round.retry_after.max(retry_after);
                round.fail(waiting, Some(status), excerpt, accepted_before);
            }
            Answer::None { reason } => {
                self.handle.count(|figures| &mut figures.unanswered);
                round.fail(waiting, None, reason, accepted_before);
            }
        }
    }

    /// Settles what is given up, puts the rest back, tells a change of state; the pause before the
    /// next round, if one is due.
    fn conclude(&mut self, mut remains: Remains, mut round: Round) -> Option<Duration> {
        if round.accepted + round.refused > 0 {
            self.tell_up();
            self.backoff.reset();
        } else if let Some(failed) = round.failed.first()
            // What an endpoint left of a batch that it otherwise took says nothing about the
            // endpoint; the next batch will.
            && !remains.partly_accepted
        {
            let reason = failed.describe();
            self.tell_down(&reason);
        }
        let pause = (!round.failed.is_empty()).then(|| self.pause(round.retry_after));
        remains.partly_accepted |= round.accepted > 0;
        remains.posts.append(&mut round.halves);
        for mut failed in mem::take(&mut round.failed) {
            failed.waiting.failures += u32::from(failed.counts(round.accepted));
            if failed.waiting.failures >= self.settings.tries_max.max(1) {
                self.give_up(&failed);
            } else {
                remains.posts.push(failed.waiting);
            }
        }
        self.handle.put_back(remains);
        pause
    }

    fn pause(&mut self, retry_after: Option<Duration>) -> Duration {
        let own = self.backoff.after_failure();
        match retry_after {
            None => own,
            Some(asked) => {
                own.max(asked.min(self.settings.retry_after_max) + self.backoff.jitter())
            }
        }
    }

    fn give_up(&mut self, failed: &Failed) {
        let Some(status) = failed.status else {
            self.handle.dropped(&failed.waiting, |drops| &mut drops.gave_up_unanswered);
            return;
        };
        self.handle.dropped(&failed.waiting, |drops| &mut drops.gave_up_5xx);
        let tries = format!(" {} times", failed.waiting.failures);
        self.tell_once(status, &failed.waiting.post.path, &failed.reason, &tries);
    }

    fn tell_once(&mut self, status: u16, path: &str, excerpt: &str, tries: &str) {
        if !self.told.insert(status) {
            return;
        }
        warn!(
            "endpoint {} answers {}{tries} to POST {path}: {}; such posts are dropped and counted \
             (said once per status)",
            self.settings.name,
            status_line(status),
            if excerpt.is_empty() { "no reason given" } else { excerpt },
        );
    }

    fn tell_down(&mut self, reason: &str) {
        if self.down.is_some() {
            return;
        }
        self.down = Some(Down {
            since: Instant::now(),
            pushed_out_before: self.handle.statistics().dropped_posts.queue_full,
            told_full: false,
        });
        warn!(
            "endpoint {} is not answering: {reason}; samples are kept (up to {}) and retried",
            self.settings.name,
            size(self.settings.queue_bytes_max),
        );
    }

    fn tell_up(&mut self) {
        let Some(down) = self.down.take() else { return };
        let figures = self.handle.statistics();
        let after = Duration::from_secs(down.since.elapsed().as_secs());
        let pushed_out = figures.dropped_posts.queue_full - down.pushed_out_before;
        let cost = if pushed_out == 0 {
            String::new()
        } else {
            format!(", {pushed_out} posts were dropped")
        };
        info!(
            "endpoint {} answers again after {}, {} samples waited{cost}",
            self.settings.name,
            humantime::format_duration(after),
            figures.waiting_samples,
        );
    }

    fn tell_when_full(&mut self) {
        let Some(down) = &mut self.down else { return };
        let pushed_out = self.handle.statistics().dropped_posts.queue_full;
        if !down.told_full && pushed_out > down.pushed_out_before {
            down.told_full = true;
            warn!(
                "endpoint {}: {} of samples wait, the oldest are dropped from here on",
                self.settings.name,
                size(self.settings.queue_bytes_max),
            );
        }
    }
}

impl Round {
    fn fail(
        &mut self,
        waiting: Waiting,
        status: Option<u16>,
        reason: String,
        accepted_before: u32,
    ) {
        self.failed_in_a_row += 1;
        self.failed.push(Failed { waiting, status, reason, accepted_before });
    }
}

impl Failed {
    /// Whether the failure is the post's own: a 500, a 4xx that is tried again by configuration, or
    /// any other while the endpoint accepted something after this try began. A request to come
    /// later never is.
    fn counts(&self, accepted: u32) -> bool {
        match self.status {
            Some(408 | 425 | 429) => false,
            Some(..=500) => true,
            Some(_) | None => self.accepted_before < accepted,
        }
    }

    fn describe(&self) -> String {
        match self.status {
            Some(status) => status_line(status),
            None => self.reason.clone(),
        }
    }
}

fn status_line(code: u16) -> String {
    StatusCode::from_u16(code).map_or_else(|_| code.to_string(), |status| status.to_string())
}

/// A size of memory for the log.
fn size(bytes: usize) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..0x10_0000 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// Ends when a deadline is set and over.
async fn reached(mut deadline: watch::Receiver<Option<Instant>>) {
    let end = match deadline.wait_for(Option::is_some).await {
        Ok(end) => *end,
        Err(_) => None,
    };
    match end {
        Some(end) => sleep_until(end).await,
        // The handle holds the other end as long as a worker exists.
        None => std::future::pending().await,
    }
}
