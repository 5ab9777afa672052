//! Restarts and reloads while samples wait on disk.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;
use nodetally::delivery::Storage;
use nodetally::spool::{Batch, Journal, Spool};

use crate::durability::peer::{Mood, Peer};
use crate::durability::stage::{Stage, node_posts, stop, written};
use crate::durability::worker::{BOUNDS, Clock, Running, boot, run, settings};
use crate::support::agent::{Agent, eventually};
use crate::support::log_lines::listen;

/// True if the file holds rows: an empty queue has three pages.
fn holds_something(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|metadata| metadata.len() > 3 * 4096)
}

/// Runs over an endpoint that is down until samples of some written sectors are on disk.
pub fn leave_something(stage: &Stage, sectors: u64) -> Agent {
    let agent = stage.start();
    stage.wait_for_log("is not answering");
    stage.host.write_sectors("sda", sectors);
    // Two samples from here on: the second was begun behind the change.
    let counters = || fs::read(stage.path("state/counters.json")).unwrap();
    for _ in 0..2 {
        let before = counters();
        eventually("a sample", || (counters() != before).then_some(()));
    }
    eventually("a spool", || holds_something(&stage.spool_file("central")).then_some(()));
    agent
}

#[test]
fn what_waits_when_the_agent_stops_is_on_disk_and_sent_by_the_next() {
    let stage = Stage::new();
    let peer = Peer::start(Mood::Refusing);
    stage.configure(&[("central", &peer.url(), "")]);
    let agent = leave_something(&stage, 300);
    assert!(stop(agent).success());
    assert!(stage.spool_file("central").exists());
    assert_eq!(stage.count_in_log("samples wait on disk until the next start"), 1);
    let on_their_way = fs::read_dir(stage.path("state/handover/central")).unwrap().count();
    assert_eq!(on_their_way, 0, "they are on disk, and need no other file");

    peer.set(Mood::Well);
    let agent = stage.start();
    stage.wait_for_log("samples of an earlier run are on disk; this backlog is sent");
    eventually("what waited", || (written(&peer) == 300 * 512).then_some(()));
    eventually("an empty spool", || (!stage.spool_file("central").exists()).then_some(()));
    assert!(stop(agent).success());
    assert_eq!(written(&peer), 300 * 512);
    assert_eq!(stage.count_in_log("could not be sent"), 0, "{}", stage.log());
}

#[test]
fn what_waits_goes_to_the_endpoints_new_url_after_a_reload() {
    let stage = Stage::new();
    let (before, now) = (Peer::start(Mood::Refusing), Peer::start(Mood::Well));
    stage.configure(&[("central", &before.url(), "")]);
    let agent = leave_something(&stage, 300);
    stage.configure(&[("central", &now.url(), "")]);
    agent.signal(Signal::SIGHUP);
    eventually("what waited", || (written(&now) == 300 * 512).then_some(()));
    assert!(stop(agent).success());
    assert_eq!(written(&now), 300 * 512);
    assert!(node_posts(&before).is_empty());
}

#[test]
fn what_waits_for_an_endpoint_that_is_taken_out_stays_and_is_said_until_it_comes_again() {
    let stage = Stage::new();
    let (gone, other) = (Peer::start(Mood::Refusing), Peer::start(Mood::Well));
    stage.configure(&[("central", &gone.url(), "")]);
    let agent = leave_something(&stage, 300);
    stage.configure(&[("other", &other.url(), "")]);
    agent.signal(Signal::SIGHUP);
    stage.wait_for_log("samples wait on disk until an endpoint of that name is configured");
    assert!(stop(agent).success());
    assert!(stage.spool_file("central").exists());

    let agent = stage.start();
    stage.wait_for_log("the backlog in central.spool");
    eventually("a post", || (!node_posts(&other).is_empty()).then_some(()));
    assert!(stop(agent).success());

    gone.set(Mood::Well);
    stage.configure(&[("central", &gone.url(), "")]);
    let agent = stage.start();
    eventually("what waited", || (written(&gone) >= 300 * 512).then_some(()));
    assert!(stop(agent).success());
    assert_eq!(stage.count_in_log("is not sent"), 1, "{}", stage.log());
}

