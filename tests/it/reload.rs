//! SIGHUP and the words with systemd: the real binary, its configuration changed while it runs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a test starts the binary, edits its trees and waits for what it says"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::agent::{Agent, Host, any_port, eventually, get, receiver, written};
use nix::sys::signal::Signal;
use serde_json::Value;

/// A folder with a configuration, the notification socket of a systemd, and what was read from it.
struct Desk {
    dir: tempfile::TempDir,
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self { dir, socket, heard: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn configure(&self, text: &str) {
        fs::write(self.path("c.toml"), format!("[node]\nname = \"n1\"\n{text}")).unwrap();
    }

    /// `run` by the configuration, below this systemd.
    fn run(&self, host: &Host) -> Command {
        let mut command = host.agent(&["run", "--state-dir", "none"]);
        command.arg("--config").arg(self.path("c.toml")).env("NOTIFY_SOCKET", self.path("notify"));
        command
    }

    fn listen(&mut self) {
        let mut word = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut word) {
            self.heard.push(String::from_utf8_lossy(&word[..length]).into_owned());
        }
    }

    fn count(&mut self, word: &str) -> usize {
        self.listen();
        self.heard.iter().filter(|heard| heard.lines().any(|line| line == word)).count()
    }

    fn wait_until_ready(&mut self, times: usize) {
        eventually("READY", || (self.count("READY=1") == times).then_some(()));
    }

    fn reload(&mut self, agent: &Agent, text: &str) {
        let ready = self.count("READY=1");
        self.configure(text);
        agent.signal(Signal::SIGHUP);
        self.wait_until_ready(ready + 1);
    }
}

fn endpoint(name: &str, address: SocketAddr) -> String {
    format!("[[endpoint]]\nname = \"{name}\"\nurl = \"http://{address}\"\n")
}

fn interval(interval: &str) -> String {
    format!("[sampling]\ninterval = \"{interval}\"\n")
}

/// An address at which nobody answers, and somebody may later.
fn free_address() -> SocketAddr {
    TcpListener::bind(any_port()).unwrap().local_addr().unwrap()
}

fn node(address: SocketAddr) -> Value {
    get(address, "/api/nodes/n1?window=3600").1
}

fn points(address: SocketAddr) -> usize {
    node(address).as_array().map_or(0, Vec::len)
}

#[track_caller]
fn wait_until_written(address: SocketAddr, sectors: u64) {
    eventually("the posts to sum up to what was written", || {
        (written(&node(address)) == sectors * 512).then_some(())
    });
}

/// A server that takes everything and remembers the tokens that came with it.
fn doorkeeper() -> (SocketAddr, Arc<Mutex<BTreeSet<String>>>) {
    let listener = TcpListener::bind(any_port()).unwrap();
    let address = listener.local_addr().unwrap();
    let tokens = Arc::new(Mutex::new(BTreeSet::new()));
    let seen = Arc::clone(&tokens);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let seen = Arc::clone(&seen);
            thread::spawn(move || take_posts(stream.unwrap(), &seen));
        }
    });
    (address, tokens)
}

fn take_posts(stream: TcpStream, seen: &Mutex<BTreeSet<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut length = 0;
    let mut line = String::new();
    while reader.read_line(&mut line).is_ok_and(|read| read > 0) {
        let (key, value) = line.trim().split_once(": ").unwrap_or_default();
        match key.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap(),
            "authorization" => drop(seen.lock().unwrap().insert(value.to_owned())),
            _ => {}
        }
        if line.trim().is_empty() {
            reader.read_exact(&mut vec![0; length]).unwrap();
            (&stream).write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n").unwrap();
        }
        line.clear();
    }
}

