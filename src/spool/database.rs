//! One endpoint's queue: its limits, its counters, and the handling of damaged files.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::slice;

use super::error::{FileDamage, QueueFileError, failed, from_io};
use super::file::{self, FileTotals, QueueFile};
use super::rows::{NextRow, PENDING_REMOVAL_MAX, RowTracker, START};
use super::{Batch, Bounds, Lost, Moment, QueueContents, RowId, RowPresence, SpoolError, record};
use crate::aside::set_aside;
use crate::own_files;
use crate::quantity::{WallTime, counted};

/// A queue and its file, which is opened on first use.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    open: Option<Open>,
    /// The file when it was closed; `None`: there was none.
    closed: Option<FileState>,
    rows: RowTracker,
    /// The largest row number so far, also in files that are gone.
    last: i64,
    wall: WallTime,
    contents: QueueContents,
}

#[derive(Debug)]
struct Open {
    file: QueueFile,
    inode: u64,
}

#[derive(Debug, Clone, Copy)]
struct FileState {
    inode: u64,
    totals: FileTotals,
}

impl Database {
    pub(super) fn new(path: PathBuf) -> Self {
        Self {
            path,
            open: None,
            closed: None,
            rows: RowTracker::default(),
            last: 0,
            wall: WallTime::default(),
            contents: QueueContents::default(),
        }
    }

    pub(super) fn contents(&self) -> QueueContents {
        QueueContents { leased: self.rows.leased.len() as u64, ..self.contents }
    }

    pub(super) fn take_lost(&mut self) -> Lost {
        std::mem::take(&mut self.rows.lost)
    }

    /// Posts found in files of others since the last call.
    pub(super) fn take_found_posts(&mut self) -> u64 {
        std::mem::take(&mut self.rows.found_posts)
    }

    /// Rows wait for their removal, which is not in the file.
    pub(super) fn has_pending_removals(&self) -> bool {
        !self.rows.pending_removal.is_empty()
    }

    /// Opens the file, if there is one.
    pub(super) fn open(&mut self, now: Moment) -> Result<QueueContents, SpoolError> {
        self.wall = now.wall;
        self.attempt(false, |_, _| Ok(()))?;
        if self.open.is_some() && self.contents.batches == 0 {
            self.close_idle();
        }
        Ok(self.contents)
    }

    pub(super) fn append(
        &mut self,
        batch: &Batch,
        leased: bool,
        now: Moment,
        bounds: Bounds,
    ) -> Result<RowId, SpoolError> {
        let rows = self.append_all(slice::from_ref(batch), now, bounds)?;
        let row = *rows.first().ok_or_else(|| failed(&self.path, "it is not there"))?;
        if leased {
            self.rows.leased.insert(row, batch.posts.len() as u64);
        }
        Ok(row)
    }

    /// Appends all of them, or none.
    pub(super) fn append_all(
        &mut self,
        batches: &[Batch],
        now: Moment,
        bounds: Bounds,
    ) -> Result<Vec<RowId>, SpoolError> {
        self.wall = now.wall;
        let record = |batch| {
            record::encode(batch)
                .filter(|record| record.len() as u64 <= bounds.bytes_max)
                .map(|record| (batch, record))
                .ok_or_else(|| SpoolError::TooLarge { path: self.path.display().to_string() })
        };
        let records = batches.iter().map(record).collect::<Result<Vec<_>, _>>()?;
        let appended = self.attempt(true, |file, rows| rows.append(file, &records, now, bounds))?;
        appended.ok_or_else(|| failed(&self.path, "it is not there"))
    }

    pub(super) fn next(
        &mut self,
        now: Moment,
        bounds: Bounds,
    ) -> Result<Option<(RowId, Batch)>, SpoolError> {
        self.wall = now.wall;
        let mut at = START;
        loop {
            if self.rows.pending_removal.len() >= PENDING_REMOVAL_MAX {
                self.remove_pending()?;
            }
            let path = self.path.clone();
            let stepped =
                self.attempt(false, |file, rows| rows.step(file, &path, &mut at, now, bounds))?;
            match stepped {
                Some(NextRow::Full) => {}
                Some(NextRow::Found { next, dropped }) => {
                    let found = next.iter().map(|(row, batch)| (*row, batch.posts.len() as u64));
                    self.rows.leased.extend(found);
                    if dropped {
                        // They are not leased again either way.
                        let _ = self.remove_pending();
                    }
                    return Ok(next);
                }
                None => return Ok(None),
            }
        }
    }

