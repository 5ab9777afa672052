//! The writing end of an endpoint that is standard output or a file.
//!
//! The queue is that of a server, in memory alone. What cannot be written is dropped and counted: a disk
//! without room would not take a backlog either.

mod writer;

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tracing::{info, warn};

use super::deadline::reached;
use super::dry_run::{BodyAsJson, DryRun, ShownRequest, readable};
use super::queue::{Handle, QueueLimits, QueuedBatch};
use super::statistics::Health;
use crate::panics;
use crate::quantity::counted;
use crate::spool::Post;
use writer::{LineWriter, SinkError};
pub use writer::{Rotation, SinkTarget};

/// The most samples that wait in memory.
const SAMPLES_MAX: usize = 4096;

/// The time after a flush's deadline in which the worker puts back what it has.
const GRACE: Duration = Duration::from_millis(200);

/// A write that takes longer is logged.
const SLOW: Duration = Duration::from_secs(5);

/// The settings of one sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkSettings {
    /// The endpoint's name in the log.
    pub name: String,
    pub target: SinkTarget,
    /// The target as the configuration names it.
    pub url: String,
    /// The most bytes that wait in memory.
    pub queue_bytes_max: usize,
    /// The JSON form of bodies.
    pub as_json: Option<BodyAsJson>,
    /// Lines are printed there as those of a request (`None`: they are written to the target).
    pub dry_run: Option<DryRun>,
}

/// The two ends of a sink: the handle that accepts batches, and the worker, to be run
/// ([`SinkWorker::run`]) on a Tokio runtime with time.
#[must_use]
pub fn sink(settings: SinkSettings) -> (Handle, SinkWorker) {
    let limits = QueueLimits {
        bytes_max: settings.queue_bytes_max,
        samples_max: SAMPLES_MAX,
        spread: Duration::ZERO,
        grace: GRACE,
    };
    let handle = Handle::new(limits, None);
    (handle.clone(), SinkWorker { settings, handle, thread: None, log: SinkLog::default() })
}

/// The writing end of a sink.
#[derive(Debug)]
pub struct SinkWorker {
    settings: SinkSettings,
    handle: Handle,
    /// The thread that writes, which a target may block. `None`: it was not needed yet.
    thread: Option<mpsc::Sender<Job>>,
    log: SinkLog,
}

/// Lines to write, and where the outcome goes.
#[derive(Debug)]
struct Job {
    lines: Bytes,
    done: oneshot::Sender<Result<(), SinkError>>,
}

/// The state that has been logged.
#[derive(Debug, Default)]
struct SinkLog {
    is_failing: bool,
    is_slow: bool,
    /// Posts without room in memory, when lines were last written.
    pushed_out: u64,
    /// Lines that could not be written since.
    lost_lines: u64,
}

impl SinkWorker {
    /// Writes until [`Handle::flush`] ends it. After a panic it continues with the next batch.
    pub async fn run(mut self) {
        while panics::catch(self.write_batches()).await.is_err() {
            self.handle.count_lost(std::iter::empty());
            tokio::select! {
                () = sleep(panics::RESTART_WAIT_MIN) => {}
                () = reached(self.handle.deadline()) => break,
            }
        }
        self.handle.finish();
    }

    async fn write_batches(&mut self) {
        let mut deadline = self.handle.deadline();
        loop {
            let is_ending = deadline.borrow_and_update().is_some();
            match self.handle.lease_backlog().or_else(|| self.handle.lease_fresh(None)) {
                Some(entry) => {
                    if !self.write_batch(entry).await {
                        return;
                    }
                }
                None if is_ending => return,
                None => tokio::select! {
                    () = self.handle.any_fresh() => {}
                    _ = deadline.changed() => {}
                },
            }
        }
    }

    /// Writes a batch; false if the deadline of the flush came first.
    async fn write_batch(&mut self, mut entry: QueuedBatch) -> bool {
        self.handle.set_oldest_in_flight(Some(entry.sampled_at));
        while let Some(queued) = entry.posts.first() {
            let lines = queued.post.body.clone();
            let Some(outcome) = self.write(lines).await else {
                self.handle.put_back(entry);
                self.handle.set_oldest_in_flight(None);
                return false;
            };
            let mark = entry.mark();
            let post = entry.posts.remove(0).post;
            self.note(&outcome, &post);
            match outcome {
                Ok(()) => self.handle.accepted(mark, &post),
                Err(_) => self.handle.dropped(mark, &post, |drops| &mut drops.not_written),
            }
        }
        self.handle.no_longer_in_memory(&[]);
        self.handle.set_oldest_in_flight(None);
        true
    }

