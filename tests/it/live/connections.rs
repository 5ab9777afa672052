//! TCP connections: roles of a load, and tests of whom their bytes belong to.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use nodetally::clock;
use nodetally::snapshot::read_context::ReadContext;
use nodetally::snapshot::socket_reader::SocketReader;
use nodetally::snapshot::sockets::SocketsReading;
use nodetally::source::root::{Buffer, Dir};

use super::{DONE, Load, OwnCgroup, ROLE, SAMPLED, Wire, ip};
use crate::support::agent::eventually;
use crate::support::skip::skip;

const SHORT_CONNECTIONS: usize = 300;
const ASK_BYTES: usize = 1000;
const ANSWER_BYTES: usize = 2000;
const SENT_BYTES: usize = 1 << 20;

fn connect(to: &str) -> TcpStream {
    for _ in 0..500 {
        if let Ok(connected) = TcpStream::connect(to) {
            return connected;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("nobody listens at {to}");
}

/// Asks the server at the address before the blank, then takes what comes to the one behind it.
pub fn peer(addresses: &str) -> u64 {
    let (server, own) = addresses.split_once(' ').unwrap();
    let listener = TcpListener::bind(own).unwrap();
    for _ in 0..SHORT_CONNECTIONS {
        let mut asking = connect(server);
        asking.write_all(&[7; ASK_BYTES]).unwrap();
        asking.shutdown(Shutdown::Write).unwrap();
        assert_eq!(asking.read_to_end(&mut Vec::new()).unwrap(), ANSWER_BYTES);
    }
    let mut taken = 0;
    for _ in 0..2 {
        let mut all = Vec::new();
        taken += listener.accept().unwrap().0.read_to_end(&mut all).unwrap() as u64;
    }
    taken
}

/// True if the namespace has no socket at this local port but a listener's and those that the kernel
/// keeps in TIME-WAIT.
fn is_only_listening(port: u16) -> bool {
    let table = fs::read_to_string("/proc/self/net/tcp").unwrap();
    let at_port = format!(":{port:04X}");
    let states = table.lines().skip(1).filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        fields.next()?.ends_with(&at_port).then(|| fields.nth(1))?
    });
    states.into_iter().all(|state| matches!(state, "0A" | "06"))
}

/// Samples the sockets of its namespace twice. In between it answers short connections, and sends over
/// two of its own: one that a look has seen, one that none has. Returns what was known to be sent.
pub fn watch_sockets(addresses: &str) -> u64 {
    let (own, to) = addresses.split_once(' ').unwrap();
    let listener = TcpListener::bind(own).unwrap();
    let procfs = Dir::open(Path::new("/proc")).unwrap();
    let mut reader = SocketReader::open(&procfs, true).unwrap();
    let mut reading = SocketsReading::default();
    let (mut buffer, mut gaps, mut counts) = Default::default();
    let mut sample = |reader: &mut SocketReader, reading: &mut SocketsReading| {
        let (buffer, gaps, counts) = (&mut buffer, &mut gaps, &mut counts);
        let mut context = ReadContext { buffer, gaps, counts, clock: &clock::boot_time, tick: 0 };
        reader.read(reading, &mut context);
        reader.finish(reading, &mut context);
        assert!(reading.readable && reading.complete && context.gaps.current.is_empty());
    };
    sample(&mut reader, &mut reading);
    println!("{SAMPLED}");
    let due = clock::boot_time().plus(Duration::from_secs(60));
    let soon = Duration::from_millis(1100);
    let next = reader.next_look(due).unwrap();
    assert!(next > clock::boot_time() && next < clock::boot_time().plus(soon));
    assert_eq!(reader.next_look(next), None, "it would not be over by then");

    for _ in 0..SHORT_CONNECTIONS {
        let mut asked = listener.accept().unwrap().0;
        assert_eq!(asked.read_to_end(&mut Vec::new()).unwrap(), ASK_BYTES);
        asked.write_all(&[7; ANSWER_BYTES]).unwrap();
        drop(asked);
        reader.drain_events();
    }
    // A look would see those that are still closing.
    let port = listener.local_addr().unwrap().port();
    eventually("the short connections are closed", || is_only_listening(port).then_some(()));
    // The kernel tells of the last one a moment after it has left the table.
    thread::sleep(Duration::from_millis(500));
    reader.drain_events();
    let mut buffer = Buffer::default();
    for is_seen in [true, false] {
        let mut sending = connect(to);
        sending.write_all(&vec![7; SENT_BYTES]).unwrap();
        if is_seen {
            reader.look(&mut buffer, &clock::boot_time);
        }
    }
    // The kernel tells of their ends when the peer has taken all.
    thread::sleep(Duration::from_millis(500));
    sample(&mut reader, &mut reading);
    assert!(reading.ended.is_empty(), "{:?}", reading.ended);
    let [sum] = reading.short_lived[..] else { panic!("{:?}", reading.short_lived) };
    // The ends of a connection are bytes to the kernel too, two each way.
    let received = SHORT_CONNECTIONS * ASK_BYTES;
    let over = sum.received.as_bytes() - received as u64;
    assert!(over <= 2 * SHORT_CONNECTIONS as u64 + 2, "{over} of {sum:?}");
    sum.acked.as_bytes()
}

/// Takes the wire's end into use and answers whoever asks, from now on.
pub fn serve(arguments: &str) -> u64 {
    let (address, port) = arguments.split_once(' ').unwrap();
    if !address.is_empty() {
        ip(&format!("addr add {address}/24 dev wire1"));
        ip("link set wire1 up");
    }
    let listener = TcpListener::bind(("::", port.parse().unwrap())).unwrap();
    thread::spawn(move || {
        for asked in listener.incoming() {
            let mut asked = asked.unwrap();
            thread::spawn(move || {
                asked.read_to_end(&mut Vec::new()).unwrap();
                asked.write_all(&[7; ANSWER_BYTES]).unwrap();
            });
        }
    });
    0
}