    /// Ends the lease of a row; whether the row is there. It is gone if its file is.
    pub(super) fn release(&mut self, row: RowId) -> RowPresence {
        self.check_file();
        match self.rows.leased.remove(&row) {
            Some(_) => RowPresence::Present,
            None => RowPresence::Gone,
        }
    }

    /// Ends the lease of a row for a caller that does not wait.
    pub(super) fn released(&mut self, row: RowId) {
        self.rows.leased.remove(&row);
    }

    pub(super) fn find_present(&mut self, moments: &[Moment]) -> Result<Vec<Moment>, SpoolError> {
        let asked: BTreeSet<_> = moments.iter().map(|moment| moment.since_boot).collect();
        let there = self.attempt(false, |file, _| {
            let mut there = Vec::new();
            let mut at = START;
            while let Some(row) = file.row_after(at, |_| true)? {
                at = row.id;
                let sampled_at =
                    row.sampled_at.filter(|sampled_at| asked.contains(&sampled_at.since_boot));
                there.extend(sampled_at.filter(|sampled_at| moments.contains(sampled_at)));
            }
            Ok(there)
        })?;
        Ok(there.unwrap_or_default())
    }

    pub(super) fn replace(&mut self, row: RowId, batch: &Batch) -> Result<RowPresence, SpoolError> {
        let found = self.put(&[row], batch)?;
        if let Some(posts) = self.rows.leased.get_mut(&row) {
            *posts = batch.posts.len() as u64;
        }
        Ok(found)
    }

    pub(super) fn merge(
        &mut self,
        rows: &[RowId],
        into: &Batch,
    ) -> Result<RowPresence, SpoolError> {
        let found = self.put(rows, into)?;
        self.rows.leased.retain(|row, _| !rows.contains(row));
        Ok(found)
    }

    fn put(&mut self, rows: &[RowId], into: &Batch) -> Result<RowPresence, SpoolError> {
        let record = record::encode(into)
            .ok_or_else(|| SpoolError::TooLarge { path: self.path.display().to_string() })?;
        let put = self.attempt(false, |file, gone| gone.merge(file, rows, into, &record))?;
        Ok(put.unwrap_or(RowPresence::Gone))
    }

    pub(super) fn remove(&mut self, rows: &[RowId]) -> Result<(), SpoolError> {
        self.rows.leased.retain(|row, _| !rows.contains(row));
        let found = self.attempt(false, |file, gone| {
            for row in rows {
                if let Some(posts) = file.posts(*row)? {
                    gone.pending_removal.insert(*row, posts);
                }
            }
            Ok(())
        });
        if let Err(error) = found {
            for row in rows {
                self.rows.pending_removal.entry(*row).or_insert(0);
            }
            return Err(error);
        }
        self.remove_pending()
    }

    /// Closes the file, and removes it if it has no rows.
    pub(super) fn close_idle(&mut self) {
        let is_empty = |open: &Open| matches!(self.rows.first(&open.file), Ok(None));
        // Removed while it is locked, so that no other process uses it. The rollback journal goes
        // first: a process killed in between leaves an empty database, which the next one removes.
        let removed = self.open.as_ref().is_some_and(is_empty) && {
            let _ = std::fs::remove_file(journal(&self.path));
            std::fs::remove_file(&self.path).is_ok()
        };
        self.close();
        if removed {
            self.closed = None;
            self.rows.pending_removal.clear();
            self.contents = QueueContents::default();
        }
    }

    /// The state of the file is compared when it is opened again.
    fn close(&mut self) {
        if let Some(Open { file, inode }) = self.open.take() {
            let totals = file.totals();
            self.last = self.last.max(totals.last);
            self.closed = Some(FileState { inode, totals });
        }
    }

    fn known(&self) -> Option<FileState> {
        let open = self.open.as_ref();
        open.map(|open| FileState { inode: open.inode, totals: open.file.totals() }).or(self.closed)
    }

    fn remove_pending(&mut self) -> Result<(), SpoolError> {
        self.attempt(false, |file, rows| {
            file.change(|change| rows.remove_pending(change))?;
            rows.pending_removal.clear();
            Ok(())
        })?;
        Ok(())
    }

