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

use crate::agent::{Agent, PATIENCE};
use crate::child::{self, BEGUN, Counters, DRAINED, OFFERED, Orders, POSTS, SEEN};
use crate::peer::{Memory, Mood, Peer};

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
    const KILLS: u32 = 220;
    let begun = Instant::now();
    let mut random = random();
    let dir = tempfile::tempdir().unwrap();
    let peer = Peer::start(Mood::Well);
    let lives = lives(KILLS, false, dir.path(), &peer, &mut random);
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

/// What was sent and not answered before it was added to what came later may count twice: a sum has no
/// other's key. But nothing is missing.
#[test]
fn every_interval_arrives_over_kills_where_late_samples_are_added_up() {
    const KILLS: u32 = 40;
    let mut random = random();
    let dir = tempfile::tempdir().unwrap();
    let peer = Peer::start(Mood::Well);
    let lives = lives(KILLS, true, dir.path(), &peer, &mut random);
    let memory = peer.memory();
    assert_eq!(memory.contradictions, [""; 0]);
    assert_eq!(lives.dropped_posts, 0);
    let mut sums = 0;
    for (path, mut intervals) in intervals(&memory) {
        let told = intervals.len();
        intervals.dedup();
        sums += told - intervals.len();
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
        "{} kills: {} samples, {added} sums, {sums} intervals more than once",
        lives.kills, lives.last.samples
    );
}
