//! The journal of batches in flight, in the state directory beside the counters.
//!
//! The counters are saved after every sample, so a killed process would count what it had in memory
//! as sent. The journal has a file for each batch, from before the counters are saved until the
//! batch is resolved or in the queue on disk. Like the counters it is best on tmpfs, so that no
//! disk is written.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{info, warn};

use super::error::BatchDamage;
use super::record::{self, RecordHead};
use super::{Batch, Moment};
use crate::descriptors;
use crate::own_files;
use crate::quantity::BootTime;

/// The largest file; a larger one was not written here.
const FILE_BYTES_MAX: u64 = record::CONTENTS_BYTES_MAX as u64 + 4096;

/// The extension of a file that is being written. After a kill the counters do not include its
/// sample.
const UNFINISHED: &str = "new";

/// The most directories that are searched for orphans, and the most orphans listed.
const DIRS_MAX: usize = 10_000;
const ORPHANS_MAX: usize = 64;

/// The most files read in one directory: more than an endpoint can have in memory.
const FILES_MAX: usize = 16_384;

/// The batches that an earlier run left in the journal.
#[derive(Debug, Default)]
pub struct RecoveredBatches {
    /// Oldest first.
    pub batches: Vec<Batch>,
    /// Posts of older batches, for which there was no room.
    pub dropped_posts: u64,
}

/// The journal of one endpoint: files `<directory>/<endpoint>/<since_boot in ns>`, and for a moment
/// `<newer>-<older>` of a merged batch. Clones are the same journal.
#[derive(Debug, Clone)]
pub struct Journal {
    dir: Arc<Path>,
    failed: Arc<AtomicBool>,
}

impl Journal {
    /// The journal of an endpoint, whose name is usable as a file name. Touches no file yet.
    #[must_use]
    pub fn new(dir: &Path, endpoint: &str) -> Self {
        Self { dir: dir.join(endpoint).into(), failed: Arc::default() }
    }

    /// The directory of its files.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes a batch, whole or not at all; whether it is there.
    #[must_use]
    pub fn write_batch(&self, batch: &Batch) -> bool {
        let kept = self.write(batch, &self.path(&batch.sampled_at));
        self.note_outcome(kept)
    }

    /// Writes a merged batch in the place of the newer and the older one; whether it did. A kill
    /// leaves either those or the merged one.
    #[must_use]
    pub fn write_sum(&self, both: &Batch, older: &Moment) -> bool {
        let sum = self.sum_path(&both.sampled_at, older);
        let kept =
            self.write(both, &sum).and_then(|()| self.put_sum(&sum, &both.sampled_at, older));
        self.note_outcome(kept)
    }

    /// Puts the merged file in the place of the two others. After a kill [`Journal::recover`]
    /// finishes this.
    fn put_sum(&self, sum: &Path, newer: &Moment, older: &Moment) -> io::Result<()> {
        remove(&self.path(older));
        fs::rename(sum, self.path(newer))
    }

    /// Records that the endpoint may have accepted a post of the batch; whether that is written.
    #[must_use]
    pub fn mark_attempted(&self, sampled_at: &Moment) -> bool {
        let path = self.path(sampled_at);
        let Ok(Ok((at, changed))) = read(&path).map(record::mark_attempted) else { return false };
        let file = own_files::open_to_write(&path);
        // One write within a page of the file, so no kill divides it.
        file.and_then(|file| file.write_all_at(&changed, at)).is_ok()
    }

    fn note_outcome(&self, kept: io::Result<()>) -> bool {
        let failed = kept.is_err();
        if self.failed.swap(failed, Ordering::Relaxed) != failed {
            match kept {
                Ok(()) => info!(
                    "{}: the journal of samples in flight is written again",
                    self.dir.display()
                ),
                Err(error) => warn!(
                    "{}: the journal of samples in flight cannot be written: {}; a killed agent may \
                     lose one interval, a retry follows with the next sample",
                    self.dir.display(),
                    descriptors::describe(&error)
                ),
            }
        }
        !failed
    }

    fn write(&self, batch: &Batch, path: &Path) -> io::Result<()> {
        let unfinished = path.with_extension(UNFINISHED);
        let written =
            self.write_at(&unfinished, batch).and_then(|()| fs::rename(&unfinished, path));
        if written.is_err() {
            remove(&unfinished);
        }
        written
    }