    /// Runs `work` on the file; `None`: there is none and none is created. A damaged file is set
    /// aside, and `work` runs once more.
    fn attempt<T>(
        &mut self,
        creates: bool,
        mut work: impl FnMut(&mut QueueFile, &mut RowTracker) -> Result<T, QueueFileError>,
    ) -> Result<Option<T>, SpoolError> {
        for _ in 0..2 {
            self.ensure_open(creates)?;
            let Some(open) = &mut self.open else { return Ok(None) };
            match work(&mut open.file, &mut self.rows) {
                Ok(value) => {
                    self.refresh();
                    return Ok(Some(value));
                }
                Err(error) => match error.judge(&self.path) {
                    Ok(damage) => self.set_aside(&damage)?,
                    Err(error) => {
                        self.refresh();
                        if let SpoolError::Failed { .. } = error {
                            self.close();
                        }
                        return Err(error);
                    }
                },
            }
        }
        Err(failed(&self.path, "a new file was damaged at once"))
    }

    fn ensure_open(&mut self, creates: bool) -> Result<(), SpoolError> {
        self.check_file();
        if self.open.is_some() {
            return Ok(());
        }
        if let Some(dir) = self.path.parent()
            && let Err(error) = own_files::check_dir(dir)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(from_io(dir, &error));
        }
        let found = match std::fs::symlink_metadata(&self.path) {
            Ok(metadata) if !metadata.is_file() => Err(QueueFileError::damaged("it is no file")),
            Ok(_) => self.open_or_begin(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return if creates { self.create() } else { Ok(()) };
            }
            Err(error) => return Err(from_io(&self.path, &error)),
        };
        match found {
            Ok(file) => self.use_file(file),
            Err(error) => {
                let damage = error.judge(&self.path)?;
                self.set_aside(&damage)?;
                if creates { self.create() } else { Ok(()) }
            }
        }
    }

    fn open_or_begin(&self) -> Result<QueueFile, QueueFileError> {
        if let Some(file) = QueueFile::open(&self.path)? {
            return Ok(file);
        }
        // A crash during the creation of the file leaves it empty.
        let begun = QueueFile::begin(&self.path)?;
        tracing::warn!(
            "spool {}: the file was empty, a new queue begins in it",
            self.path.display()
        );
        Ok(begun)
    }

    fn create(&mut self) -> Result<(), SpoolError> {
        if let Some(dir) = self.path.parent() {
            make_dir(dir).map_err(|error| from_io(dir, &error))?;
        }
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.path)
            .map_err(|error| from_io(&self.path, &error))?;
        self.begin()
    }

    /// Creates an empty queue in an empty file.
    fn begin(&mut self) -> Result<(), SpoolError> {
        match QueueFile::begin(&self.path) {
            Ok(file) => self.use_file(file),
            Err(error) => {
                let is_locked_by_another = error.is_locked_by_another();
                let judged = error.judge(&self.path);
                if !is_locked_by_another {
                    // It has no rows yet.
                    let _ = std::fs::remove_file(journal(&self.path));
                    let _ = std::fs::remove_file(&self.path);
                }
                let FileDamage(what) = judged?;
                Err(failed(&self.path, what))
            }
        }
    }

    fn use_file(&mut self, mut file: QueueFile) -> Result<(), SpoolError> {
        let metadata =
            std::fs::metadata(&self.path).map_err(|error| from_io(&self.path, &error))?;
        let before = self.closed.take().map(|known| {
            let is_same = known.totals.is_as(file.totals());
            (is_same, self.rows.live(known.totals))
        });
        file.number_from(self.last);
        // Some rows were resolved while the file could not be read.
        self.rows.pending_removal.retain(|row, posts| match file.posts(*row) {
            Ok(found) => {
                *posts = found.unwrap_or(0);
                found.is_some()
            }
            Err(_) => true,
        });
        let now = self.rows.live(file.totals());
        match before {
            Some((true, _)) => {}
            Some((false, before)) => self.log_changes(&file, before, now),
            None => self.rows.found_posts += now.1,
        }
        self.open = Some(Open { file, inode: metadata.ino() });
        self.refresh();
        Ok(())
    }

    /// Logs and counts changes from outside while the file was closed.
    fn log_changes(&mut self, file: &QueueFile, before: (u64, u64), now: (u64, u64)) {
        let mut leased_posts = 0;
        self.rows.leased.retain(|row, posts| {
            let is_gone = matches!(file.posts(*row), Ok(None));
            leased_posts += if is_gone { *posts } else { 0 };
            !is_gone
        });
        // The callers still have the leased posts that are gone.
        let expected = before.1.saturating_sub(leased_posts);
        self.rows.lost.damaged_posts += expected.saturating_sub(now.1);
        self.rows.found_posts += now.1.saturating_sub(expected);
        if before != now {
            tracing::warn!(
                "spool {}: the file was changed from outside: it had {} with {}, and has {} \
                 with {}",
                self.path.display(),
                counted(before.0, "batch", "batches"),
                counted(before.1, "post", "posts"),
                counted(now.0, "batch", "batches"),
                counted(now.1, "post", "posts")
            );
        }
    }

    /// Notices that the file was removed, replaced or emptied from outside.
    fn check_file(&mut self) {
        let Some(known) = self.known() else { return };
        let what = match std::fs::symlink_metadata(&self.path) {
            Ok(metadata) if metadata.ino() != known.inode => "replaced",
            Ok(metadata) if metadata.len() == 0 => "emptied",
            Err(error) if error.kind() == io::ErrorKind::NotFound => "removed",
            Ok(_) | Err(_) => return,
        };
        let (batches, posts) = self.rows.live(known.totals);
        if self.open.is_some() || batches > 0 {
            tracing::warn!(
                "spool {}: the file was {what} from outside; dropped with it: {} of {}",
                self.path.display(),
                counted(batches, "batch", "batches"),
                counted(posts, "post", "posts")
            );
        }
        self.forget(posts);
    }

    fn set_aside(&mut self, damage: &FileDamage) -> Result<(), SpoolError> {
        let known = self.known();
        let totals = known.map_or_else(|| file::count_readable(&self.path), |known| known.totals);
        let (batches, posts) = self.rows.live(totals);
        self.close();
        let aside =
            set_aside(&self.path, self.wall).map_err(|error| not_set_aside(&self.path, &error))?;
        tracing::warn!(
            "spool {}: {}: set aside as {} with {} of {} known to be in it; the queue goes on without \
             them",
            self.path.display(),
            damage.0,
            aside.display(),
            counted(batches, "batch", "batches"),
            counted(posts, "post", "posts")
        );
        if known.is_none() {
            self.rows.found_posts += posts;
        }
        self.forget(posts);
        Ok(())
    }

    /// Counts these posts as lost with the file, except for leased ones.
    fn forget(&mut self, posts: u64) {
        self.close();
        self.closed = None;
        let leased: u64 = std::mem::take(&mut self.rows.leased).into_values().sum();
        let posts = posts.saturating_sub(leased);
        self.rows.pending_removal.clear();
        self.rows.logged = false;
        self.rows.lost.damaged_posts += posts;
        self.contents = QueueContents::default();
    }

    /// Updates the known state of the file. The next call reports what cannot be read here.
    fn refresh(&mut self) {
        let Some(Open { file, .. }) = &self.open else { return };
        let totals = file.totals();
        self.last = self.last.max(totals.last);
        let (batches, posts) = self.rows.live(totals);
        let oldest = self.rows.first(file).ok().flatten().and_then(|row| row.sampled_at);
        // Few small batches fit into the pages of an empty queue, but still take space.
        let least = if batches > 0 { file::PAGE_BYTES } else { 0 };
        let bytes = file.bytes().unwrap_or(self.contents.bytes).max(least);
        self.contents = QueueContents { batches, posts, bytes, oldest, leased: 0 };
    }
}

