//! Sends what waits for one endpoint, round by round.
//!
//! ```text
//!            ┌─ well ─────────────────────────────┐
//!     fresh ─┼─ slow ─▶ on disk, in hand too ─────┼─▶ round ─▶ endpoint
//!            └─ down ─▶ on disk ─▶ in its order ──┘     └─ failed, or takes its time: on disk
//! ```
//!
//! A round sends the posts of one sample concurrently. Accepted and refused posts are settled; the
//! rest is put to disk and tried again after a pause. When the endpoint took part of a sample and not
//! the rest, the rest travels with the next sample: so one post on which the endpoint always fails
//! cannot hold up what is behind it, and whether it is the post or the endpoint that is ill shows in
//! the same round. While an endpoint is down, another post asks each time whether it is back
//! ([`probing`]), for the same reason.
//!
//! What is given up when, and what is kept of the rest, is in [`concluding`].
//!
//! After an outage what is fresh goes first, as soon as it comes, and what waited follows in its
//! order; an endpoint that needs everything in order gets it so. Where there is no disk, or it
//! fails, the backlog is in memory ([`super::queue`]).

mod concluding;
mod hands;
mod probing;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::disk::Disk;
use super::http::{Answer, Sender};
use super::late::{self, Then};
use super::queue::{Entry, Handle, Reason, put_in_order};
use super::round::{Answered, Round};
use super::statistics::Health;
use super::telling::Telling;
use super::{Settings, Split, reached};
use crate::quantity::BootTime;
use crate::retry_after::Backoff;
use crate::spool::{Batch, Moment, Post};
use probing::Probing;

/// As many failures in a row end a round, however few posts may be under way at once: one that always
/// fails is no outage.
const FAILURES_MIN: usize = 3;

/// The longest pause between two tries once the queue is being flushed.
const FLUSH_PAUSE_MAX: Duration = Duration::from_secs(1);

/// From so many rounds in succession on in which posts were refused and none was accepted, the endpoint
/// is shown as one that refuses: a single one may be about its posts.
const REFUSED_ROUNDS: u32 = 2;

/// How many late samples become one at a time, before there is a look at what else is to be done.
const MERGES_AT_ONCE: usize = 16;

/// Says what time it is.
pub type Clock = Arc<dyn Fn() -> Moment + Send + Sync>;

/// The sending end of an endpoint.
pub struct Worker {
    settings: Settings,
    sender: Sender,
    handle: Handle,
    disk: Disk,
    clock: Clock,
    backoff: Backoff,
    /// Fresh samples that were put to disk first, because the endpoint takes its time.
    live: VecDeque<Entry>,
    /// Samples that were tried and are on disk too. What is left of one that was partly accepted
    /// goes with the next round; any other is the next of the backlog.
    held: VecDeque<Entry>,
    /// Never [`Health::Rejecting`], which is shown alone: what comes goes where it would without.
    health: Health,
    /// Since when there is little room for more of what the endpoint leaves of samples.
    full_since: Option<BootTime>,
    /// Rounds since a post was accepted in which some were refused.
    refused_rounds: u32,
    probing: Probing,
    telling: Telling,
}

/// Why a worker looks up from a round.
enum Event {
    Answered(Option<Answered>),
    TakesItsTime,
    Arrived,
    Deadline,
}

/// A round that has ended, and how.
struct Ended {
    round: Round,
    was_prompt: bool,
    in_time: bool,
}

/// A wait before the next round.
struct Pause {
    time: Duration,
    /// What it is for is what the endpoint left of samples that it otherwise takes: that holds up
    /// nothing.
    gives_way: bool,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("endpoint", &self.settings.name).finish_non_exhaustive()
    }
}

impl Worker {
    pub(super) fn new(
        settings: Settings,
        sender: Sender,
        handle: Handle,
        disk: Disk,
        clock: Clock,
    ) -> Self {
        let backoff =
            Backoff::full_jitter(settings.backoff_base, settings.backoff_max, settings.seed);
        Self {
            settings,
            sender,
            handle,
            disk,
            clock,
            backoff,
            live: VecDeque::new(),
            held: VecDeque::new(),
            health: Health::Healthy,
            full_since: None,
            refused_rounds: 0,
            probing: Probing::default(),
            telling: Telling::default(),
        }
    }

