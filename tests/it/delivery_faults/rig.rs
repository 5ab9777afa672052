//! An endpoint under test, what it was offered, and the judge who holds that against what the peer
//! took and what was counted.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use nodetally::delivery::{
    self, BaseUrl, DeliverySettings, Handle, Health, MomentClock, Statistics, Storage, Worker,
};
use nodetally::identity::BootId;
use nodetally::quantity::{BootTime, WallTime};
use nodetally::spool::{Batch, Bounds, Moment, Queue, Spool};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::peer::{Peer, Seen, takes};

/// Where what waits is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    Disk,
    Memory,
}

pub const BOTH: [Store; 2] = [Store::Disk, Store::Memory];

/// Each with a peer and an endpoint of its own, side by side.
pub async fn on_both<T>(test: impl AsyncFn(Store) -> T) -> [T; 2] {
    let (disk, memory) = tokio::join!(test(Store::Disk), test(Store::Memory));
    [disk, memory]
}

pub const BOUNDS: Bounds =
    Bounds { bytes_max: 256 << 20, age_max: Duration::from_secs(24 * 60 * 60) };

/// Longer than anything here takes where nothing else is asked for, on a machine that is busy.
pub const LONG: Duration = Duration::from_secs(180);

pub const NAME: &str = "central";

const BEGIN_NANOS: u64 = 1_000_000_000_000;

/// A clock that runs, and can be put forward.
#[derive(Debug, Clone)]
pub struct Time {
    begun: Instant,
    ahead_nanos: Arc<AtomicU64>,
}

impl Time {
    pub fn new() -> Self {
        Self { begun: Instant::now(), ahead_nanos: Arc::default() }
    }

    pub fn now(&self) -> Moment {
        let ahead = Duration::from_nanos(self.ahead_nanos.load(Ordering::Relaxed));
        let since = self.begun.elapsed() + ahead;
        Moment {
            boot: BootId::parse(b"dcb0aa66-4b28-4a3b-b26c-358f9a3b5bb2").unwrap(),
            since_boot: BootTime::from_nanos(BEGIN_NANOS).plus(since),
            wall: WallTime::from_unix_millis(
                1_790_000_000_000 + u64::try_from(since.as_millis()).unwrap(),
            ),
        }
    }

    pub fn put_forward(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap();
        self.ahead_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    fn clock(&self) -> MomentClock {
        let time = self.clone();
        Arc::new(move || time.now())
    }
}

/// Quick to try again, and slow to find anything slow.
pub fn quick(url: BaseUrl) -> DeliverySettings {
    let mut settings = DeliverySettings::new(NAME, url, 1);
    settings.backoff_base = Duration::from_millis(20);
    settings.backoff_max = Duration::from_millis(40);
    settings
}

#[derive(Debug)]
pub struct Rig {
    pub handle: Handle,
    worker: JoinHandle<()>,
    pub time: Time,
    pub settings: DeliverySettings,
    dir: Option<(TempDir, Spool)>,
    pub bounds: Bounds,
    /// By key.
    offered: Mutex<BTreeMap<String, Bytes>>,
    last_nanos: AtomicU64,
    /// Of the endpoints before this one.
    dropped_before: u64,
}

impl Rig {
    pub fn start(settings: DeliverySettings, store: Store) -> Self {
        Self::start_within(settings, store, BOUNDS)
    }

    pub fn start_within(settings: DeliverySettings, store: Store, bounds: Bounds) -> Self {
        let dir = (store == Store::Disk).then(|| tempfile::tempdir().unwrap());
        Self::start_over(settings, dir, bounds)
    }

    /// Over what is in this directory.
    pub fn start_over(settings: DeliverySettings, dir: Option<TempDir>, bounds: Bounds) -> Self {
        let dir = dir.map(|dir| {
            let keeper = Spool::new(spool_in(&dir));
            (dir, keeper)
        });
        let time = Time::new();
        let (handle, worker) = endpoint(&settings, dir.as_ref(), bounds, &time);
        let worker = tokio::spawn(worker.run());
        let (offered, last_nanos) = (Mutex::default(), AtomicU64::new(0));
        Self { handle, worker, time, settings, dir, bounds, offered, last_nanos, dropped_before: 0 }
    }

