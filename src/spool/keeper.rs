//! The thread that all queues on disk belong to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use std::{io, thread};

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::timeout;

use super::database::Database;
use super::trouble::{failed, of_system, room};
use super::{Batch, Bounds, Found, Kept, Lost, Moment, RowId, SpoolError};

/// Calls that may wait for the thread before further ones wait to be put there.
const CALLS_MAX: usize = 32;

/// How long a disk may take for a call before it is one that does not answer, as one behind a network
/// that is gone does not.
const PATIENCE: Duration = Duration::from_secs(30);

/// Directory entries that are looked at for queues of nobody's, and such queues that are told.
const ENTRIES_MAX: usize = 10_000;
const LEFTOVERS_MAX: usize = 64;

const ENDING: &str = ".spool";

/// Where the queues of all endpoints lie. The thread starts with the first of them that is needed, and
/// ends once this and all [`Queue`]s of it are gone.
#[derive(Debug, Clone)]
pub struct Keeper {
    desk: Arc<Desk>,
}

#[derive(Debug)]
struct Desk {
    dir: PathBuf,
    /// To the thread, once there is one.
    calls: Mutex<Option<mpsc::Sender<Call>>>,
    shelves: Mutex<BTreeMap<String, Weak<Shelf>>>,
    patience: Duration,
    /// A call that nobody waits for any more, for as long as it is still to be answered.
    unanswered: Mutex<Weak<()>>,
    /// For the one look at a time that is had without the thread.
    look: Arc<Semaphore>,
}

/// What all handles of one queue and the thread share.
#[derive(Debug)]
struct Shelf {
    name: String,
    path: PathBuf,
    /// Whether the thread was ever asked about it.
    is_known: AtomicBool,
    figures: Mutex<Figures>,
}

#[derive(Debug, Default)]
struct Figures {
    kept: Kept,
    lost: Lost,
    found_posts: u64,
    /// Posts that became part of others by a merge that nobody waited for.
    merged_posts: u64,
    /// Rows that were to be in hands of somebody who did not wait for them, or are in nobody's any more.
    let_go: Vec<RowId>,
    /// Rows to be removed of which the thread could not be told.
    done_with: Vec<RowId>,
}

/// A row that is to be in somebody's hands, on its way there.
struct Handed {
    shelf: Arc<Shelf>,
    row: Option<RowId>,
}

impl Handed {
    fn over(mut self) {
        self.row = None;
    }
}

impl Drop for Handed {
    fn drop(&mut self) {
        lock(&self.shelf.figures).let_go.extend(self.row);
    }
}

struct Call {
    shelf: Arc<Shelf>,
    work: Work,
}

/// Notes what came of it on the shelf, and answers.
type Work = Box<dyn FnOnce(&mut Database, &Shelf) + Send>;

impl Keeper {
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self::waiting(dir, PATIENCE)
    }

    fn waiting(dir: PathBuf, patience: Duration) -> Self {
        let desk = Desk {
            dir,
            calls: Mutex::default(),
            shelves: Mutex::default(),
            patience,
            unanswered: Mutex::default(),
            look: Arc::new(Semaphore::new(1)),
        };
        Self { desk: Arc::new(desk) }
    }

    /// The queue of this name, which is usable as a file's name. Touches nothing yet. Handles of the
    /// same name are of the same queue; what is done through one of them goes by its own bounds.
    #[must_use]
    pub fn queue(&self, name: &str, bounds: Bounds) -> Queue {
        let mut shelves = lock(&self.desk.shelves);
        shelves.retain(|_, shelf| shelf.strong_count() > 0);
        let known = shelves.get(name).and_then(Weak::upgrade);
        let shelf = known.unwrap_or_else(|| {
            let shelf = Arc::new(Shelf {
                name: name.to_owned(),
                path: self.desk.dir.join(format!("{name}{ENDING}")),
                is_known: AtomicBool::new(false),
                figures: Mutex::default(),
            });
            shelves.insert(name.to_owned(), Arc::downgrade(&shelf));
            shelf
        });
        Queue { desk: self.desk.clone(), shelf, bounds }
    }

    /// Whether there is a queue of it.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        lock(&self.desk.shelves).values().any(|shelf| shelf.strong_count() > 0)
    }

    /// The bytes that are free where the queues lie.
    ///
    /// # Errors
    /// No queue could be made there.
    pub fn room(&self) -> Result<u64, SpoolError> {
        room(&self.desk.dir)
    }

    /// What the file of the queue of this name takes, in bytes; 0 without one.
    #[must_use]
    pub fn file_bytes(&self, name: &str) -> u64 {
        let file = self.desk.dir.join(format!("{name}{ENDING}"));
        std::fs::metadata(file).map_or(0, |metadata| metadata.len())
    }

    /// The queues' files that are of none of these names, and their bytes: what endpoints have left
    /// that are no longer in the settings. At most 64; none where the directory cannot be read.
    #[must_use]
    pub fn leftovers(&self, names: &[&str]) -> Vec<(String, u64)> {
        let Ok(entries) = std::fs::read_dir(&self.desk.dir) else { return Vec::new() };
        let mut leftovers = Vec::new();
        for entry in entries.take(ENTRIES_MAX).flatten() {
            let Ok(file) = entry.file_name().into_string() else { continue };
            let Some(name) = file.strip_suffix(ENDING) else { continue };
            let metadata = entry.metadata();
            if let Ok(metadata) = metadata
                && metadata.is_file()
                && !names.contains(&name)
                && leftovers.len() < LEFTOVERS_MAX
            {
                leftovers.push((file, metadata.len()));
            }
        }
        leftovers.sort_unstable();
        leftovers
    }
}

