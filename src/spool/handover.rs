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

/// No batch is larger; what is has not been written here.
const FILE_BYTES_MAX: u64 = 64 << 20;

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
        let beside = path.with_extension("new");
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
        let mut batches = Vec::new();
        for path in files(&self.dir) {
            let batch = read(&path).and_then(|bytes| record::decode(&bytes).ok());
            let is_counted = |batch: &Batch| {
                batch.taken.boot != now.boot
                    || counted_until.is_none_or(|until| batch.taken.since_boot <= until)
            };
            match batch {
                // Only what lies where it would be forgotten.
                Some(batch) if self.path(&batch.taken) == path && is_counted(&batch) => {
                    batches.push(batch);
                }
                _ => remove(&path),
            }
        }
        batches.sort_by_key(|batch| (batch.taken.boot == now.boot, batch.taken.since_boot));
        batches
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
fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

fn remove(path: &Path) {
    // What is not there need not be removed; what cannot be is sent once more, and recognised.
    let _ = fs::remove_file(path);
}