    fn write_at(&self, path: &Path, batch: &Batch) -> io::Result<()> {
        self.check_dirs().or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                own_files::make_dir(&self.dir)?;
                self.check_dirs()
            }
            _ => Err(error),
        })?;
        let mut file = own_files::create(path)?;
        let too_large = || io::Error::other("it is larger than any that is kept");
        file.write_all(&record::encode_plain(batch).ok_or_else(too_large)?)
    }

    /// Checks that the directory and the one above it are the agent's own, so that no link leads to
    /// foreign files.
    fn check_dirs(&self) -> io::Result<()> {
        self.dir.parent().map_or(Ok(()), own_files::check_inner_dir)?;
        own_files::check_inner_dir(&self.dir)
    }

    /// Removes a batch that is resolved or stored elsewhere.
    pub fn forget(&self, sampled_at: &Moment) {
        if self.check_dirs().is_ok() {
            remove(&self.path(sampled_at));
        }
    }

    /// The files of the directory that have a name of the journal's; none where the directory is
    /// missing or refused.
    fn files(&self) -> Vec<PathBuf> {
        match self.check_dirs() {
            Ok(()) => files(&self.dir),
            Err(error) => {
                if error.kind() != io::ErrorKind::NotFound {
                    let dir = self.dir.display();
                    warn!("{dir}: the journal of samples in flight is not read: {error}");
                }
                Vec::new()
            }
        }
    }

    /// The batches of an earlier run, oldest first and up to `bytes_max`; older ones are removed.
    /// `counted_until`: the end of the saved counters. Later samples are counted again, so their
    /// batches are removed.
    #[must_use]
    pub fn recover(
        &self,
        now: &Moment,
        counted_until: Option<BootTime>,
        bytes_max: usize,
    ) -> RecoveredBatches {
        self.end_sums();
        let (mut found, mut bad) = (Vec::new(), Vec::new());
        for path in self.files() {
            let is_counted = |head: &RecordHead| {
                head.sampled_at.boot != now.boot
                    || counted_until.is_none_or(|until| head.sampled_at.since_boot <= until)
            };
            match self.head(&path) {
                Ok(Some(head)) if is_counted(&head) => {
                    found.push((path, head));
                    continue;
                }
                Ok(_) => {}
                Err(what) => bad.push((path.clone(), what)),
            }
            remove(&path);
        }
        found.sort_by_key(|(_, head)| {
            (head.sampled_at.boot == now.boot, head.sampled_at.since_boot)
        });
        let (mut batches, mut dropped_posts, mut bytes) = (Vec::new(), 0, 0_usize);
        for (path, head) in found.into_iter().rev() {
            bytes = bytes.saturating_add(head.contents_bytes);
            if bytes > bytes_max {
                dropped_posts += head.posts as u64;
                remove(&path);
                continue;
            }
            match read_batch(&path) {
                Ok(batch) => batches.push(batch),
                Err(what) => {
                    remove(&path);
                    bad.push((path, what));
                }
            }
        }
        batches.reverse();
        log_removed(&bad);
        RecoveredBatches { batches, dropped_posts }
    }

    /// Finishes merges that a kill cut off.
    fn end_sums(&self) {
        for path in self.files() {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some((newer, older)) = name.split_once('-') else { continue };
            // A file that was not renamed yet is not whole.
            let is_whole = older.parse::<u64>().is_ok()
                && read_head(&path)
                    .is_ok_and(|head| head.sampled_at.since_boot.as_nanos().to_string() == newer);
            if is_whole {
                remove(&self.dir.join(older));
                let _ = fs::rename(&path, self.dir.join(newer));
            }
        }
    }

    /// The head of a file; `None`: it was not written completely.
    fn head(&self, path: &Path) -> Result<Option<RecordHead>, BatchDamage> {
        if path.extension().is_some_and(|extension| extension == UNFINISHED) {
            return Ok(None);
        }
        let head = read_head(path)?;
        // A batch is removed by its name, so the name must be its own.
        if self.path(&head.sampled_at) == path {
            Ok(Some(head))
        } else {
            Err(BatchDamage::FileName)
        }
    }

    /// The endpoints below `dir` that are not in `endpoints`, with their numbers of files. At most
    /// 64; none where the directory cannot be read.
    #[must_use]
    pub fn orphans(dir: &Path, endpoints: &[&str]) -> Vec<(String, usize)> {
        if own_files::check_inner_dir(dir).is_err() {
            return Vec::new();
        }
        let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
        let mut orphans = Vec::new();
        for entry in entries.take(DIRS_MAX).flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if endpoints.contains(&&*name) || orphans.len() == ORPHANS_MAX {
                continue;
            }
            let path = entry.path();
            let is_own = own_files::check_inner_dir(&path).is_ok();
            let files = if is_own { files(&path).len() } else { 0 };
            if files > 0 {
                orphans.push((name, files));
            }
        }
        orphans.sort_unstable();
        orphans
    }

    fn path(&self, sampled_at: &Moment) -> PathBuf {
        self.dir.join(sampled_at.since_boot.as_nanos().to_string())
    }

    fn sum_path(&self, newer: &Moment, older: &Moment) -> PathBuf {
        let [newer, older] = [newer, older].map(|sampled_at| sampled_at.since_boot.as_nanos());
        self.dir.join(format!("{newer}-{older}"))
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    let entries = entries.filter_map(|entry| entry.ok());
    let own = entries.filter(|entry| is_journal_name(entry.file_name().as_encoded_bytes()));
    own.map(|entry| entry.path()).take(FILES_MAX).collect()
}