    /// Sends until [`Handle::flush`] ends it; what is left then goes to disk, if there is one.
    pub async fn run(mut self) {
        let mut deadline = self.handle.deadline();
        loop {
            self.disk.open(&self.handle, self.now()).await;
            let ending = *deadline.borrow_and_update();
            if ending.is_some_and(|end| end <= Instant::now()) {
                break;
            }
            if self.health != Health::Healthy || self.settings.in_order && self.has_backlog() {
                self.take_in().await;
            }
            let Some((is_backlog, mut entries)) = self.pick(ending.is_some()).await else {
                if ending.is_some() {
                    break;
                }
                self.wait(&mut deadline).await;
                continue;
            };
            self.mark(&mut entries).await;
            let probe = (self.health == Health::Down).then(|| self.probing.failed());
            let round = Round::new(entries, self.settings.in_order, probe);
            self.handle.set_oldest_under_way(round.oldest());
            let ended = self.work(round, is_backlog, &deadline).await;
            let in_time = ended.in_time;
            let pause = self.conclude(ended).await;
            let in_hand = self.held.front().or(self.live.front());
            self.handle.set_oldest_under_way(in_hand.map(|entry| entry.taken));
            if !in_time {
                break;
            }
            if let Some(pause) = pause {
                self.rest(pause, &mut deadline).await;
                self.telling.when_full(&self.settings.name, &self.handle, &self.place());
            }
        }
        self.leave().await;
        self.handle.finish();
    }

    fn now(&self) -> Moment {
        (self.clock)()
    }

    /// Ends when there is something to be done.
    async fn wait(&mut self, deadline: &mut watch::Receiver<Option<Instant>>) {
        if self.health == Health::Healthy && !self.disk.has_any() {
            self.disk.rest().await;
        }
        let due = [self.live.front().map(|entry| entry.due), self.disk.look_at()];
        let due = due.into_iter().flatten().min();
        let waits_for_disk = due.is_some() && self.waits_for_disk();
        tokio::select! {
            () = self.handle.something_due(), if !waits_for_disk => {}
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            _ = deadline.changed() => {}
        }
    }

    /// Waits before the next try. What comes meanwhile is taken in; the beginning of a flush cuts
    /// the wait short.
    async fn rest(&mut self, pause: Pause, deadline: &mut watch::Receiver<Option<Instant>>) {
        let gives_way = pause.gives_way && self.health != Health::Down;
        let pause = pause.time;
        let now = Instant::now();
        let ending = *deadline.borrow_and_update();
        let end = match ending {
            Some(end) => end.min(now + pause.min(FLUSH_PAUSE_MAX)),
            None => now + pause,
        };
        // A short pause is over before it matters where what comes is kept.
        let takes_in = self.health != Health::Healthy || pause > self.settings.prompt && !gives_way;
        loop {
            let end = match self.live.front() {
                Some(entry) if gives_way => end.min(entry.due),
                _ => end,
            };
            tokio::select! {
                () = sleep_until(end) => return,
                () = self.handle.fresh_due(), if gives_way => return,
                () = self.handle.any_fresh(), if takes_in => self.take_in().await,
                _ = deadline.changed(), if ending.is_none() => return,
            }
            self.telling.when_full(&self.settings.name, &self.handle, &self.place());
        }
    }

    /// Whether what is fresh waits behind what is older.
    fn is_in_order(&self) -> bool {
        self.health == Health::Down || self.settings.in_order
    }

    /// Whether more waits than what the endpoint left of samples, which goes with anything.
    fn has_backlog(&self) -> bool {
        let is_held = self.held.iter().any(|entry| !entry.partly_accepted);
        let is_on_disk = self.disk.has_any() || self.disk.withholds_any();
        is_held || self.handle.has_backlog() || is_on_disk
    }

    /// Whether what is in memory has to come behind what cannot be read at present.
    fn waits_for_disk(&self) -> bool {
        self.settings.in_order && self.disk.withholds_any()
    }