/// One endpoint's. All calls but [`Queue::kept`] and [`Queue::take_lost`] wait for the disk, on the
/// thread, in the order in which they were made. A call that nobody waits for any more is carried out
/// all the same, but puts nothing into anybody's hands.
///
/// A disk that does not answer within half a minute is an error like any other. What the thread was
/// asked meanwhile does not come to be then, and until it is heard of again nothing is waited for.
///
/// Numbers of rows grow as long as there is a handle, also over files that were removed or set aside.
/// Rows that are not there any more, for the queue dropped them, are passed over.
#[derive(Debug, Clone)]
pub struct Queue {
    desk: Arc<Desk>,
    shelf: Arc<Shelf>,
    bounds: Bounds,
}

impl Queue {
    /// As of the last call that was answered; nothing before the first.
    #[must_use]
    pub fn kept(&self) -> Kept {
        let Figures { kept, let_go, .. } = &*lock(&self.shelf.figures);
        Kept { in_hand: kept.in_hand.saturating_sub(let_go.len() as u64), ..*kept }
    }

    /// What was lost since this was last asked.
    #[must_use]
    pub fn take_lost(&self) -> Lost {
        std::mem::take(&mut lock(&self.shelf.figures).lost)
    }

    /// Posts that turned up since this was last asked, in files that the queue knew nothing of: what an
    /// earlier run has left, and what somebody has put there since.
    #[must_use]
    pub fn take_found_posts(&self) -> u64 {
        std::mem::take(&mut lock(&self.shelf.figures).found_posts)
    }

    /// Posts that became part of others since this was last asked, by merges that were said to have
    /// failed.
    #[must_use]
    pub fn take_merged_posts(&self) -> u64 {
        std::mem::take(&mut lock(&self.shelf.figures).merged_posts)
    }

    /// Looks for what an earlier run has left; a queue that has no file stays without. One that is no
    /// usable queue is set aside.
    ///
    /// # Errors
    /// It cannot be read, or another process has it open; or there is none, and none could be made.
    pub async fn open(&self, now: Moment) -> Result<Kept, SpoolError> {
        if self.has_nothing(|dir| room(dir).map(drop)).await? {
            return Ok(Kept::default());
        }
        self.ask(move |database, _| database.open(now)).await
    }

