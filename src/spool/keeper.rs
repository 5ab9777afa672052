//! The thread that all queues on disk belong to.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::{io, thread};

use tokio::sync::{mpsc, oneshot};

use super::database::Database;
use super::trouble::{failed, of_system};
use super::{Batch, Bounds, Found, Kept, Lost, Moment, RowId, SpoolError};

/// Calls that may wait for the thread before further ones wait to be put there.
const CALLS_MAX: usize = 32;

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

#[derive(Debug)]
struct Figures {
    bounds: Bounds,
    kept: Kept,
    lost: Lost,
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
        let (calls, shelves) = (Mutex::default(), Mutex::default());
        Self { desk: Arc::new(Desk { dir, calls, shelves }) }
    }

    /// The queue of this name, which is usable as a file's name. Touches nothing yet. Handles of the
    /// same name are of the same queue, and it goes by the newest bounds.
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
                figures: Mutex::new(Figures {
                    bounds,
                    kept: Kept::default(),
                    lost: Lost::default(),
                }),
            });
            shelves.insert(name.to_owned(), Arc::downgrade(&shelf));
            shelf
        });
        lock(&shelf.figures).bounds = bounds;
        Queue { desk: self.desk.clone(), shelf }
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
/// all the same.
///
/// Numbers of rows grow as long as there is a handle, also over files that were removed or set aside.
/// Rows that are not there any more, for the queue dropped them, are passed over.
#[derive(Debug, Clone)]
pub struct Queue {
    desk: Arc<Desk>,
    shelf: Arc<Shelf>,
}

impl Queue {
    /// As of the last call that was answered; nothing before the first.
    #[must_use]
    pub fn kept(&self) -> Kept {
        lock(&self.shelf.figures).kept
    }

    /// What was lost since this was last asked.
    #[must_use]
    pub fn take_lost(&self) -> Lost {
        std::mem::take(&mut lock(&self.shelf.figures).lost)
    }

    /// Looks for what an earlier run has left; a queue that has no file stays without. One that is no
    /// usable queue is set aside.
    ///
    /// # Errors
    /// It cannot be read, or another process has it open.
    pub async fn open(&self, now: Moment) -> Result<Kept, SpoolError> {
        if self.has_nothing()? {
            return Ok(Kept::default());
        }
        self.ask(move |database, _| database.open(now)).await
    }

    #[must_use]
    pub fn bounds(&self) -> Bounds {
        lock(&self.shelf.figures).bounds
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
        self.ask(move |database, bounds| database.append(&batch, in_hand, now, bounds)).await
    }

    /// The oldest batch that is not in somebody's hands, and is so from here on. What is too old on
    /// the way is dropped.
    ///
    /// # Errors
    /// It cannot be read; or the disk takes no more removals, and of too many rows it is to be
    /// remembered that they are done with.
    pub async fn next(&self, now: Moment) -> Result<Option<(RowId, Batch)>, SpoolError> {
        if self.has_nothing()? {
            return Ok(None);
        }
        self.ask(move |database, bounds| database.next(now, bounds)).await
    }

    /// It is no longer in somebody's hands.
    pub async fn release(&self, row: RowId) {
        let released = self.ask(move |database, _| {
            database.release(row);
            Ok(())
        });
        // A thread that has ended holds nothing for anybody.
        let _ = released.await;
    }

    /// Puts what is left of a batch in its place.
    ///
    /// # Errors
    /// The batch stands there as it was.
    pub async fn replace(&self, row: RowId, batch: &Batch) -> Result<Found, SpoolError> {
        if self.has_nothing()? {
            return Ok(Found::Gone);
        }
        let batch = batch.clone();
        self.ask(move |database, _| database.replace(row, &batch)).await
    }

    /// # Errors
    /// The rows are on the disk still. They are not given out again by this process, and removed with
    /// the next change that succeeds; there is no need to ask again.
    pub async fn remove(&self, rows: &[RowId]) -> Result<(), SpoolError> {
        if self.has_nothing()? {
            return Ok(());
        }
        let rows = rows.to_owned();
        self.ask(move |database, _| database.remove(&rows)).await
    }

    /// One batch in the place of several, at once or not at all; it stands where the last of them
    /// stood, in nobody's hands. Does nothing if the last of them is not there any more.
    ///
    /// # Errors
    /// The batches stand there as they were.
    pub async fn merge(&self, rows: &[RowId], into: &Batch) -> Result<Found, SpoolError> {
        if self.has_nothing()? {
            return Ok(Found::Gone);
        }
        let (rows, into) = (rows.to_owned(), into.clone());
        self.ask(move |database, _| database.merge(&rows, &into)).await
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

    /// Whether the thread need not be asked: it has nothing of this queue's, and nor has the disk.
    fn has_nothing(&self) -> Result<bool, SpoolError> {
        if self.shelf.is_known.load(Ordering::Relaxed) {
            return Ok(false);
        }
        match std::fs::symlink_metadata(&self.shelf.path) {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
            Err(error) => Err(of_system(&self.shelf.path, &error)),
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Database, Bounds) -> Result<T, SpoolError> + Send + 'static,
    ) -> Result<T, SpoolError> {
        let (answer, answered) = oneshot::channel();
        let work = Box::new(move |database: &mut Database, shelf: &Shelf| {
            let bounds = lock(&shelf.figures).bounds;
            let value = work(database, bounds);
            shelf.note(database);
            // Nobody may be waiting any more.
            let _ = answer.send(value);
        });
        self.shelf.is_known.store(true, Ordering::Relaxed);
        let calls = self.desk.calls()?;
        let call = Call { shelf: self.shelf.clone(), work };
        calls.send(call).await.map_err(|_| SpoolError::Ended)?;
        answered.await.unwrap_or(Err(SpoolError::Ended))
    }
}

impl Shelf {
    fn note(&self, database: &mut Database) {
        let mut figures = lock(&self.figures);
        figures.kept = database.kept();
        let lost = database.take_lost();
        figures.lost.full_posts += lost.full_posts;
        figures.lost.old_posts += lost.old_posts;
        figures.lost.damaged_posts += lost.damaged_posts;
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
