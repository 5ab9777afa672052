//! One endpoint's queue: its bounds, what is done with a file that is damaged, and what is counted.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::aside::set_aside;
use super::file::{self, Change, QueueFile, Row, Totals};
use super::trouble::{Damage, Trouble, failed, of_system};
use super::{Batch, Bounds, Found, Kept, Lost, Moment, RowId, SpoolError, record};
use crate::quantity::WallTime;

/// Rows that may wait to be removed before no further row is given out.
const SETTLED_MAX: usize = 8192;

/// Rows of other boots that are asked for their age when one is appended. Those of one boot are in the
/// order of their age.
const YOUNG_MAX: usize = 64;

/// Before any row.
const START: RowId = RowId(i64::MIN);

/// A queue and its file, which is opened when it is needed.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    open: Option<Open>,
    rows: Rows,
    /// The largest number that was given to a row, also in files that are gone.
    last: i64,
    wall: WallTime,
    kept: Kept,
}

#[derive(Debug)]
struct Open {
    file: QueueFile,
    inode: u64,
}

/// What is not to be seen in the file.
#[derive(Debug, Default)]
struct Rows {
    /// Rows that are done with and could not be removed yet, with their posts.
    settled: BTreeMap<RowId, u64>,
    /// Rows that somebody goes on with, with their posts: neither given out nor pushed out.
    in_hand: BTreeMap<RowId, u64>,
    lost: Lost,
    /// Whether it was said that a row of this file is damaged.
    told: bool,
}

impl Database {
    pub(super) fn new(path: PathBuf) -> Self {
        let (open, rows) = (None, Rows::default());
        Self { path, open, rows, last: 0, wall: WallTime::default(), kept: Kept::default() }
    }

    pub(super) fn kept(&self) -> Kept {
        self.kept
    }

    pub(super) fn take_lost(&mut self) -> Lost {
        std::mem::take(&mut self.rows.lost)
    }

    /// Whether there is something to know of it that is not in its file.
    pub(super) fn remembers(&self) -> bool {
        !self.rows.settled.is_empty()
    }

    /// Opens the file, if there is one.
    pub(super) fn open(&mut self, now: Moment) -> Result<Kept, SpoolError> {
        self.wall = now.wall;
        self.attempt(false, |_, _| Ok(()))?;
        if self.open.is_some() && self.kept.batches == 0 {
            self.rest();
        }
        Ok(self.kept)
    }

    pub(super) fn append(
        &mut self,
        batch: &Batch,
        in_hand: bool,
        now: Moment,
        bounds: Bounds,
    ) -> Result<RowId, SpoolError> {
        self.wall = now.wall;
        let record = record::encode(batch)
            .filter(|record| record.len() as u64 <= bounds.bytes_max)
            .ok_or_else(|| SpoolError::TooLarge { path: self.path.display().to_string() })?;
        let appended =
            self.attempt(true, |file, rows| rows.append(file, batch, &record, now, bounds))?;
        let row = appended.ok_or_else(|| failed(&self.path, "it is not there"))?;
        if in_hand {
            self.rows.in_hand.insert(row, batch.posts.len() as u64);
        }
        Ok(row)
    }

    pub(super) fn next(
        &mut self,
        now: Moment,
        bounds: Bounds,
    ) -> Result<Option<(RowId, Batch)>, SpoolError> {
        self.wall = now.wall;
        let mut at = START;
        loop {
            if self.rows.settled.len() >= SETTLED_MAX {
                self.remove_settled()?;
            }
            let path = self.path.clone();
            let stepped =
                self.attempt(false, |file, rows| rows.step(file, &path, &mut at, now, bounds))?;
            match stepped {
                Some(Step::Full) => {}
                Some(Step::Found { row, batch, dropped }) => {
                    self.rows.in_hand.insert(row, batch.posts.len() as u64);
                    if dropped {
                        // Those are not given out again either way.
                        let _ = self.remove_settled();
                    }
                    return Ok(Some((row, batch)));
                }
                Some(Step::End { dropped }) => {
                    if dropped {
                        let _ = self.remove_settled();
                    }
                    return Ok(None);
                }
                None => return Ok(None),
            }
        }
    }

    /// Whether it is there: one that was in hand is not any more when its file is gone.
    pub(super) fn release(&mut self, row: RowId) -> Found {
        self.miss();
        match self.rows.in_hand.remove(&row) {
            Some(_) => Found::There,
            None => Found::Gone,
        }
    }

