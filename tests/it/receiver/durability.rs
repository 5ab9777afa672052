//! A post that was answered 2xx is in the store once, whenever the receiver is killed.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::support::agent::{Agent, eventually, get};
use crate::support::mounts::in_own_mounts;
use crate::support::rounds::rounds;

use super::command::address_of;

/// Senders at the same time.
const SENDERS: usize = 4;

pub fn receive(store: impl AsRef<OsStr>) -> (Agent, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nodetally"));
    command.env_clear().args(["receive", "--listen", "127.0.0.1:0", "--config", "none", "--store"]);
    command.arg(store).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut receiver = Agent::start(command);
    let address = address_of(&mut receiver);
    (receiver, address)
}

/// A pod's post, which is one by its CPU.
fn body(number: usize) -> Value {
    json!({
        "cpu_millicores": number, "memory_bytes": 1, "node_name": "n",
        "disk_io": {"read_bytes": 1, "write_bytes": 0},
        "network_io": {"bytes_sent": 0, "bytes_recv": 0}
    })
}

/// The status and if it was a replay; `None`: there is no answer.
pub fn send(address: SocketAddr, number: usize) -> Option<(u16, bool)> {
    use std::io::{Read, Write};
    let body = body(number).to_string();
    let pod = number % 8;
    let mut stream = std::net::TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    write!(
        stream,
        "POST /api/namespaces/d/pods/p{pod}/metrics HTTP/1.0\r\nHost: localhost\r\n\
         Content-Type: application/json\r\nIdempotency-Key: k{number}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer.contains("idempotency-replayed: true")))
}

#[test]
fn what_was_answered_is_there_once_after_any_kill() {
    let dir = tempfile::tempdir().unwrap();
    is_there_once_after_any_kill(dir.path().join("receiver.db").as_os_str());
}

/// The number of points of each post in the store.
pub fn stored_posts(address: SocketAddr) -> BTreeMap<usize, usize> {
    let mut stored: BTreeMap<usize, usize> = BTreeMap::new();
    for pod in 0..8 {
        let (status, series) = get(address, &format!("/api/pods/p{pod}?window=3600"));
        for point in series.as_array().into_iter().flatten() {
            assert_eq!(status, 200);
            let number = usize::try_from(point["cpu_millicores"].as_u64().unwrap()).unwrap();
            *stored.entry(number).or_default() += 1;
        }
    }
    stored
}

pub fn is_there_once_after_any_kill(store: &OsStr) {
    let next = AtomicUsize::new(1);
    let answered: Mutex<Vec<usize>> = Mutex::default();
    let mut unanswered_and_stored = 0;
    for round in 0..rounds(6) {
        let (receiver, address) = receive(store);
        let is_over = AtomicBool::new(false);
        let answers = || answered.lock().unwrap().len();
        let before = answers();
        thread::scope(|scope| {
            for _ in 0..SENDERS {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if send(address, number).is_some_and(|(status, _)| status == 201) {
                            answered.lock().unwrap().push(number);
                        }
                    }
                });
            }
            // Killed after some posts and not after some time: a machine under load answers few.
            let wanted = before + 20 + 9 * (round as usize % 7);
            eventually("the posts of a round", || (answers() >= wanted).then_some(()));
            receiver.signal(Signal::SIGKILL);
            is_over.store(true, Ordering::Relaxed);
        });
        drop(receiver);

        // Each number is in the store at most once, and those that were answered are.
        let (receiver, address) = receive(store);
        let stored = stored_posts(address);
        let answered = answered.lock().unwrap();
        for number in answered.iter() {
            assert!(stored.contains_key(number), "{number} was answered 201 and is not stored");
        }
        assert!(stored.values().all(|count| *count == 1), "{stored:?}");
        unanswered_and_stored = stored.len() - answered.len();

        // Whoever got no answer sends again: a replay where it was stored.
        let number = *answered.last().unwrap();
        assert_eq!(send(address, number), Some((201, true)));
        drop(receiver);
    }
    let answered = answered.into_inner().unwrap().len();
    assert!(answered > 100, "only {answered} posts were answered");
    println!("{answered} answered, {unanswered_and_stored} more stored before their answer");
}

/// A file system of a few MiB. The posts that it took stay, and posts go on once it has room.
#[test]
fn a_full_disk_is_507_and_posts_go_on_once_there_is_room() {
    in_own_mounts(|| {
        let disk = tempfile::tempdir().unwrap();
        let options = Some("size=4m");
        mount(Some("tmpfs"), disk.path(), Some("tmpfs"), MsFlags::empty(), options).unwrap();
        on_a_full_disk(disk.path());
    });
}

fn on_a_full_disk(disk: &Path) {
    let store = disk.join("receiver.db");
    let (receiver, address) = receive(&store);
    assert_eq!(send(address, 1), Some((201, false)));
    let ballast = disk.join("ballast");
    std::fs::write(&ballast, vec![0; 16 << 20]).unwrap_err();
    let mut refused = None;
    for number in 2..2000 {
        match send(address, number) {
            Some((201, _)) => {}
            other => {
                refused = other;
                break;
            }
        }
    }
    assert_eq!(refused, Some((507, false)));
    assert_eq!(get(address, "/api/pods").0, 200, "reads go on");
    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(send(address, 5000), Some((201, false)));
    assert_eq!(send(address, 1), Some((201, true)), "what it took before is there");
    receiver.signal(Signal::SIGTERM);
    let (status, log) = receiver.end();
    assert!(status.success(), "{log}");
    let lines = log.lines().filter(|line| line.contains("the store cannot be written"));
    assert_eq!(lines.count(), 1, "once a minute: {log}");
}

/// Pages that the disk has lost between two runs.
#[test]
fn a_damaged_store_is_set_aside_at_the_start_and_posts_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("receiver.db");
    let (receiver, address) = receive(&store);
    for number in 1..400 {
        assert_eq!(send(address, number), Some((201, false)));
    }
    // Ends the receiver and folds the log into the file, so that its pages are read from there.
    receiver.signal(Signal::SIGTERM);
    assert!(receiver.end().0.success());
    let length = {
        let (receiver, address) = receive(&store);
        assert_eq!(send(address, 500), Some((201, false)));
        receiver.signal(Signal::SIGTERM);
        assert!(receiver.end().0.success());
        std::fs::metadata(&store).unwrap().len()
    };
    assert!(length > 40_000, "{length}");
    let file = std::fs::OpenOptions::new().write(true).open(&store).unwrap();
    // All but the header and the schema.
    file.write_all_at(&vec![0xa5; usize::try_from(length).unwrap() - 8192], 8192).unwrap();
    let (receiver, address) = receive(&store);
    let mut last = None;
    for number in 1000..1100 {
        last = send(address, number);
        if last == Some((201, false)) {
            break;
        }
    }
    assert_eq!(last, Some((201, false)), "an empty store takes its place");
    receiver.signal(Signal::SIGTERM);
    let (_, log) = receiver.end();
    assert!(log.contains("is damaged") && log.contains("set aside as"), "{log}");
    let asides = std::fs::read_dir(dir.path()).unwrap().flatten();
    let asides = asides.filter(|entry| entry.file_name().to_string_lossy().contains(".damaged-"));
    assert!(asides.count() >= 1);
}