#[test]
fn a_shorter_interval_holds_at_once_and_no_interval_is_lost_or_doubled() {
    let (host, mut desk) = (Host::copy("6.12-podman-bare"), Desk::new());
    let address = receiver(any_port());
    let to = endpoint("central", address);
    desk.configure(&(interval("1h") + &to));
    let agent = Agent::start(desk.run(&host));
    desk.wait_until_ready(1);
    eventually("the first figures", || (points(address) == 1).then_some(()));
    host.write_sectors("sda", 700);

    desk.reload(&agent, &(interval("1s") + &to));
    wait_until_written(address, 700);
    host.write_sectors("sda", 40);
    wait_until_written(address, 740);

    desk.reload(&agent, &(interval("1h") + &to));
    let before = points(address);
    host.write_sectors("sda", 5);
    thread::sleep(Duration::from_secs(3));
    assert!(points(address) <= before + 1, "it goes on as before");
    desk.reload(&agent, &(interval("1s") + &to));
    wait_until_written(address, 745);

    // Each reload is announced with the time, and ended.
    assert_eq!(desk.count("RELOADING=1"), 3);
    let reloading = desk.heard.iter().find(|heard| heard.starts_with("RELOADING=1\n")).unwrap();
    let stamp = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(stamp.parse::<u64>().unwrap() > 0);
    agent.signal(Signal::SIGTERM);
    let (status, log) = agent.end();
    assert!(status.success(), "{log}");
    assert_eq!(desk.count("STOPPING=1"), 1);
    assert_eq!(log.matches("reloaded: samples every 1s").count(), 2, "{log}");
}

#[test]
fn what_cannot_be_used_is_one_line_and_leaves_everything_as_it_was() {
    let (host, mut desk) = (Host::copy("6.12-podman-bare"), Desk::new());
    let address = receiver(any_port());
    let good = interval("1s") + &endpoint("central", address);
    desk.configure(&good);
    let agent = Agent::start(desk.run(&host));
    desk.wait_until_ready(1);
    host.write_sectors("sda", 10);

    let taken = TcpListener::bind(any_port()).unwrap();
    let broken = [
        "[sampling]\nintervall = \"2s\"\n".to_owned(),
        "[sampling\n".to_owned(),
        good.clone() + "bearer_token_file = \"/nonexistent/token\"\n",
        // In place of the endpoint, a receiver on an address of somebody else's.
        format!("[receiver]\nlisten = \"{}\"\n", taken.local_addr().unwrap()),
    ];
    for text in &broken {
        desk.reload(&agent, text);
    }
    fs::remove_file(desk.path("c.toml")).unwrap();
    agent.signal(Signal::SIGHUP);
    desk.wait_until_ready(broken.len() + 2);

    let before = points(address);
    host.write_sectors("sda", 7);
    wait_until_written(address, 17);
    eventually("more posts, each second as before", || {
        (points(address) > before + 2).then_some(())
    });
    desk.reload(&agent, &good);
    agent.signal(Signal::SIGTERM);
    let (status, log) = agent.end();
    assert!(status.success(), "{log}");
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("not reloaded")).collect();
    assert_eq!(lines.len(), broken.len() + 1, "{log}");
    for (line, word) in lines.iter().zip([
        "c.toml:4: sampling.intervall: unknown key",
        "c.toml:3",
        "/nonexistent/token",
        "cannot listen on",
        "c.toml: cannot be read",
    ]) {
        assert!(line.contains(word), "{word}: {line}");
    }
    assert!(log.contains("reloaded: nothing has changed"), "{log}");
}

#[test]
fn what_waits_is_sent_whether_its_endpoint_is_kept_or_changed() {
    let (host, mut desk) = (Host::copy("6.12-podman-bare"), Desk::new());
    let (kept, moved_from, moved_to) = (free_address(), free_address(), receiver(any_port()));
    let kept_text = endpoint("kept", kept);
    desk.configure(&(interval("1s") + &kept_text + &endpoint("moved", moved_from)));
    let agent = Agent::start(desk.run(&host));
    desk.wait_until_ready(1);
    thread::sleep(Duration::from_millis(1500));
    host.write_sectors("sda", 300);
    thread::sleep(Duration::from_millis(1500));

    desk.reload(&agent, &(interval("1s") + &kept_text + &endpoint("moved", moved_to)));
    // Again, while what waits for the old address is still on its way.
    let slower = endpoint("moved", moved_to) + "timeout = \"9s\"\n";
    desk.reload(&agent, &(interval("1s") + &slower + &kept_text));
    host.write_sectors("sda", 20);
    wait_until_written(moved_to, 320);
    receiver(kept);
    wait_until_written(kept, 320);

    agent.signal(Signal::SIGTERM);
    let (status, log) = agent.end();
    assert!(status.success(), "{log}");
    assert!(!log.contains("could not be sent"), "{log}");
    assert_eq!(log.matches("reloaded: changed endpoints: moved\n").count(), 2, "{log}");
    assert_eq!(log.matches("endpoint kept answers again").count(), 1, "{log}");
}

