//! The sending end of one endpoint: it sends the queue round by round.
//!
//! ```text
//! ┌─ healthy ──────────────────────────────┐
//! fresh ─┼─ degraded ─▶ on disk and in memory ────┼─▶ round ─▶ endpoint
//! └─ down ─▶ on disk ─▶ oldest first ──────┘     └─ failed or slow: on disk
//! ```
//!
//! A round sends the posts of one sample concurrently. Accepted and rejected posts are resolved.
//! The others are written to disk and retried after a pause. A partially accepted sample is retried
//! with the next one. So one post that always fails blocks nothing, and one round shows whether the
//! post or the endpoint fails. While an endpoint is down, each probe is another post ([`probe`]),
//! for the same reason.
//!
//! [`conclude`] decides which posts are dropped.
//!
//! After an outage fresh samples go first, and the backlog follows in its order. Where order
//! matters, everything goes in its order. Without a working disk the backlog is in memory
//! ([`super::queue`]).

mod conclude;
mod probe;
mod storage;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::deadline::reached;
use super::disk::DiskQueue;
use super::http::{PostOutcome, Sender};
use super::log::DeliveryLog;
use super::queue::{DropReason, Handle, QueuedBatch, put_in_order};
use super::round::{AnsweredPost, Round};
use super::settings::{DeliverySettings, Split};
use super::stale::{self, StaleAction};
use super::statistics::Health;
use crate::clock;
use crate::panics;
use crate::quantity::BootTime;
use crate::retry_after::Backoff;
use crate::spool::{Batch, Moment, Post};
use probe::Probes;

/// The failures in a row that end a round, also with fewer posts at once: one post that always
/// fails is no outage.
const FAILURES_MIN: usize = 3;

/// The longest pause between two tries during a flush.
const FLUSH_PAUSE_MAX: Duration = Duration::from_secs(1);

/// The rounds in a row with rejected and no accepted posts after which the endpoint is rejecting.
/// One round may be about its posts.
const REJECTED_ROUNDS: u32 = 2;

/// The most stale samples that are merged before the worker looks at its other work.
const MERGES_AT_ONCE: usize = 16;

/// A function that returns the current moment.
pub type MomentClock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// The sending end of an endpoint.
pub struct Worker {
    settings: DeliverySettings,
    sender: Sender,
    handle: Handle,
    disk: DiskQueue,
    clock: MomentClock,
    backoff: Backoff,
    /// The waits after a panic.
    restarts: Backoff,
    /// Fresh samples of a degraded endpoint, which are on disk too.
    stored_fresh: VecDeque<QueuedBatch>,
    /// Attempted samples that are on disk too. A partially accepted one goes with the next round;
    /// any other one is the next of the backlog.
    retained: VecDeque<QueuedBatch>,
    /// The health that decides where samples go, so never [`Health::Rejecting`].
    health: Health,
    /// The time since which unacknowledged posts have nearly filled their limit.
    full_since: Option<BootTime>,
    /// Rounds with rejected posts since the last accepted one.
    rejected_rounds: u32,
    probes: Probes,
    log: DeliveryLog,
}

/// An event that interrupts a round.
enum RoundEvent {
    AnsweredPost(Option<AnsweredPost>),
    NotPrompt,
    Arrived,
    Deadline,
}

/// A round that has ended.
struct FinishedRound {
    round: Round,
    was_prompt: bool,
}

struct RoundEnd {
    was_prompt: bool,
    in_time: bool,
}

/// A wait before the next round.
struct Pause {
    time: Duration,
    /// Only unacknowledged posts wait for it, so fresh samples end it.
    yields_to_fresh: bool,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("endpoint", &self.settings.name).finish_non_exhaustive()
    }
}