    /// What is to be sent next, and whether it is of the backlog. `at_once`: also what is not due.
    async fn pick(&mut self, at_once: bool) -> Option<(bool, Vec<Entry>)> {
        if self.health != Health::Down && !(self.settings.in_order && self.has_backlog()) {
            let now = (!at_once).then(Instant::now);
            while let Some(mut entry) = self.next_fresh(now) {
                self.drop_old(&mut entry);
                if entry.posts.is_empty() {
                    self.settled(entry).await;
                    continue;
                }
                if self.health == Health::Degraded {
                    self.keep_and_send(&mut entry).await;
                }
                return Some((false, self.with_leftovers(entry).await));
            }
        }
        loop {
            let mut entry = self.next_of_backlog(at_once).await?;
            self.drop_old(&mut entry);
            if !entry.posts.is_empty() {
                return Some((true, self.with_leftovers(entry).await));
            }
            self.settled(entry).await;
        }
    }

    fn next_fresh(&mut self, now: Option<Instant>) -> Option<Entry> {
        match self.live.front() {
            Some(entry) if now.is_none_or(|now| entry.due <= now) => self.live.pop_front(),
            Some(_) => None,
            None => self.handle.take_fresh(now),
        }
    }

    /// The oldest that waits, from wherever it is. `at_once`: there is no later.
    async fn next_of_backlog(&mut self, at_once: bool) -> Option<Entry> {
        self.merge_late().await;
        let whole = self.held.iter().position(|entry| !entry.partly_accepted);
        if let Some(entry) = whole.and_then(|at| self.held.remove(at)) {
            return Some(entry);
        }
        if self.holds_backlog() && !at_once {
            let held = self.held.iter().position(|entry| entry.partly_accepted);
            let held = held.and_then(|at| self.held.remove(at));
            return held.or_else(|| self.handle.take_leftover());
        }
        let now = self.now();
        while let Some((row, batch)) = self.disk.oldest(&self.handle, now).await {
            let entry = Entry { row: Some(row), ..Entry::new(batch, Instant::now()) };
            if !entry.partly_accepted {
                return Some(entry);
            }
            // What an earlier worker left of a sample is for this one what it was for that one.
            put_in_order(&mut self.held, entry);
        }
        if self.waits_for_disk() {
            return None;
        }
        // What is left of samples goes along with what there is, and by itself only where there is nothing:
        // that alone tells nothing of whether it is the post or the endpoint that is ill.
        self.handle.take_whole().or_else(|| self.held.pop_front())
    }

    /// What is left of samples that the endpoint took a part of goes along, as long as it is not too
    /// old itself; all of them in their order.
    async fn with_leftovers(&mut self, entry: Entry) -> Vec<Entry> {
        let mut together = VecDeque::new();
        for held in std::mem::take(&mut self.held) {
            match held.partly_accepted {
                true => together.push_back(held),
                false => self.held.push_back(held),
            }
        }
        while let Some(leftover) = self.handle.take_leftover() {
            put_in_order(&mut together, leftover);
        }
        put_in_order(&mut together, entry);
        let mut entries = Vec::with_capacity(together.len());
        for mut entry in together {
            self.drop_old(&mut entry);
            match entry.posts.is_empty() {
                true => self.settled(entry).await,
                false => entries.push(entry),
            }
        }
        entries
    }

    fn drop_old(&self, entry: &mut Entry) {
        let age = entry.taken.age(&self.now());
        let is_late =
            self.settings.late.is_some_and(|late| late.then == Then::Drop && age > late.after);
        let is_old = age > self.settings.age_max;
        if !is_old && !is_late {
            return;
        }
        let reason: Reason = match is_old {
            true => |drops| &mut drops.too_old,
            false => |drops| &mut drops.late,
        };
        let mark = entry.mark();
        for waiting in entry.posts.drain(..) {
            self.handle.dropped(mark, &waiting.post, reason);
        }
    }

    /// Makes one of what is too old to be filed under the time it comes at.
    async fn merge_late(&mut self) {
        let Some(late) = self.settings.late else { return };
        let Then::Add(merge) = late.then else { return };
        let now = self.now();
        let is_late = |batch: &Batch| batch.taken.age(&now) > late.after;
        let merge = |older: &Batch, newer: &Batch| {
            (is_late(older) && is_late(newer)).then(|| late::merge(older, newer, merge)).flatten()
        };
        for _ in 0..MERGES_AT_ONCE {
            if !self.disk.merge_oldest(&self.handle, now, &merge).await {
                break;
            }
        }
        if !self.disk.has_any() || !self.disk.takes() {
            self.handle.merge_oldest(MERGES_AT_ONCE, &merge);
        }
    }