/// Connections one after the other; the number of bytes sent.
pub fn call(arguments: &str) -> u64 {
    let words: Vec<&str> = arguments.split(' ').collect();
    let [to, count, bytes, hold_msec] = words[..] else { panic!("{words:?}") };
    let mut sent = 0;
    for _ in 0..count.parse().unwrap() {
        let payload = vec![7; bytes.parse().unwrap()];
        let mut asking = connect(to);
        asking.write_all(&payload).unwrap();
        sent += payload.len() as u64;
        thread::sleep(Duration::from_millis(hold_msec.parse().unwrap()));
        asking.shutdown(Shutdown::Write).unwrap();
        assert_eq!(asking.read_to_end(&mut Vec::new()).unwrap(), ANSWER_BYTES);
    }
    sent
}

/// The first process of a host of its own, as far as the kernel tells: with namespaces of processes,
/// mounts and network, and pods in the latter below `cgroup`.
pub fn be_a_host(cgroup: &Path) -> u64 {
    let pod = |digit: &str| {
        let uid = format!("{}-1111-2222-3333-{}", digit.repeat(8), digit.repeat(12));
        let path =
            cgroup.join("kubepods/burstable").join(format!("pod{uid}")).join(digit.repeat(64));
        fs::create_dir_all(&path).unwrap();
        path
    };
    let other = cgroup.join("other.service");
    fs::create_dir_all(&other).unwrap();
    let mut peer = Load::start_by("unshare --net", "serve:10.252.7.2 7002", &other);
    let netns = format!("nsenter --net=/proc/{}/ns/net", peer.child.id());
    ip("link set lo up");
    ip(&format!("link add wire0 type veth peer name wire1 netns {}", peer.child.id()));
    ip("addr add 10.252.7.1/24 dev wire0");
    ip("link set wire0 up");
    peer.work();
    let mut server = Load::start("serve: 7001", &pod("a"), None);
    server.work();
    let callers = [
        Load::start("call:10.252.7.2:7002 1 104857600 2500", &pod("b"), None),
        Load::start("call:10.252.7.2:7002 3 10485760 3500", &pod("c"), None),
        Load::start_by(&netns, "call:10.252.7.1:7001 300 1000 0", &other),
    ];
    let dump = Command::new(env!("CARGO_BIN_EXE_nodetally"))
        .args(["dump", "--interval", "18s", "--format", "json"])
        // It refuses a variable that is none of its own.
        .env_remove(ROLE)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_secs(2));
    let calling = callers.map(|mut caller| thread::spawn(move || (caller.work(), caller)));
    let called = calling.map(|calling| calling.join().unwrap());
    let dumped = dump.wait_with_output().unwrap();
    let dumped: serde_json::Value = serde_json::from_slice(&dumped.stdout).unwrap();
    let figure = |digit: char, key: &str| {
        let pods = dumped["pods"].as_array().unwrap();
        let pod = pods.iter().find(|pod| pod["uid"].as_str().unwrap().starts_with(digit)).unwrap();
        assert_eq!(pod["network_from"], "tcp_sockets", "{pod}");
        pod[key].as_u64().unwrap()
    };
    // The kernel counts the beginning and the end of a connection as a byte.
    let near = |found: u64, known: u64, connections: u64| {
        println!("found {found}, known {known}");
        assert!((known..=known + 2 * connections).contains(&found), "{found}, known {known}");
    };
    near(figure('b', "network_tx_bytes"), called[0].0, 1);
    near(figure('c', "network_tx_bytes"), called[1].0, 3);
    near(figure('a', "network_rx_bytes"), called[2].0, 300);
    near(figure('a', "network_tx_bytes"), 300 * ANSWER_BYTES as u64, 300);
    0
}

#[test]
fn short_connections_belong_to_their_listener_and_others_to_whom_a_look_has_seen() {
    let Some(own) = OwnCgroup::make("sockets") else { return };
    let Some(wire) = Wire::make() else { return };
    let [a, b] = &wire.0;
    let (here, there) = ("10.251.7.1:7009", "10.251.7.2:7010");
    let watch = format!("sockets:{here} {there}");
    let mut watching = Load::start(&watch, &own.child("server.service"), Some(a));
    let role = format!("peer:{here} {there}");
    let mut peer = Load::start(&role, &own.child("peer.service"), Some(b));
    watching.begin();
    // A connection of the first sample would be no short one.
    watching.wait_for(SAMPLED);
    let peer = thread::spawn(move || peer.work());
    let known: u64 = watching.wait_for(DONE).parse().unwrap();
    assert_eq!(peer.join().unwrap(), 2 * SENT_BYTES as u64);
    let sent = (SHORT_CONNECTIONS * ANSWER_BYTES + SENT_BYTES) as u64;
    assert!((sent..=sent + 2 * SHORT_CONNECTIONS as u64 + 2).contains(&known), "{known} of {sent}");
}

/// With the real binary: 100 MiB over one connection within the interval, three of 10 MiB and 3.5 s
/// each, and 300 short ones from elsewhere.
#[test]
fn a_dump_has_the_connections_that_neither_of_its_samples_saw() {
    let Some(own) = OwnCgroup::make("host") else { return };
    let host = "unshare --net --pid --fork --mount --mount-proc --kill-child";
    let works = Command::new("unshare").args(host.split(' ').skip(1)).arg("true").status();
    if !works.is_ok_and(|status| status.success()) {
        return skip("needs namespaces of its own (unshare)");
    }
    let role = format!("host:{}", own.0.display());
    Load::start_by(host, &role, &own.child("host.service")).work();
}
