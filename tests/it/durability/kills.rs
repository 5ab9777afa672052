//! Kills at random moments, under load, with an endpoint that is now well and now is not.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use fastrand::Rng;
use nodetally::delivery::{MergeBodies, StaleAction, StaleRule, Storage};
use nodetally::spool::{Batch, Journal, Spool};

use crate::durability::child::{self, BEGUN, Counters, DRAINED, OFFERED, Orders, POSTS, SEEN};
use crate::durability::peer::{Memory, Mood, Peer};
use crate::durability::worker::{BOUNDS, Clock, Running, boot, run, settings};
use crate::support::agent::{Agent, PATIENCE};
use crate::support::rounds::rounds;

/// Says its seed, and takes one from outside to do it once more.
pub fn random() -> Rng {
    let seed = match std::env::var("DURABILITY_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => fastrand::u64(..),
    };
    println!("DURABILITY_SEED={seed}");
    Rng::with_seed(seed)
}

fn mood(random: &mut Rng) -> Mood {
    match random.u8(0..10) {
        0..5 => Mood::Well,
        5 => Mood::Slow(Duration::from_millis(random.u64(5..60))),
        6 | 7 => Mood::Refusing,
        8 => Mood::Unavailable,
        _ => Mood::Silent,
    }
}

/// The lines of a child, as they come; it ends with the child.
fn lines(child: &mut Child) -> Receiver<String> {
    let output = child.stdout.take().unwrap();
    let (told, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if told.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn wait_for(lines: &Receiver<String>, what: &str, within: Duration) -> String {
    let end = Instant::now() + within;
    // What was seen tells more than that something was offered.
    let (mut last, mut seen) = (String::new(), String::new());
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) if line.starts_with(what) => return line,
            Ok(line) if line.starts_with(SEEN) => seen = line,
            Ok(line) => last = line,
            Err(RecvTimeoutError::Timeout) => {
                panic!("not within {within:?}: {what}: {last}, {seen}")
            }
            Err(RecvTimeoutError::Disconnected) => {
                panic!("ended before it said {what}: {last}, {seen}")
            }
        }
    }
}

/// One life: begun, and killed at some moment. The last sample that it had offered.
fn live(orders: &Orders<'_>, peer: &Peer, random: &mut Rng) -> Option<u64> {
    let mut child = Agent(child::start(orders));
    let lines = lines(&mut child.0);
    // Some do not get as far as to look what is on disk.
    let end = if random.u8(0..10) == 0 {
        Instant::now() + Duration::from_millis(random.u64(1..20))
    } else {
        wait_for(&lines, BEGUN, PATIENCE);
        Instant::now() + Duration::from_millis(random.u64(5..80))
    };
    while Instant::now() < end {
        let left = end.saturating_duration_since(Instant::now());
        thread::sleep(left.min(Duration::from_millis(random.u64(1..40))));
        if random.bool() {
            peer.set(mood(random));
        }
    }
    drop(child);
    lines.iter().filter_map(|line| line.strip_prefix(OFFERED)?.parse().ok()).last()
}

struct Lives {
    last: Counters,
    kills: u32,
    dropped_posts: u64,
}

/// Lets one child after the other live until it is killed, and the last until all is taken from it.
fn lives(kills: u32, adds_late: bool, dir: &Path, peer: &Peer, random: &mut Rng) -> Lives {
    fs::create_dir(dir.join("state")).unwrap();
    let url = peer.url();
    let orders = |seed, drains| Orders { dir, url: &url, seed, adds_late, drains };
    for _ in 0..kills {
        let offered = live(&orders(random.u64(..), false), peer, random);
        let counters = Counters::load(dir);
        if let Some(offered) = offered {
            let committed = counters.unwrap().samples;
            assert!(offered <= committed, "{offered} was offered, and {committed} counted");
        }
    }
    peer.set(Mood::Well);
    let mut child = Agent(child::start(&orders(random.u64(..), true)));
    let lines = lines(&mut child.0);
    let line = wait_for(&lines, DRAINED, PATIENCE);
    assert!(child.0.wait().unwrap().success());
    Lives {
        last: Counters::load(dir).unwrap(),
        kills,
        dropped_posts: line.strip_prefix(DRAINED).unwrap().parse().unwrap(),
    }
}

/// For each path the intervals that were told of, in their order, each as often as it was.
fn intervals(memory: &Memory) -> BTreeMap<&str, Vec<(u64, u64)>> {
    let mut told: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    for post in memory.posts.values() {
        let line = post.body.lines().next().unwrap();
        let of_path = told.entry(&post.path).or_default();
        of_path.extend(line.split(',').map(|interval| {
            let (from, to) = interval.split_once('-').unwrap();
            (from.parse::<u64>().unwrap(), to.parse::<u64>().unwrap())
        }));
    }
    told.values_mut().for_each(|intervals| intervals.sort_unstable());
    told
}