    pub(super) fn there_of(&mut self, moments: &[Moment]) -> Result<Vec<Moment>, SpoolError> {
        let asked: BTreeSet<_> = moments.iter().map(|moment| moment.since_boot).collect();
        let there = self.attempt(false, |file, _| {
            let mut there = Vec::new();
            let mut at = START;
            while let Some(row) = file.row_after(at, |_| true)? {
                at = row.id;
                let taken = row.taken.filter(|taken| asked.contains(&taken.since_boot));
                there.extend(taken.filter(|taken| moments.contains(taken)));
            }
            Ok(there)
        })?;
        Ok(there.unwrap_or_default())
    }

    pub(super) fn replace(&mut self, row: RowId, batch: &Batch) -> Result<Found, SpoolError> {
        let found = self.put(&[row], batch)?;
        if let Some(posts) = self.rows.in_hand.get_mut(&row) {
            *posts = batch.posts.len() as u64;
        }
        Ok(found)
    }

    pub(super) fn merge(&mut self, rows: &[RowId], into: &Batch) -> Result<Found, SpoolError> {
        let found = self.put(rows, into)?;
        self.rows.in_hand.retain(|row, _| !rows.contains(row));
        Ok(found)
    }

    fn put(&mut self, rows: &[RowId], into: &Batch) -> Result<Found, SpoolError> {
        let record = record::encode(into)
            .ok_or_else(|| SpoolError::TooLarge { path: self.path.display().to_string() })?;
        let put = self.attempt(false, |file, gone| gone.merge(file, rows, into, &record))?;
        Ok(put.unwrap_or(Found::Gone))
    }

    pub(super) fn remove(&mut self, rows: &[RowId]) -> Result<(), SpoolError> {
        self.rows.in_hand.retain(|row, _| !rows.contains(row));
        let found = self.attempt(false, |file, gone| {
            for row in rows {
                if let Some(posts) = file.posts(*row)? {
                    gone.settled.insert(*row, posts);
                }
            }
            Ok(())
        });
        if let Err(error) = found {
            for row in rows {
                self.rows.settled.entry(*row).or_insert(0);
            }
            return Err(error);
        }
        self.remove_settled()
    }