    /// Those of these moments at which a batch was taken that is here.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn there_of(&self, moments: Vec<Moment>) -> Result<Vec<Moment>, SpoolError> {
        if self.has_nothing(|_| Ok(())).await? {
            return Ok(Vec::new());
        }
        self.ask(move |database, _| database.there_of(&moments)).await
    }

    #[must_use]
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The same queue by other bounds.
    #[must_use]
    pub fn bounded(&self, bounds: Bounds) -> Self {
        Self { bounds, ..self.clone() }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shelf.path
    }

    /// Puts a batch at the end; it is on disk when this returns. Makes room for it by age and bytes.
    /// If it is `in_hand`, somebody goes on with it: it is neither pushed out nor given by
    /// [`Queue::next`] until it is released.
    ///
    /// # Errors
    /// It is not on disk.
    pub async fn append(
        &self,
        batch: &Batch,
        in_hand: bool,
        now: Moment,
    ) -> Result<RowId, SpoolError> {
        let batch = batch.clone();
        let shelf = self.shelf.clone();
        let append = move |database: &mut Database, bounds| {
            let row = database.append(&batch, in_hand, now, bounds)?;
            Ok((row, Handed { shelf, row: in_hand.then_some(row) }))
        };
        let undo = |database: &mut Database, (row, _)| drop(database.remove(&[row]));
        let (row, handed) = self.ask_or_undo(append, undo).await?;
        handed.over();
        Ok(row)
    }

    /// Puts several at the end, in nobody's hands: all of them or none.
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

    /// The oldest batch that is not in somebody's hands, and is so from here on. What is too old on
    /// the way is dropped.
    ///
    /// # Errors
    /// It cannot be read; or the disk takes no more removals, and of too many rows it is to be
    /// remembered that they are done with.
    pub async fn next(&self, now: Moment) -> Result<Option<(RowId, Batch)>, SpoolError> {
        if self.has_nothing(|_| Ok(())).await? {
            return Ok(None);
        }
        let shelf = self.shelf.clone();
        let next = move |database: &mut Database, bounds| {
            let next = database.next(now, bounds)?;
            Ok(next.map(|(row, batch)| (row, batch, Handed { shelf, row: Some(row) })))
        };
        let Some((row, batch, handed)) = self.ask(next).await? else { return Ok(None) };
        handed.over();
        Ok(Some((row, batch)))
    }

    /// It is no longer in somebody's hands; whether it is there to be read again, as far as is known.
    pub async fn release(&self, row: RowId) -> Found {
        match self.ask(move |database, _| Ok(database.release(row))).await {
            Ok(found) => found,
            // A thread that has ended reads nothing for anybody.
            Err(SpoolError::Ended) => Found::Gone,
            Err(_) => {
                lock(&self.shelf.figures).let_go.push(row);
                Found::There
            }
        }
    }

    /// Puts what is left of a batch in its place.
    ///
    /// # Errors
    /// The batch stands there as it was.
    pub async fn replace(&self, row: RowId, batch: &Batch) -> Result<Found, SpoolError> {
        if self.has_nothing(|_| Ok(())).await? {
            return Ok(Found::Gone);
        }
        let batch = batch.clone();
        self.ask(move |database, _| database.replace(row, &batch)).await
    }

    /// # Errors
    /// The rows are on the disk still. They are not given out again by this process, and removed with
    /// the next change that succeeds; there is no need to ask again.
    pub async fn remove(&self, rows: &[RowId]) -> Result<(), SpoolError> {
        if self.has_nothing(|_| Ok(())).await? {
            return Ok(());
        }
        let (rows, asked) = (rows.to_owned(), rows.to_owned());
        let removed = self.ask(move |database, _| Ok(database.remove(&asked))).await;
        if removed.is_err() {
            lock(&self.shelf.figures).done_with.extend(rows);
        }
        removed?
    }

    /// One batch in the place of several, at once or not at all; it stands where the last of them
    /// stood, in nobody's hands. Does nothing if the last of them is not there any more.
    ///
    /// # Errors
    /// The batches stand there as they were.
    pub async fn merge(&self, rows: &[RowId], into: &Batch) -> Result<Found, SpoolError> {
        if self.has_nothing(|_| Ok(())).await? {
            return Ok(Found::Gone);
        }
        let (rows, into) = (rows.to_owned(), into.clone());
        let shelf = self.shelf.clone();
        let merge = move |database: &mut Database, _| {
            let before = database.kept().posts;
            let found = database.merge(&rows, &into)?;
            Ok((found, before.saturating_sub(database.kept().posts)))
        };
        let tell = move |_: &mut Database, (found, fewer)| {
            if found == Found::There {
                lock(&shelf.figures).merged_posts += fewer;
            }
        };
        self.ask_or_undo(merge, tell).await.map(|(found, _)| found)
    }

    /// Closes the file, and removes it if nothing is in it.
    pub async fn rest(&self) {
        if self.shelf.is_known.load(Ordering::Relaxed) {
            let rested = self.ask(|database, _| {
                database.rest();
                Ok(())
            });
            // A thread that has ended has closed its files.
            let _ = rested.await;
        }
    }

    /// Whether the thread need not be asked: it has nothing of this queue's, and nor has the disk; `look`
    /// is had at its directory in that case. On a thread that lasts no longer than that.
    async fn has_nothing(
        &self,
        look: impl FnOnce(&Path) -> Result<(), SpoolError> + Send + 'static,
    ) -> Result<bool, SpoolError> {
        if self.shelf.is_known.load(Ordering::Relaxed) {
            return Ok(false);
        }
        let (desk, shelf) = (self.desk.clone(), self.shelf.clone());
        let looked = async move {
            let one = desk.look.clone().acquire_owned().await.map_err(|_| SpoolError::Ended)?;
            let (answer, answered) = oneshot::channel();
            let looks = move || {
                let found = match std::fs::symlink_metadata(&shelf.path) {
                    Ok(_) => Ok(false),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        look(&desk.dir).map(|()| true)
                    }
                    Err(error) => Err(of_system(&shelf.path, &error)),
                };
                drop(one);
                // Nobody may be waiting any more.
                let _ = answer.send(found);
            };
            let spawned = thread::Builder::new().name("spool-look".to_owned()).spawn(looks);
            spawned
                .map_err(|error| failed(&self.desk.dir, format!("no thread for it: {error}")))?;
            answered.await.unwrap_or(Err(SpoolError::Ended))
        };
        timeout(self.desk.patience, looked).await.unwrap_or_else(|_| Err(self.no_answer()))
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Database, Bounds) -> Result<T, SpoolError> + Send + 'static,
    ) -> Result<T, SpoolError> {
        self.ask_or_undo(work, |_, _| {}).await
    }

    /// `undo`: what is to be done where the work was still done for somebody who was told that it was
    /// not.
    async fn ask_or_undo<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Database, Bounds) -> Result<T, SpoolError> + Send + 'static,
        undo: impl FnOnce(&mut Database, T) + Send + 'static,
    ) -> Result<T, SpoolError> {
        if lock(&self.desk.unanswered).strong_count() > 0 {
            return Err(self.no_answer());
        }
        let (answer, mut answered) = oneshot::channel();
        let bounds = self.bounds;
        let token = Arc::new(());
        let asked = Arc::downgrade(&token);
        let is_given_up = Arc::new(AtomicBool::new(false));
        let given_up = is_given_up.clone();
        let work = Box::new(move |database: &mut Database, shelf: &Shelf| {
            // Until the work is done.
            let _token = token;
            shelf.catch_up(database);
            if given_up.load(Ordering::SeqCst) {
                return;
            }
            let value = work(database, bounds);
            shelf.note(database);
            // Nobody may be waiting any more.
            if let Err(Ok(value)) = answer.send(value)
                && given_up.load(Ordering::SeqCst)
            {
                undo(database, value);
                shelf.note(database);
            }
        });
        self.shelf.is_known.store(true, Ordering::Relaxed);
        let calls = self.desk.calls()?;
        let call = Call { shelf: self.shelf.clone(), work };
        let answer = async {
            calls.send(call).await.map_err(|_| SpoolError::Ended)?;
            (&mut answered).await.unwrap_or(Err(SpoolError::Ended))
        };
        if let Ok(answer) = timeout(self.desk.patience, answer).await {
            return answer;
        }
        is_given_up.store(true, Ordering::SeqCst);
        answered.close();
        // It may have come just now.
        if let Ok(answer) = answered.try_recv() {
            return answer;
        }
        let mut unanswered = lock(&self.desk.unanswered);
        if unanswered.strong_count() == 0 {
            *unanswered = asked;
        }
        Err(self.no_answer())
    }

    fn no_answer(&self) -> SpoolError {
        let waited = humantime::format_duration(self.desk.patience);
        failed(&self.shelf.path, format!("the disk has not answered within {waited}"))
    }
}

