//! The spool thread, which opens and changes all queue files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use std::{io, thread};

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::database::Database;
use super::error::{failed, free_bytes, from_io};
use super::{Batch, Bounds, Lost, Moment, QueueContents, RowId, RowPresence, SpoolError};

/// The most calls in the thread's channel.
const CALLS_MAX: usize = 32;

/// The time after which a disk counts as one that does not answer, such as one behind a lost
/// network.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);

/// The most directory entries that are searched for orphans, and the most orphans listed.
const ENTRIES_MAX: usize = 10_000;
const ORPHANS_MAX: usize = 64;

const ENDING: &str = ".spool";

/// The spool: the queues of all endpoints in one directory. The thread starts with the first queue
/// that needs it, and ends with the last handle.
#[derive(Debug, Clone)]
pub struct Spool {
    thread: Arc<ThreadHandle>,
}

#[derive(Debug)]
struct ThreadHandle {
    dir: PathBuf,
    /// The channel to the thread, once there is one.
    calls: Mutex<Option<mpsc::Sender<QueueCall>>>,
    states: Mutex<BTreeMap<String, Weak<QueueState>>>,
    answer_time_max: Duration,
    /// A call that was given up, until the thread ends it.
    unanswered: Mutex<Weak<()>>,
    /// Allows one look at the disk at a time without the thread.
    look: Arc<Semaphore>,
}

/// The state that all handles of one queue share with the thread.
#[derive(Debug)]
struct QueueState {
    name: String,
    path: PathBuf,
    /// The thread was asked about the queue before.
    is_used: AtomicBool,
    counts: Mutex<QueueCounts>,
}

#[derive(Debug, Default)]
struct QueueCounts {
    contents: QueueContents,
    lost: Lost,
    found_posts: u64,
    /// Posts merged by calls that were given up.
    merged_posts: u64,
    /// Rows whose lease ended while the thread could not be asked, or whose caller did not wait.
    released: Vec<RowId>,
    /// Rows to be removed once the thread can be asked.
    to_remove: Vec<RowId>,
}

/// The lease of a row on its way to the caller. It ends unless the caller receives it.
struct Lease {
    state: Arc<QueueState>,
    row: Option<RowId>,
}

impl Lease {
    fn keep(mut self) {
        self.row = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        lock(&self.state.counts).released.extend(self.row);
    }
}

struct QueueCall {
    state: Arc<QueueState>,
    work: QueueJob,
}

/// Changes the queue's state and answers the caller.
type QueueJob = Box<dyn FnOnce(&mut Database, &QueueState) + Send>;

impl Spool {
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self::with_answer_time(dir, ANSWER_TIME_MAX)
    }

    fn with_answer_time(dir: PathBuf, answer_time_max: Duration) -> Self {
        let thread = ThreadHandle {
            dir,
            calls: Mutex::default(),
            states: Mutex::default(),
            answer_time_max,
            unanswered: Mutex::default(),
            look: Arc::new(Semaphore::new(1)),
        };
        Self { thread: Arc::new(thread) }
    }

    /// The queue of this name, which is usable as a file name. Touches no file yet. Handles of one
    /// name share one queue, each with its own limits.
    #[must_use]
    pub fn queue(&self, name: &str, bounds: Bounds) -> Queue {
        let mut states = lock(&self.thread.states);
        states.retain(|_, state| state.strong_count() > 0);
        let known = states.get(name).and_then(Weak::upgrade);
        let state = known.unwrap_or_else(|| {
            let state = Arc::new(QueueState {
                name: name.to_owned(),
                path: self.thread.dir.join(format!("{name}{ENDING}")),
                is_used: AtomicBool::new(false),
                counts: Mutex::default(),
            });
            states.insert(name.to_owned(), Arc::downgrade(&state));
            state
        });
        Queue { thread: self.thread.clone(), state, bounds }
    }

    /// At least one queue is in use.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        lock(&self.thread.states).values().any(|state| state.strong_count() > 0)
    }

    /// The bytes free in the spool's directory.
    ///
    /// # Errors
    /// No queue could be created there.
    pub fn free_bytes(&self) -> Result<u64, SpoolError> {
        free_bytes(&self.thread.dir)
    }

    /// The size of a queue's file in bytes; 0 without a file.
    #[must_use]
    pub fn file_bytes(&self, name: &str) -> u64 {
        let file = self.thread.dir.join(format!("{name}{ENDING}"));
        std::fs::metadata(file).map_or(0, |metadata| metadata.len())
    }

    /// The queue files of other endpoints than `names`, with their bytes. At most 64; none where
    /// the directory cannot be read.
    #[must_use]
    pub fn orphans(&self, names: &[&str]) -> Vec<(String, u64)> {
        let Ok(entries) = std::fs::read_dir(&self.thread.dir) else { return Vec::new() };
        let mut orphans = Vec::new();
        for entry in entries.take(ENTRIES_MAX).flatten() {
            let Ok(file) = entry.file_name().into_string() else { continue };
            let Some(name) = file.strip_suffix(ENDING) else { continue };
            if let Ok(metadata) = entry.metadata()
                && metadata.is_file()
                && !names.contains(&name)
                && orphans.len() < ORPHANS_MAX
            {
                orphans.push((file, metadata.len()));
            }
        }
        orphans.sort_unstable();
        orphans
    }
}