fn journal(path: &Path) -> PathBuf {
    let mut journal = OsString::from(path);
    journal.push("-journal");
    journal.into()
}

/// Creates a directory for its owner only, and syncs its parent.
fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return own_files::check_dir(dir);
    }
    own_files::make_dir(dir)?;
    let Some(parent) = dir.parent() else { return Ok(()) };
    #[expect(clippy::disallowed_methods, reason = "the agent's own directory, and not to be read")]
    let parent = std::fs::File::open(parent)?;
    parent.sync_all()
}

/// The error of a damaged file that cannot be renamed.
fn not_set_aside(path: &Path, error: &io::Error) -> SpoolError {
    match from_io(path, error) {
        SpoolError::Failed { path, reason } => SpoolError::Failed {
            path,
            reason: format!("damaged, and cannot be set aside: {reason}"),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty_file() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.spool");
        std::fs::write(&path, "").unwrap();
        (dir, path)
    }

    #[test]
    fn a_file_that_another_process_has_begun_meanwhile_is_its_own() {
        let (_dir, path) = empty_file();
        let another = QueueFile::begin(&path).unwrap();
        let begun = Database::new(path.clone()).begin();
        let Err(SpoolError::Failed { reason, .. }) = begun else { panic!("{begun:?}") };
        assert_eq!(reason, "another process has it open");
        assert!(path.exists());
        drop(another);
        let begun = Database::new(path.clone()).begin();
        let Err(SpoolError::Failed { reason, .. }) = begun else { panic!("{begun:?}") };
        assert_eq!(reason, "another process has just begun it");
        assert!(QueueFile::open(&path).unwrap().is_some());
    }
}
