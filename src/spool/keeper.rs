//! The thread that all queues on disk belong to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::{io, thread};

use tokio::sync::{mpsc, oneshot};

use super::database::Database;
use super::trouble::{failed, of_system, room};
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

#[derive(Debug, Default)]
struct Figures {
    kept: Kept,
    lost: Lost,
    found_posts: u64,
    /// Rows that were to be in hands of somebody who did not wait for them.
    let_go: Vec<RowId>,
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
        let (calls, shelves) = (Mutex::default(), Mutex::default());
        Self { desk: Arc::new(Desk { dir, calls, shelves }) }
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
        lock(&self.shelf.figures).kept
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

    /// Looks for what an earlier run has left; a queue that has no file stays without. One that is no
    /// usable queue is set aside.
    ///
    /// # Errors
    /// It cannot be read, or another process has it open; or there is none, and none could be made.
    pub async fn open(&self, now: Moment) -> Result<Kept, SpoolError> {
        if self.has_nothing()? {
            room(&self.desk.dir)?;
            return Ok(Kept::default());
        }
        self.ask(move |database, _| database.open(now)).await
    }

    /// Those of these moments at which a batch was taken that is here.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn there_of(&self, moments: Vec<Moment>) -> Result<Vec<Moment>, SpoolError> {
        if self.has_nothing()? {
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
        let (row, handed) = self.ask(append).await?;
        handed.over();
        Ok(row)
    }

    /// Puts several at the end, in nobody's hands: all of them or none.
    ///
    /// # Errors
    /// None is on disk.
    pub async fn append_all(&self, batches: &[Batch], now: Moment) -> Result<(), SpoolError> {
        let batches = batches.to_owned();
        self.ask(move |database, bounds| database.append_all(&batches, now, bounds).map(drop)).await
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
        let shelf = self.shelf.clone();
        let next = move |database: &mut Database, bounds| {
            let next = database.next(now, bounds)?;
            Ok(next.map(|(row, batch)| (row, batch, Handed { shelf, row: Some(row) })))
        };
        let Some((row, batch, handed)) = self.ask(next).await? else { return Ok(None) };
        handed.over();
        Ok(Some((row, batch)))
    }

    /// It is no longer in somebody's hands; whether it is there to be read again.
    pub async fn release(&self, row: RowId) -> Found {
        let released = self.ask(move |database, _| Ok(database.release(row)));
        // A thread that has ended reads nothing for anybody.
        released.await.unwrap_or(Found::Gone)
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
        let bounds = self.bounds;
        let work = Box::new(move |database: &mut Database, shelf: &Shelf| {
            let let_go = std::mem::take(&mut lock(&shelf.figures).let_go);
            for row in let_go {
                // Whoever asks for it next is told if it is gone.
                let _ = database.release(row);
            }
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
mod tests {
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::identity::BootId;
    use crate::quantity::{BootTime, WallTime};

    const BOUNDS: Bounds = Bounds { bytes_max: 1 << 20, age_max: Duration::from_secs(3600) };

    fn at(secs: u64) -> Moment {
        Moment {
            boot: BootId::parse(b"0f3c1d2e-4a5b-4c6d-8e7f-0123456789ab").unwrap(),
            since_boot: BootTime::from_nanos(secs * 1_000_000_000),
            wall: WallTime::from_unix_millis(secs * 1000),
        }
    }

    fn batch(secs: u64) -> Batch {
        Batch::new(at(secs), [("/a".to_owned(), Bytes::from_static(b"{}"))])
    }

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    /// Begins a call and lets go of it before it is answered.
    fn call_and_leave<T>(call: impl Future<Output = T>) {
        let mut call = pin!(call);
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }

    /// Begins a call and lets go of it when its answer is there.
    fn call_and_leave_answered<T>(queue: &Queue, call: impl Future<Output = T>) {
        let mut call = pin!(call);
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        wait(queue.ask(|_, _| Ok(()))).unwrap();
    }

    /// Has the thread at work until the sender is dropped.
    fn occupy(queue: &Queue) -> mpsc::Sender<()> {
        let (end, until) = mpsc::channel::<()>();
        let (begin, begun) = mpsc::channel();
        call_and_leave(queue.ask(move |_, _| {
            begin.send(()).unwrap();
            let _ = until.recv();
            Ok(())
        }));
        begun.recv().unwrap();
        end
    }

    #[test]
    fn a_panic_in_the_thread_is_an_error_for_all_who_wait() {
        let dir = tempfile::tempdir().unwrap();
        let queue = Keeper::new(dir.path().to_owned()).queue("a", BOUNDS);
        let end = occupy(&queue);
        let panics = queue.ask(|_, _| -> Result<(), SpoolError> { panic!("a test's") });
        let waits = queue.append_and_end(batch(1), end);
        let (panicked, waited) = wait(async { tokio::join!(panics, waits) });
        assert_eq!((panicked, waited), (Err(SpoolError::Ended), Err(SpoolError::Ended)));
        assert_eq!(wait(queue.append(&batch(2), false, at(2))), Err(SpoolError::Ended));
        assert_eq!(wait(queue.open(at(2))), Err(SpoolError::Ended));
        wait(queue.rest());
        assert_eq!(queue.kept(), Kept::default());
    }

    impl Queue {
        /// Appends, and lets the thread go on once that is on its way.
        async fn append_and_end(
            &self,
            batch: Batch,
            end: mpsc::Sender<()>,
        ) -> Result<RowId, SpoolError> {
            let ends = async {
                drop(end);
            };
            tokio::join!(self.append(&batch, false, at(1)), ends).0
        }
    }

    #[test]
    fn figures_are_told_while_the_disk_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let queue = Keeper::new(dir.path().to_owned()).queue("a", BOUNDS);
        wait(queue.append(&batch(1), false, at(1))).unwrap();
        let end = occupy(&queue);
        call_and_leave(queue.append(&batch(2), false, at(2)));
        // Would be for ever, if it waited.
        assert_eq!(queue.kept().batches, 1);
        assert_eq!(queue.take_lost(), Lost::default());
        drop(end);
    }

    #[test]
    fn what_nobody_waits_for_any_more_is_carried_out_and_holds_nobody_up() {
        let dir = tempfile::tempdir().unwrap();
        let queue = Keeper::new(dir.path().to_owned()).queue("a", BOUNDS);
        let end = occupy(&queue);
        // More than have a place: the last ones were never taken.
        for secs in 0..CALLS_MAX as u64 + 8 {
            call_and_leave(queue.append(&batch(secs), true, at(secs)));
        }
        drop(end);
        wait(queue.append(&batch(99), false, at(99))).unwrap();
        assert_eq!(queue.kept().batches, CALLS_MAX as u64 + 1);
        // Nor are they in anybody's hands, neither by having been put there nor by having been asked
        // for; and neither if the answer was given and not taken.
        let end = occupy(&queue);
        call_and_leave(queue.next(at(99)));
        drop(end);
        call_and_leave_answered(&queue, queue.next(at(99)));
        let mut taken = Vec::new();
        while let Some((_, batch)) = wait(queue.next(at(99))).unwrap() {
            taken.push(batch.taken);
        }
        let expected: Vec<Moment> = (0..CALLS_MAX as u64).chain([99]).map(at).collect();
        assert_eq!(taken, expected);
    }
}
