//! The last post of a pod that has ended, from the real binary over a host that changes between two
//! samples, at a real receiver.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test changes the host's files, and fails where it cannot go on"
)]

use std::fs;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::support::agent::{
    Agent, Host, PATIENCE, any_port, get, receiver, replace, with_few_descriptors,
};

const KUBEPODS: &str = "sys/fs/cgroup/kubepods.slice";
const POD: &str = "kubepods-podd757cf9d_1256_4c5a_abe2_5520cb3b6505.slice";
const CONTAINER: &str =
    "crio-9ea3a0b56f9b1da5398edc77519b0f30811b9740e66d743c9a4e32a982a1191e.scope";

const NAMES: &str = "[[cgroup]]\npattern = \"/kubepods.slice/kubepods-podd757cf9d*\"\n\
                     namespace = \"shop\"\nname = \"till\"\n";

#[derive(Debug, Clone, Copy, PartialEq)]
struct Post {
    cores: f64,
    memory_bytes: u64,
}

struct Scene {
    host: Host,
    /// With the settings, for as long as the agent runs.
    _dir: tempfile::TempDir,
    address: SocketAddr,
    agent: Agent,
    dialect: &'static str,
    /// The pod's posts, one after the other, as far as they differ.
    posts: Vec<Post>,
}

impl Scene {
    fn start(dialect: &'static str) -> Self {
        let (host, dir) = (Host::copy("6.8-crio-systemd"), tempfile::tempdir().unwrap());
        let address = receiver(any_port());
        fs::write(dir.path().join("names.toml"), NAMES).unwrap();
        let config = dir.path().join("nodetally.toml");
        let text = format!(
            "[node]\nname = \"n1\"\n[sampling]\ninterval = \"3s\"\ntcp_sockets = false\n\
             [state]\ndir = \"none\"\n[directory]\nsources = [\"file\"]\nfile = {:?}\n\
             [[endpoint]]\nname = \"central\"\nurl = \"http://{address}\"\n\
             dialect = \"{dialect}\"\nunknown_pods = \"wait\"\n",
            dir.path().join("names.toml")
        );
        fs::write(&config, text).unwrap();
        let mut command = with_few_descriptors(&host.agent(&["run"]));
        command.arg("--config").arg(config);
        let agent = Agent::start(command);
        Self { host, _dir: dir, address, agent, dialect, posts: Vec::new() }
    }

    /// Adds CPU time to the pod, its container, and the slice above.
    fn burn(&self, millis: u64) {
        let pod = format!("{KUBEPODS}/{POD}");
        self.burn_in(&[KUBEPODS, &pod, &format!("{pod}/{CONTAINER}")], millis);
    }

    fn burn_in(&self, dirs: &[&str], millis: u64) {
        for dir in dirs {
            let path = self.host.path(&format!("{dir}/cpu.stat"));
            let text = fs::read_to_string(&path).unwrap();
            let lines = text.lines().map(|line| match line.split_once(' ') {
                Some((key @ ("usage_usec" | "user_usec"), usec)) => {
                    format!("{key} {}\n", usec.parse::<u64>().unwrap() + millis * 1000)
                }
                _ => format!("{line}\n"),
            });
            replace(&path, &lines.collect::<String>());
        }
    }

    /// Empties the pod, which the agent sees by events, and then removes it.
    fn end_pod(&self) {
        let pod = self.host.path(&format!("{KUBEPODS}/{POD}"));
        for dir in [pod.join(CONTAINER), pod.clone()] {
            replace(&dir.join("cgroup.events"), "populated 0\nfrozen 0\n");
        }
        thread::sleep(Duration::from_millis(300));
        fs::remove_dir_all(pod).unwrap();
        // As the processes of a pod do at their end.
        self.burn_in(&[KUBEPODS], 10);
    }

    /// Notes the pod's post that the receiver has. It is there until the next one.
    fn look(&mut self) {
        let post = if self.dialect == "resource-api" {
            let (_, pods) = get(self.address, "/api/pods");
            let pod = &pods[0];
            let cores = pod["cpu_nanocores"].as_f64().map(|nanocores| nanocores / 1e9);
            cores.zip(pod["memory_bytes"].as_u64())
        } else {
            let (_, answer) = get(self.address, "/api/v1/metrics/pods");
            let metrics = &answer["resources"][0]["metrics"];
            metrics["cpu"]["usage"].as_f64().zip(metrics["memory"]["usage_bytes"].as_u64())
        };
        let post = post.map(|(cores, memory_bytes)| Post { cores, memory_bytes });
        if let Some(post) = post.filter(|post| self.posts.last() != Some(post)) {
            self.posts.push(post);
        }
    }

    fn look_until(&mut self, what: &str, is_it: impl Fn(&[Post]) -> bool) {
        let begin = Instant::now();
        while !is_it(&self.posts) {
            assert!(begin.elapsed() < PATIENCE, "{}: not {what}: {:?}", self.dialect, self.posts);
            thread::sleep(Duration::from_millis(20));
            self.look();
        }
    }

    /// Looks for two more intervals, and ends the agent.
    fn end(mut self) -> Vec<Post> {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(7) {
            thread::sleep(Duration::from_millis(20));
            self.look();
        }
        self.agent.signal(Signal::SIGTERM);
        let (status, log) = self.agent.end();
        assert!(status.success(), "{log}");
        self.posts
    }
}

fn is_last(post: &Post) -> bool {
    post.memory_bytes == 0
}

/// Rates are over the interval of 3 s.
fn assert_millis(post: &Post, millis: f64) {
    assert!((post.cores * 3000.0 - millis).abs() < millis / 20.0, "{post:?}: not {millis} ms");
}

/// A pod that uses 600 ms after its last sample, as an event shows, and is then removed. `None`: the
/// machine was so slow that a sample came between.
fn ends_between_samples(dialect: &'static str) -> Option<Vec<Post>> {
    let mut scene = Scene::start(dialect);
    scene.look_until("sent", |posts| !posts.is_empty());
    // The first interval is shorter, since samples are at whole multiples of 3 s.
    thread::sleep(Duration::from_secs(4));
    scene.burn(150);
    scene.look_until("just sampled", |posts| posts.iter().any(|post| post.cores > 0.0));
    scene.burn(600);
    scene.end_pod();
    let posts = scene.end();
    posts.iter().any(is_last).then_some(posts)
}

#[test]
fn an_ended_pod_makes_one_last_post_with_the_rest() {
    thread::scope(|scope| {
        for dialect in ["resource-api", "pod-batch"] {
            scope.spawn(move || {
                let tries = std::iter::repeat_with(|| ends_between_samples(dialect)).take(4);
                let posts = tries.flatten().next().expect("a last post");
                let used: Vec<&Post> = posts.iter().filter(|post| post.cores > 0.0).collect();
                let [live, last] = *used else { panic!("{dialect}: {posts:?}") };
                assert!(!is_last(live) && is_last(last), "{dialect}: {posts:?}");
                assert_millis(live, 150.0);
                assert_millis(last, 600.0);
                assert_eq!(posts.last(), Some(last), "{dialect}: one only");
            });
        }
    });
}
