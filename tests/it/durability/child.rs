//! The process that is killed: it does with a counter what the agent does with the kernel's, in the
//! same order, against an endpoint with a queue on disk.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use fastrand::Rng;
use nodetally::clock;
use nodetally::delivery::{
    self, BaseUrl, DeliverySettings, Handle, MergeBodies, StaleAction, StaleRule, Storage,
};
use nodetally::identity::BootId;
use nodetally::quantity::BootTime;
use nodetally::spool::{Batch, Bounds, Journal, Moment, Spool};
use tokio::time::sleep;

use crate::support::agent::PATIENCE;

/// The arguments that a child gets from its parent.
pub struct Orders<'a> {
    pub dir: &'a Path,
    pub url: &'a str,
    pub seed: u64,
    /// Late samples are added up, which they are very soon.
    pub adds_late: bool,
    /// It samples slowly, and ends once everything has been taken from it.
    pub drains: bool,
}

const DIR: &str = "DURABILITY_DIR";
const URL: &str = "DURABILITY_URL";
const SEED: &str = "DURABILITY_CHILD_SEED";
const ADDS_LATE: &str = "DURABILITY_ADDS_LATE";
const DRAINS: &str = "DURABILITY_DRAINS";

pub fn start(orders: &Orders<'_>) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "durability::child::samples_until_it_is_killed", "--nocapture"])
        .env(DIR, orders.dir)
        .env(URL, orders.url)
        .env(SEED, orders.seed.to_string())
        .env(ADDS_LATE, orders.adds_late.to_string())
        .env(DRAINS, orders.drains.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Said when the queue is open, behind each offer, now and then in a drain, and at its end with the posts
/// dropped.
pub const BEGUN: &str = "begun";
pub const OFFERED: &str = "offered ";
pub const SEEN: &str = "seen ";
pub const DRAINED: &str = "drained, dropped ";

fn say(line: &str) {
    // Past what the test harness captures; a line that is cut by the kill is passed over.
    let _ = io::stdout().lock().write_all(format!("{line}\n").as_bytes());
}

/// The stand-in for the state file: the number of samples, the counter at the first and the last
/// of them, and the end time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counters {
    pub samples: u64,
    pub first: u64,
    pub value: u64,
    ended_at: BootTime,
}

impl Counters {
    pub fn load(dir: &Path) -> Option<Self> {
        let text = fs::read_to_string(dir.join("state/counters")).ok()?;
        let mut numbers = text.split(' ').map(|number| number.parse().unwrap());
        let mut next = || numbers.next().unwrap();
        let (samples, first, value) = (next(), next(), next());
        Some(Self { samples, first, value, ended_at: BootTime::from_nanos(next()) })
    }

    fn save(self, dir: &Path) {
        let next = dir.join("state/counters.new");
        let Self { samples, first, value, ended_at } = self;
        fs::write(&next, format!("{samples} {first} {value} {}", ended_at.as_nanos())).unwrap();
        fs::rename(&next, dir.join("state/counters")).unwrap();
    }
}

/// It moves all the time, whoever looks.
fn counter() -> u64 {
    clock::boot_time().as_nanos()
}

fn boot() -> BootId {
    let text = fs::read("/proc/sys/kernel/random/boot_id").unwrap();
    BootId::parse(text.trim_ascii_end()).unwrap()
}

pub const POSTS: u64 = 4;

/// Each post tells of the whole interval, behind it something to carry.
fn batch(taken: Moment, from: u64, to: u64, random: &mut Rng) -> Batch {
    let post = |number| {
        let padding = random.alphanumeric().to_string().repeat(random.usize(200..3000));
        (format!("/posts/{number}"), Bytes::from(format!("{from}-{to}\n{padding}")))
    };
    Batch::new(taken, (0..POSTS).map(post).collect::<Vec<_>>())
}

/// The intervals of both.
pub fn add(older: &[u8], newer: &[u8]) -> Option<Bytes> {
    let intervals = |body: &[u8]| Some(std::str::from_utf8(body).ok()?.lines().next()?.to_owned());
    Some(format!("{},{}", intervals(older)?, intervals(newer)?).into())
}

fn settings(url: &str, seed: u64, adds_late: bool) -> DeliverySettings {
    let mut settings = DeliverySettings::new("central", BaseUrl::parse(url).unwrap(), seed);
    settings.queue_bytes_max = 256 << 20;
    settings.queue_samples_max = 100_000;
    settings.prompt = Duration::from_millis(20);
    settings.concurrency_max = 4;
    settings.request_timeout = Duration::from_millis(500);
    settings.backoff_base = Duration::from_millis(4);
    settings.backoff_max = Duration::from_millis(20);
    settings.tries_max = u32::MAX;
    settings.stale = adds_late.then_some(StaleRule {
        after: Duration::from_millis(100),
        then: StaleAction::Add(MergeBodies(add)),
    });
    settings
}

/// One sample, as `runtime/sampling.rs` takes it.
fn sample(dir: &Path, handle: &Handle, boot: BootId, random: &mut Rng) {
    let last = Counters::load(dir);
    let taken = clock::moment(boot);
    let value = counter();
    let next = Counters {
        samples: last.map_or(0, |last| last.samples) + 1,
        first: last.map_or(value, |last| last.first),
        value,
        ended_at: clock::boot_time(),
    };
    let batch = last.map(|last| batch(taken, last.value, value, random));
    let in_journal = batch.as_ref().is_some_and(|batch| handle.journal(batch));
    assert!(in_journal || batch.is_none(), "not handed over");
    next.save(dir);
    if let Some(batch) = batch {
        handle.offer(batch, in_journal);
        say(&format!("{OFFERED}{}", next.samples));
    }
}

#[test]
fn samples_until_it_is_killed() {
    if std::env::var_os(DIR).is_none() {
        println!("not tried: nobody has started it to be killed");
        return;
    }
    let order = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let dir = PathBuf::from(order(DIR));
    let seed: u64 = order(SEED).parse().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let boot = boot();
        let bounds = Bounds { bytes_max: 1 << 30, age_max: Duration::from_secs(86_400) };
        let journal = Journal::new(&dir.join("state/handover"), "central");
        let places = Storage {
            queue: Some(Spool::new(dir.join("spool")).queue("central", bounds)),
            journal: Some(journal),
        };
        let mut settings = settings(&order(URL), seed, order(ADDS_LATE) == "true");
        if order(DRAINS) == "true" {
            settings.prompt = PATIENCE;
        }
        let now: delivery::MomentClock = Arc::new(move || clock::moment(boot));
        let (handle, worker) = delivery::endpoint(settings, places, now).unwrap();
        let counted_until = Counters::load(&dir).map(|counters| counters.ended_at);
        handle.recover(&clock::moment(boot), counted_until);
        let worker = tokio::spawn(worker.run());
        say(BEGUN);
        let mut random = Rng::with_seed(seed);
        if order(DRAINS) == "true" {
            drain(&handle, boot, &dir, &mut random).await;
            return;
        }
        thread::spawn(move || {
            loop {
                sample(&dir, &handle, boot, &mut random);
                thread::sleep(Duration::from_micros(random.u64(800..2500)));
            }
        });
        worker.await.unwrap();
    });
}

/// Ends once nothing waits, and what the queue on disk needs no longer is tidied up: which is not before
/// the endpoint has taken something promptly, so there is to be something, but never more than that.
async fn drain(handle: &Handle, boot: BootId, dir: &Path, random: &mut Rng) {
    let spool = dir.join("spool");
    let files = || -> Vec<_> {
        let entries = fs::read_dir(&spool).into_iter().flatten();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    sample(dir, handle, boot, random);
    for polls in 1_u64.. {
        sleep(Duration::from_millis(10)).await;
        let told = handle.statistics(&clock::moment(boot));
        assert_eq!(
            told.offered_posts + told.recovered_posts,
            told.accepted_posts
                + told.dropped_posts.total()
                + told.merged_posts
                + told.waiting_posts,
            "{told:?}"
        );
        if polls % 100 == 0 {
            say(&format!("{SEEN}{:?} in {told:?}", files()));
        }
        // What is on disk is known once something was sent.
        if told.accepted_posts == 0 || told.waiting_posts > 0 {
            continue;
        }
        if files().is_empty() {
            say(&format!("{DRAINED}{}", told.dropped_posts.total()));
            return;
        }
        if polls % 20 == 0 {
            sample(dir, handle, boot, random);
        }
    }
}