/// `<ns>`, `<ns>-<ns>`, and either with `.new`. Files of other names are not the journal's, and stay.
fn is_journal_name(name: &[u8]) -> bool {
    let name = name.strip_suffix(b".new").unwrap_or(name);
    let mut numbers = name.split(|byte| *byte == b'-');
    let is_number = |number: &[u8]| !number.is_empty() && number.iter().all(u8::is_ascii_digit);
    numbers.clone().count() <= 2 && numbers.all(is_number)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    own_files::read(path, FILE_BYTES_MAX)
}

fn read_batch(path: &Path) -> Result<Batch, BatchDamage> {
    Ok(record::decode(&read(path)?)?)
}

fn read_head(path: &Path) -> Result<RecordHead, BatchDamage> {
    let mut bytes = [0; record::HEAD_BYTES];
    let mut file = own_files::open_to_read(path)?;
    file.read_exact(&mut bytes)?;
    let length = file.metadata()?.len();
    let head = record::decode_head(&bytes)?;
    if length == (bytes.len() + head.contents_bytes) as u64 {
        Ok(head)
    } else {
        Err(BatchDamage::Length)
    }
}

/// Logs the removal of unusable files.
fn log_removed(bad: &[(PathBuf, BatchDamage)]) {
    let Some((path, what)) = bad.first() else { return };
    warn!(
        "{}: a sample in flight is dropped, its journal file is unusable and was removed: {what}{}",
        path.display(),
        match bad.len() {
            1 => String::new(),
            bad => format!("; {} more files are dropped, too", bad - 1),
        }
    );
}

