//! Batches, moments, and a queue whose calls are waited for.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use nodetally::identity::BootId;
use nodetally::quantity::{BootTime, WallTime};
use nodetally::spool::{
    Batch, Bounds, Lost, Moment, Queue, QueueContents, RowId, Spool, SpoolError,
};

pub const AMPLE: Bounds = bounds(256 << 20, 24 * 3600);

/// The wall clock of most tests, in seconds.
pub const WALL: u64 = 1_790_000_000;

pub const fn bounds(bytes_max: u64, age_max_secs: u64) -> Bounds {
    Bounds { bytes_max, age_max: Duration::from_secs(age_max_secs) }
}

pub fn moment(boot: u8, since_boot_secs: u64, wall_secs: u64) -> Moment {
    let id = format!("{boot:08x}-0000-4000-8000-000000000000");
    Moment {
        boot: BootId::parse(id.as_bytes()).unwrap(),
        since_boot: BootTime::from_nanos(since_boot_secs * 1_000_000_000),
        wall: WallTime::from_unix_millis(wall_secs * 1000),
    }
}

/// `secs` into the first boot.
pub fn at(secs: u64) -> Moment {
    moment(1, secs, WALL + secs)
}

/// Bytes that no packing makes smaller, the same ones for the same seed.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut noise = vec![0; bytes];
    fastrand::Rng::with_seed(seed).fill(&mut noise);
    noise
}

/// The `n`th sample, taken at second `n`, of so many posts of so many bytes.
pub fn batch(n: u64, posts: u64, body_bytes: usize) -> Batch {
    let post = |post| {
        let body = noise(n * 1000 + post, body_bytes);
        (format!("/api/namespaces/a/pods/pod-{post}/metrics"), Bytes::from(body))
    };
    Batch::new(at(n), (0..posts).map(post))
}

/// A keeper with one queue, and what its caller keeps of it.
pub struct Desk {
    pub spool: Spool,
    pub queue: Queue,
    pub path: PathBuf,
}

impl Desk {
    pub fn new(dir: &Path, bounds: Bounds) -> Self {
        let spool = Spool::new(dir.to_owned());
        let queue = spool.queue("central", bounds);
        Self { spool, queue, path: dir.join("central.spool") }
    }

    pub fn open(&self, now: Moment) -> Result<QueueContents, SpoolError> {
        wait(self.queue.open(now))
    }

    pub fn append(&self, batch: &Batch, now: Moment) -> Result<RowId, SpoolError> {
        wait(self.queue.append(batch, false, now))
    }

    pub fn next(&self, now: Moment) -> Result<Option<(RowId, Batch)>, SpoolError> {
        wait(self.queue.next(now))
    }

    pub fn release(&self, row: RowId) {
        wait(self.queue.release(row));
    }

    pub fn remove(&self, rows: &[RowId]) -> Result<(), SpoolError> {
        wait(self.queue.remove(rows))
    }

    pub fn rest(&self) {
        wait(self.queue.close_idle());
    }

    /// All batches that are in nobody's hands, from the oldest on.
    pub fn all(&self, now: Moment) -> Vec<(RowId, Batch)> {
        let all: Vec<_> = std::iter::from_fn(|| self.next(now).unwrap()).collect();
        all.iter().for_each(|(row, _)| self.release(*row));
        all
    }

    /// The numbers of the samples that are there, by the second at which they were taken.
    pub fn samples(&self, now: Moment) -> Vec<u64> {
        self.all(now).iter().map(|(_, batch)| sample(batch)).collect()
    }

    /// The file's bytes, and its journal's.
    pub fn disk_bytes(&self) -> u64 {
        let bytes = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
        bytes(&self.path) + bytes(&journal(&self.path))
    }
}

/// Of the queue in this file.
pub fn journal(path: &Path) -> PathBuf {
    let mut journal = path.as_os_str().to_owned();
    journal.push("-journal");
    journal.into()
}

pub fn sample(batch: &Batch) -> u64 {
    batch.sampled_at.since_boot.as_nanos() / 1_000_000_000
}

pub fn lost(full_posts: u64, old_posts: u64, damaged_posts: u64) -> Lost {
    Lost { full_posts, old_posts, damaged_posts }
}

pub fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}

/// The names in a directory, sorted.
pub fn names(dir: &Path) -> Vec<String> {
    let entry = |entry: std::io::Result<std::fs::DirEntry>| {
        entry.unwrap().file_name().into_string().unwrap()
    };
    let mut names: Vec<_> = std::fs::read_dir(dir).unwrap().map(entry).collect();
    names.sort();
    names
}

/// This program once more, running one test, which finds `dir` in the variable.
pub fn again(test: &str, variable: &str, dir: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(variable, dir);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
}