/// The queue of one endpoint. All calls except [`Queue::contents`] and those named `take_…` wait
/// for the disk, on the thread, in the order of the calls. A call whose caller no longer waits is
/// still done, but leases nothing.
///
/// A disk that does not answer within half a minute is an error. Calls meanwhile fail at once, and
/// have no effect later.
///
/// Row numbers grow as long as there is a handle, also over files that were removed or set aside.
/// Calls ignore rows that are gone.
#[derive(Debug, Clone)]
pub struct Queue {
    thread: Arc<ThreadHandle>,
    state: Arc<QueueState>,
    bounds: Bounds,
}

impl Queue {
    /// The contents as of the last answered call; empty before the first.
    #[must_use]
    pub fn contents(&self) -> QueueContents {
        let QueueCounts { contents, released, .. } = &*lock(&self.state.counts);
        QueueContents { leased: contents.leased.saturating_sub(released.len() as u64), ..*contents }
    }

    /// The posts lost since the last call.
    #[must_use]
    pub fn take_lost(&self) -> Lost {
        std::mem::take(&mut lock(&self.state.counts).lost)
    }

    /// The posts found in unknown files since the last call: those of an earlier run, or of a file
    /// from outside.
    #[must_use]
    pub fn take_found_posts(&self) -> u64 {
        std::mem::take(&mut lock(&self.state.counts).found_posts)
    }

    /// The posts merged since the last call by merges that were reported as failed.
    #[must_use]
    pub fn take_merged_posts(&self) -> u64 {
        std::mem::take(&mut lock(&self.state.counts).merged_posts)
    }

    /// Looks for batches of an earlier run. No file is created, and an unusable one is set aside.
    ///
    /// # Errors
    /// The file cannot be read, another process has it open, or none could be created.
    pub async fn open(&self, now: Moment) -> Result<QueueContents, SpoolError> {
        if self.is_absent(|dir| free_bytes(dir).map(drop)).await? {
            return Ok(QueueContents::default());
        }
        self.ask(move |database, _| database.open(now)).await
    }

    /// Those of these moments of which the queue has a batch.
    ///
    /// # Errors
    /// The file cannot be read.
    pub async fn find_present(&self, moments: Vec<Moment>) -> Result<Vec<Moment>, SpoolError> {
        if self.is_absent(|_| Ok(())).await? {
            return Ok(Vec::new());
        }
        self.ask(move |database, _| database.find_present(&moments)).await
    }

    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The same queue with other limits.
    #[must_use]
    pub fn bounded(&self, bounds: Bounds) -> Self {
        Self { bounds, ..self.clone() }
    }

