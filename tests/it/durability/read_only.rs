//! Directories that cannot be written to, and agents that are not to write.

use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::durability::mounts::{make_read_only, unmount};
use crate::durability::peer::{Mood, Peer};
use crate::durability::stage::{Stage, node_posts, stop, written};
use crate::support::agent::{Agent, eventually};
use crate::support::mounts::in_own_mounts;

#[test]
fn over_read_only_directories_the_agent_runs_on_memory_and_says_each_once() {
    in_own_mounts(|| {
        let stage = Stage::new();
        fs::create_dir(stage.path("spool")).unwrap();
        make_read_only(&stage.path("spool"));
        fs::create_dir(stage.path("state")).unwrap();
        make_read_only(&stage.path("state"));
        let peer = Peer::start(Mood::Well);
        stage.configure(&[("central", &peer.url(), "")]);
        let agent = stage.start();
        let told = [
            "samples cannot be kept on disk",
            "the counters cannot be kept",
            "the journal of samples in flight cannot be written",
        ];
        // At once, while the endpoint is well.
        told.iter().for_each(|words| stage.wait_for_log(words));
        peer.set(Mood::Refusing);
        stage.wait_for_log("is not answering");
        let log = stage.log();
        let down = log.lines().find(|line| line.contains("is not answering")).unwrap();
        assert!(down.contains("is kept (in memory, "), "its disk has failed: {down}");
        stage.host.write_sectors("sda", 100);
        thread::sleep(Duration::from_millis(2500));
        peer.set(Mood::Well);
        eventually("what waited", || (written(&peer) == 100 * 512).then_some(()));
        assert!(stop(agent).success());
        for words in told {
            let lines: Vec<String> = stage
                .log()
                .lines()
                .filter(|line| line.contains(words))
                .map(str::to_owned)
                .collect();
            assert_eq!(lines.len(), 1, "{words}: {}", stage.log());
            assert!(lines[0].to_lowercase().contains("read-only file system"), "{}", lines[0]);
        }
        unmount(&stage.path("spool"));
        unmount(&stage.path("state"));
    });
}

#[test]
fn counters_that_can_no_longer_be_replaced_are_not_gone_on_from_twice() {
    in_own_mounts(|| {
        let stage = Stage::new();
        let peer = Peer::start(Mood::Well);
        stage.configure(&[("central", &peer.url(), "")]);
        let posts = || node_posts(&peer).len();
        let agent = stage.start();
        eventually("a post", || (posts() > 0).then_some(()));
        stage.host.write_sectors("sda", 1000);
        eventually("the first", || (written(&peer) == 1000 * 512).then_some(()));
        make_read_only(&stage.path("state"));
        stage.host.write_sectors("sda", 500);
        eventually("the second", || (written(&peer) == 1500 * 512).then_some(()));
        assert!(stop(agent).success());

        let agent = stage.start();
        let before = posts();
        eventually("more posts", || (posts() > before + 2).then_some(()));
        assert!(stop(agent).success());
        assert_eq!(written(&peer), 1500 * 512, "{}", stage.log());
        unmount(&stage.path("state"));
    });
}

#[test]
fn where_all_waits_in_memory_nothing_is_written_anywhere() {
    for (spool, durability) in [("\"none\"", ""), ("\"SPOOL\"", "durability = \"memory\"")] {
        let stage = Stage::new();
        let peer = Peer::start(Mood::Unavailable);
        let spool = spool.replace("SPOOL", stage.path("spool").to_str().unwrap());
        let text = format!(
            "[spool]\ndir = {spool}\n[status]\nlisten = \"none\"\n[[endpoint]]\nname = \"central\"\n\
             url = \"{}\"\n{durability}\n",
            peer.url()
        );
        fs::write(stage.path("config.toml"), text).unwrap();
        let mut command = stage.host.agent(&["run", "--interval", "1s", "--state-dir", "none"]);
        command.arg("--config").arg(stage.path("config.toml")).arg("--node-name").arg("n1");
        fs::create_dir(stage.path("home")).unwrap();
        command.env("HOME", stage.path("home")).current_dir(stage.path("home"));
        command.stderr(Stdio::null());
        let agent = Agent::start(command);
        eventually("several tries", || (peer.memory().turned_away > 3).then_some(()));
        peer.set(Mood::Well);
        eventually("what waited", || (node_posts(&peer).len() >= 2).then_some(()));
        assert!(stop(agent).success());
        let mut files: Vec<_> = fs::read_dir(stage.scratch.path())
            .unwrap()
            .chain(fs::read_dir(stage.path("home")).unwrap())
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, ["config.toml", "home"]);
    }
}
