//! Reloads that have samples wait elsewhere from then on.

use std::fs;

use nix::sys::signal::Signal;

use crate::durability::peer::{Mood, Peer};
use crate::durability::restarts::leave_something;
use crate::durability::stage::{Stage, stop, written};
use crate::support::agent::{Agent, eventually};

const IN_MEMORY: &str = "durability = \"memory\"";

/// Over an endpoint that is down, in memory, until samples of some written sectors are on their way.
fn leave_on_their_way(stage: &Stage, state: &str, sectors: u64) -> Agent {
    let agent = stage.start();
    stage.wait_for_log("is not answering");
    stage.host.write_sectors("sda", sectors);
    let counters = || fs::read(stage.path(state).join("counters.json")).unwrap();
    for _ in 0..2 {
        let before = counters();
        eventually("a sample", || (counters() != before).then_some(()));
    }
    eventually("files", || (stage.on_their_way(state, "central") > 1).then_some(()));
    agent
}

/// Another agent, now that the endpoint is well, until all that was left has come.
fn send_what_was_left(stage: &Stage, peer: &Peer) -> Agent {
    peer.set(Mood::Well);
    let agent = stage.start();
    eventually("what waited", || (written(peer) == 300 * 512).then_some(()));
    agent
}

/// And nothing of it comes twice.
fn stop_in_peace(agent: Agent, peer: &Peer) {
    assert!(stop(agent).success());
    assert_eq!(written(peer), 300 * 512);
}

fn kill(mut agent: Agent) {
    agent.signal(Signal::SIGKILL);
    agent.0.wait().unwrap();
}

#[test]
fn a_backlog_on_disk_moves_to_another_directory() {
    let stage = Stage::new();
    let peer = Peer::start(Mood::Refusing);
    stage.configure(&[("central", &peer.url(), "")]);
    let agent = leave_something(&stage, 300);
    stage.reconfigure("/spool\"", "/elsewhere\"");
    agent.signal(Signal::SIGHUP);
    stage.wait_for_log("samples were moved from");
    eventually("no file", || (!stage.spool_file("central").exists()).then_some(()));
    // Also where it ends before anything is sent.
    kill(agent);
    let agent = send_what_was_left(&stage, &peer);

    // And back, while nothing waits.
    stage.reconfigure("/elsewhere\"", "/spool\"");
    agent.signal(Signal::SIGHUP);
    stage.wait_for_log("reloaded: changed: spool");
    stage.host.write_sectors("sda", 20);
    eventually("what is new", || (written(&peer) == 320 * 512).then_some(()));
    assert!(stop(agent).success());
    assert_eq!(stage.count_in_log("cannot be moved"), 0, "{}", stage.log());
}

#[test]
fn a_backlog_on_disk_moves_to_memory() {
    let stage = Stage::new();
    let peer = Peer::start(Mood::Refusing);
    stage.configure(&[("central", &peer.url(), "")]);
    let agent = leave_something(&stage, 300);
    stage.configure(&[("central", &peer.url(), IN_MEMORY)]);
    agent.signal(Signal::SIGHUP);
    stage.wait_for_log("to memory");
    eventually("no file", || (!stage.spool_file("central").exists()).then_some(()));
    kill(agent);
    stop_in_peace(send_what_was_left(&stage, &peer), &peer);
}

#[test]
fn in_memory_a_killed_agent_loses_nothing_it_had_counted() {
    let stage = Stage::new();
    let peer = Peer::start(Mood::Refusing);
    stage.configure(&[("central", &peer.url(), IN_MEMORY)]);
    kill(leave_on_their_way(&stage, "state", 300));
    let agent = send_what_was_left(&stage, &peer);
    eventually("nothing", || (stage.on_their_way("state", "central") == 0).then_some(()));
    stop_in_peace(agent, &peer);
    assert!(!stage.path("spool").exists());
}

#[test]
fn what_is_on_its_way_is_beside_the_counters_wherever_those_are() {
    let stage = Stage::new();
    let peer = Peer::start(Mood::Refusing);
    stage.configure(&[("central", &peer.url(), IN_MEMORY)]);
    stage.configure_state("before");
    let agent = leave_on_their_way(&stage, "before", 300);
    let waiting = stage.on_their_way("before", "central");
    stage.reconfigure("/before\"", "/now\"");
    agent.signal(Signal::SIGHUP);
    // What is sampled after the reload is there at once.
    eventually("files", || (stage.on_their_way("now", "central") >= waiting).then_some(()));
    eventually("none", || (stage.on_their_way("before", "central") == 0).then_some(()));
    let counters = stage.path("now/counters.json");
    eventually("counters", || counters.exists().then_some(()));
    kill(agent);
    stop_in_peace(send_what_was_left(&stage, &peer), &peer);
}

#[test]
fn what_is_on_its_way_to_an_endpoint_that_is_taken_out_stays_and_is_said_until_it_comes_again() {
    let stage = Stage::new();
    let (gone, other) = (Peer::start(Mood::Refusing), Peer::start(Mood::Well));
    stage.configure(&[("central", &gone.url(), IN_MEMORY)]);
    let agent = leave_on_their_way(&stage, "state", 300);
    stage.configure(&[("other", &other.url(), "")]);
    agent.signal(Signal::SIGHUP);
    let stays = format!("they stay in {}", stage.path("state/handover/central").display());
    stage.wait_for_log(&stays);
    assert!(stop(agent).success());

    let agent = stage.start();
    stage.wait_for_log("samples for central are not sent");
    assert!(stop(agent).success());

    gone.set(Mood::Well);
    stage.configure(&[("central", &gone.url(), IN_MEMORY)]);
    let agent = stage.start();
    eventually("what waited", || (written(&gone) == 300 * 512).then_some(()));
    assert!(stop(agent).success());
    assert_eq!(stage.count_in_log("samples for central are not sent"), 1, "{}", stage.log());
    assert_eq!(stage.count_in_log("will send them\n"), 0, "{}", stage.log());
}