#[test]
fn a_damaged_spool_is_set_aside_at_the_start_and_the_agent_runs() {
    let stage = Stage::new();
    let peer = Peer::start(Mood::Well);
    stage.configure(&[("central", &peer.url(), "")]);
    fs::create_dir(stage.path("spool")).unwrap();
    fs::write(stage.spool_file("central"), "not a database, and longer than nothing").unwrap();
    let agent = stage.start();
    stage.wait_for_log("set aside as");
    eventually("a post", || (!node_posts(&peer).is_empty()).then_some(()));
    assert!(stop(agent).success());
    let names: Vec<_> = fs::read_dir(stage.path("spool"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].starts_with("central.spool.damaged-"), "{names:?}");
    assert_eq!(stage.count_in_log("/central.spool: "), 1, "{}", stage.log());
}

/// A kill between the two: the batch is on disk, and its file is not forgotten yet.
#[test]
fn what_is_on_disk_and_on_its_way_as_well_is_one() {
    run(async {
        let scratch = tempfile::tempdir().unwrap();
        let peer = Peer::start(Mood::Well);
        let clock = Clock::at(boot(1), 1000, 1_000_000);
        let batch = |body: &'static str| {
            clock.pass(Duration::from_millis(1));
            Batch::new(clock.now(), [("/sample".to_owned(), body.into())])
        };
        let (both, on_its_way) = (batch("0"), batch("1"));
        let spool = Spool::new(scratch.path().join("spool"));
        let queue = spool.queue("central", BOUNDS);
        queue.append(&both, false, clock.now()).await.unwrap();
        let journal = Journal::new(&scratch.path().join("handover"), "central");
        assert!(journal.write_batch(&both) && journal.write_batch(&on_its_way));

        let left = || journal.recover(&clock.now(), None, usize::MAX).batches;
        assert_eq!(left(), [both, on_its_way]);
        let places = Storage { queue: Some(queue), journal: Some(journal.clone()) };
        let running = Running::over(settings(&peer.url()), places, &clock);
        assert_eq!(running.handle.recover(&clock.now(), None), 2);
        let figures = running.until("sent", |figures| figures.accepted_posts > 1).await;
        assert_eq!((figures.recovered_posts, figures.offered_posts), (1, 1), "{figures:?}");
        let figures = running.until("sent", |figures| figures.waiting_posts == 0).await;
        assert_eq!(figures.accepted_posts, 2, "{figures:?}");
        assert_eq!(peer.memory().repeats, 0);
        assert_eq!(left(), []);
    });
}

/// Rows that a damaged file lists but cannot return are counted as recovered and as dropped.
#[test]
fn a_damaged_spool_leaves_the_figures_in_balance() {
    run(async {
        let scratch = tempfile::tempdir().unwrap();
        let peer = Peer::start(Mood::Well);
        let clock = Clock::at(boot(1), 1000, 1_000_000);
        {
            let queue = Spool::new(scratch.path().to_owned()).queue("central", BOUNDS);
            for _ in 0..3 {
                clock.pass(Duration::from_millis(1));
                let batch = Batch::new(clock.now(), [("/sample".to_owned(), "x".into())]);
                queue.append(&batch, false, clock.now()).await.unwrap();
            }
            queue.close_idle().await;
        }
        // The program's number in the header.
        let file = scratch.path().join("central.spool");
        let mut bytes = fs::read(&file).unwrap();
        bytes[68] ^= 1;
        fs::write(&file, bytes).unwrap();

        let spool = Spool::new(scratch.path().to_owned());
        let running = Running::start(settings(&peer.url()), &spool, &clock);
        running.offer("0");
        let figures = running.until("sent", |figures| figures.accepted_posts == 1).await;
        assert_eq!((figures.recovered_posts, figures.dropped_posts.damaged), (3, 3), "{figures:?}");
    });
}

/// Another process that is just ending has it open still.
#[test]
fn a_spool_that_cannot_be_opened_at_the_start_is_looked_at_again() {
    run(async {
        let scratch = tempfile::tempdir().unwrap();
        let peer = Peer::start(Mood::Well);
        let clock = Clock::at(boot(1), 1000, 1_000_000);
        let batch = Batch::new(clock.now(), [("/sample".to_owned(), "x".into())]);
        let other = Spool::new(scratch.path().to_owned()).queue("central", BOUNDS);
        other.append(&batch, false, clock.now()).await.unwrap();

        let spool = Spool::new(scratch.path().to_owned());
        let running = Running::start(settings(&peer.url()), &spool, &clock);
        let figures = running.until("told", |figures| figures.spool_error.is_some()).await;
        assert!(figures.spool_error.unwrap().contains("another process has it open"));
        drop(other);
        // Nothing is offered meanwhile.
        let figures = running.until("sent", |figures| figures.accepted_posts == 1).await;
        assert_eq!((figures.recovered_posts, figures.spool_error), (1, None));
    });
}