#[test]
fn an_endpoint_that_is_no_longer_named_has_a_moment_for_what_waits_and_the_log_says_what_is_lost() {
    let (host, mut desk) = (Host::copy("6.12-podman-bare"), Desk::new());
    let (stays, goes) = (receiver(any_port()), free_address());
    desk.configure(&(interval("1s") + &endpoint("stays", stays) + &endpoint("goes", goes)));
    let agent = Agent::start(desk.run(&host));
    desk.wait_until_ready(1);
    eventually("figures", || (points(stays) > 1).then_some(()));
    let asked = Instant::now();
    desk.reload(&agent, &(interval("1s") + &endpoint("stays", stays)));
    assert!(asked.elapsed() < Duration::from_secs(4), "nobody waits for the one that goes");
    host.write_sectors("sda", 3);
    wait_until_written(stays, 3);
    thread::sleep(Duration::from_secs(6));
    agent.signal(Signal::SIGTERM);
    let (_, log) = agent.end();
    assert!(log.contains("reloaded: endpoints no longer sent to: goes\n"), "{log}");
    let lost = log.lines().find(|line| line.contains("could not be sent")).unwrap();
    assert!(lost.contains("endpoint goes: "), "{lost}");
}

#[test]
fn a_rotated_token_is_sent_by_the_running_endpoint_and_never_logged() {
    let (host, mut desk) = (Host::copy("6.12-podman-bare"), Desk::new());
    let (address, tokens) = doorkeeper();
    // As systemd hands it over.
    fs::create_dir(desk.path("credentials")).unwrap();
    let token = desk.path("credentials/central.token");
    fs::write(&token, "hunter2\n").unwrap();
    let text = interval("1s")
        + &endpoint("central", address)
        + "bearer_token_file = \"${CREDENTIALS_DIRECTORY}/central.token\"\n";
    desk.configure(&text);
    let mut command = desk.run(&host);
    command.env("CREDENTIALS_DIRECTORY", desk.path("credentials"));
    command.env("NODETALLY_LOG_LEVEL", "trace");
    let agent = Agent::start(command);
    let has = |token: &str| tokens.lock().unwrap().contains(&format!("Bearer {token}"));
    eventually("the first token", || has("hunter2").then_some(()));
    fs::write(&token, "correct-horse").unwrap();
    desk.reload(&agent, &text);
    eventually("the second token", || has("correct-horse").then_some(()));
    agent.signal(Signal::SIGTERM);
    let (_, log) = agent.end();
    assert!(log.contains("reloaded: nothing has changed\n"), "{log}");
    assert!(!log.contains("hunter2") && !log.contains("correct-horse"), "{log}");
}

#[test]
fn the_embedded_receiver_keeps_its_past_over_other_limits_and_another_address() {
    let (host, mut desk) = (Host::copy("6.12-podman-bare"), Desk::new());
    let (first, second) = (free_address(), free_address());
    let on = |address| interval("1s") + &format!("[receiver]\nlisten = \"{address}\"\n");
    desk.configure(&on(first));
    let agent = Agent::start(desk.run(&host));
    desk.wait_until_ready(1);
    // Counted from the first sample on, which is what READY says.
    host.write_sectors("sda", 11);
    wait_until_written(first, 11);

    desk.reload(&agent, &(on(first) + "retention = \"2h\"\n"));
    host.write_sectors("sda", 22);
    wait_until_written(first, 33);
    desk.reload(&agent, &on(second));
    host.write_sectors("sda", 44);
    wait_until_written(second, 77);
    assert!(TcpStream::connect(first).is_err(), "the old address is given back");

    let elsewhere = receiver(any_port());
    desk.reload(&agent, &(interval("1s") + &endpoint("elsewhere", elsewhere)));
    host.write_sectors("sda", 88);
    wait_until_written(elsewhere, 88);
    assert!(TcpStream::connect(second).is_err(), "with an endpoint there is no receiver");
    desk.reload(&agent, &on(second));
    host.write_sectors("sda", 1);
    wait_until_written(second, 1);
    agent.signal(Signal::SIGTERM);
    assert!(agent.end().0.success());
}

