//! The real binary, killed at random moments over a host whose counters move all the time.

use std::thread;
use std::time::Duration;

use crate::durability::kills::random;
use crate::durability::peer::{Mood, Peer};
use crate::durability::stage::{Stage, stop, written};
use crate::support::agent::eventually;
use crate::support::rounds::rounds;

#[test]
fn an_agent_that_is_killed_again_and_again_tells_exactly_what_the_host_has_written() {
    let mut random = random();
    let stage = Stage::new();
    let peer = Peer::start(Mood::Well);
    stage.configure(&[("central", &peer.url(), "")]);
    let first = stage.start();
    eventually("a first post", || {
        (!crate::durability::stage::node_posts(&peer).is_empty()).then_some(())
    });
    drop(first);
    let mut sectors = 0;
    for kill in 0..rounds(4) {
        peer.set(match random.u8(0..5) {
            0 | 1 => Mood::Well,
            2 => Mood::Refusing,
            3 => Mood::Unavailable,
            _ => Mood::Silent,
        });
        let agent = stage.start();
        let lasts = Duration::from_millis(random.u64(300..2600));
        let step = Duration::from_millis(20);
        for _ in 0..lasts.as_millis() / step.as_millis() {
            let more = random.u64(1..2000);
            stage.host.write_sectors("sda", more);
            sectors += more;
            thread::sleep(step);
        }
        drop(agent);
        println!("killed {} times, {sectors} sectors", kill + 1);
    }
    peer.set(Mood::Well);
    let last = stage.start();
    eventually("all that was written", || (written(&peer) >= sectors * 512).then_some(()));
    stage.host.write_sectors("sda", 77);
    eventually("what came last", || (written(&peer) >= (sectors + 77) * 512).then_some(()));
    assert!(stop(last).success());
    assert_eq!(written(&peer), (sectors + 77) * 512, "{}", stage.log());
    println!("{} posts came more than once", peer.memory().repeats);
}
