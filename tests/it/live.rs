//! On the running kernel: known loads in cgroups and network namespaces of the test's own, each
//! found with its right owner within 2 %.
//!
//! The loads are this binary itself, started again with a role; each measures what it did and says
//! so. Needs root and a writable cgroup2 mount; without them the tests here are skipped, and the run says so at its end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test starts loads and reads what they report"
)]

mod connections;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use nodetally::clock;
use nodetally::identity::PodUid;
use nodetally::ledger::account::{UnitUsage, Usage};
use nodetally::ledger::{Account, Ledger};
use nodetally::runtime::wait;
use nodetally::snapshot::processes::ProcessDetail;
use nodetally::snapshot::roots::{Roots, Units};
use nodetally::snapshot::sampler::{Sampler, SamplerOptions};

use crate::support::skip::skip;

const ROLE: &str = "NODETALLY_TEST_ROLE";
/// The line that a role prints once it is in its namespace and waits.
const READY: &str = "load-ready";
/// The words before the value that a role prints at its end.
const DONE: &str = "load-done ";
/// The line of a load that has taken its first sample.
const SAMPLED: &str = "load-sampled";

fn roots() -> Roots {
    Roots {
        procfs: "/proc".into(),
        sysfs: "/sys".into(),
        cgroupfs: None,
        rootfs: "/".into(),
        units: Units { ticks_per_second: 100, page_size_bytes: 4096 },
        captured: None,
    }
}

/// A cgroup of the test's own, gone with all below it when dropped.
struct OwnCgroup(PathBuf);

impl OwnCgroup {
    /// `None`, with the reason recorded, where the test cannot make one.
    fn make(test: &str) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            skip("needs root to make cgroups");
            return None;
        }
        let Some(mount) = roots().find_cgroup2().path else {
            skip("needs a cgroup2 mount");
            return None;
        };
        let path = mount.join(format!("nodetallytest-{test}-{}.slice", std::process::id()));
        if let Err(error) = fs::create_dir(&path) {
            skip(format_args!("cannot make a cgroup: {error}"));
            return None;
        }
        Some(Self(path))
    }

    fn child(&self, path: &str) -> PathBuf {
        let child = self.0.join(path);
        fs::create_dir_all(&child).unwrap();
        child
    }

    /// The path below the mount, as the account has it.
    fn in_account(&self, path: &str) -> Vec<u8> {
        let mount = roots().find_cgroup2().path.unwrap();
        let below = self.0.join(path);
        format!("/{}", below.strip_prefix(mount).unwrap().display()).into_bytes()
    }
}

impl Drop for OwnCgroup {
    fn drop(&mut self) {
        remove(&self.0);
    }
}

fn remove(cgroup: &Path) {
    let children = fs::read_dir(cgroup).into_iter().flatten().flatten();
    for child in children.filter(|child| child.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove(&child.path());
    }
    // A process that was just killed leaves its cgroup a moment later.
    for _ in 0..100 {
        match fs::remove_dir(cgroup) {
            Ok(()) => return,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(20)),
        }
    }
}

/// A load, waiting to be told to go; killed when dropped.
struct Load {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Load {
    /// Starts `role` in `cgroup`, and in the network namespace `netns` where one is named.
    fn start(role: &str, cgroup: &Path, netns: Option<&str>) -> Self {
        match netns {
            Some(netns) => Self::start_by(&format!("ip netns exec {netns}"), role, cgroup),
            None => Self::start_by("env", role, cgroup),
        }
    }

    /// Starts `role` by a command that takes another one.
    fn start_by(command: &str, role: &str, cgroup: &Path) -> Self {
        let mut words = command.split(' ');
        let mut child = Command::new(words.next().unwrap())
            .args(words)
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "live::role", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        fs::write(cgroup.join("cgroup.procs"), child.id().to_string()).unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut load = Self { child, lines };
        load.wait_for(READY);
        load
    }