#[test]
fn reloads_in_quick_succession_lose_nothing() {
    let (host, mut desk) = (Host::copy("6.12-podman-bare"), Desk::new());
    let address = receiver(any_port());
    desk.configure(&(interval("1s") + &endpoint("central", address)));
    let agent = Agent::start(desk.run(&host));
    desk.wait_until_ready(1);
    let mut sectors = 0;
    for round in 0..30_u64 {
        let timeout = format!("timeout = \"{}s\"\n", 5 + round % 3);
        let process_io = format!("process_io = {}\n", round % 2 == 0);
        desk.configure(
            &(interval(["1s", "2s"][round as usize % 2])
                + &process_io
                + &endpoint("central", address)
                + &timeout),
        );
        agent.signal(Signal::SIGHUP);
        // A socket that nobody reads from would hold up whoever has something to say.
        desk.listen();
        host.write_sectors("sda", round);
        sectors += round;
        thread::sleep(Duration::from_millis(70 * (round % 4)));
    }
    eventually("the posts to sum up to what was written", || {
        desk.listen();
        (written(&node(address)) == sectors * 512).then_some(())
    });
    let before = points(address);
    eventually("more posts", || (points(address) > before + 2).then_some(()));
    assert_eq!(written(&node(address)), sectors * 512, "an interval was sent twice");
    agent.signal(Signal::SIGTERM);
    let (status, log) = agent.end();
    assert!(status.success(), "{log}");
    assert!(!log.contains("could not be sent"), "{log}");
}

#[test]
fn another_log_level_and_name_hold_from_the_reload_on() {
    let (host, mut desk) = (Host::copy("6.12-podman-bare"), Desk::new());
    let address = receiver(any_port());
    let to = endpoint("central", address);
    desk.configure(&(interval("1s") + &to));
    let agent = Agent::start(desk.run(&host));
    desk.wait_until_ready(1);
    eventually("figures", || (points(address) > 0).then_some(()));
    let text = format!("[node]\nname = \"n2\"\n[log]\nlevel = \"debug\"\n{}{to}", interval("1s"));
    fs::write(desk.path("c.toml"), text).unwrap();
    agent.signal(Signal::SIGHUP);
    eventually("the node's new name", || (get(address, "/api/nodes/n2").0 == 200).then_some(()));
    agent.signal(Signal::SIGTERM);
    let (_, log) = agent.end();
    let (before, after) = log.split_once("reloaded: the node is called n2; changed: log").unwrap();
    assert!(!before.contains("sampled") && after.contains("sampled"), "{log}");
}

#[test]
fn between_samples_the_sampling_thread_says_that_it_is_alive() {
    let (host, mut desk) = (Host::copy("6.12-podman-bare"), Desk::new());
    desk.configure(&(interval("1h") + &endpoint("central", receiver(any_port()))));
    let mut command = desk.run(&host);
    command.env("WATCHDOG_USEC", "600000");
    let agent = Agent::start(command);
    desk.wait_until_ready(1);
    thread::sleep(Duration::from_millis(1500));
    let before = desk.count("WATCHDOG=1");
    thread::sleep(Duration::from_secs(3));
    let beats = desk.count("WATCHDOG=1") - before;
    // Ten are due; a busy machine is late with some, and none comes early.
    assert!((6..=11).contains(&beats), "{beats} in three seconds");

    // A watchdog that is another process's is none of ours.
    agent.signal(Signal::SIGTERM);
    agent.end();
    let mut command = desk.run(&host);
    command.env("WATCHDOG_USEC", "600000").env("WATCHDOG_PID", "1");
    let agent = Agent::start(command);
    desk.wait_until_ready(2);
    let before = desk.count("WATCHDOG=1");
    thread::sleep(Duration::from_millis(1200));
    assert_eq!(desk.count("WATCHDOG=1"), before);
    agent.signal(Signal::SIGTERM);
    agent.end();
}

/// The first words are of a sample that was taken: systemd starts what comes behind only then.
#[test]
fn ready_is_not_said_before_there_is_a_sample() {
    let (host, mut desk) = (Host::copy("6.12-podman-bare"), Desk::new());
    let state = desk.path("state");
    desk.configure(&(interval("1s") + &endpoint("central", receiver(any_port()))));
    let mut command = host.agent(&["run"]);
    command
        .arg("--config")
        .arg(desk.path("c.toml"))
        .arg("--state-dir")
        .arg(&state)
        .env("NOTIFY_SOCKET", desk.path("notify"));
    let agent = Agent::start(command);
    desk.wait_until_ready(1);
    assert!(Path::new(&state).join("counters.json").exists());
    agent.signal(Signal::SIGTERM);
    agent.end();
}
