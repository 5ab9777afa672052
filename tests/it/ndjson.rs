//! The dialect `ndjson`: lines in files, on standard output and at a server.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::Signal;
use nodetally::attribution;
use nodetally::ledger::{Account, Ledger};
use nodetally::payload::entities::Observation;
use nodetally::payload::ndjson;
use nodetally::payload::options::EncodeOptions;
use nodetally::payload::running_totals::RunningTotals;
use nodetally::runtime::capture;
use nodetally::snapshot::processes::ProcessDetail;
use nodetally::snapshot::sampler::{Sampler, SamplerOptions};
use serde_json::Value;

use crate::support::agent::{Agent, Host, any_port, eventually, get};
use crate::support::mounts::in_own_mounts;

/// The keys of a node that `run` does not have.
const NOT_IN_RUN: [&str; 4] = ["kernel_release", "os", "cpu_model", "filesystems"];
/// The kinds of lines that `run` does not have.
const NO_KINDS_OF_RUN: [&str; 3] = ["process", "rest", "gap"];

pub fn hosts() -> Vec<PathBuf> {
    let hosts = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/hosts");
    let entries = fs::read_dir(hosts).unwrap().flatten();
    let mut dirs: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    dirs.sort();
    dirs
}

/// The lines that `dump` prints of a captured host.
pub fn lines_of_dump(host: &Path) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_nodetally"))
        .env_clear()
        .args(["dump", "--format", "ndjson", "--replay"])
        .arg(host)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lines(&String::from_utf8(output.stdout).unwrap())
}

/// The lines that `run` makes of the same host, named like it.
pub fn lines_of_run(host: &Path, name: &str) -> Vec<Value> {
    let instants = capture::load(host).unwrap();
    let mut ledger = Ledger::new(instants[0].units);
    let mut account = Account::default();
    for roots in instants {
        let at = roots.captured.clone().unwrap();
        let options = SamplerOptions {
            processes: ProcessDetail { io: true, cmdline: false },
            says_more: attribution::says_more,
            ..SamplerOptions::default()
        };
        let mut sampler = Sampler::open(roots, options).unwrap();
        ledger.settle(sampler.sample(&|| at.at, at.wall), &mut account);
    }
    let catalog = capture::load_catalog(host).unwrap();
    let view = Observation {
        account: &account,
        catalog: &catalog,
        filesystems: &BTreeMap::new(),
        node_filesystem: None,
        metrics: None,
    };
    let entities = RunningTotals::default().add(&view);
    let messages = ndjson::encode(&view, &entities, &EncodeOptions::new(name));
    messages.iter().flat_map(|message| lines(std::str::from_utf8(&message.body).unwrap())).collect()
}

fn lines(text: &str) -> Vec<Value> {
    assert!(text.is_empty() || text.ends_with('\n'), "half a line");
    let parsed = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        assert_eq!(value.to_string().len(), line.len(), "a key that is there twice: {line}");
        value
    };
    text.lines().map(parsed).collect()
}

#[test]
fn lines_of_run_are_those_of_dump() {
    for host in hosts() {
        let dumped = lines_of_dump(&host);
        let name = dumped[0]["name"].as_str().unwrap();
        let mut made: Vec<String> =
            lines_of_run(&host, name).iter().map(ToString::to_string).collect();
        let of_run = dumped.iter().filter(|line| {
            let kind = line["kind"].as_str().unwrap();
            !NO_KINDS_OF_RUN.contains(&kind)
        });
        let mut expected: Vec<String> = of_run
            .cloned()
            .map(|mut line| {
                if line["kind"] == "node" {
                    let node = line.as_object_mut().unwrap();
                    NOT_IN_RUN.iter().for_each(|key| drop(node.remove(*key)));
                }
                line.to_string()
            })
            .collect();
        made.sort();
        expected.sort();
        assert!(made.len() > 3, "{}", host.display());
        assert_eq!(made, expected, "{}", host.display());
    }
}

fn endpoint(url: &str, more: &str) -> String {
    format!("[[endpoint]]\nname = \"lines\"\ndialect = \"ndjson\"\nurl = \"{url}\"\n{more}\n")
}

/// An agent with these endpoints, and the address of its status.
fn start(host: &Host, dir: &Path, endpoints: &str) -> (Agent, SocketAddr) {
    let status = TcpListener::bind(any_port()).unwrap().local_addr().unwrap();
    configure(dir, status, endpoints);
    let mut command = host.agent(&["run", "--state-dir", "none"]);
    command.arg("--config").arg(dir.join("c.toml"));
    (Agent::start(command), status)
}

