//! Clients that send or take too much: the receiver's memory stays bounded, and others are answered.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use serde_json::Value;

use super::command::address_of;
use super::pod_batch::{envelope, pod};
use crate::support::agent::{Agent, eventually, get, post};
use crate::support::rounds::rounds;
use crate::support::skip::skip;

/// The most that a receiver may have resident at any time.
const RESIDENT_KIB_MAX: u64 = 128 << 10;

const PODS_OF_POST: usize = 4;

fn receive(store: &str) -> (Agent, SocketAddr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nodetally"));
    command.env_clear().args(["receive", "--listen", "127.0.0.1:0", "--config", "none", "--store"]);
    command.arg(store).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut receiver = Agent::start(command);
    let address = address_of(&mut receiver);
    (receiver, address)
}

fn resident_peak_kib(receiver: &Agent) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", receiver.0.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A request for all pods, of whose answer nothing is read yet.
fn ask_for_pods(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    write!(stream, "GET /api/pods HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
    stream
}

/// Batches of 46 kB, each with new pods, while eight clients read all pods again and again. By hand: 5,000
/// batches (NODETALLY_TEST_ROUNDS=20).
fn flood(store: &str) {
    let posts = rounds(250) as usize;
    let (receiver, address) = receive(store);
    let mut resource = pod("shop", "web", 0.5);
    resource["metadata"]["annotations"]["note"] = "x".repeat(10_500).into();
    let body = envelope(&vec![resource; PODS_OF_POST]).to_string();
    assert!((44_000..48_000).contains(&body.len()), "{}", body.len());
    let (next, stored, refused) = Default::default();
    let (next, stored, refused): (AtomicUsize, AtomicUsize, AtomicUsize) = (next, stored, refused);
    let is_over = AtomicBool::new(false);
    let answers = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let mut answer = Vec::new();
                    ask_for_pods(address).read_to_end(&mut answer).unwrap();
                    assert!(answer.starts_with(b"HTTP/1.0 200 "), "{:?}", &answer[..60]);
                    assert!(answer.ends_with(b"]"), "a list that ends early");
                    answers.fetch_add(1, Ordering::Relaxed);
                    // Leaves the processor to the senders now and then.
                    thread::sleep(Duration::from_millis(50));
                }
            });
        }
        let senders: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= posts {
                            break;
                        }
                        let mut pods: Value = serde_json::from_str(&body).unwrap();
                        for (at, pod) in
                            pods["resources"].as_array_mut().unwrap().iter_mut().enumerate()
                        {
                            pod["name"] = format!("web-{number}-{at}").into();
                        }
                        let answer = post(address, "/api/v1/metrics/pods", &pods);
                        match answer.split(' ').nth(1).unwrap() {
                            "200" => stored.fetch_add(1, Ordering::Relaxed),
                            "507" => refused.fetch_add(1, Ordering::Relaxed),
                            _ => panic!("{answer}"),
                        };
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.join().unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let (stored, refused) = (stored.into_inner(), refused.into_inner());
    assert!(stored > 50, "{stored} were stored, and {refused} refused");
    assert!(answers.into_inner() >= 8);
    let peak = resident_peak_kib(&receiver);
    println!("{store}: {stored} stored, {refused} refused; resident at most {peak} KiB");
    assert!(peak < RESIDENT_KIB_MAX, "{store}: {peak} KiB resident");
}

#[test]
fn a_flood_into_memory_stays_within_the_bound() {
    flood("none");
}

#[test]
fn a_flood_into_a_file_stays_within_the_bound() {
    let dir = tempfile::tempdir().unwrap();
    flood(dir.path().join("receiver.db").to_str().unwrap());
}