    /// The path of its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.state.path
    }

    /// Appends a batch; it is on disk when this returns. Batches beyond the limits of age and size
    /// are dropped. A `leased` one is neither pushed out nor returned by [`Queue::next`] until it
    /// is released.
    ///
    /// # Errors
    /// The batch is not on disk.
    pub async fn append(
        &self,
        batch: &Batch,
        leased: bool,
        now: Moment,
    ) -> Result<RowId, SpoolError> {
        let batch = batch.clone();
        let state = self.state.clone();
        let append = move |database: &mut Database, bounds| {
            let row = database.append(&batch, leased, now, bounds)?;
            Ok((row, Lease { state, row: leased.then_some(row) }))
        };
        let undo = |database: &mut Database, (row, _)| drop(database.remove(&[row]));
        let (row, lease) = self.ask_or_undo(append, undo).await?;
        lease.keep();
        Ok(row)
    }

    /// Appends several batches without a lease: all of them or none.
    ///
    /// # Errors
    /// None is on disk.
    pub async fn append_all(&self, batches: &[Batch], now: Moment) -> Result<(), SpoolError> {
        let batches = batches.to_owned();
        let append =
            move |database: &mut Database, bounds| database.append_all(&batches, now, bounds);
        let undo = |database: &mut Database, rows: Vec<RowId>| drop(database.remove(&rows));
        self.ask_or_undo(append, undo).await.map(drop)
    }

    /// Leases the oldest batch that is not leased. Too old ones before it are dropped.
    ///
    /// # Errors
    /// The file cannot be read, or too many rows wait for their removal.
    pub async fn next(&self, now: Moment) -> Result<Option<(RowId, Batch)>, SpoolError> {
        if self.is_absent(|_| Ok(())).await? {
            return Ok(None);
        }
        let state = self.state.clone();
        let next = move |database: &mut Database, bounds| {
            let next = database.next(now, bounds)?;
            Ok(next.map(|(row, batch)| (row, batch, Lease { state, row: Some(row) })))
        };
        let Some((row, batch, lease)) = self.ask(next).await? else { return Ok(None) };
        lease.keep();
        Ok(Some((row, batch)))
    }

    /// Ends the lease of a batch; whether the batch is there, as far as is known.
    pub async fn release(&self, row: RowId) -> RowPresence {
        match self.ask(move |database, _| Ok(database.release(row))).await {
            Ok(found) => found,
            // Without the thread nothing can be read.
            Err(SpoolError::Ended) => RowPresence::Gone,
            Err(_) => {
                lock(&self.state.counts).released.push(row);
                RowPresence::Present
            }
        }
    }

    /// Writes the rest of a batch over it.
    ///
    /// # Errors
    /// The batch on disk is unchanged.
    pub async fn replace(&self, row: RowId, batch: &Batch) -> Result<RowPresence, SpoolError> {
        if self.is_absent(|_| Ok(())).await? {
            return Ok(RowPresence::Gone);
        }
        let batch = batch.clone();
        self.ask(move |database, _| database.replace(row, &batch)).await
    }

    /// Removes rows.
    ///
    /// # Errors
    /// The rows are still on disk. They are not leased again, and are removed with the next
    /// successful change; the caller need not retry.
    pub async fn remove(&self, rows: &[RowId]) -> Result<(), SpoolError> {
        if self.is_absent(|_| Ok(())).await? {
            return Ok(());
        }
        let (rows, asked) = (rows.to_owned(), rows.to_owned());
        let removed = self.ask(move |database, _| Ok(database.remove(&asked))).await;
        if removed.is_err() {
            lock(&self.state.counts).to_remove.extend(rows);
        }
        removed?
    }

    /// Replaces several batches by one, in the place of the last of them and without a lease. Does
    /// nothing if that one is gone.
    ///
    /// # Errors
    /// The batches on disk are unchanged.
    pub async fn merge(&self, rows: &[RowId], into: &Batch) -> Result<RowPresence, SpoolError> {
        if self.is_absent(|_| Ok(())).await? {
            return Ok(RowPresence::Gone);
        }
        let (rows, into) = (rows.to_owned(), into.clone());
        let state = self.state.clone();
        let merge = move |database: &mut Database, _| {
            let before = database.contents().posts;
            let found = database.merge(&rows, &into)?;
            Ok((found, before.saturating_sub(database.contents().posts)))
        };
        let note_merged = move |_: &mut Database, (found, fewer)| {
            if found == RowPresence::Present {
                lock(&state.counts).merged_posts += fewer;
            }
        };
        self.ask_or_undo(merge, note_merged).await.map(|(found, _)| found)
    }

    /// Closes the file, and removes it if it has no batches.
    pub async fn close_idle(&self) {
        if self.state.is_used.load(Ordering::Relaxed) {
            let closed = self.ask(|database, _| {
                database.close_idle();
                Ok(())
            });
            // A thread that has ended has closed its files.
            let _ = closed.await;
        }
    }

    /// Neither the thread nor the disk has anything of this queue. In that case `look`
    /// checks its directory. All of it runs on a short-lived thread.
    async fn is_absent(
        &self,
        look: impl FnOnce(&Path) -> Result<(), SpoolError> + Send + 'static,
    ) -> Result<bool, SpoolError> {
        if self.state.is_used.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let (thread, state) = (self.thread.clone(), self.state.clone());
        let looked = async move {
            let one = thread.look.clone().acquire_owned().await.map_err(|_| SpoolError::Ended)?;
            let (answer, answered) = oneshot::channel();
            let looks = move || {
                let found = match std::fs::symlink_metadata(&state.path) {
                    Ok(_) => Ok(false),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        look(&thread.dir).map(|()| true)
                    }
                    Err(error) => Err(from_io(&state.path, &error)),
                };
                drop(one);
                // The caller may no longer wait.
                let _ = answer.send(found);
            };
            let spawned = thread::Builder::new().name("spool-look".to_owned()).spawn(looks);
            spawned
                .map_err(|error| failed(&self.thread.dir, format!("no thread for it: {error}")))?;
            answered.await.unwrap_or(Err(SpoolError::Ended))
        };
        timeout(self.thread.answer_time_max, looked)
            .await
            .unwrap_or_else(|_| Err(self.unanswered_error()))
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Database, Bounds) -> Result<T, SpoolError> + Send + 'static,
    ) -> Result<T, SpoolError> {
        self.ask_or_undo(work, |_, _| {}).await
    }

    /// Asks the thread; `undo` reverts work that was done after the call was given up.
    async fn ask_or_undo<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Database, Bounds) -> Result<T, SpoolError> + Send + 'static,
        undo: impl FnOnce(&mut Database, T) + Send + 'static,
    ) -> Result<T, SpoolError> {
        if lock(&self.thread.unanswered).strong_count() > 0 {
            return Err(self.unanswered_error());
        }
        let (answer, mut answered) = oneshot::channel();
        let bounds = self.bounds;
        let token = Arc::new(());
        let asked = Arc::downgrade(&token);
        let is_given_up = Arc::new(AtomicBool::new(false));
        let given_up = is_given_up.clone();
        let work = Box::new(move |database: &mut Database, state: &QueueState| {
            // Until the work is done.
            let _token = token;
            state.apply_pending(database);
            if given_up.load(Ordering::SeqCst) {
                return;
            }
            let value = work(database, bounds);
            state.note(database);
            // The caller may no longer wait.
            if let Err(Ok(value)) = answer.send(value)
                && given_up.load(Ordering::SeqCst)
            {
                undo(database, value);
                state.note(database);
            }
        });
        self.state.is_used.store(true, Ordering::Relaxed);
        let calls = self.thread.calls()?;
        let call = QueueCall { state: self.state.clone(), work };
        let answer = async {
            calls.send(call).await.map_err(|_| SpoolError::Ended)?;
            (&mut answered).await.unwrap_or(Err(SpoolError::Ended))
        };
        if let Ok(answer) = timeout(self.thread.answer_time_max, answer).await {
            return answer;
        }
        is_given_up.store(true, Ordering::SeqCst);
        answered.close();
        // The answer may have come just now.
        if let Ok(answer) = answered.try_recv() {
            return answer;
        }
        let mut unanswered = lock(&self.thread.unanswered);
        if unanswered.strong_count() == 0 {
            *unanswered = asked;
        }
        Err(self.unanswered_error())
    }

    fn unanswered_error(&self) -> SpoolError {
        let waited = humantime::format_duration(self.thread.answer_time_max);
        failed(&self.state.path, format!("the disk has not answered within {waited}"))
    }
}