    /// Writes lines; `None` if the deadline of the flush came first.
    async fn write(&mut self, lines: Bytes) -> Option<Result<(), SinkError>> {
        if let Some(dry_run) = &self.settings.dry_run {
            dry_run.print(&self.shown(&lines, self.settings.as_json));
            return Some(Ok(()));
        }
        let (done, mut outcome) = oneshot::channel();
        if let Err(error) = self.pass_on(Job { lines, done }) {
            return Some(Err(SinkError::Thread(error)));
        }
        loop {
            let is_slow = self.log.is_slow;
            tokio::select! {
                outcome = &mut outcome => {
                    let ended = |_| Err(SinkError::Thread(io::Error::other("it ended")));
                    return Some(outcome.unwrap_or_else(ended));
                }
                () = sleep(SLOW), if !is_slow => self.note_slow(),
                () = reached(self.handle.deadline()) => return None,
            }
        }
    }

    /// Gives lines to the thread, which is started if there is none.
    fn pass_on(&mut self, job: Job) -> io::Result<()> {
        let thread = match self.thread.take() {
            Some(thread) => thread,
            None => start(self.settings.target.clone())?,
        };
        thread.send(job).map_err(|_| io::Error::other("it ended"))?;
        self.thread = Some(thread);
        Ok(())
    }

    fn shown(&self, lines: &[u8], as_json: Option<BodyAsJson>) -> ShownRequest<'_> {
        ShownRequest {
            endpoint: &self.settings.name,
            method: None,
            url: self.settings.url.clone(),
            headers: BTreeMap::new(),
            body: readable(lines, as_json),
        }
    }

    fn note(&mut self, outcome: &Result<(), SinkError>, post: &Post) {
        let SinkSettings { name, target, .. } = &self.settings;
        match outcome {
            Ok(()) => {
                let pushed_out = self.handle.pushed_out();
                let before = std::mem::replace(&mut self.log.pushed_out, pushed_out);
                if std::mem::take(&mut self.log.is_failing) | std::mem::take(&mut self.log.is_slow)
                {
                    let lines = std::mem::take(&mut self.log.lost_lines);
                    let lines = counted(lines, "line", "lines");
                    let samples = counted(pushed_out - before, "sample", "samples");
                    info!(
                        "endpoint {name}: {target} takes lines again; lost were {lines} that could not be \
                         written, and those of {samples} without room in memory"
                    );
                }
                self.handle.set_health(Health::Healthy);
            }
            Err(error) => {
                let lines = post.body.iter().filter(|byte| **byte == b'\n').count();
                self.log.lost_lines += lines as u64;
                if !std::mem::replace(&mut self.log.is_failing, true) {
                    warn!(
                        "endpoint {name}: {target} {error}; its lines are dropped, and counted as \
                         not_written, until it takes them again"
                    );
                }
                self.handle.set_health(Health::Down);
            }
        }
    }

    fn note_slow(&mut self) {
        let SinkSettings { name, target, .. } = &self.settings;
        self.log.is_slow = true;
        self.handle.set_health(Health::Down);
        warn!(
            "endpoint {name}: {target} has taken no line for {} s; samples wait in memory, and the \
             oldest are dropped and counted beyond queue_bytes",
            SLOW.as_secs()
        );
    }
}