    /// The file of its queue.
    pub fn file(&self) -> Option<PathBuf> {
        let (dir, _) = self.dir.as_ref()?;
        Some(spool_in(dir).join(format!("{NAME}.spool")))
    }

    /// A sample of now, with posts of these names.
    pub fn offer(&self, sequence: u64, names: &[&str]) {
        let post = |name: &&str| (path(name), Bytes::from(format!("{sequence}-{name}")));
        self.offer_posts(names.iter().map(post).collect());
    }

    pub fn offer_posts(&self, posts: Vec<(String, Bytes)>) {
        let mut taken = self.time.now();
        let nanos = taken.since_boot.as_nanos().max(self.last_nanos.load(Ordering::Relaxed) + 1);
        self.last_nanos.store(nanos, Ordering::Relaxed);
        taken.since_boot = BootTime::from_nanos(nanos);
        let batch = Batch::new(taken, posts);
        let mut offered = self.offered.lock().unwrap();
        for post in &batch.posts {
            let boot = taken.boot;
            let key = format!("\"{boot}:{NAME}:{nanos}:{}\"", post.part);
            offered.insert(key, post.body.clone());
        }
        drop(offered);
        self.handle.offer(batch, false);
    }

    /// The number of samples on disk that the worker has leased.
    pub fn leased(&self) -> u64 {
        let (_, keeper) = self.dir.as_ref().unwrap();
        keeper.queue(NAME, self.bounds).contents().leased
    }

    /// The figures, which must be balanced whenever somebody looks.
    pub fn figures(&self) -> Statistics {
        balanced(self.handle.statistics(&self.time.now()))
    }

    /// Waits until the figures are as wanted; fails with them otherwise.
    pub async fn until(&self, what: &str, done: impl Fn(&Statistics) -> bool) -> Statistics {
        let begin = Instant::now();
        loop {
            let figures = self.figures();
            if done(&figures) {
                return figures;
            }
            assert!(begin.elapsed() < LONG, "not {what}: {figures:?}");
            sleep(Duration::from_millis(2)).await;
        }
    }

    pub async fn until_settled(&self) -> Statistics {
        // The last of them is removed from the disk a little later than it is counted.
        let is_settled =
            |figures: &Statistics| figures.waiting_posts == 0 && figures.waiting_samples() == 0;
        self.until("settled", is_settled).await
    }

    /// Flushes the queue and starts another endpoint on the unacknowledged posts, as a reload
    /// does.
    pub async fn reload(&mut self, settings: DeliverySettings, time_to_flush: Duration) {
        let (handle, worker) = endpoint(&settings, self.dir.as_ref(), self.bounds, &self.time);
        let before = std::mem::replace(&mut self.handle, handle);
        let fresh = before.flush(Instant::now() + time_to_flush).await;
        // A busy machine may hold the worker up for longer than a flush waits for what it has in flight.
        (&mut self.worker).await.unwrap();
        let mut left = before.flush(Instant::now()).await;
        left.extend(fresh);
        let figures = before.statistics(&self.time.now());
        let left_posts: usize = left.iter().map(|batch| batch.posts.len()).sum();
        let accounted = accounted(&figures) + left_posts as u64;
        assert_eq!(figures.offered_posts + figures.recovered_posts, accounted, "{figures:?}");
        assert_eq!(figures.waiting_posts, figures.on_disk.posts, "{figures:?}");
        self.dropped_before += figures.dropped_posts.total();
        self.handle.prepend(left, true);
        self.worker = tokio::spawn(worker.run());
        let wanted = figures.on_disk.posts;
        self.until("opened", |now| now.recovered_posts == wanted || now.accepted_posts > 0).await;
        self.settings = settings;
    }

    /// Lets all of it come to an end, and judges it: each post was taken or counted as dropped, none
    /// came twice but where its answer was lost, none came under another's key, and nothing is on
    /// disk.
    pub async fn end(&self, peer: &Peer) -> Statistics {
        self.come_to_rest().await;
        let seen = peer.log().seen.clone();
        self.judge(&seen, false)
    }