fn remove(path: &Path) {
    // A file that cannot be removed is sent once more, and the server recognises it.
    let _ = fs::remove_file(path);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test reads the files that it made")]

    use bytes::Bytes;

    use super::*;
    use crate::identity::BootId;
    use crate::quantity::WallTime;

    fn numbered(number: u64, body: &'static str) -> Batch {
        let (since_boot, wall) = (BootTime::from_nanos(number), WallTime::default());
        let sampled_at = Moment { boot: BootId::from_bits(1), since_boot, wall };
        Batch::new(sampled_at, [("/a".to_owned(), Bytes::from_static(body.as_bytes()))])
    }

    fn left(journal: &Journal) -> Vec<Batch> {
        journal.recover(&numbered(9, "").sampled_at, None, usize::MAX).batches
    }

    fn at(secs: u64) -> Moment {
        Moment {
            boot: BootId::parse(b"0f3c1d2e-4a5b-4c6d-8e7f-0123456789ab").unwrap(),
            since_boot: BootTime::from_nanos(secs * 1_000_000_000),
            wall: WallTime::from_unix_millis(secs * 1000),
        }
    }

    fn batch(secs: u64, body_bytes: usize) -> Batch {
        Batch::new(at(secs), [("/a".to_owned(), Bytes::from(vec![7; body_bytes]))])
    }

    #[test]
    fn the_largest_that_is_kept_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new(dir.path(), "central");
        // A post's head and its path are contents as well.
        let largest = batch(1, record::CONTENTS_BYTES_MAX - 16 - 2);
        assert!(journal.write_batch(&largest));
        assert!(!journal.write_batch(&batch(2, record::CONTENTS_BYTES_MAX - 16 - 1)));
        assert!(left(&journal) == [largest], "it is another");
    }

    #[test]
    fn what_is_nobodys_is_told_by_the_endpoint_that_it_was_of() {
        let dir = tempfile::tempdir().unwrap();
        for (endpoint, samples) in [("gone", 2), ("stays", 1), ("empty", 1)] {
            let journal = Journal::new(dir.path(), endpoint);
            assert!((1..=samples).all(|secs| journal.write_batch(&batch(secs, 1))));
        }
        Journal::new(dir.path(), "empty").forget(&at(1));
        assert_eq!(Journal::orphans(dir.path(), &["stays"]), [("gone".to_owned(), 2)]);
        assert_eq!(Journal::orphans(&dir.path().join("none"), &[]), []);
    }

    #[test]
    fn a_link_in_the_place_of_a_directory_or_file_leads_nowhere() {
        use std::os::unix::fs::symlink;
        let own = batch(1, 1);
        for linked in ["handover", "handover/central"] {
            let dir = tempfile::tempdir().unwrap();
            let foreign = dir.path().join("foreign");
            // What a journal would remove, and what it would not.
            Journal::new(&foreign, "central").write_batch(&own).then_some(()).unwrap();
            let victims = [foreign.join("1"), foreign.join("central/2"), foreign.join("central/a")];
            victims.iter().for_each(|victim| fs::write(victim, "foreign").unwrap());
            let link = dir.path().join(linked);
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            let target =
                if linked == "handover" { foreign.clone() } else { foreign.join("central") };
            symlink(target, link).unwrap();
            let journal = Journal::new(&dir.path().join("handover"), "central");
            assert_eq!(left(&journal), []);
            assert!(!journal.write_batch(&batch(3, 1)));
            journal.forget(&at(1));
            assert_eq!(Journal::orphans(&dir.path().join("handover"), &[]), []);
            for victim in &victims {
                assert_eq!(fs::read_to_string(victim).unwrap(), "foreign", "{linked}");
            }
            assert_eq!(left(&Journal::new(&foreign, "central")), std::slice::from_ref(&own));
        }

        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new(dir.path(), "central");
        assert!(journal.write_batch(&own));
        let foreign = dir.path().join("foreign");
        fs::write(&foreign, "foreign").unwrap();
        let file = |name: &str| dir.path().join("central").join(name);
        for name in ["5", "3000000000.new"] {
            symlink(&foreign, file(name)).unwrap();
        }
        symlink("/dev/zero", file("6")).unwrap();
        fs::write(file("notes"), "of a person").unwrap();
        assert!(journal.write_batch(&batch(3, 1)));
        assert!(!journal.mark_attempted(&numbered(5, "").sampled_at));
        assert_eq!(left(&journal), [own, batch(3, 1)]);
        assert_eq!(fs::read_to_string(&foreign).unwrap(), "foreign");
        assert_eq!(fs::read_to_string(file("notes")).unwrap(), "of a person");
        // The links themselves are no batches, and are gone.
        assert!(fs::symlink_metadata(file("5")).is_err());
    }

    #[test]
    fn a_kill_while_a_sum_takes_the_place_of_two_leaves_each_in_one_file() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new(dir.path(), "central");
        let file = |name: &str| dir.path().join("central").join(name);
        let (older, newer, both) = (numbered(1, "1"), numbered(2, "2"), numbered(2, "1,2"));
        let sum = record::encode_plain(&both).unwrap();
        let begin = || assert!(journal.write_batch(&older) && journal.write_batch(&newer));

        begin();
        fs::write(file("2-1.new"), &sum).unwrap();
        assert_eq!(left(&journal), [older.clone(), newer.clone()]);
        assert!(!file("2-1.new").exists());
        // A file that was cut short, under the name of a whole one.
        fs::write(file("2-1"), &sum[..sum.len() - 1]).unwrap();
        assert_eq!(left(&journal), [older.clone(), newer.clone()]);
        fs::write(file("2-1"), &sum).unwrap();
        assert_eq!(left(&journal), std::slice::from_ref(&both));
        assert_eq!(left(&journal), std::slice::from_ref(&both));

        begin();
        fs::write(file("2-1"), &sum).unwrap();
        journal.forget(&older.sampled_at);
        assert_eq!(left(&journal), std::slice::from_ref(&both));

        begin();
        assert!(journal.write_sum(&both, &older.sampled_at));
        assert_eq!(left(&journal), [both]);
    }

    #[test]
    fn what_was_tried_is_so_marked_in_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::new(dir.path(), "central");
        let batches = [numbered(1, "1"), numbered(2, "2")];
        assert!(batches.iter().all(|batch| journal.write_batch(batch)));
        assert!(journal.mark_attempted(&batches[1].sampled_at));
        assert!(!journal.mark_attempted(&numbered(3, "3").sampled_at));
        let [untried, attempted] = batches;
        assert_eq!(left(&journal), [untried, Batch { attempted: true, ..attempted }]);
    }
}