/// Starts the thread that writes. It ends when nothing is given to it any more.
fn start(target: SinkTarget) -> io::Result<mpsc::Sender<Job>> {
    let (jobs, queue) = mpsc::channel::<Job>();
    let mut writer = LineWriter::new(target);
    thread::Builder::new().name("sink".to_owned()).spawn(move || {
        for Job { lines, done } in queue {
            // Nobody waits for it after the deadline of a flush.
            let _ = done.send(writer.append(&lines));
        }
    })?;
    Ok(jobs)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test reads the files that it made")]

    use std::fs;

    use super::*;
    use crate::clock;
    use crate::identity::BootId;
    use crate::quantity::BootTime;
    use crate::spool::{Batch, Moment};

    fn boot() -> BootId {
        BootId::parse(b"0f3c1d2e-4a5b-4c6d-8e7f-0123456789ab").unwrap()
    }

    fn batch(number: u64, body: &str) -> Batch {
        let now = clock::moment(boot());
        let since_boot = BootTime::from_nanos(now.since_boot.as_nanos() + number);
        Batch::new(Moment { since_boot, ..now }, [(String::new(), body.to_owned().into())])
    }

    fn settings(target: SinkTarget, queue_bytes_max: usize) -> SinkSettings {
        let (name, url) = ("lines".to_owned(), "file:///x".to_owned());
        SinkSettings { name, target, url, queue_bytes_max, as_json: None, dry_run: None }
    }

    fn file(path: &std::path::Path) -> SinkTarget {
        SinkTarget::File { path: path.to_owned(), rotation: None }
    }

    #[tokio::test]
    async fn batches_are_written_in_order_and_a_flush_writes_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let (handle, worker) = sink(settings(file(&path), 1 << 20));
        let worker = tokio::spawn(worker.run());
        for number in 0..50 {
            handle.offer(batch(number, &format!("{number}\n")), false);
        }
        let left = handle.flush(clock::timer_now() + Duration::from_secs(60)).await;
        worker.await.unwrap();
        assert!(left.is_empty());
        let expected: String = (0..50).map(|number| format!("{number}\n")).collect();
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        let figures = handle.statistics(&clock::moment(boot()));
        assert_eq!((figures.offered_posts, figures.accepted_posts), (50, 50));
        assert_eq!((figures.waiting_posts, figures.in_memory_bytes), (0, 0));
        assert_eq!(figures.health, Health::Healthy);
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_dropped_and_counted_and_the_next_is_tried() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("later/x");
        let (handle, worker) = sink(settings(file(&path), 1 << 20));
        tokio::spawn(worker.run());
        let until = async |accepted: u64, dropped: u64| loop {
            let figures = handle.statistics(&clock::moment(boot()));
            if (figures.accepted_posts, figures.dropped_posts.not_written) == (accepted, dropped) {
                assert_eq!(figures.offered_posts, accepted + dropped);
                assert_eq!((figures.waiting_posts, figures.in_memory_samples), (0, 0));
                return figures.health;
            }
            sleep(Duration::from_millis(2)).await;
        };
        handle.offer(batch(0, "0\n"), false);
        handle.offer(batch(1, "1\n"), false);
        assert_eq!(until(0, 2).await, Health::Down);
        fs::create_dir(path.parent().unwrap()).unwrap();
        handle.offer(batch(2, "2\n"), false);
        assert_eq!(until(1, 2).await, Health::Healthy);
        assert_eq!(fs::read_to_string(&path).unwrap(), "2\n");
    }

    #[tokio::test]
    async fn a_target_that_takes_nothing_holds_no_more_than_its_room_and_ends_in_time() {
        let (handle, mut worker) = sink(settings(SinkTarget::Stdout, 10_000));
        // A thread that never answers, as one is whose pipe nobody reads.
        let (jobs, blocked) = mpsc::channel();
        worker.thread = Some(jobs);
        let worker = tokio::spawn(worker.run());
        let body = "x".repeat(999) + "\n";
        for number in 0..100 {
            handle.offer(batch(number, &body), false);
            tokio::task::yield_now().await;
            let figures = handle.statistics(&clock::moment(boot()));
            assert!(figures.in_memory_bytes <= 10_000, "{figures:?}");
            let known = figures.waiting_posts + figures.dropped_posts.queue_full;
            assert_eq!(figures.offered_posts, known);
        }
        let left = handle.flush(clock::timer_now() + Duration::from_millis(50)).await;
        worker.await.unwrap();
        assert!(!left.is_empty() && left.len() < 10);
        // The oldest one, which is being written, is among them.
        assert!(
            left.windows(2).all(|two| two[0].sampled_at.since_boot < two[1].sampled_at.since_boot)
        );
        drop(blocked);
    }
}