impl QueueState {
    /// Does what the thread could not be asked in time.
    fn apply_pending(&self, database: &mut Database) {
        let (released, to_remove) = {
            let mut counts = lock(&self.counts);
            (std::mem::take(&mut counts.released), std::mem::take(&mut counts.to_remove))
        };
        for row in released {
            database.released(row);
        }
        if !to_remove.is_empty() {
            // The database remembers rows that cannot be removed now.
            let _ = database.remove(&to_remove);
        }
    }

    fn note(&self, database: &mut Database) {
        let mut counts = lock(&self.counts);
        counts.contents = database.contents();
        let lost = database.take_lost();
        counts.lost.full_posts += lost.full_posts;
        counts.lost.old_posts += lost.old_posts;
        counts.lost.damaged_posts += lost.damaged_posts;
        counts.found_posts += database.take_found_posts();
    }
}

impl ThreadHandle {
    /// The channel to the thread, which is started if there is none.
    fn calls(&self) -> Result<mpsc::Sender<QueueCall>, SpoolError> {
        let mut calls = lock(&self.calls);
        if let Some(calls) = &*calls {
            return Ok(calls.clone());
        }
        let (sender, receiver) = mpsc::channel(CALLS_MAX);
        thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || run_thread(receiver))
            .map_err(|error| failed(&self.dir, format!("no thread for it: {error}")))?;
        *calls = Some(sender.clone());
        Ok(sender)
    }
}

/// The spool thread. It ends with the last handle, and closes all files.
fn run_thread(mut calls: mpsc::Receiver<QueueCall>) {
    let mut databases: BTreeMap<String, (Weak<QueueState>, Database)> = BTreeMap::new();
    while let Some(QueueCall { state, work }) = calls.blocking_recv() {
        databases.retain(|_, (state, database)| {
            state.strong_count() > 0 || database.has_pending_removals()
        });
        let (known, database) = databases
            .entry(state.name.clone())
            .or_insert_with(|| (Weak::new(), Database::new(state.path.clone())));
        *known = Arc::downgrade(&state);
        work(database, &state);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