/// As many clients as may be connected ask for a long list and read nothing of it.
#[test]
fn clients_that_read_nothing_keep_nobody_out() {
    let dir = tempfile::tempdir().unwrap();
    let (receiver, address) = receive(dir.path().join("receiver.db").to_str().unwrap());
    for number in 0..100 {
        let pods = (0..100).map(|at| pod("shop", &format!("web-{number}-{at}"), 0.5));
        let answer = post(address, "/api/v1/metrics/pods", &envelope(&pods.collect::<Vec<_>>()));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let mut slow: Vec<_> = (0..500).map(|_| ask_for_pods(address)).collect();
    for number in 0..10 {
        let pods = [pod("shop", &format!("late-{number}"), 0.5)];
        let answer = post(address, "/api/v1/metrics/pods", &envelope(&pods));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert_eq!(get(address, "/api/nodes").0, 200);
    }
    let peak = resident_peak_kib(&receiver);
    println!("500 clients that read nothing: resident at most {peak} KiB");
    assert!(peak < RESIDENT_KIB_MAX, "{peak} KiB for 500 clients that read nothing");
    // One that begins to read after all gets the whole list, late pods or not.
    let mut answer = String::new();
    slow.pop().unwrap().read_to_string(&mut answer).unwrap();
    let list: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert!(list.as_array().unwrap().len() >= 10_000);
}

/// Documents of 200 kB each, which a list has in parts of one.
#[test]
fn clients_that_read_nothing_of_large_documents_stay_within_the_bound() {
    let dir = tempfile::tempdir().unwrap();
    let (receiver, address) = receive(dir.path().join("receiver.db").to_str().unwrap());
    for number in 0..100 {
        let mut pod = pod("shop", &format!("web-{number}"), 0.5);
        pod["metadata"]["annotations"]["note"] = "x".repeat(200_000).into();
        let answer = post(address, "/api/v1/metrics/pods", &envelope(&[pod]));
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    let ask = || {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET /api/v1/metrics/pods HTTP/1.0\r\nHost: localhost\r\n\r\n").unwrap();
        stream
    };
    let slow: Vec<_> = (0..300).map(|_| ask()).collect();
    // All but a few wait for their place, and say so in the end.
    let mut refused = String::new();
    for mut stream in slow.into_iter().rev().take(1) {
        stream.read_to_string(&mut refused).unwrap();
    }
    assert!(refused.starts_with("HTTP/1.0 503 "), "{refused:.60}");
    assert!(refused.contains("too many long lists are being read"), "{refused}");
    assert_eq!(get(address, "/api/pods?namespace=shop").0, 200);
    let peak = resident_peak_kib(&receiver);
    println!("300 clients of large documents: resident at most {peak} KiB");
    assert!(peak < RESIDENT_KIB_MAX, "{peak} KiB");
    // Once nobody holds a place, the list comes whole.
    let list = eventually("the list of documents", || {
        let (status, list) = get(address, "/api/v1/metrics/pods");
        (status == 200).then_some(list)
    });
    assert_eq!(list["metrics_count"], 100);
}

#[test]
fn ten_thousand_connections_keep_no_new_client_out() {
    const CONNECTIONS: u64 = 10_000;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    if hard < CONNECTIONS + 1000 {
        skip(format!("{CONNECTIONS} connections need more than the {hard} descriptors allowed"));
        return;
    }
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(CONNECTIONS + 1000), hard).unwrap();
    let (receiver, address) = receive("none");
    let mut idle = Vec::new();
    for number in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(address).unwrap();
        // A part of them has sent the beginning of a request.
        if number % 3 == 0 {
            // It may be closed for another already.
            let _ = stream.write_all(b"GET /api/nodes HTTP/1.1\r\nHost:");
        }
        idle.push(stream);
        if number % 1000 == 999 {
            assert_eq!(get(address, "/api/nodes").0, 200, "after {number} connections");
        }
    }
    let peak = resident_peak_kib(&receiver);
    assert!(peak < RESIDENT_KIB_MAX, "{peak} KiB resident");
    println!("{} connections; resident at most {peak} KiB", idle.len());
}