    /// The text behind `word`, in the first line that contains it.
    fn wait_for(&mut self, word: &str) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.lines.read_line(&mut line).unwrap(), 0, "the load ended early");
            if let Some((_, rest)) = line.split_once(word) {
                return rest.trim().to_owned();
            }
        }
    }

    /// Lets it work and waits for what it says it did. It stays alive afterwards.
    fn work(&mut self) -> u64 {
        self.begin();
        self.wait_for(DONE).parse().unwrap()
    }

    fn begin(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"go\n").unwrap();
    }

    fn end(mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test of its own: what this binary does when it is started as a load.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let wait = || {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).unwrap();
    };
    println!("{READY}");
    wait();
    let (kind, argument) = role.split_once(':').unwrap();
    let done = match kind {
        "burn" => burn(argument.parse().unwrap()),
        "write" => write_file(Path::new(argument)),
        "send" => send(argument),
        "peer" => connections::peer(argument),
        "sockets" => connections::watch_sockets(argument),
        "serve" => connections::serve(argument),
        "call" => connections::call(argument),
        "host" => connections::be_a_host(Path::new(argument)),
        _ => panic!("no role {role}"),
    };
    println!("{DONE}{done}");
    wait();
}

fn cpu_usec() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).unwrap();
    u64::try_from(std::time::Duration::from(time).as_micros()).unwrap()
}

fn burn(usec: u64) -> u64 {
    let start = cpu_usec();
    let mut spin = 0_u64;
    while cpu_usec() - start < usec {
        for _ in 0..10_000 {
            spin = std::hint::black_box(spin.wrapping_mul(31).wrapping_add(7));
        }
    }
    cpu_usec() - start
}

const WRITTEN_BYTES: usize = 64 << 20;

fn write_file(path: &Path) -> u64 {
    let mut file = fs::File::create(path).unwrap();
    let block = vec![0x5a_u8; 1 << 20];
    for _ in 0..WRITTEN_BYTES / block.len() {
        file.write_all(&block).unwrap();
    }
    file.sync_all().unwrap();
    WRITTEN_BYTES as u64
}

const DATAGRAMS: u64 = 20_000;

/// The most CPU of a load's start and end. It is this test's own program, of 170 MB: where its pages have left
/// the cache, that was 40 to 100 ms.
const START_AND_END_USEC: u64 = 200_000;
const DATAGRAM_BYTES: usize = 1000;
/// Ethernet, IPv4 and UDP.
const HEADER_BYTES: u64 = 14 + 20 + 8;

fn send(to: &str) -> u64 {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    let payload = [7_u8; DATAGRAM_BYTES];
    let mut sent = 0;
    for _ in 0..DATAGRAMS {
        // An unreachable port is answered, and the answer is no failure to send.
        if socket.send_to(&payload, to).is_ok() {
            sent += DATAGRAM_BYTES as u64 + HEADER_BYTES;
        }
    }
    sent
}

fn ip(line: &str) {
    let done = Command::new("ip").args(line.split(' ')).status().unwrap();
    assert!(done.success(), "ip {line}");
}

struct Observer {
    sampler: Sampler,
    ledger: Ledger,
    account: Account,
}

impl Observer {
    fn new() -> Self {
        let options = SamplerOptions {
            processes: ProcessDetail { io: true, cmdline: false },
            events: true,
            ..SamplerOptions::default()
        };
        let sampler = Sampler::open(roots(), options).unwrap();
        let ledger = Ledger::new(roots().units);
        let mut new = Self { sampler, ledger, account: Account::default() };
        new.look();
        new
    }

    /// Waits as the agent does, until `over`.
    fn wait(&mut self, over: impl Fn() -> bool) {
        let (_keep_going, stop) = wait::stop_signal().unwrap();
        while !over() {
            let due = clock::boot_time().plus(Duration::from_millis(20));
            assert_eq!(wait::until(due, &stop, &mut self.sampler), wait::Woken::Due);
        }
    }

    fn look(&mut self) -> &Account {
        let snapshot = self.sampler.sample(&clock::boot_time, clock::wall_time());
        self.ledger.settle(snapshot, &mut self.account);
        &self.account
    }
}

fn unit<'a>(account: &'a Account, path: &[u8]) -> &'a UnitUsage {
    let found = account.units.iter().find(|unit| *unit.path == *path);
    found.unwrap_or_else(|| panic!("no unit {}", String::from_utf8_lossy(path)))
}

fn cpu_of(usage: &Usage) -> u64 {
    usage.cpu.unwrap().usage.as_usec()
}

#[track_caller]
fn assert_within_two_percent(what: &str, found: u64, known: u64) {
    let off = found.abs_diff(known);
    println!("{what}: found {found}, known {known}");
    assert!(off * 50 <= known, "{what}: found {found}, known {known}, more than 2 % apart");
}