    /// Sends a round until all of it is answered, something else goes first, or the deadline cuts it
    /// off.
    async fn work(
        &mut self,
        mut round: Round,
        is_backlog: bool,
        deadline: &watch::Receiver<Option<Instant>>,
    ) -> Ended {
        let prompt_until = Instant::now() + self.settings.prompt;
        let mut was_prompt = true;
        loop {
            // A single one finds out whether an endpoint that was down is back.
            let (limit, failures_max) = match self.health == Health::Down && round.accepted == 0 {
                true => (1, 1),
                false => {
                    let limit = self.settings.concurrency_max.max(1);
                    (limit, limit.max(FAILURES_MIN))
                }
            };
            let retries = round.let_out(&self.sender, &self.settings.name, limit, failures_max);
            self.handle.add_retries(retries);
            if round.is_over() {
                return Ended { round, was_prompt, in_time: true };
            }
            let gives_way = is_backlog && was_prompt && !round.held_back && !self.is_in_order();
            let event = tokio::select! {
                answered = round.answered() => Event::Answered(answered),
                () = sleep_until(prompt_until), if was_prompt => Event::TakesItsTime,
                () = self.handle.any_fresh(), if !was_prompt => Event::Arrived,
                () = self.handle.fresh_due(), if gives_way => Event::Arrived,
                () = reached(deadline.clone()) => Event::Deadline,
            };
            match event {
                Event::Answered(Some(answered)) => self.settle(answered, &mut round),
                Event::Answered(None) => {}
                Event::TakesItsTime => {
                    was_prompt = false;
                    if self.health == Health::Healthy {
                        self.set_health(Health::Degraded);
                    }
                    self.keep_round(&mut round).await;
                }
                Event::Arrived if was_prompt => round.held_back = true,
                Event::Arrived => {
                    // What is under way is the older.
                    self.keep_round(&mut round).await;
                    self.take_in_behind(round.is_in_memory()).await;
                }
                Event::Deadline => return Ended { round, was_prompt, in_time: false },
            }
        }
    }

    fn settle(&mut self, answered: Answered, round: &mut Round) {
        let Some(mark) = round.mark(answered.entry) else { return };
        self.handle.add_retries(answered.earlier.len() as u64);
        for earlier in &answered.earlier {
            match *earlier {
                Some(status) => self.handle.answered(status),
                None => self.handle.count(|figures| &mut figures.unanswered),
            }
        }
        let post = &answered.waiting.post;
        if matches!(answered.answer, Answer::Accepted { .. } | Answer::Refused { .. }) {
            round.touch(answered.entry);
            round.path_is_answered(&post.path);
        }
        match &answered.answer {
            Answer::Accepted { status, pause } => {
                self.handle.answered(*status);
                self.handle.accepted(mark, post);
                round.throttled |= pause.is_some();
                round.pause = round.pause.max(*pause);
                round.accepted += 1;
                round.failed_in_a_row = 0;
            }
            Answer::Refused { status, excerpt } => {
                let status = *status;
                self.handle.answered(status);
                round.failed_in_a_row = 0;
                if status == 413
                    && let Some(halves) = halves(post, self.settings.split)
                {
                    let halves = self.handle.split(mark, post, halves);
                    round.fell_apart(answered.entry, halves);
                    return;
                }
                let reason: Reason = match status {
                    ..400 => |drops| &mut drops.rejected_3xx,
                    _ => |drops| &mut drops.rejected_4xx,
                };
                self.handle.dropped(mark, post, reason);
                round.refused += 1;
                self.telling.once(&self.settings.name, Some(status), &post.path, excerpt, None);
            }
            Answer::Later { status, pause, excerpt } => {
                let (status, pause, reason) = (*status, *pause, excerpt.clone());
                self.handle.answered(status);
                round.throttled |= status == 429 || pause.is_some();
                round.pause = round.pause.max(pause);
                round.failed(answered, Some(status), reason);
            }
            Answer::None { reason } => {
                let reason = reason.clone();
                self.handle.count(|figures| &mut figures.unanswered);
                round.failed(answered, None, reason);
            }
        }
    }
}

/// A post that was too large as two.
fn halves(post: &Post, split: Option<Split>) -> Option<[Post; 2]> {
    let Split(split) = split?;
    let parts = post.part.halves()?;
    let (first, second) = split(&post.body)?;
    let half = |part, body| Post { part, path: post.path.clone(), body };
    let [one, two] = parts;
    Some([half(one, first), half(two, second)])
}