impl Worker {
    pub(super) fn new(
        settings: DeliverySettings,
        sender: Sender,
        handle: Handle,
        disk: DiskQueue,
        clock: MomentClock,
    ) -> Self {
        let backoff =
            Backoff::full_jitter(settings.backoff_base, settings.backoff_max, settings.seed);
        let restarts = Backoff::equal_jitter(
            panics::RESTART_WAIT_MIN,
            panics::RESTART_WAIT_MAX,
            settings.seed,
        );
        Self {
            log: DeliveryLog::new(&settings.name, handle.clone()),
            restarts,
            settings,
            sender,
            handle,
            disk,
            clock,
            backoff,
            stored_fresh: VecDeque::new(),
            retained: VecDeque::new(),
            health: Health::Healthy,
            full_since: None,
            rejected_rounds: 0,
            probes: Probes::default(),
        }
    }

    /// Sends until [`Handle::flush`] ends it, and then writes the rest to disk. After a panic it
    /// continues with the posts that it had.
    pub async fn run(mut self) {
        let mut active = None;
        let mut began = clock::timer_now();
        while panics::catch(self.send_rounds(&mut active)).await.is_err() {
            if began.elapsed() >= panics::STEADY {
                self.restarts.reset();
            }
            // A second panic here loses the posts of this round, which are then counted.
            let _ = panics::catch(self.resume(active.take())).await;
            self.handle.count_lost(self.retained.iter().chain(&self.stored_fresh));
            let wait = self.restarts.after_failure();
            self.log.restarted(wait);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = reached(self.handle.deadline()) => break,
            }
            began = clock::timer_now();
        }
        let _ = panics::catch(self.store_all()).await;
        self.handle.finish();
    }

    /// Sends round by round. `active` holds the posts of the round that is under way.
    async fn send_rounds(&mut self, active: &mut Option<Round>) {
        let mut deadline = self.handle.deadline();
        loop {
            self.disk.open(self.now()).await;
            let ending = *deadline.borrow_and_update();
            if ending.is_some_and(|end| end <= clock::timer_now()) {
                break;
            }
            if self.health != Health::Healthy || self.settings.in_order && self.has_backlog() {
                self.accept_fresh().await;
            }
            let Some((is_backlog, mut entries)) = self.pick(ending.is_some()).await else {
                if ending.is_some() {
                    break;
                }
                self.wait(&mut deadline).await;
                continue;
            };
            self.mark(&mut entries).await;
            let probe = (self.health == Health::Down).then(|| self.probes.failed());
            let round = active.insert(Round::new(entries, self.settings.in_order, probe));
            self.handle.set_oldest_in_flight(round.oldest());
            let RoundEnd { was_prompt, in_time } = self.work(round, is_backlog, &deadline).await;
            let Some(round) = active.take() else { continue };
            let pause = self.conclude(FinishedRound { round, was_prompt }).await;
            let leased = self.retained.front().or(self.stored_fresh.front());
            self.handle.set_oldest_in_flight(leased.map(|entry| entry.sampled_at));
            if !in_time {
                break;
            }
            if let Some(pause) = pause {
                self.back_off(pause, &mut deadline).await;
                self.log.backlog_full(&self.location());
            }
        }
    }

    /// Puts the posts of a round that a panic ended back to the backlog.
    async fn resume(&mut self, round: Option<Round>) {
        for entry in round.map(Round::into_entries).unwrap_or_default() {
            if entry.posts.is_empty() {
                self.resolve_batch(entry).await;
            } else {
                self.retain_rest(entry).await;
            }
        }
        self.release_retained().await;
    }

    fn now(&self) -> Moment {
        (self.clock)()
    }

    /// Returns when there is work.
    async fn wait(&mut self, deadline: &mut watch::Receiver<Option<Instant>>) {
        if self.health == Health::Healthy && !self.disk.has_any() {
            self.disk.close_idle().await;
        }
        let due = [self.stored_fresh.front().map(|entry| entry.due), self.disk.retry_at()];
        let due = due.into_iter().flatten().min();
        let waits_for_disk = due.is_some() && self.waits_for_disk();
        tokio::select! {
            () = self.handle.something_due(), if !waits_for_disk => {}
            () = sleep_until(due.unwrap_or_else(clock::timer_now)), if due.is_some() => {}
            _ = deadline.changed() => {}
        }
    }

    /// Waits before the next try, and accepts fresh samples meanwhile. The beginning of a flush
    /// ends the wait.
    async fn back_off(&mut self, pause: Pause, deadline: &mut watch::Receiver<Option<Instant>>) {
        let yields_to_fresh = pause.yields_to_fresh && self.health != Health::Down;
        let pause = pause.time;
        let now = clock::timer_now();
        let ending = *deadline.borrow_and_update();
        let end = match ending {
            Some(end) => end.min(now + pause.min(FLUSH_PAUSE_MAX)),
            None => now + pause,
        };
        // A short pause ends before it matters where fresh samples are.
        let stores_fresh =
            self.health != Health::Healthy || pause > self.settings.prompt && !yields_to_fresh;
        loop {
            let end = match self.stored_fresh.front() {
                Some(entry) if yields_to_fresh => end.min(entry.due),
                _ => end,
            };
            tokio::select! {
                () = sleep_until(end) => return,
                () = self.handle.fresh_due(), if yields_to_fresh => return,
                () = self.handle.any_fresh(), if stores_fresh => self.accept_fresh().await,
                _ = deadline.changed(), if ending.is_none() => return,
            }
            self.log.backlog_full(&self.location());
        }
    }

    /// Fresh samples wait behind older ones.
    fn is_in_order(&self) -> bool {
        self.health == Health::Down || self.settings.in_order
    }

    /// More waits than unacknowledged posts, which go with any sample.
    fn has_backlog(&self) -> bool {
        let is_held = self.retained.iter().any(|entry| !entry.partially_accepted);
        let is_on_disk = self.disk.has_any() || self.disk.withholds_any();
        is_held || self.handle.has_backlog() || is_on_disk
    }

    /// Samples in memory have to wait for older ones on a disk that cannot be read.
    fn waits_for_disk(&self) -> bool {
        self.settings.in_order && self.disk.withholds_any()
    }

    /// The next samples to send, and whether they are of the backlog. `at_once`: also those that
    /// are not due.
    async fn pick(&mut self, at_once: bool) -> Option<(bool, Vec<QueuedBatch>)> {
        if self.health != Health::Down && !(self.settings.in_order && self.has_backlog()) {
            let now = (!at_once).then(clock::timer_now);
            while let Some(mut entry) = self.next_fresh(now) {
                self.drop_old(&mut entry);
                if entry.posts.is_empty() {
                    self.resolve_batch(entry).await;
                    continue;
                }
                if self.health == Health::Degraded {
                    self.store_and_send(&mut entry).await;
                }
                return Some((false, self.with_unacknowledged(entry).await));
            }
        }
        loop {
            let mut entry = self.next_of_backlog(at_once).await?;
            self.drop_old(&mut entry);
            if !entry.posts.is_empty() {
                return Some((true, self.with_unacknowledged(entry).await));
            }
            self.resolve_batch(entry).await;
        }
    }

    fn next_fresh(&mut self, now: Option<Instant>) -> Option<QueuedBatch> {
        match self.stored_fresh.front() {
            Some(entry) if now.is_none_or(|now| entry.due <= now) => self.stored_fresh.pop_front(),
            Some(_) => None,
            None => self.handle.lease_fresh(now),
        }
    }

    /// The oldest sample of the backlog. `at_once`: the worker is about to end.
    async fn next_of_backlog(&mut self, at_once: bool) -> Option<QueuedBatch> {
        self.merge_stale().await;
        let whole = self.retained.iter().position(|entry| !entry.partially_accepted);
        if let Some(entry) = whole.and_then(|at| self.retained.remove(at)) {
            return Some(entry);
        }
        if self.holds_back_backlog() && !at_once {
            let retained = self.retained.iter().position(|entry| entry.partially_accepted);
            let retained = retained.and_then(|at| self.retained.remove(at));
            return retained.or_else(|| self.handle.lease_partial());
        }
        let now = self.now();
        while let Some((row, batch)) = self.disk.oldest(now).await {
            let entry =
                QueuedBatch { row: Some(row), ..QueuedBatch::new(batch, clock::timer_now()) };
            if !entry.partially_accepted {
                return Some(entry);
            }
            // A sample that an earlier worker sent in part is partially accepted here too.
            put_in_order(&mut self.retained, entry);
        }
        if self.waits_for_disk() {
            return None;
        }
        // Unacknowledged posts are sent alone only where nothing else waits: alone they do not show
        // whether the post or the endpoint fails.
        self.handle.lease_whole().or_else(|| self.retained.pop_front())
    }

    /// The sample together with all unacknowledged posts that are not too old, in order of age.
    async fn with_unacknowledged(&mut self, entry: QueuedBatch) -> Vec<QueuedBatch> {
        let mut together = VecDeque::new();
        for retained in std::mem::take(&mut self.retained) {
            if retained.partially_accepted {
                together.push_back(retained);
            } else {
                self.retained.push_back(retained);
            }
        }
        while let Some(unacknowledged) = self.handle.lease_partial() {
            put_in_order(&mut together, unacknowledged);
        }
        put_in_order(&mut together, entry);
        let mut entries = Vec::with_capacity(together.len());
        for mut entry in together {
            self.drop_old(&mut entry);
            if entry.posts.is_empty() {
                self.resolve_batch(entry).await;
            } else {
                entries.push(entry);
            }
        }
        entries
    }

    fn drop_old(&self, entry: &mut QueuedBatch) {
        let age = entry.sampled_at.age(&self.now());
        let is_stale = self
            .settings
            .stale
            .is_some_and(|stale| stale.then == StaleAction::Drop && age > stale.after);
        let is_old = age > self.settings.age_max;
        if !is_old && !is_stale {
            return;
        }
        let reason: DropReason =
            if is_old { |drops| &mut drops.too_old } else { |drops| &mut drops.stale };
        let mark = entry.mark();
        for waiting in entry.posts.drain(..) {
            self.handle.dropped(mark, &waiting.post, reason);
        }
    }

    /// Merges samples that are stale for the endpoint into one.
    async fn merge_stale(&mut self) {
        let Some(stale) = self.settings.stale else { return };
        let StaleAction::Add(merge) = stale.then else { return };
        let now = self.now();
        let is_stale = |batch: &Batch| batch.sampled_at.age(&now) > stale.after;
        let merge = |older: &Batch, newer: &Batch| {
            (is_stale(older) && is_stale(newer))
                .then(|| stale::merge(older, newer, merge))
                .flatten()
        };
        for _ in 0..MERGES_AT_ONCE {
            if !self.disk.merge_oldest(now, &merge).await {
                break;
            }
        }
        if !self.disk.has_any() || !self.disk.is_writable() {
            self.handle.merge_oldest(MERGES_AT_ONCE, &merge);
        }
    }

    /// Sends a round until all of it is answered, something else goes first, or the deadline ends
    /// it.
    async fn work(
        &mut self,
        round: &mut Round,
        is_backlog: bool,
        deadline: &watch::Receiver<Option<Instant>>,
    ) -> RoundEnd {
        let prompt_until = clock::timer_now() + self.settings.prompt;
        let mut was_prompt = true;
        loop {
            // One post is enough to probe an endpoint that was down.
            let (limit, failures_max) = if self.health == Health::Down && round.accepted == 0 {
                (1, 1)
            } else {
                let limit = self.settings.concurrency_max.max(1);
                (limit, limit.max(FAILURES_MIN))
            };
            let retries = round.start_tries(&self.sender, &self.settings.name, limit, failures_max);
            self.handle.add_retries(retries);
            if round.is_over() {
                return RoundEnd { was_prompt, in_time: true };
            }
            let yields_to_fresh =
                is_backlog && was_prompt && !round.is_held_back && !self.is_in_order();
            let event = tokio::select! {
                answered = round.answered() => RoundEvent::AnsweredPost(answered),
                () = sleep_until(prompt_until), if was_prompt => RoundEvent::NotPrompt,
                () = self.handle.any_fresh(), if !was_prompt => RoundEvent::Arrived,
                () = self.handle.fresh_due(), if yields_to_fresh => RoundEvent::Arrived,
                () = reached(deadline.clone()) => RoundEvent::Deadline,
            };
            match event {
                RoundEvent::AnsweredPost(Some(answered)) => self.resolve(answered, round),
                RoundEvent::AnsweredPost(None) => {}
                RoundEvent::NotPrompt => {
                    was_prompt = false;
                    if self.health == Health::Healthy {
                        self.set_health(Health::Degraded);
                    }
                    self.store_round(round).await;
                }
                RoundEvent::Arrived if was_prompt => round.is_held_back = true,
                RoundEvent::Arrived => {
                    // Posts in flight are older than what arrived.
                    self.store_round(round).await;
                    self.accept_fresh_behind(round.is_in_memory()).await;
                }
                RoundEvent::Deadline => return RoundEnd { was_prompt, in_time: false },
            }
        }
    }

    fn resolve(&mut self, answered: AnsweredPost, round: &mut Round) {
        let Some(mark) = round.mark(answered.entry) else { return };
        self.handle.add_retries(answered.earlier.len() as u64);
        for earlier in &answered.earlier {
            match *earlier {
                Some(status) => self.handle.answered(status),
                None => self.handle.count(|figures| &mut figures.unanswered),
            }
        }
        let post = &answered.waiting.post;
        if matches!(answered.answer, PostOutcome::Accepted { .. } | PostOutcome::Rejected { .. }) {
            round.mark_dirty(answered.entry);
            round.path_is_answered(&post.path);
        }
        match &answered.answer {
            PostOutcome::Accepted { status, pause, remark } => {
                if let Some(remark) = remark {
                    self.handle.add_dropped_points(remark.refused);
                    self.log.remark(remark, &post.path);
                }
                self.handle.answered(*status);
                self.handle.accepted(mark, post);
                round.throttled |= pause.is_some();
                round.pause = round.pause.max(*pause);
                round.accepted += 1;
                round.failed_in_a_row = 0;
            }
            PostOutcome::Rejected { status, excerpt, refused } => {
                let (status, refused) = (*status, *refused);
                self.handle.answered(status);
                round.failed_in_a_row = 0;
                if status == 413
                    && let Some(halves) = halves(post, self.settings.split)
                {
                    let halves = self.handle.split(mark, post, halves);
                    round.add_halves(answered.entry, halves);
                    return;
                }
                let reason: DropReason = match status {
                    ..300 => |drops| &mut drops.rejected_2xx,
                    300..400 => |drops| &mut drops.rejected_3xx,
                    400..500 => |drops| &mut drops.rejected_4xx,
                    _ => |drops| &mut drops.rejected_5xx,
                };
                self.handle.dropped(mark, post, reason);
                self.handle.add_dropped_points(refused);
                round.rejected += 1;
                self.log.rejected_post(status, &post.path, excerpt, refused);
            }
            PostOutcome::Retry { status, pause, excerpt } => {
                let (status, pause, reason) = (*status, *pause, excerpt.clone());
                self.handle.answered(status);
                round.throttled |= status == 429 || pause.is_some();
                round.pause = round.pause.max(pause);
                round.failed(answered, Some(status), reason);
            }
            PostOutcome::Unanswered { reason } => {
                let reason = reason.clone();
                self.handle.count(|figures| &mut figures.unanswered);
                round.failed(answered, None, reason);
            }
        }
    }
}

/// The two halves of a post that was too large.
fn halves(post: &Post, split: Option<Split>) -> Option<[Post; 2]> {
    let Split(split) = split?;
    let parts = post.part.halves()?;
    let (first, second) = split(&post.body)?;
    let half = |part, body| Post { part, path: post.path.clone(), body };
    let [one, two] = parts;
    Some([half(one, first), half(two, second)])
}