    /// Until nothing waits and what is offered is taken promptly, which leaves no file behind.
    pub async fn come_to_rest(&self) {
        self.until_settled().await;
        if let Some(file) = self.file() {
            let begin = Instant::now();
            while self.figures().health != Health::Healthy || file.exists() {
                assert!(
                    begin.elapsed() < LONG,
                    "{} is there: {:?}",
                    file.display(),
                    self.figures()
                );
                self.offer(999_999, &["last"]);
                self.until_settled().await;
                sleep(Duration::from_millis(20)).await;
            }
        }
    }

    pub fn judge(&self, seen: &[Seen], any_may_repeat: bool) -> Statistics {
        let figures = self.figures();
        assert_eq!(figures.waiting_posts, 0, "{figures:?}");
        assert_eq!((figures.in_memory_samples, figures.in_memory_posts), (0, 0), "{figures:?}");
        assert_eq!((figures.in_memory_bytes, figures.on_disk.samples), (0, 0), "{figures:?}");
        assert_eq!(figures.spool_error, None);
        let offered = self.offered.lock().unwrap();
        for seen in seen {
            let known = offered.get(&seen.key);
            let known = known.unwrap_or_else(|| panic!("nobody offered {seen:?}"));
            assert_eq!(*known, seen.body, "two bodies under {}", seen.key);
        }
        let takes = takes(seen);
        let missing: Vec<_> = offered.keys().filter(|key| !takes.contains_key(*key)).collect();
        let dropped = figures.dropped_posts.total() + self.dropped_before;
        // What was taken and not told may be counted as dropped as well.
        let untold = seen.iter().filter(|seen| seen.taken && !seen.told).count() as u64;
        let missing_posts = missing.len() as u64;
        assert!(
            missing_posts <= dropped && dropped <= missing_posts + untold,
            "{dropped} were dropped, and these are missing: {missing:?}; {figures:?}"
        );
        // Who waits for a moment only may have stopped listening on a busy machine.
        let mut unheard = match self.settings.request_timeout < Duration::from_secs(5) {
            true => figures.unanswered,
            false => 0,
        };
        for (key, times) in takes {
            let untold = seen.iter().filter(|seen| seen.key == key && seen.taken && !seen.told);
            let repeats = times.saturating_sub(1 + untold.count()) as u64;
            let is_explained = any_may_repeat || repeats <= unheard;
            assert!(is_explained, "{key} was taken {times} times: {figures:?}");
            unheard = unheard.saturating_sub(repeats);
        }
        figures
    }
}

/// Where the queue of an endpoint lies.
pub fn spool_in(dir: &TempDir) -> PathBuf {
    dir.path().join("spool")
}

fn endpoint(
    settings: &DeliverySettings,
    dir: Option<&(TempDir, Spool)>,
    bounds: Bounds,
    time: &Time,
) -> (Handle, Worker) {
    make(settings, dir.map(|(_, keeper)| keeper.queue(NAME, bounds)), time)
}

pub fn make(settings: &DeliverySettings, queue: Option<Queue>, time: &Time) -> (Handle, Worker) {
    let places = Storage { queue, journal: None };
    delivery::endpoint(settings.clone(), places, time.clock()).unwrap()
}

fn accounted(figures: &Statistics) -> u64 {
    figures.accepted_posts
        + figures.dropped_posts.total()
        + figures.merged_posts
        + figures.waiting_posts
}

pub fn balanced(figures: Statistics) -> Statistics {
    let came = figures.offered_posts + figures.recovered_posts;
    assert_eq!(came, accounted(&figures), "{figures:?}");
    figures
}

pub fn path(name: &str) -> String {
    format!("/api/nodes/{name}/metrics")
}

/// The number of the sample that a body is of.
pub fn sequence(body: &str) -> u64 {
    body.split_once('-').unwrap().0.parse().unwrap()
}

/// The bytes of all files in the directory of a queue's file.
pub fn bytes_beside(file: &std::path::Path) -> u64 {
    let Ok(entries) = fs::read_dir(file.parent().unwrap()) else { return 0 };
    entries.flatten().filter_map(|entry| Some(entry.metadata().ok()?.len())).sum()
}