    /// Closes the file, and removes it if nothing is in it.
    pub(super) fn rest(&mut self) {
        let is_empty = |open: &Open| matches!(self.rows.first(&open.file), Ok(None));
        // Removed before the lock on it is given up: it is nobody else's yet. The journal first: a process
        // that ends in between leaves a database that is empty, which the next one tidies up.
        let removed = self.open.as_ref().is_some_and(is_empty) && {
            let _ = std::fs::remove_file(journal(&self.path));
            std::fs::remove_file(&self.path).is_ok()
        };
        self.close();
        if removed {
            self.rows.settled.clear();
            self.kept = Kept::default();
        }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.last = self.last.max(open.file.totals().last);
        }
    }

    fn remove_settled(&mut self) -> Result<(), SpoolError> {
        self.attempt(false, |file, rows| {
            file.change(|change| rows.remove_settled(change))?;
            rows.settled.clear();
            Ok(())
        })?;
        Ok(())
    }

    /// Does something with the file; `None` if there is none and none is to be made. A file that turns
    /// out to be damaged is set aside, and it is done once more.
    fn attempt<T>(
        &mut self,
        makes: bool,
        mut work: impl FnMut(&mut QueueFile, &mut Rows) -> Result<T, Trouble>,
    ) -> Result<Option<T>, SpoolError> {
        for _ in 0..2 {
            self.find(makes)?;
            let Some(open) = &mut self.open else { return Ok(None) };
            match work(&mut open.file, &mut self.rows) {
                Ok(value) => {
                    self.look();
                    return Ok(Some(value));
                }
                Err(trouble) => match trouble.judge(&self.path) {
                    Ok(damage) => self.set_aside(&damage)?,
                    Err(error) => {
                        self.look();
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

    fn find(&mut self, makes: bool) -> Result<(), SpoolError> {
        self.miss();
        if self.open.is_some() {
            return Ok(());
        }
        let found = match std::fs::metadata(&self.path) {
            Ok(metadata) if !metadata.is_file() => Err(Trouble::damaged("it is no file")),
            Ok(_) => self.open_or_begin(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return if makes { self.make() } else { Ok(()) };
            }
            Err(error) => return Err(of_system(&self.path, &error)),
        };
        match found {
            Ok(file) => self.hold(file),
            Err(trouble) => {
                let damage = trouble.judge(&self.path)?;
                self.set_aside(&damage)?;
                if makes { self.make() } else { Ok(()) }
            }
        }
    }

    fn open_or_begin(&self) -> Result<QueueFile, Trouble> {
        if let Some(file) = QueueFile::open(&self.path)? {
            return Ok(file);
        }
        // What a crash leaves that comes when the file is made; nothing was in it then.
        let begun = QueueFile::begin(&self.path)?;
        tracing::warn!("spool {}: the file was empty: it begins anew", self.path.display());
        Ok(begun)
    }

    fn make(&mut self) -> Result<(), SpoolError> {
        if let Some(dir) = self.path.parent() {
            make_dir(dir).map_err(|error| of_system(dir, &error))?;
        }
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.path)
            .map_err(|error| of_system(&self.path, &error))?;
        match QueueFile::begin(&self.path) {
            Ok(file) => self.hold(file),
            Err(trouble) => {
                let judged = trouble.judge(&self.path);
                // Nothing is in it yet.
                let _ = std::fs::remove_file(journal(&self.path));
                let _ = std::fs::remove_file(&self.path);
                let Damage(what) = judged?;
                Err(failed(&self.path, what))
            }
        }
    }

    fn hold(&mut self, mut file: QueueFile) -> Result<(), SpoolError> {
        let metadata =
            std::fs::metadata(&self.path).map_err(|error| of_system(&self.path, &error))?;
        file.number_from(self.last);
        // Some were settled without a look at whether they are there.
        self.rows.settled.retain(|row, posts| match file.posts(*row) {
            Ok(found) => {
                *posts = found.unwrap_or(0);
                found.is_some()
            }
            Err(_) => true,
        });
        self.open = Some(Open { file, inode: metadata.ino() });
        self.look();
        Ok(())
    }

    /// Notices that somebody has removed or exchanged the file.
    fn miss(&mut self) {
        let Some(open) = &self.open else { return };
        let is_there = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata.ino() == open.inode,
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        if is_there {
            return;
        }
        let (batches, posts) = self.rows.unsettled(open.file.totals());
        tracing::warn!(
            "spool {}: somebody has removed the file, with {batches} batches of {posts} posts",
            self.path.display()
        );
        self.forget(posts);
    }

    fn set_aside(&mut self, damage: &Damage) -> Result<(), SpoolError> {
        let totals = match &self.open {
            Some(open) => open.file.totals(),
            None => file::count_readable(&self.path),
        };
        let (batches, posts) = self.rows.unsettled(totals);
        self.close();
        let aside = set_aside(&self.path, self.wall)?;
        tracing::warn!(
            "spool {}: {}: set aside as {} with {batches} batches of {posts} posts known to be in \
             it; the queue goes on without them",
            self.path.display(),
            damage.0,
            aside.display()
        );
        self.forget(posts);
        Ok(())
    }

    /// The file is gone, and these posts with it, but for those that somebody goes on with.
    fn forget(&mut self, posts: u64) {
        self.close();
        let in_hand: u64 = std::mem::take(&mut self.rows.in_hand).into_values().sum();
        let posts = posts.saturating_sub(in_hand);
        self.rows.settled.clear();
        self.rows.told = false;
        self.rows.lost.damaged_posts += posts;
        self.kept = Kept::default();
    }

    /// Brings what is known of the file up to date. What cannot be read here is told by the next who
    /// needs it.
    fn look(&mut self) {
        let Some(Open { file, .. }) = &self.open else { return };
        let totals = file.totals();
        self.last = self.last.max(totals.last);
        let (batches, posts) = self.rows.unsettled(totals);
        let oldest = self.rows.first(file).ok().flatten().and_then(|row| row.taken);
        // Few small batches have their place beside what an empty queue takes, and are not nothing.
        let least = if batches > 0 { file::PAGE_BYTES } else { 0 };
        let bytes = file.bytes().unwrap_or(self.kept.bytes).max(least);
        self.kept = Kept { batches, posts, bytes, oldest };
    }
}

enum Step {
    Found {
        row: RowId,
        batch: Batch,
        dropped: bool,
    },
    End {
        dropped: bool,
    },
    /// No more rows can be remembered to be dropped.
    Full,
}

impl Rows {
    /// The first row that is not settled.
    fn first(&self, file: &QueueFile) -> Result<Option<Row>, Trouble> {
        file.row_after(START, |row| !self.settled.contains_key(&row))
    }

    /// The batches and posts that are not settled.
    fn unsettled(&self, totals: Totals) -> (u64, u64) {
        let settled_posts: u64 = self.settled.values().sum();
        let batches = totals.batches.saturating_sub(self.settled.len() as u64);
        (batches, totals.posts.saturating_sub(settled_posts))
    }

    fn append(
        &mut self,
        file: &mut QueueFile,
        batch: &Batch,
        record: &[u8],
        now: Moment,
        bounds: Bounds,
    ) -> Result<RowId, Trouble> {
        let (row, lost) = file.change(|change| {
            self.remove_settled(change)?;
            let mut lost = Lost::default();
            self.drop_old(change, now, bounds, &mut lost)?;
            let row = change.append(batch, record)?;
            self.drop_excess(change, row, record.len(), bounds, &mut lost)?;
            Ok((row, lost))
        })?;
        self.settled.clear();
        self.lost.full_posts += lost.full_posts;
        self.lost.old_posts += lost.old_posts;
        self.lost.damaged_posts += lost.damaged_posts;
        Ok(row)
    }

    /// The next row behind `at` that is worth something. The others on the way are settled.
    fn step(
        &mut self,
        file: &mut QueueFile,
        path: &Path,
        at: &mut RowId,
        now: Moment,
        bounds: Bounds,
    ) -> Result<Step, Trouble> {
        let mut dropped = false;
        while self.settled.len() < SETTLED_MAX {
            let is_free =
                |row| !self.settled.contains_key(&row) && !self.in_hand.contains_key(&row);
            let Some(row) = file.row_after(*at, is_free)? else {
                return Ok(Step::End { dropped });
            };
            if row.taken.is_some_and(|taken| taken.age(&now) > bounds.age_max) {
                self.lost.old_posts += row.posts;
            } else {
                match file.batch(&row)? {
                    Ok(batch) => return Ok(Step::Found { row: row.id, batch, dropped }),
                    Err(what) => self.tell_damaged(path, row.id, row.posts, &what),
                }
            }
            self.settled.insert(row.id, row.posts);
            *at = row.id;
            dropped = true;
        }
        Ok(Step::Full)
    }

    fn tell_damaged(&mut self, path: &Path, row: RowId, posts: u64, what: &str) {
        self.lost.damaged_posts += posts;
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!(
                "spool {}: batch {}: {what}: removed, with its {posts} posts; further ones in this \
                 file are only counted",
                path.display(),
                row.0
            );
        }
    }

    fn merge(
        &mut self,
        file: &mut QueueFile,
        rows: &[RowId],
        into: &Batch,
        record: &[u8],
    ) -> Result<Found, Trouble> {
        let Some(last) = rows.iter().max().filter(|last| !self.settled.contains_key(last)) else {
            return Ok(Found::Gone);
        };
        let merged = file.change(|change| {
            if !change.replace(*last, into, record)? {
                return Ok(false);
            }
            for row in rows.iter().filter(|row| *row != last) {
                change.remove(*row)?;
            }
            self.remove_settled(change)?;
            Ok(true)
        })?;
        if merged {
            self.settled.clear();
        }
        Ok(if merged { Found::There } else { Found::Gone })
    }

    fn remove_settled(&self, change: &mut Change<'_>) -> Result<(), Trouble> {
        self.settled.keys().try_for_each(|row| change.remove(*row))
    }

    fn drop_old(
        &self,
        change: &mut Change<'_>,
        now: Moment,
        bounds: Bounds,
        lost: &mut Lost,
    ) -> Result<(), Trouble> {
        let mut at = START;
        let mut young = 0;
        while let Some(row) = change.row_after(at, |row| !self.in_hand.contains_key(&row))? {
            at = row.id;
            match row.taken {
                None => lost.damaged_posts += row.posts,
                Some(taken) if taken.age(&now) > bounds.age_max => lost.old_posts += row.posts,
                Some(taken) if taken.boot == now.boot || young == YOUNG_MAX => break,
                Some(_) => {
                    young += 1;
                    continue;
                }
            }
            change.remove(row.id)?;
        }
        Ok(())
    }

    /// Drops the oldest rows until what is there fits, `appended` with them.
    fn drop_excess(
        &self,
        change: &mut Change<'_>,
        appended: RowId,
        record_bytes: usize,
        bounds: Bounds,
        lost: &mut Lost,
    ) -> Result<(), Trouble> {
        while change.bytes()? > bounds.bytes_max {
            let oldest = change.row_after(START, |row| !self.in_hand.contains_key(&row))?;
            let Some(oldest) = oldest.filter(|row| row.id != appended) else {
                // What is in hand leaves no room at present.
                return Err(match self.in_hand.is_empty() {
                    true => change.too_large(record_bytes)?,
                    false => Trouble::TooLarge,
                });
            };
            lost.full_posts += oldest.posts;
            change.remove(oldest.id)?;
        }
        Ok(())
    }
}

fn journal(path: &Path) -> PathBuf {
    let mut journal = OsString::from(path);
    journal.push("-journal");
    journal.into()
}

/// Makes the directory, for its owner only, and has it on disk.
fn make_dir(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let Some(parent) = dir.parent() else { return Ok(()) };
    #[expect(clippy::disallowed_methods, reason = "the agent's own directory, and not to be read")]
    let parent = std::fs::File::open(parent)?;
    parent.sync_all()
}
