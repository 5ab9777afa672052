//! Batches on their way to an endpoint, beside the counters that their figures were taken off.
//!
//! The counters are kept after every sample, so what a process that is killed had in memory would
//! be counted as sent. A file for each batch holds it from before the counters of its sample are
//! kept until it is settled or in the queue on disk. With the counters it lies best on tmpfs, so no
//! disk is touched for it.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tracing::{info, warn};

use super::record;
use super::{Batch, Moment};
use crate::quantity::BootTime;

/// No batch is larger, with what a record has before its contents; what is has not been written here.
const FILE_BYTES_MAX: u64 = record::CONTENTS_BYTES_MAX as u64 + 4096;

/// A file that is being written has this ending; behind a kill it is of a sample that is not counted.
const BESIDE: &str = "new";

/// Directories that are looked at for what is nobody's, and those that are told.
const DIRS_MAX: usize = 10_000;
const LEFTOVERS_MAX: usize = 64;

/// Of files that are looked at in one directory: more than an endpoint can have in memory.
const FILES_MAX: usize = 16_384;

/// One endpoint's files: `<directory>/<endpoint>/<since_boot in ns>`. Clones are the same.
#[derive(Debug, Clone)]
pub struct Handover {
    dir: Arc<Path>,
    failed: Arc<AtomicBool>,
}

impl Handover {
    /// Of an endpoint whose name is usable as a file's. Touches nothing yet.
    #[must_use]
    pub fn new(dir: &Path, endpoint: &str) -> Self {
        Self { dir: dir.join(endpoint).into(), failed: Arc::default() }
    }

    /// Where its files are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Writes it, whole or not at all; whether it is there.
    #[must_use]
    pub fn keep(&self, batch: &Batch) -> bool {
        let kept = self.write(batch);
        let failed = kept.is_err();
        if self.failed.swap(failed, Ordering::Relaxed) != failed {
            match kept {
                Ok(()) => info!("{}: samples on their way are kept again", self.dir.display()),
                Err(error) => warn!(
                    "{}: samples on their way are not kept, one may be lost with the process: \
                     {error}",
                    self.dir.display()
                ),
            }
        }
        !failed
    }

    fn write(&self, batch: &Batch) -> io::Result<()> {
        let path = self.path(&batch.taken);
        let beside = path.with_extension(BESIDE);
        let written = self.write_at(&beside, batch).and_then(|()| fs::rename(&beside, &path));
        if written.is_err() {
            remove(&beside);
        }
        written
    }

    fn write_at(&self, path: &Path, batch: &Batch) -> io::Result<()> {
        let open =
            || OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
        let mut file = match open() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
                open()?
            }
            opened => opened?,
        };
        let too_large = || io::Error::other("it is larger than any that is kept");
        file.write_all(&record::encode_plain(batch).ok_or_else(too_large)?)
    }

    /// It is settled, or somewhere else.
    pub fn forget(&self, taken: &Moment) {
        remove(&self.path(taken));
    }

    /// What an earlier run left, oldest first. `counted_until`: what the counters reach that are gone
    /// on from; what was taken later will be counted again, and so is not sent.
    #[must_use]
    pub fn left(&self, now: &Moment, counted_until: Option<BootTime>) -> Vec<Batch> {
        let (mut batches, mut bad) = (Vec::new(), Vec::new());
        for path in files(&self.dir) {
            let is_counted = |batch: &Batch| {
                batch.taken.boot != now.boot
                    || counted_until.is_none_or(|until| batch.taken.since_boot <= until)
            };
            match self.batch(&path) {
                Ok(Some(batch)) if is_counted(&batch) => {
                    batches.push(batch);
                    continue;
                }
                Ok(_) => {}
                Err(what) => bad.push((path.clone(), what)),
            }
            remove(&path);
        }
        if let Some((path, what)) = bad.first() {
            warn!(
                "{}: a sample on its way is lost, for its file is removed: {what}{}",
                path.display(),
                match bad.len() {
                    1 => String::new(),
                    bad => format!("; so are {} others beside it", bad - 1),
                }
            );
        }
        batches.sort_by_key(|batch| (batch.taken.boot == now.boot, batch.taken.since_boot));
        batches
    }

    /// What is in a file; `None` if the writing of it was not finished.
    fn batch(&self, path: &Path) -> Result<Option<Batch>, String> {
        if path.extension().is_some_and(|extension| extension == BESIDE) {
            return Ok(None);
        }
        let bytes = read(path).map_err(|error| error.to_string())?;
        let batch = record::decode(&bytes).map_err(|error| error.to_string())?;
        // Only what lies where it would be forgotten.
        match self.path(&batch.taken) == path {
            true => Ok(Some(batch)),
            false => Err("it has another sample's name".to_owned()),
        }
    }

    /// The endpoints below `dir` that are none of these and have left something, and how many files each
    /// has: nobody looks for them. At most 64; none where the directory cannot be read.
    #[must_use]
    pub fn leftovers(dir: &Path, endpoints: &[&str]) -> Vec<(String, usize)> {
        let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
        let mut leftovers = Vec::new();
        for entry in entries.take(DIRS_MAX).flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            if endpoints.contains(&&*name) || leftovers.len() == LEFTOVERS_MAX {
                continue;
            }
            let files = files(&entry.path()).len();
            if files > 0 {
                leftovers.push((name, files));
            }
        }
        leftovers.sort_unstable();
        leftovers
    }

    fn path(&self, taken: &Moment) -> PathBuf {
        self.dir.join(taken.since_boot.as_nanos().to_string())
    }
}

fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(dir) else { return Vec::new() };
    entries.filter_map(|entry| Some(entry.ok()?.path())).take(FILES_MAX).collect()
}

#[expect(clippy::disallowed_methods, reason = "a file of our own, not the kernel's")]
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn remove(path: &Path) {
    // What is not there need not be removed; what cannot be is sent once more, and recognised.
    let _ = fs::remove_file(path);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::identity::BootId;
    use crate::quantity::WallTime;

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
        let handover = Handover::new(dir.path(), "central");
        // A post's head and its path are contents as well.
        let largest = batch(1, record::CONTENTS_BYTES_MAX - 16 - 2);
        assert!(handover.keep(&largest));
        assert!(!handover.keep(&batch(2, record::CONTENTS_BYTES_MAX - 16 - 1)));
        assert!(handover.left(&at(9), None) == [largest], "it is another");
    }

    #[test]
    fn what_is_nobodys_is_told_by_the_endpoint_that_it_was_of() {
        let dir = tempfile::tempdir().unwrap();
        for (endpoint, samples) in [("gone", 2), ("stays", 1), ("empty", 1)] {
            let handover = Handover::new(dir.path(), endpoint);
            assert!((1..=samples).all(|secs| handover.keep(&batch(secs, 1))));
        }
        Handover::new(dir.path(), "empty").forget(&at(1));
        assert_eq!(Handover::leftovers(dir.path(), &["stays"]), [("gone".to_owned(), 2)]);
        assert_eq!(Handover::leftovers(&dir.path().join("none"), &[]), []);
    }
}