fn configure(dir: &Path, status: SocketAddr, endpoints: &str) {
    let text = format!(
        "[node]\nname = \"n1\"\n[sampling]\ninterval = \"1s\"\n[status]\nlisten = \"{status}\"\n\
         {endpoints}"
    );
    fs::write(dir.join("c.toml"), text).unwrap();
}

/// The endpoint in the agent's status, when `fits`.
fn until(status: SocketAddr, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
    eventually(what, || {
        TcpStream::connect(status).ok()?;
        let (_, report) = get(status, "/status");
        fits(&report["endpoints"][0]).then(|| report["endpoints"][0].clone())
    })
}

fn samples(status: SocketAddr) -> u64 {
    get(status, "/status").1["sampling"]["samples"].as_u64().unwrap()
}

fn metrics(status: SocketAddr) -> String {
    let mut stream = TcpStream::connect(status).unwrap();
    let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn end(agent: Agent) -> String {
    agent.signal(Signal::SIGTERM);
    let (status, log) = agent.end();
    assert!(status.success(), "{status}: {log}");
    log
}

#[test]
fn standard_output_has_lines_of_samples_alone() {
    let (host, dir) = (Host::copy("6.12-podman-bare"), tempfile::tempdir().unwrap());
    let (mut agent, status) = start(&host, dir.path(), &endpoint("stdout:", ""));
    let mut out = BufReader::new(agent.0.stdout.take().unwrap());
    let mut nodes = Vec::new();
    let mut text = String::new();
    while nodes.len() < 3 {
        text.clear();
        assert_ne!(out.read_line(&mut text).unwrap(), 0);
        let line: Value = serde_json::from_str(&text).unwrap();
        if line["kind"] == "node" {
            nodes.push(line["sampled_at"].as_str().unwrap().to_owned());
            assert_eq!(line["name"], "n1");
        }
    }
    assert!(nodes.is_sorted() && nodes[0] != nodes[1], "{nodes:?}");
    let figures = until(status, "lines", |lines| lines["accepted_posts"].as_u64() >= Some(3));
    assert_eq!((&figures["url"], &figures["state"]), (&"stdout:".into(), &"healthy".into()));

    // A reader that leaves ends nothing.
    drop(out);
    let figures =
        until(status, "drops", |lines| lines["dropped_posts"]["not_written"].as_u64() >= Some(2));
    assert_eq!(figures["state"], "down");
    let text = metrics(status);
    assert!(text.contains("outcome=\"not_written\"} "), "{text}");
    let log = end(agent);
    assert_eq!(
        log.matches("endpoint lines: standard output cannot be written to").count(),
        1,
        "{log}"
    );
    assert!(log.contains("Broken pipe") && log.contains("counted as not_written"), "{log}");
}

#[test]
fn a_reader_that_stands_still_delays_no_sample_and_costs_no_more_than_the_room() {
    let (host, dir) = (Host::copy("6.8-crio-systemd"), tempfile::tempdir().unwrap());
    let endpoints = endpoint("stdout:", "queue_bytes = \"64KiB\"");
    let (agent, status) = start(&host, dir.path(), &endpoints);
    until(status, "a full queue", |lines| {
        assert!(lines["in_memory"]["bytes"].as_u64() <= Some(64 << 10), "{lines}");
        lines["dropped_posts"]["queue_full"].as_u64() >= Some(2) && lines["state"] == "down"
    });
    let before = samples(status);
    eventually("further samples", || (samples(status) > before + 2).then_some(()));
    let log = end(agent);
    assert_eq!(log.matches("has taken no line for 5 s").count(), 1, "{log}");
    assert!(log.contains("samples are lost: standard output did not take them in time"), "{log}");
}

#[test]
fn a_file_is_rotated_by_size_or_by_another_program_and_goes_on_over_reloads() {
    let (host, dir) = (Host::copy("6.8-crio-systemd"), tempfile::tempdir().unwrap());
    let path = dir.path().join("x.ndjson");
    let url = format!("file://{}", path.display());
    let (agent, status) = start(&host, dir.path(), &endpoint(&url, "rotate_bytes = \"none\""));
    let size = || fs::metadata(&path).map_or(0, |metadata| metadata.len());
    eventually("lines", || (size() > 0).then_some(()));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    // As logrotate does it.
    let moved = dir.path().join("moved");
    fs::rename(&path, &moved).unwrap();
    agent.signal(Signal::SIGHUP);
    eventually("a new file", || (size() > 0).then_some(()));
    let (before, after) = (lines(&fs::read_to_string(&moved).unwrap()), size());
    assert!(before.iter().any(|line| line["kind"] == "node"));
    eventually("further lines", || (size() > after).then_some(()));
    assert_eq!(lines(&fs::read_to_string(&moved).unwrap()), before, "written after it was moved");

    // What is over a MiB is renamed with the next sample.
    fs::write(&path, "{\"kind\":\"x\"}\n".repeat(90_000)).unwrap();
    let rotated = endpoint(&url, "rotate_bytes = \"1MiB\"\nrotate_keep = 1");
    configure(dir.path(), status, &rotated);
    agent.signal(Signal::SIGHUP);
    let older = dir.path().join("x.ndjson.1");
    eventually("a renamed file", || (older.exists() && size() > 0).then_some(()));
    assert!(size() < 1 << 20);
    let log = end(agent);
    assert!(log.contains("changed endpoints: lines"), "{log}");
    for path in [&path, &older, &moved] {
        lines(&fs::read_to_string(path).unwrap());
    }
}

#[test]
fn a_full_disk_loses_lines_that_are_counted_and_leaves_no_half_line() {
    in_own_mounts(|| {
        let (host, dir) = (Host::copy("6.8-crio-systemd"), tempfile::tempdir().unwrap());
        let disk = dir.path().join("disk");
        fs::create_dir(&disk).unwrap();
        let size = Some("size=64k");
        mount(Some("tmpfs"), &disk, Some("tmpfs"), MsFlags::empty(), size).unwrap();
        let path = disk.join("x");
        let url = format!("file://{}", path.display());
        let (agent, status) = start(&host, dir.path(), &endpoint(&url, ""));
        let figures = until(status, "drops", |lines| {
            lines["dropped_posts"]["not_written"].as_u64() >= Some(2)
        });
        let written = lines(&fs::read_to_string(&path).unwrap());
        let nodes = written.iter().filter(|line| line["kind"] == "node").count();
        assert_eq!(figures["accepted_posts"].as_u64(), Some(nodes as u64));
        fs::remove_file(&path).unwrap();
        until(status, "room", |lines| lines["state"] == "healthy");
        assert!(!lines(&fs::read_to_string(&path).unwrap()).is_empty());
        let log = end(agent);
        let failed =
            format!("endpoint lines: {} cannot be written to: No space left", path.display());
        assert!(log.matches(&failed).count() >= 1, "{log}");
        assert!(log.contains("takes lines again; lost were "), "{log}");
        umount2(&disk, MntFlags::MNT_DETACH).unwrap();
    });
}

#[test]
fn a_server_is_sent_whole_lines() {
    let listener = TcpListener::bind(any_port()).unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, bodies) = mpsc::channel();
    let answer = example_of_the_page("## Answer\n");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (sender, answer) = (sender.clone(), answer.clone());
            thread::spawn(move || take(&stream, &answer, &sender));
        }
    });
    let (host, dir) = (Host::copy("6.12-podman-bare"), tempfile::tempdir().unwrap());
    let (agent, status) = start(&host, dir.path(), &endpoint(&format!("http://{address}/in"), ""));
    let names = |head: &str| -> Vec<String> {
        let headers = head.lines().skip(1).filter(|line| !line.is_empty());
        let mut names: Vec<String> =
            headers.map(|line| line.split(':').next().unwrap().to_ascii_lowercase()).collect();
        names.sort();
        names
    };
    let shown = example_of_the_page("## Request\n");
    for _ in 0..2 {
        let (head, body) = bodies.recv_timeout(Duration::from_secs(180)).unwrap();
        assert!(head.starts_with("POST /in HTTP/1.1\r\n"), "{head}");
        assert!(head.contains("content-type: application/x-ndjson\r\n"), "{head}");
        assert_eq!(names(&shown), names(&head));
        assert!(lines(&body).iter().any(|line| line["kind"] == "conservation"), "{body}");
    }
    // The example of an answer acknowledges.
    until(status, "posts", |lines| lines["accepted_posts"].as_u64() >= Some(2));
    end(agent);
}