#[test]
fn cpu_is_given_to_the_unit_and_the_process_that_burned_it() {
    let Some(own) = OwnCgroup::make("cpu") else { return };
    let busy = own.child("busy.service");
    let idle = own.child("idle.service");
    let mut load = Load::start("burn:2000000", &busy, None);
    let other = Load::start("burn:1", &idle, None);
    let mut observer = Observer::new();
    let known = load.work();
    let account = observer.look();
    let found = unit(account, &own.in_account("busy.service"));
    assert_within_two_percent("unit", cpu_of(&found.usage), known);
    let pid = load.child.id();
    let process = account.processes.iter().find(|process| process.key.pid == pid).unwrap();
    assert_within_two_percent("process", process.cpu.unwrap().usage.as_usec(), known);
    assert_eq!(*process.cgroup, *own.in_account("busy.service"));
    let idle = cpu_of(&unit(account, &own.in_account("idle.service")).usage);
    assert!(idle < known / 50, "the idle unit was given {idle}");
    other.end();
}

/// As a runtime does: the process ends, and some time later its cgroups are removed.
#[test]
fn a_pod_that_lived_and_died_between_samples_is_named_where_it_was_seen() {
    let Some(own) = OwnCgroup::make("named") else { return };
    let class = "kubepods/besteffort";
    own.child(class);
    let mut observer = Observer::new();
    let container = "c".repeat(64);
    let path = own.0.join(class).join("poddddddddd-1111-2222-3333-dddddddddddd").join(&container);
    let job = thread::spawn(move || {
        fs::create_dir_all(&path).unwrap();
        let mut load = Load::start("burn:1000000", &path, None);
        let known = load.work();
        load.end();
        thread::sleep(Duration::from_millis(200));
        remove(path.parent().unwrap());
        known
    });
    observer.wait(|| job.is_finished());
    let known = job.join().unwrap();

    let account = observer.look();
    let uid = PodUid::parse(b"dddddddd-1111-2222-3333-dddddddddddd").unwrap();
    let pod = account.pods.iter().find(|pod| pod.uid == uid).expect("the pod by its name");
    assert!(pod.exited);
    // Its start and end, which it could not measure itself, are in its cgroup as well.
    let start_and_end = START_AND_END_USEC;
    let named = cpu_of(&pod.usage);
    println!("named {named}, known {known}");
    assert!(named * 50 >= known * 49 && named * 50 <= known * 51 + start_and_end * 50);
    let [one] = account.containers_of(uid) else { panic!("{:?}", account.containers_of(uid)) };
    assert!(one.exited && one.id.to_string() == container);
    let below = own.in_account(class);
    let unnamed = account.exited.iter().find(|exited| *exited.path == *below);
    let unnamed = unnamed.map_or(0, |exited| exited.cpu.as_usec());
    assert!(unnamed <= start_and_end, "{unnamed} usec stand under no name");
    let account = observer.look();
    assert!(account.pods.iter().all(|pod| pod.uid != uid), "it is gone for good");
}

#[test]
fn pods_are_found_by_path_and_a_pod_that_lived_and_died_between_samples_is_counted() {
    let Some(own) = OwnCgroup::make("pods") else { return };
    let class = "kubepods.slice/kubepods-burstable.slice";
    // Other tests have pods of their own at the same time, with letters.
    let pod = |digit: &str| {
        let uid = digit.repeat(8) + "_1111_2222_3333_" + &digit.repeat(12);
        let container = digit.repeat(64);
        format!("{class}/kubepods-burstable-pod{uid}.slice/cri-containerd-{container}.scope")
    };
    let stays = own.child(&pod("1"));
    let mut load = Load::start("burn:1000000", &stays, None);
    let mut observer = Observer::new();

    let dies = own.child(&pod("2"));
    let mut short = Load::start("burn:1000000", &dies, None);
    let known_of_dead = short.work();
    short.end();
    remove(dies.parent().unwrap());
    let known = load.work();

    let account = observer.look();
    let uid = PodUid::parse(b"11111111-1111-2222-3333-111111111111").unwrap();
    let found = account.pods.iter().find(|pod| pod.uid == uid).unwrap();
    assert_within_two_percent("the living pod", cpu_of(&found.usage), known);
    let containers = account.containers.iter().filter(|container| container.pod == uid);
    assert_within_two_percent("its container", containers.map(|c| cpu_of(&c.usage)).sum(), known);
    let exited = account.exited.iter().find(|exited| *exited.path == *own.in_account(class));
    let exited = exited.expect("the dead pod's CPU under its class").cpu.as_usec();
    // Its start and end, which it could not measure itself, were in its cgroup as well.
    let start_and_end = START_AND_END_USEC;
    assert!(exited * 50 >= known_of_dead * 49, "exited {exited}, known {known_of_dead}");
    assert!(
        exited * 50 <= known_of_dead * 51 + start_and_end * 50,
        "exited {exited}, known {known_of_dead}"
    );
}