/// While the queue's file is closed, as behind an error of the disk's.
#[test]
fn a_file_that_is_exchanged_or_comes_late_leaves_the_figures_in_balance() {
    run(async {
        let scratch = tempfile::tempdir().unwrap();
        let peer = Peer::start(Mood::Well);
        let clock = Clock::at(boot(1), 1000, 1_000_000);
        let (other, spool_dir) = (scratch.path().join("other"), scratch.path().join("spool"));
        {
            let queue = Spool::new(other.clone()).queue("central", BOUNDS);
            for _ in 0..3 {
                clock.pass(Duration::from_millis(1));
                let batch = Batch::new(clock.now(), [("/sample".to_owned(), "x".into())]);
                queue.append(&batch, false, clock.now()).await.unwrap();
            }
            queue.close_idle().await;
        }
        let put_other = || {
            let beside = spool_dir.join("beside");
            fs::copy(other.join("central.spool"), &beside).unwrap();
            fs::rename(beside, spool_dir.join("central.spool")).unwrap();
        };
        let spool = Spool::new(spool_dir.clone());
        let running = Running::start(settings(&peer.url()), &spool, &clock);
        // Behind its look at what an earlier run has left.
        running.offer("first");
        running.until("sent", |figures| figures.accepted_posts == 1).await;
        peer.set(Mood::Refusing);
        fs::create_dir(&spool_dir).unwrap();
        put_other();
        running.offer("0");
        let figures = running.until("kept", |figures| figures.on_disk.posts == 4).await;
        assert_eq!((figures.recovered_posts, figures.waiting_posts), (3, 4), "{figures:?}");

        spool.queue("central", BOUNDS).close_idle().await;
        put_other();
        running.offer("1");
        let figures = running.until("missed", |figures| figures.dropped_posts.damaged > 0).await;
        // One of the four may be in the worker's hands. Or the worker still had the file open: then
        // it finds three where it knew of four.
        let lost = figures.dropped_posts.damaged;
        assert!([1, 3, 4].contains(&lost), "{figures:?}");
        peer.set(Mood::Well);
        let figures = running.until("all sent", |figures| figures.waiting_posts == 0).await;
        let found = if lost == 1 { 3 } else { 6 };
        assert_eq!(figures.recovered_posts, found, "{figures:?}");
        assert_eq!(figures.accepted_posts + lost, 3 + found, "{figures:?}");
    });
}

#[test]
fn what_was_on_its_way_and_cannot_be_read_is_said_by_name() {
    let (lines, _guard) = listen();
    let scratch = tempfile::tempdir().unwrap();
    let clock = Clock::at(boot(1), 1000, 1_000_000);
    let batch = Batch::new(clock.now(), [("/sample".to_owned(), "x".into())]);
    let journal = Journal::new(scratch.path(), "central");
    assert!(journal.write_batch(&batch));
    let of_batch = scratch.path().join("central").join("1000000000000");
    let whole = fs::read(&of_batch).unwrap();
    fs::write(scratch.path().join("central/7"), &whole).unwrap();
    // A kill while it was written; the sample is counted by the next.
    fs::write(scratch.path().join("central/8.new"), &whole[..9]).unwrap();
    assert_eq!(journal.recover(&clock.now(), None, usize::MAX).batches, [batch]);
    let said = lines.containing("its journal file is unusable");
    assert!(said.len() == 1 && said[0].contains("central/7: "), "{said:?}");

    fs::write(&of_batch, &whole[..50]).unwrap();
    assert_eq!(journal.recover(&clock.now(), None, usize::MAX).batches, []);
    assert_eq!(journal.recover(&clock.now(), None, usize::MAX).batches, []);
    let said = lines.containing("1000000000000: ");
    assert!(said.len() == 1 && said[0].starts_with("WARN"), "{said:?}");
}