/// The first text of a page after a heading.
fn example_of_the_page(heading: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/wire/ndjson.md");
    let page = fs::read_to_string(path).unwrap();
    let text = page.split(heading).nth(1).unwrap().split("```text\n").nth(1).unwrap();
    text.split("```").next().unwrap().replace('\n', "\r\n")
}

/// Takes requests of one connection, head and body, and answers each.
fn take(mut stream: &TcpStream, answer: &str, sender: &mpsc::Sender<(String, String)>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
            head.push_str(&line);
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
        if sender.send((head, String::from_utf8(body).unwrap())).is_err() {
            return;
        }
    }
}

#[test]
fn a_dry_run_shows_the_lines_and_leaves_the_file_alone() {
    let (host, dir) = (Host::copy("6.12-podman-bare"), tempfile::tempdir().unwrap());
    let path = dir.path().join("x");
    let url = format!("file://{}", path.display());
    let status = TcpListener::bind(any_port()).unwrap().local_addr().unwrap();
    configure(dir.path(), status, &endpoint(&url, ""));
    let mut command = host.agent(&["run", "--dry-run"]);
    command.arg("--config").arg(dir.path().join("c.toml"));
    let mut agent = Agent::start(command);
    let line = agent.wait_for_output("sampled_at");
    let shown: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&shown["endpoint"], &shown["url"]), (&"lines".into(), &url.into()));
    assert_eq!(shown["body"][0]["kind"], "node");
    assert_eq!(shown.get("method"), None);
    assert!(!path.exists());
}

