//! An outage of an hour: 240 samples of 111 posts wait on disk and come in their order, beside live
//! ones, and memory never holds them.
//!
//! The agent's side is a process of its own, so that what the peer writes down is not measured.

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use fastrand::Rng;
use nodetally::delivery::{Handle, Health, Statistics};
use nodetally::spool::{Batch, Spool};
use tokio::time::{Instant, sleep};

use super::peer::{Act, Peer, Seen, unused_addr, url};
use super::rig::{BOUNDS, NAME, Time, balanced, make, path, quick};

const SAMPLES: u64 = 240;
const PODS: u64 = 110;
const INTERVAL: Duration = Duration::from_secs(15);

/// Of the samples that are offered while the backlog is replayed.
const LIVE_FROM: u64 = 1000;
const LIVE_EVERY: Duration = Duration::from_millis(700);

/// The most resident memory beyond that of a few samples of a healthy day. The backlog is 18 MB.
/// In memory at one time are the sample in flight and four live ones of 75 kB, in parts more than
/// once, and SQLite's cache (256 kB). Program pages are left out.
const GROWTH_KIB_MAX: u64 = 6 << 10;

/// The peer's address, for the process that is the agent.
const PEER: &str = "NODETALLY_TEST_PEER";

/// 111 posts of some 670 bytes, which pack about as well as real ones.
fn posts(sequence: u64) -> Vec<(String, Bytes)> {
    let mut random = Rng::with_seed(sequence);
    let mut number = || random.u64(..100_000_000);
    let offered = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let names = (0..PODS).map(|pod| format!("pod-{pod}")).chain(["node".to_owned()]);
    let post = |name: String| {
        let mut body = format!("{sequence}-{name}-{offered} {{\"cpu_millicores\":{}", number());
        while body.len() < 640 {
            body +=
                &format!(",\"network\":{{\"rx_bytes\":{},\"tx_bytes\":{}}}", number(), number());
        }
        (path(&name), body.into())
    };
    names.map(post).collect()
}

/// The peak of resident memory less the pages of program files, which come in as code is used and are
/// more in a program of all tests than in the agent.
fn resident_max_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let figure = |key: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    };
    figure("VmHWM:").saturating_sub(figure("RssFile:"))
}

/// The process that is the agent; it says how far it is, and is told when to go on.
struct Agent {
    handle: Handle,
    time: Time,
}

impl Agent {
    fn offer(&self, sequence: u64) {
        self.handle.offer(Batch::new(self.time.now(), posts(sequence)), false);
    }

    async fn until(&self, what: &str, done: impl Fn(&Statistics) -> bool) -> Statistics {
        let begin = Instant::now();
        loop {
            let figures = balanced(self.handle.statistics(&self.time.now()));
            if done(&figures) {
                return figures;
            }
            assert!(begin.elapsed() < Duration::from_secs(120), "not {what}: {figures:?}");
            sleep(Duration::from_millis(3)).await;
        }
    }

    async fn be(peer: &str) {
        let addr: SocketAddr = peer.parse().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let queue = Spool::new(dir.path().to_owned()).queue(NAME, BOUNDS);
        let time = Time::new();
        let mut settings = quick(url(addr));
        settings.backoff_max = Duration::from_millis(200);
        let (handle, worker) = make(&settings, Some(queue), &time);
        tokio::spawn(worker.run());
        let agent = Self { handle, time };
        for sequence in 0..3 {
            agent.offer(sequence);
            agent.until("settled", |figures| figures.waiting_posts == 0).await;
        }
        let before = resident_max_kib();
        said_and_told("healthy").await;
        for sequence in 3..SAMPLES + 3 {
            agent.offer(sequence);
            // The next one comes 15 s later.
            agent.until("on disk", |figures| figures.in_memory_posts == 0).await;
            agent.time.put_forward(INTERVAL);
        }
        let figures = agent.until("down", |figures| figures.health == Health::Down).await;
        assert_eq!((figures.on_disk.samples, figures.dropped_posts.total()), (SAMPLES, 0));
        said_and_told("all is on disk").await;
        agent.until("back", |figures| figures.health != Health::Down).await;
        let mut sequence = LIVE_FROM;
        while agent.until("told", |_| true).await.waiting_posts > 0 {
            agent.offer(sequence);
            sequence += 1;
            sleep(LIVE_EVERY).await;
        }
        let figures = agent.until("at rest", |figures| figures.on_disk.samples == 0).await;
        assert_eq!(figures.dropped_posts.total(), 0, "{figures:?}");
        let growth = resident_max_kib() - before;
        assert!(growth < GROWTH_KIB_MAX, "{growth} KiB more are resident than the {before} before");
        println!("\nit grew by {growth} KiB from {before}, {} live ones", sequence - LIVE_FROM);
        said_and_told(&format!("offered {sequence}")).await;
    }
}

/// Says a line, behind a mark as others write to the output too, and waits to be told to go on.
async fn said_and_told(line: &str) {
    println!("\nagent: {line}");
    let wait = || std::io::stdin().read_line(&mut String::new()).unwrap();
    tokio::task::spawn_blocking(wait).await.unwrap();
}