fn assert_nothing_is_left(dir: &Path) {
    let left: Vec<_> = ["state/handover/central", "spool"]
        .iter()
        .filter_map(|below| fs::read_dir(dir.join(below)).ok())
        .flatten()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_kill_at_any_moment_neither_loses_nor_doubles_what_was_counted() {
    let kills = rounds(50);
    let begun = Instant::now();
    let mut random = random();
    let dir = tempfile::tempdir().unwrap();
    let peer = Peer::start(Mood::Well);
    let lives = lives(kills, false, dir.path(), &peer, &mut random);
    let memory = peer.memory();
    println!(
        "{} kills in {:?}: {} samples, {} posts, {} of them more than once, {} turned away",
        lives.kills,
        begun.elapsed(),
        lives.last.samples,
        memory.posts.len(),
        memory.repeats,
        memory.turned_away,
    );
    assert_eq!(memory.contradictions, [""; 0]);
    assert_eq!(lives.dropped_posts, 0);
    let told = intervals(&memory);
    assert_eq!(told.len() as u64, POSTS);
    for (path, intervals) in told {
        let mut reached = lives.last.first;
        for (from, to) in &intervals {
            assert_eq!(*from, reached, "{path}: behind {reached} comes {from}-{to}");
            reached = *to;
        }
        assert_eq!(reached, lives.last.value, "{path}");
        let sum: u64 = intervals.iter().map(|(from, to)| to - from).sum();
        assert_eq!(sum, lives.last.value - lives.last.first, "{path}");
        assert_eq!(intervals.len() as u64, lives.last.samples - 1, "{path}");
    }
    assert_nothing_is_left(dir.path());
}

/// An unanswered post is not merged with others: a sum must not reuse its key.
#[test]
fn every_interval_arrives_once_over_kills_where_late_samples_are_added_up() {
    let kills = rounds(15);
    let mut random = random();
    let dir = tempfile::tempdir().unwrap();
    let peer = Peer::start(Mood::Well);
    let lives = lives(kills, true, dir.path(), &peer, &mut random);
    let memory = peer.memory();
    assert_eq!(memory.contradictions, [""; 0]);
    assert_eq!(lives.dropped_posts, 0);
    for (path, intervals) in intervals(&memory) {
        let mut reached = lives.last.first;
        for (from, to) in intervals {
            assert_eq!(from, reached, "{path}: behind {reached} comes {from}-{to}");
            reached = to;
        }
        assert_eq!(reached, lives.last.value, "{path}");
    }
    let added = memory.posts.values().filter(|post| post.body.contains(',')).count();
    assert!(added > 0, "nothing was late");
    println!(
        "{} kills: {} samples, {added} sums, {} posts more than once",
        lives.kills, lives.last.samples, memory.repeats
    );
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Disk,
    BesideTheCounters,
}

/// A worker over this directory, which adds late samples up and waits up to `backoff` after a failure; all
/// that runs here ends with its runtime, and writes nothing down at that, as in a kill.
fn worker(dir: &Path, place: Place, peer: &Peer, clock: &Clock, backoff: Duration) -> Running {
    let mut settings = settings(&peer.url());
    (settings.backoff_base, settings.backoff_max) = (backoff, backoff);
    settings.stale = Some(StaleRule {
        after: Duration::from_secs(60),
        then: StaleAction::Add(MergeBodies(child::add)),
    });
    let places = match place {
        Place::Disk => Storage {
            queue: Some(Spool::new(dir.join("spool")).queue("central", BOUNDS)),
            journal: None,
        },
        Place::BesideTheCounters => {
            Storage { queue: None, journal: Some(Journal::new(&dir.join("state"), "central")) }
        }
    };
    let running = Running::over(settings, places, clock);
    running.handle.recover(&clock.now(), None);
    running
}

#[test]
fn what_was_sent_when_the_kill_came_is_recognised_and_added_to_nothing() {
    for place in [Place::Disk, Place::BesideTheCounters] {
        let dir = tempfile::tempdir().unwrap();
        let clock = Clock::at(boot(1), 1000, 1_000_000);
        let batch = |number: u64| {
            clock.pass(Duration::from_secs(1));
            Batch::new(clock.now(), [("/sample".to_owned(), format!("{number}\n").into())])
        };
        let batches = [batch(0), batch(1), batch(2)];
        run(async {
            let queue = Spool::new(dir.path().join("spool")).queue("central", BOUNDS);
            let journal = Journal::new(&dir.path().join("state"), "central");
            for batch in batches {
                match place {
                    Place::Disk => drop(queue.append(&batch, false, clock.now()).await.unwrap()),
                    Place::BesideTheCounters => assert!(journal.write_batch(&batch)),
                }
            }
        });
        let peer = Peer::start(Mood::Silent);
        run(async {
            // The next try, with another post, is not to come before the kill, however busy the machine is.
            let running = worker(dir.path(), place, &peer, &clock, PATIENCE);
            running.until("lost", |figures| figures.unanswered > 0).await;
        });
        assert_eq!(peer.memory().order, ["0\n"], "{place:?}");
        clock.pass(Duration::from_secs(100));
        peer.set(Mood::Well);
        run(async {
            let running = worker(dir.path(), place, &peer, &clock, Duration::from_millis(10));
            let figures = running.until("sent", |figures| figures.accepted_posts > 1).await;
            let figures = match figures.waiting_posts {
                0 => figures,
                _ => running.until("all sent", |figures| figures.waiting_posts == 0).await,
            };
            assert_eq!((figures.accepted_posts, figures.merged_posts), (2, 1), "{figures:?}");
        });
        let memory = peer.memory();
        assert_eq!(memory.order, ["0\n", "1,2"], "{place:?}");
        assert!(memory.repeats > 0, "{place:?}");
    }
}
