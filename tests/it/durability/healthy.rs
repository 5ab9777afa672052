//! A day on which all is well: the disk is not touched.

use std::fs;
use std::path::Path;

use crate::durability::peer::{Mood, Peer};
use crate::durability::stage::{Stage, node_posts, stop};
use crate::support::agent::{Agent, eventually};
use crate::support::skip::skip;

const SAMPLES: usize = 6;

fn threads(process: &str) -> Vec<String> {
    let tasks = fs::read_dir(format!("{process}/task")).unwrap().flatten();
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.map(|name| name.trim_end().to_owned()).collect()
}

#[test]
fn while_the_endpoint_answers_nothing_is_written_to_disk_and_no_thread_waits_for_one() {
    let memory = Path::new("/dev/shm");
    if nix::sys::statfs::statfs(memory).map(|found| found.filesystem_type()).ok()
        != Some(nix::sys::statfs::TMPFS_MAGIC)
    {
        skip("/dev/shm is no tmpfs");
        return;
    }
    let stage = Stage::new();
    let state = tempfile::tempdir_in(memory).unwrap();
    let peer = Peer::start(Mood::Well);
    stage.configure(&[("central", &peer.url(), "")]);
    let mut command = stage.host.agent(&["run", "--interval", "1s"]);
    command.arg("--config").arg(stage.path("config.toml")).arg("--state-dir").arg(state.path());
    let agent = Agent::start(command);
    let process = format!("/proc/{}", agent.0.id());
    let written = || {
        let io = fs::read_to_string(format!("{process}/io")).unwrap();
        let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
        line.parse::<u64>().unwrap()
    };
    // The first reads of files that were just made note their time on the disk that they are on.
    eventually("first posts", || (node_posts(&peer).len() >= 3).then_some(()));
    let before = written();
    eventually("some posts", || (node_posts(&peer).len() >= 3 + SAMPLES).then_some(()));
    let names = threads(&process);
    assert!(names.iter().any(|name| name == "sampler"), "{names:?}");
    assert!(!names.iter().any(|name| name == "spool"), "{names:?}");
    assert_eq!(written() - before, 0, "bytes written to disks over {SAMPLES} samples");
    assert!(!stage.path("spool").exists());
    eventually("nothing on its way", || {
        let mut files = fs::read_dir(state.path().join("handover/central")).unwrap();
        files.next().is_none().then_some(())
    });
    assert!(stop(agent).success());
    assert!(!stage.path("spool").exists());
}
