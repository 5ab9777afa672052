//! A worker in this process, over a queue on disk.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use nodetally::delivery::{self, BaseUrl, DeliverySettings, Handle, Statistics, Storage};
use nodetally::identity::BootId;
use nodetally::quantity::{BootTime, WallTime};
use nodetally::spool::{Batch, Bounds, Moment, Spool};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::support::agent::PATIENCE;

pub const BOUNDS: Bounds = Bounds { bytes_max: 64 << 20, age_max: Duration::from_secs(3600) };

pub fn boot(number: u8) -> BootId {
    BootId::parse(format!("{number:08x}-0000-4000-8000-000000000000").as_bytes()).unwrap()
}

/// A clock that a test sets.
#[derive(Clone)]
pub struct Clock(Arc<Mutex<Moment>>);

impl Clock {
    pub fn at(boot: BootId, since_boot_secs: u64, wall_secs: u64) -> Self {
        Self(Arc::new(Mutex::new(Moment {
            boot,
            since_boot: BootTime::from_nanos(since_boot_secs * 1_000_000_000),
            wall: WallTime::from_unix_millis(wall_secs * 1000),
        })))
    }

    pub fn now(&self) -> Moment {
        *self.0.lock().unwrap()
    }

    pub fn pass(&self, time: Duration) {
        let mut now = self.0.lock().unwrap();
        let millis = u64::try_from(time.as_millis()).unwrap();
        now.since_boot = now.since_boot.plus(time);
        now.wall = WallTime::from_unix_millis(now.wall.as_unix_millis() + millis);
    }

    /// As somebody does who sets it.
    pub fn set_wall(&self, secs: u64) {
        self.0.lock().unwrap().wall = WallTime::from_unix_millis(secs * 1000);
    }
}

pub fn settings(url: &str) -> DeliverySettings {
    let mut settings = DeliverySettings::new("central", BaseUrl::parse(url).unwrap(), 1);
    settings.backoff_base = Duration::from_millis(10);
    settings.backoff_max = Duration::from_millis(50);
    settings.age_max = BOUNDS.age_max;
    settings
}

/// It runs until the runtime ends.
pub struct Running {
    pub handle: Handle,
    clock: Clock,
    pub task: JoinHandle<()>,
}

impl Running {
    pub fn start(settings: DeliverySettings, spool: &Spool, clock: &Clock) -> Self {
        let queue = spool.queue("central", BOUNDS);
        Self::over(settings, Storage { queue: Some(queue), journal: None }, clock)
    }

    /// The worker begins with the next wait.
    pub fn over(settings: DeliverySettings, places: Storage, clock: &Clock) -> Self {
        let told = clock.clone();
        let (handle, worker) =
            delivery::endpoint(settings, places, Arc::new(move || told.now())).unwrap();
        Self { handle, clock: clock.clone(), task: tokio::spawn(worker.run()) }
    }

    pub fn figures(&self) -> Statistics {
        self.handle.statistics(&self.clock.now())
    }

    /// A sample of now, with one post of this body.
    pub fn offer(&self, body: impl Into<Bytes>) {
        self.clock.pass(Duration::from_millis(1));
        let batch = Batch::new(self.clock.now(), [("/sample".to_owned(), body.into())]);
        self.handle.offer(batch, false);
    }

    pub async fn until(&self, what: &str, done: impl Fn(&Statistics) -> bool) -> Statistics {
        let begin = Instant::now();
        loop {
            let figures = self.figures();
            let accounted = figures.accepted_posts
                + figures.dropped_posts.total()
                + figures.merged_posts
                + figures.waiting_posts;
            assert_eq!(figures.offered_posts + figures.recovered_posts, accounted, "{figures:?}");
            if done(&figures) {
                return figures;
            }
            assert!(begin.elapsed() < PATIENCE, "not {what}: {figures:?}");
            sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Runs on this thread alone, so that what is logged and mounted here is seen.
pub fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}