#[test]
fn disk_bytes_are_given_to_the_unit_that_wrote_them() {
    let Some(own) = OwnCgroup::make("disk") else { return };
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("written-by-a-load");
    let role = format!("write:{}", file.display());
    let mut load = Load::start(&role, &own.child("writer.service"), None);
    let mut observer = Observer::new();
    let known = load.work();
    let account = observer.look();
    let found = unit(account, &own.in_account("writer.service"));
    assert_within_two_percent("unit", found.usage.disk.unwrap().written.as_bytes(), known);
    let pid = load.child.id();
    let process = account.processes.iter().find(|process| process.key.pid == pid).unwrap();
    assert_within_two_percent("process", process.disk.unwrap().written.as_bytes(), known);
    // Others write too, but the node cannot have written less.
    let node = account.node.disk.unwrap().written.as_bytes();
    assert!(node >= known, "the node wrote {node}, one unit of it {known}");
    fs::remove_file(&file).unwrap();
}

/// Two network namespaces with a wire between them, gone when dropped.
struct Wire([String; 2]);

impl Wire {
    fn make() -> Option<Self> {
        // Several tests of this process have a wire each.
        static WIRES: AtomicU32 = AtomicU32::new(0);
        let number = WIRES.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let names = ["a", "b"].map(|end| format!("nodetallytest-{end}{number}-{process}"));
        let wire = Self(names);
        let [a, b] = &wire.0;
        let commands = [
            format!("netns add {a}"),
            format!("netns add {b}"),
            format!("link add wire0 netns {a} type veth peer name wire1 netns {b}"),
            format!("-n {a} addr add 10.251.7.1/24 dev wire0"),
            format!("-n {b} addr add 10.251.7.2/24 dev wire1"),
            format!("-n {a} link set wire0 up"),
            format!("-n {b} link set wire1 up"),
        ];
        wire.run(&commands).then_some(wire)
    }

    /// False, with the reason recorded, where this kernel or user cannot do one of the commands.
    fn run(&self, commands: &[String]) -> bool {
        for command in commands {
            let done = Command::new("ip").args(command.split(' ')).status();
            if !done.as_ref().is_ok_and(std::process::ExitStatus::success) {
                let command = command.replace(&std::process::id().to_string(), "N");
                skip(format_args!("`ip {command}` fails: {done:?}"));
                return false;
            }
        }
        true
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = Command::new("ip").args(["netns", "del", name]).stderr(Stdio::null()).status();
        }
    }
}

#[test]
fn network_bytes_belong_to_the_namespaces_owner_and_to_none_in_the_hosts() {
    let Some(own) = OwnCgroup::make("net") else { return };
    let Some(wire) = Wire::make() else { return };
    let [a, b] = &wire.0;
    let mut load = Load::start("send:10.251.7.2:9", &own.child("sender.service"), Some(a));
    let peer = Load::start("burn:1", &own.child("peer.service"), Some(b));
    let host = Load::start("burn:1", &own.child("host.service"), None);
    let mut observer = Observer::new();
    let known = load.work();
    let account = observer.look();
    let network = |name: &str| unit(account, &own.in_account(name)).usage.network;
    let sender = network("sender.service").expect("the sender has a namespace of its own");
    assert_within_two_percent("sent", sender.tx.as_bytes(), known);
    let received = network("peer.service").expect("the peer has one too").rx.as_bytes();
    assert_within_two_percent("received", received, known);
    assert_eq!(network("host.service"), None, "a unit in the host's namespace has no figure");
    peer.end();
    host.end();
}