/// The other side of it.
struct Lines {
    child: Child,
}

impl Lines {
    /// Waits for the agent's next line; what it was.
    async fn next(&mut self) -> String {
        let mut output = BufReader::with_capacity(1, self.child.stdout.take().unwrap());
        let read = move || {
            let mut line = String::new();
            while output.read_line(&mut line).unwrap() > 0 {
                if let Some(said) = line.strip_prefix("agent: ") {
                    return (output, Some(said.trim().to_owned()));
                }
                print!("{line}");
                line.clear();
            }
            (output, None)
        };
        let (output, said) = tokio::task::spawn_blocking(read).await.unwrap();
        self.child.stdout = Some(output.into_inner());
        said.unwrap_or_else(|| panic!("the agent has ended: {:?}", self.child.wait()))
    }

    fn go_on(&mut self) {
        writeln!(self.child.stdin.as_mut().unwrap()).unwrap();
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn number_of(body: &str) -> u64 {
    super::rig::sequence(body)
}

/// Of each live sample the time from its offer to its last post.
fn latencies(seen: &[Seen]) -> Vec<Duration> {
    let now = (Instant::now(), SystemTime::UNIX_EPOCH.elapsed().unwrap());
    let mut latest: BTreeMap<u64, Duration> = BTreeMap::new();
    for seen in seen.iter().filter(|seen| number_of(&seen.body) >= LIVE_FROM) {
        let head = seen.body.split_once(' ').unwrap().0;
        let offered: u64 = head.rsplit('-').next().unwrap().parse().unwrap();
        let at = now.1 - (now.0 - seen.at);
        let taken = at.saturating_sub(Duration::from_millis(offered));
        let latest = latest.entry(number_of(&seen.body)).or_default();
        *latest = taken.max(*latest);
    }
    let mut latencies: Vec<Duration> = latest.into_values().collect();
    latencies.sort();
    latencies
}

#[tokio::test]
async fn an_hours_outage_is_replayed_in_order_beside_live_samples_and_not_from_memory() {
    if let Ok(peer) = env::var(PEER) {
        return Agent::be(&peer).await;
    }
    let addr = unused_addr();
    let slow = |_: &_| Act::After(Duration::from_millis(5), "201 Created");
    let peer = Peer::start_at(addr, slow);
    let name = "delivery_faults::hour::an_hours_outage_is_replayed_in_order_beside_live_samples_and_not_from_memory";
    let child = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(PEER, addr.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut agent = Lines { child };
    assert_eq!(agent.next().await, "healthy");
    let mut seen = peer.stop().await;
    agent.go_on();
    let begin = Instant::now();
    assert_eq!(agent.next().await, "all is on disk");
    println!("an outage of {:?}", begin.elapsed());
    let begin = Instant::now();
    let peer = Peer::start_at(addr, slow);
    agent.go_on();
    let said = agent.next().await;
    let replayed = begin.elapsed();
    println!("replayed in {replayed:?}");
    let offered: u64 = said.strip_prefix("offered ").unwrap().parse().unwrap();
    assert!(peer.log().under_way_max <= 8, "{} at once", peer.log().under_way_max);
    assert!(peer.log().connections <= 9, "{} connections", peer.log().connections);
    seen.extend(peer.stop().await);
    agent.go_on();
    assert!(agent.child.wait().unwrap().success());

    let mut times: BTreeMap<(u64, &str), u32> = BTreeMap::new();
    for seen in seen.iter().filter(|seen| seen.taken) {
        *times.entry((number_of(&seen.body), &seen.path)).or_default() += 1;
    }
    let samples = SAMPLES + 3 + (offered - LIVE_FROM);
    assert_eq!(times.len() as u64, samples * (PODS + 1), "each post of each sample");
    assert!(times.values().all(|times| *times == 1), "and each of them once");
    let waited: Vec<u64> =
        seen.iter().map(|seen| number_of(&seen.body)).filter(|at| *at < LIVE_FROM).collect();
    assert!(waited.is_sorted(), "what waited comes in its order");
    let latencies = latencies(&seen);
    println!("live samples took {latencies:?}");
    assert!(latencies.len() >= 5, "the replay was over too soon: {latencies:?}");
    // A round of 111 posts of 5 ms, 8 at a time, takes 70 ms where nothing else is done, and all of the
    // replay some seconds; on a machine that is busy all takes longer alike. Behind the backlog half of
    // them would take half of the replay.
    let median_max = Duration::from_secs(1).max(replayed / 20);
    assert!(latencies[latencies.len() / 2] < median_max, "{latencies:?}");
    // One that came while nothing was answered for long is on disk, behind the others.
    let late_min = Duration::from_secs(4).max(replayed / 10);
    let late = latencies.iter().filter(|one| **one > late_min).count();
    assert!(late * 20 <= latencies.len(), "{latencies:?}");
}