impl Shelf {
    /// Does what the thread could not be told in its time.
    fn catch_up(&self, database: &mut Database) {
        let (let_go, done_with) = {
            let mut figures = lock(&self.figures);
            (std::mem::take(&mut figures.let_go), std::mem::take(&mut figures.done_with))
        };
        for row in let_go {
            database.let_go(row);
        }
        if !done_with.is_empty() {
            // What cannot be removed now is remembered there.
            let _ = database.remove(&done_with);
        }
    }

    fn note(&self, database: &mut Database) {
        let mut figures = lock(&self.figures);
        figures.kept = database.kept();
        let lost = database.take_lost();
        figures.lost.full_posts += lost.full_posts;
        figures.lost.old_posts += lost.old_posts;
        figures.lost.damaged_posts += lost.damaged_posts;
        figures.found_posts += database.take_found();
    }
}

impl Desk {
    /// The way to the thread, which is started if there is none.
    fn calls(&self) -> Result<mpsc::Sender<Call>, SpoolError> {
        let mut calls = lock(&self.calls);
        if let Some(calls) = &*calls {
            return Ok(calls.clone());
        }
        let (sender, receiver) = mpsc::channel(CALLS_MAX);
        thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || answer_all(receiver))
            .map_err(|error| failed(&self.dir, format!("no thread for it: {error}")))?;
        *calls = Some(sender.clone());
        Ok(sender)
    }
}

/// The thread. It ends with the last handle, and closes what is open.
fn answer_all(mut calls: mpsc::Receiver<Call>) {
    let mut databases: BTreeMap<String, (Weak<Shelf>, Database)> = BTreeMap::new();
    while let Some(Call { shelf, work }) = calls.blocking_recv() {
        databases.retain(|_, (shelf, database)| shelf.strong_count() > 0 || database.remembers());
        let (known, database) = databases
            .entry(shelf.name.clone())
            .or_insert_with(|| (Weak::new(), Database::new(shelf.path.clone())));
        *known = Arc::downgrade(&shelf);
        work(database, &shelf);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