/// Ethernet, IPv4, UDP and VXLAN.
const VXLAN_BYTES: u64 = 14 + 20 + 8 + 8;

/// The kernel's own links: a tunnel over the pair, and a bridge with a pair of its own beside it.
#[test]
fn a_tunnel_over_an_interface_of_the_namespace_counts_once() {
    let Some(own) = OwnCgroup::make("tunnel") else { return };
    let Some(wire) = Wire::make() else { return };
    let [a, b] = &wire.0;
    let tunnel = |end: &str, wire: &str, local: u8, remote: u8| {
        let kind = "type vxlan id 7 dstport 4789";
        let ends = format!("local 10.251.7.{local} remote 10.251.7.{remote} dev {wire}");
        [
            format!("-n {end} link add office {kind} {ends}"),
            format!("-n {end} addr add 10.251.8.{local}/24 dev office"),
            format!("-n {end} link set office up"),
            format!("-n {end} link add door type bridge"),
            format!("-n {end} link add in0 type veth peer name in1"),
            format!("-n {end} link set in0 master door"),
        ]
    };
    if !wire.run(&tunnel(a, "wire0", 1, 2)) || !wire.run(&tunnel(b, "wire1", 2, 1)) {
        return;
    }
    let mut load = Load::start("send:10.251.8.2:9", &own.child("sender.service"), Some(a));
    let peer = Load::start("burn:1", &own.child("peer.service"), Some(b));
    let mut observer = Observer::new();
    let known = load.work() + DATAGRAMS * VXLAN_BYTES;
    let account = observer.look();
    let network = |name: &str| unit(account, &own.in_account(name)).usage.network.unwrap();
    assert_within_two_percent("sent", network("sender.service").tx.as_bytes(), known);
    assert_within_two_percent("received", network("peer.service").rx.as_bytes(), known);
    peer.end();
}

/// An interface that is renamed counts on, and one that is moved in brings no past.
#[test]
fn real_interfaces_are_told_apart_by_their_index() {
    let Some(own) = OwnCgroup::make("index") else { return };
    let Some(wire) = Wire::make() else { return };
    let [a, b] = &wire.0;
    let mut load = Load::start("send:10.251.7.2:9", &own.child("sender.service"), Some(a));
    let peer = Load::start("burn:1", &own.child("peer.service"), Some(b));
    let mut observer = Observer::new();
    let known = load.work();
    let renamed = [
        format!("-n {a} link set wire0 down"),
        format!("-n {a} link set wire0 name office"),
        format!("-n {a} link set office up"),
    ];
    if !wire.run(&renamed) {
        return;
    }
    let account = observer.look();
    let sent = unit(account, &own.in_account("sender.service")).usage.network.unwrap();
    assert_within_two_percent("sent", sent.tx.as_bytes(), known);
    // The pair's one end joins the other, with all that it has sent.
    if !wire.run(&[format!("-n {a} link set office netns {b}")]) {
        return;
    }
    let account = observer.look();
    let received = unit(account, &own.in_account("peer.service")).usage.network.unwrap();
    assert!(received.tx.as_bytes() < known / 50, "it brought {received:?}");
    peer.end();
}

#[test]
fn parts_and_remainder_add_up_on_this_host() {
    let mut observer = Observer::new();
    burn(200_000);
    let account = observer.look();
    let balances = [
        account.conservation.cpu_usec,
        account.conservation.memory_bytes,
        account.conservation.disk_read_bytes,
        account.conservation.disk_written_bytes,
        account.conservation.network_rx_bytes,
        account.conservation.network_tx_bytes,
    ];
    assert!(balances[0].is_some() && balances[1].is_some());
    for balance in balances.into_iter().flatten() {
        let given = i128::from(balance.pods)
            + i128::from(balance.host_units)
            + i128::from(balance.kernel)
            + i128::from(balance.interrupts)
            + i128::from(balance.exited)
            + i128::from(balance.unattributed);
        assert_eq!(given, i128::from(balance.node) + i128::from(balance.inside_node));
    }
    let cpu = account.node.cpu.unwrap();
    let parts = [cpu.user, cpu.system, cpu.irq, cpu.softirq];
    assert_eq!(cpu.busy, parts.into_iter().flatten().sum());
    assert!(cpu.busy.as_usec() >= 100_000, "at least what this test burned: {:?}", cpu.busy);
}