/// Bad paths: `check` and `run` say the same, each in one line.
#[test]
fn check_and_run_say_in_one_line_why_lines_cannot_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("folder")).unwrap();
    fs::write(at("file"), "").unwrap();
    std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
    let named = dir.path().display();
    for (file, reason) in [
        ("x", None),
        ("no/such", Some(format!("its directory {named}/no does not exist; make it"))),
        ("folder", Some("it is a directory; name a file in it".to_owned())),
        ("file/x", Some(format!("{named}/file is no directory"))),
        ("link", Some("it is a link, and links are not followed there".to_owned())),
    ] {
        let host = Host::copy("6.12-podman-bare");
        let url = format!("file://{}", at(file).display());
        configure(dir.path(), any_port(), &endpoint(&url, ""));
        let mut command = host.agent(&["check", "--state-dir", "none"]);
        let output = command.arg("--config").arg(at("c.toml")).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let Some(reason) = reason else {
            assert!(text.contains("present  endpoint lines file:"), "{file}: {text}");
            assert!(!at("x").exists());
            continue;
        };
        let line = text.lines().find(|line| line.contains(&format!("endpoint lines {url} ")));
        let said = format!(" cannot be written to: {reason}; its lines are dropped and counted");
        assert!(line.is_some_and(|line| line.contains(&said)), "{file}: {text}");

        let (agent, status) = start(&host, dir.path(), &endpoint(&url, ""));
        until(status, "drops", |lines| lines["dropped_posts"]["not_written"].as_u64() >= Some(2));
        let log = end(agent);
        let line = format!(
            "endpoint lines: {} cannot be opened: {reason}; its lines are dropped, and counted as \
             not_written, until it takes them again",
            at(file).display()
        );
        assert_eq!(log.matches(&line).count(), 1, "{file}: {log}");
        assert_eq!(log.matches("cannot be opened").count(), 1, "{file}: {log}");
    }
}

/// Typing errors are found before anything starts.
#[test]
fn a_misspelt_place_of_lines_is_one_line_with_what_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    for (url, reason) in [
        ("file://var/log/x", "must be file:// and an absolute path without a host, such as"),
        ("file:/var/log/x", "must be file:// and an absolute path without a host, such as"),
        ("file:x", "must be file:// and an absolute path without a host, such as"),
        ("file:///var/log/", "must be file:// and an absolute path without a host, such as"),
        ("file:///a b", "holds a space or control character"),
        ("fil:///var/log/x", "neither http nor https"),
        ("/var/log/x", "not a URL"),
        ("stdout", "not a URL"),
        ("stdout://", "must be \"stdout:\" alone"),
        ("-", "not a URL"),
    ] {
        configure(dir.path(), any_port(), &endpoint(url, ""));
        let output = Command::new(env!("CARGO_BIN_EXE_nodetally"))
            .env_clear()
            .args(["run", "--state-dir", "none", "--config"])
            .arg(dir.path().join("c.toml"))
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{url}");
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(error.lines().count(), 1, "{url}: {error}");
        assert!(error.contains(&format!("endpoint.url = \"{url}\": {reason}")), "{error}");
        let allowed = "with the dialect \"ndjson\" also \"stdout:\" or \"file:///PATH\"";
        assert!(error.contains(allowed), "{url}: {error}");
    }
}
