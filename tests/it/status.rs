//! The real binary: `run`, and `status`, which asks it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test starts the binary and waits for what it says"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::support::agent::{Agent, Host, any_port, eventually, receiver};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::skip::skip;

/// A captured host, a configuration with one endpoint and a state directory.
struct Desk {
    host: Host,
    dir: tempfile::TempDir,
}

impl Desk {
    /// `more` stands behind the configuration's beginning.
    fn new(endpoint: SocketAddr, more: &str) -> Self {
        let desk = Self { host: Host::copy("6.12-podman-bare"), dir: tempfile::tempdir().unwrap() };
        desk.configure(endpoint, more);
        desk
    }

    fn configure(&self, endpoint: SocketAddr, more: &str) {
        let spool = self.path("spool");
        let text = format!(
            "[node]\nname = \"n1\"\n[sampling]\ninterval = \"1s\"\n[spool]\ndir = {spool:?}\n{more}\n\
             [[endpoint]]\nname = \"central\"\nurl = \"http://{endpoint}/\"\n"
        );
        fs::write(self.path("c.toml"), text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.path("state/status.sock")
    }

    fn flags(&self, command: &mut Command) {
        command.arg("--config").arg(self.path("c.toml"));
        command.arg("--state-dir").arg(self.path("state"));
    }

    fn start(&self) -> Agent {
        let mut command = self.host.agent(&["run"]);
        self.flags(&mut command);
        Agent::start(command)
    }

    /// `status` with the settings of the agent.
    fn status(&self, arguments: &[&str]) -> Output {
        let mut command = status(arguments);
        self.flags(&mut command);
        command.output().unwrap()
    }

    fn json(&self) -> Option<Value> {
        let output = self.status(&["--format", "json"]);
        output.status.success().then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    /// Waits for an answer that is as wanted.
    #[track_caller]
    fn told(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        eventually(what, || self.json().filter(&wanted))
    }
}

fn status(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nodetally"));
    command.env_clear().arg("status").args(arguments);
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// That there is no agent: exit status 1, and one line on standard error that holds `words`.
#[track_caller]
fn assert_no_agent(output: &Output, words: &[&str]) {
    let line = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{line}");
    assert_eq!((text(&output.stdout).as_str(), line.lines().count()), ("", 1), "{line}");
    for word in words {
        assert!(line.contains(word), "{word}: {line}");
    }
}

fn nobody() -> SocketAddr {
    // A port that was just free.
    TcpListener::bind(any_port()).unwrap().local_addr().unwrap()
}

fn accepted(status: &Value) -> u64 {
    status["endpoints"][0]["accepted_posts"].as_u64().unwrap()
}

fn waiting(status: &Value) -> u64 {
    status["endpoints"][0]["waiting"]["samples"].as_u64().unwrap()
}

#[test]
fn an_agent_whose_endpoint_is_healthy_is_shown_until_it_ends() {
    let listen = nobody();
    let desk = Desk::new(receiver(any_port()), &format!("[status]\nlisten = \"{listen}\""));
    assert_no_agent(&desk.status(&[]), &["status.sock: there is no such socket", "--socket"]);
    let agent = desk.start();
    let told = desk.told("two posts", |told| accepted(told) >= 2);
    assert_eq!((&told["schema_version"], &told["node"]), (&1.into(), &"n1".into()));
    assert_eq!((&told["is_healthy"], &told["pid"]), (&true.into(), &agent.0.id().into()));
    let endpoint = &told["endpoints"][0];
    assert_eq!((&endpoint["name"], &endpoint["state"]), (&"central".into(), &"healthy".into()));
    let answers = endpoint["answers"].as_object().unwrap();
    let good = answers.iter().filter(|(status, _)| status.starts_with('2'));
    assert!(good.filter_map(|(_, count)| count.as_u64()).sum::<u64>() >= 2, "{endpoint}");

    let url = format!("http://{listen}");
    let socket = desk.socket();
    let places = [vec!["--check"], vec!["--socket", socket.to_str().unwrap()], vec!["--url", &url]];
    for place in places {
        let mut command = status(&place);
        if place == ["--check"] {
            desk.flags(&mut command);
        }
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        let shown = text(&output.stdout);
        let row = shown.lines().find(|line| line.starts_with("central  ")).expect(&shown);
        assert!(row.contains("healthy"), "{shown}");
        assert!(shown.starts_with("n1  nodetally ") && shown.contains(" × 20"), "{shown}");
        assert!(shown.contains(" samples, one every 1s; the last "), "{shown}");
    }

    agent.signal(Signal::SIGTERM);
    assert!(agent.end().0.success());
    assert!(!socket.exists(), "the socket stays behind");
    assert_no_agent(&desk.status(&[]), &["there is no such socket"]);
    assert_no_agent(&status(&["--url", &url]).output().unwrap(), &["no agent answers at", &url]);
}

#[test]
fn an_endpoint_that_is_down_is_shown_with_a_queue_that_grows_and_then_empties() {
    let address = nobody();
    let desk = Desk::new(address, "");
    let agent = desk.start();
    let is_down = |told: &Value| told["endpoints"][0]["state"] == "down";
    let first = desk.told("the endpoint down", |told| is_down(told) && waiting(told) > 0);
    let more = desk.told("a queue that grows", |told| waiting(told) > waiting(&first) + 1);
    let endpoint = &more["endpoints"][0];
    assert!(endpoint["unanswered"].as_u64().unwrap() > 0, "{endpoint}");
    assert!(endpoint["oldest_age_ms"].as_u64().unwrap() > 1000, "{endpoint}");
    assert_eq!(endpoint["last_success_age_ms"], Value::Null);
    for (arguments, code) in [(&["--check"][..], 3), (&[], 0)] {
        let output = desk.status(arguments);
        assert_eq!(output.status.code(), Some(code), "{}", text(&output.stderr));
        let shown = text(&output.stdout);
        assert!(shown.contains("down") && shown.contains(" × none"), "{shown}");
    }
    receiver(address);
    desk.told("the queue empty", |told| !is_down(told) && accepted(told) > 2 && waiting(told) < 2);
    assert_eq!(desk.status(&["--check"]).status.code(), Some(0));
    agent.signal(Signal::SIGTERM);
    assert!(agent.end().0.success());
}

/// Refuses every post until it is told to take them.
fn gatekeeper(is_open: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind(any_port()).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, is_open) = (stream.unwrap(), Arc::clone(&is_open));
            thread::spawn(move || {
                // The agent takes a connection that is closed behind an answer for what it is.
                let mut request = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                let mut body_bytes = 0;
                while request.read_line(&mut line).unwrap_or(0) > 2 {
                    let (name, value) = line.split_once(':').unwrap_or_default();
                    if name.eq_ignore_ascii_case("content-length") {
                        body_bytes = value.trim().parse().unwrap();
                    }
                    line.clear();
                }
                let _ = request.read_exact(&mut vec![0; body_bytes]);
                let status = match is_open.load(Ordering::Relaxed) {
                    true => "201 Created",
                    false => "401 Unauthorized",
                };
                let answer =
                    format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes());
            });
        }
    });
    address
}

#[test]
fn an_endpoint_that_rejects_everything_is_not_healthy_until_it_accepts_a_post() {
    let is_open = Arc::new(AtomicBool::new(false));
    let listen = nobody();
    let more = format!("[status]\nlisten = \"{listen}\"");
    let desk = Desk::new(gatekeeper(Arc::clone(&is_open)), &more);
    let _agent = desk.start();
    let state = |told: &Value| told["endpoints"][0]["state"].as_str().unwrap().to_owned();
    let metrics = || {
        let mut text = String::new();
        let mut stream = TcpStream::connect(listen).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .unwrap();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let is = |state, one| {
        format!("nodetally_endpoint_state{{endpoint=\"central\",state=\"{state}\"}} {one}\n")
    };
    let told = desk.told("an endpoint that rejects", |told| state(told) == "rejecting");
    assert!(told["endpoints"][0]["dropped_posts"]["rejected_4xx"].as_u64().unwrap() > 0);
    let output = desk.status(&["--check"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("rejecting"), "{}", text(&output.stdout));
    let shown = metrics();
    assert!(shown.contains(&is("rejecting", 1)) && shown.contains(&is("healthy", 0)), "{shown}");

    is_open.store(true, Ordering::Relaxed);
    desk.told("an endpoint that is healthy", |told| state(told) == "healthy");
    assert_eq!(desk.status(&["--check"]).status.code(), Some(0));
    let shown = metrics();
    assert!(shown.contains(&is("rejecting", 0)) && shown.contains(&is("healthy", 1)), "{shown}");
}

#[test]
fn the_socket_of_a_killed_agent_is_replaced() {
    let desk = Desk::new(receiver(any_port()), "");
    let first = desk.start();
    desk.told("an answer", |_| true);
    first.signal(Signal::SIGKILL);
    first.end();
    assert!(desk.socket().exists(), "it is to be left for this test");
    assert_no_agent(&desk.status(&[]), &["no process listens on it; its agent has ended"]);
    let second = desk.start();
    let told = desk.told("an answer", |_| true);
    assert_eq!(told["pid"], second.0.id());
    second.signal(Signal::SIGTERM);
    let (_, log) = second.end();
    assert!(!log.contains("nodetally status"), "{log}");
}

#[test]
fn of_two_agents_with_one_socket_the_first_keeps_it() {
    let desk = Desk::new(receiver(any_port()), "");
    let first = desk.start();
    desk.told("an answer", |_| true);
    let listen = nobody();
    let mut command = desk.host.agent(&["run"]);
    command.env("NODETALLY_STATUS_LISTEN", listen.to_string());
    command.env("NODETALLY_STATUS_SOCKET", desk.socket());
    command.arg("--config").arg(desk.path("c.toml"));
    command.arg("--state-dir").arg(desk.path("another"));
    let second = Agent::start(command);
    let url = format!("http://{listen}");
    eventually("the second agent's samples", || {
        let output = status(&["--url", &url, "--format", "json"]).output().unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).ok()?;
        (told["sampling"]["samples"].as_u64()? > 1).then_some(())
    });
    assert_eq!(desk.json().unwrap()["pid"], first.0.id());
    second.signal(Signal::SIGTERM);
    let (ended, log) = second.end();
    assert!(ended.success(), "{log}");
    assert_eq!(log.matches("another agent answers there").count(), 1, "{log}");
    assert_eq!(desk.json().unwrap()["pid"], first.0.id(), "after the second has ended");
}

#[test]
fn what_is_no_socket_is_left_alone_and_the_agent_runs_without() {
    let listen = nobody();
    let desk = Desk::new(receiver(any_port()), &format!("[status]\nlisten = \"{listen}\""));
    fs::create_dir(desk.path("state")).unwrap();
    fs::write(desk.socket(), "a person's").unwrap();
    let agent = desk.start();
    let url = format!("http://{listen}");
    eventually("an answer", || {
        status(&["--url", &url]).output().unwrap().status.success().then_some(())
    });
    assert_no_agent(&desk.status(&[]), &["no agent answers at"]);
    agent.signal(Signal::SIGTERM);
    let (_, log) = agent.end();
    assert_eq!(log.matches("the path exists and is no socket").count(), 1, "{log}");
    assert_eq!(fs::read_to_string(desk.socket()).unwrap(), "a person's");
}

#[test]
fn the_socket_is_for_the_agents_user_and_root_alone() {
    let desk = Desk::new(nobody(), "");
    let open = desk.path("open");
    desk.configure(nobody(), &format!("[status]\nsocket = {:?}", open.join("status.sock")));
    // In a directory that is open to all, so that the socket's own mode is what keeps others out.
    fs::create_dir(&open).unwrap();
    fs::set_permissions(desk.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let _agent = desk.start();
    desk.told("an answer", |_| true);
    let socket = open.join("status.sock");
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o7777, 0o600);
    assert_eq!(fs::metadata(desk.path("state")).unwrap().mode() & 0o7777, 0o700);
    if !nix::unistd::geteuid().is_root() {
        skip("needs root to ask as another user");
        return;
    }
    match status(&["--socket", socket.to_str().unwrap()]).uid(65534).gid(65534).output() {
        Ok(output) => assert_no_agent(&output, &["permission denied", "root may ask"]),
        Err(error) => skip(format_args!("user 65534 cannot start the agent: {error}")),
    }
}

#[test]
fn a_reload_moves_the_socket_and_ends_it() {
    let address = nobody();
    let desk = Desk::new(address, "");
    let agent = desk.start();
    // Ready for a signal once there is a sample.
    desk.told("a sample", |told| told["sampling"]["last"].is_object());
    let elsewhere = desk.path("elsewhere.sock");
    desk.configure(address, &format!("[status]\nsocket = {elsewhere:?}"));
    agent.signal(Signal::SIGHUP);
    let told = desk.told("an answer elsewhere", |_| true);
    assert_eq!(told["pid"], agent.0.id());
    assert!(elsewhere.exists() && !desk.socket().exists());
    desk.configure(address, "[status]\nsocket = \"none\"");
    agent.signal(Signal::SIGHUP);
    eventually("no socket", || (!elsewhere.exists()).then_some(()));
    assert_no_agent(&desk.status(&[]), &["no address to ask an agent at", "--socket PATH"]);
}

#[test]
fn a_server_that_is_no_agent_is_recognised() {
    let other = receiver(any_port());
    let output = status(&["--url", &format!("http://{other}")]).output().unwrap();
    assert_no_agent(&output, &["no agent answers at http://127.0.0.1", "404"]);
    let wrong = status(&["--socket", "/dev/null"]).output().unwrap();
    assert_no_agent(&wrong, &["no agent answers at"]);
    let both = status(&["--url", "http://a", "--socket", "/b"]).output().unwrap();
    assert_eq!(both.status.code(), Some(2));
}

/// That the question itself is wrong: exit status 2, and one line that holds `words`.
#[track_caller]
fn assert_wrong(output: &Output, words: &[&str]) -> String {
    let line = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{line}");
    assert_eq!((text(&output.stdout).as_str(), line.lines().count()), ("", 1), "{line}");
    for word in words {
        assert!(line.contains(word), "{word}: {line}");
    }
    line
}

#[test]
fn a_url_that_is_none_is_a_wrong_flag_and_its_password_is_not_repeated() {
    let ask = |url: &str| status(&["--url", url]).output().unwrap();
    assert_wrong(&ask("nonsense"), &["--url nonsense: ", "is no URL"]);
    assert_wrong(&ask("ftp://host"), &["--url ftp://host: ", "http:// or https://"]);
    for url in ["http://me:hunter2@host", "http://me:hunter2@host:99999", "me:hunter2@host"] {
        let line = assert_wrong(&ask(url), &["--url ", "hidden: "]);
        assert!(!line.contains("hunter2"), "{line}");
    }
    let nobody = ask(&format!("http://{}/?key=hunter2", nobody()));
    assert_no_agent(&nobody, &["/?hidden: "]);
    assert!(!text(&nobody.stderr).contains("hunter2"));
}

#[test]
fn who_asks_has_other_surroundings_than_the_agent() {
    let desk = Desk::new(receiver(any_port()), "");
    let agent = desk.start();
    desk.told("an answer", |_| true);
    // As the service has it, whose credentials nobody else is told of; and with much that is wrong.
    let socket = desk.socket();
    let elsewhere = "bearer_token_file = \"${CREDENTIALS_DIRECTORY}/token\"";
    let file = desk.path("service.toml");
    fs::write(
        &file,
        format!(
            "wrong = 1\n[sampling]\nintervall = \"1s\"\n[node]\nname = \"..\"\n\
             [status]\nsocket = {socket:?}\n\
             [[endpoint]]\nname = \"a\"\nurl = \"http://a\"\n{elsewhere}\n"
        ),
    )
    .unwrap();
    let ask = |file: &Path| {
        let mut command = status(&["--config", file.to_str().unwrap()]);
        command.env("NODETALLY_NONSENSE", "1").env("NODETALLY_INTERVAL", "never");
        command.output().unwrap()
    };
    let output = ask(&file);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("central  "), "{}", text(&output.stdout));

    // What concerns the question is still held against what is allowed.
    fs::write(&file, "[status]\nsocket = 5\n").unwrap();
    assert_wrong(&ask(&file), &["service.toml:2: status.socket = 5: found an integer"]);
    fs::write(&file, "[status\n").unwrap();
    assert_wrong(&ask(&file), &["service.toml:1:"]);
    assert_wrong(&ask(&desk.path("nothing.toml")), &["nothing.toml: cannot be read"]);
    agent.signal(Signal::SIGTERM);
    assert!(agent.end().0.success());
}

#[test]
fn without_an_address_the_error_names_all_that_were_tried() {
    const USUAL: &str = "/run/nodetally/status.sock";
    if Path::new(USUAL).exists() {
        skip(format_args!("{USUAL} exists: an agent of this host was there"));
        return;
    }
    // The binary may not be for everybody to run.
    let as_nobody = |command: &mut Command| {
        if nix::unistd::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        command.output().ok()
    };
    let both = ["no agent answers at ", USUAL, "; --socket PATH, --state-dir DIR or --url URL"];
    if let Some(output) = as_nobody(&mut status(&[])) {
        assert_no_agent(&output, &both);
        let mut command = status(&[]);
        let output = as_nobody(command.env("XDG_RUNTIME_DIR", "/nonexistent")).unwrap();
        let own = "/nonexistent/nodetally/status.sock: there is no such socket; nor at ";
        assert_no_agent(&output, &[own, both[1], both[2]]);
    }
    // What was named is all that counts.
    let named = status(&["--state-dir", "/nonexistent"]).output().unwrap();
    assert_no_agent(&named, &["/nonexistent/status.sock"]);
    assert!(!text(&named.stderr).contains(USUAL), "{}", text(&named.stderr));
}

/// Every key below `value`, however deep; keys that are data are left out.
fn keys(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                into.insert(key.clone());
                if key != "answers" {
                    keys(value, into);
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, into)),
        Value::Number(number) => assert!(number.is_u64(), "{number} is no integer"),
        Value::Null => panic!("a null"),
        Value::Bool(_) | Value::String(_) => {}
    }
}

#[test]
fn every_key_and_every_metric_is_described() {
    let described = include_str!("../../docs/status.md");
    let listen = nobody();
    let names = "[directory]\nsources = [\"file\", \"docker\"]\nfile = \"/nonexistent/names\"\n\
                 docker_socket = \"/nonexistent/docker.sock\"";
    let more = format!("{names}\n[status]\nlisten = \"{listen}\"");
    let desk = Desk::new(receiver(any_port()), &more);
    let mut agent = desk.start();
    let is_whole =
        |told: &Value| accepted(told) > 0 && told["directory"][1]["last_error"].is_string();
    let mut all = BTreeSet::new();
    keys(&desk.told("a post and a source in trouble", is_whole), &mut all);
    assert!(all.len() > 40, "{all:?}");
    let mut text = String::new();
    let mut stream = TcpStream::connect(listen).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    stream.read_to_string(&mut text).unwrap();
    let families = text.lines().filter(|line| line.starts_with("nodetally_"));
    let families = families.filter_map(|line| line.split(['{', ' ']).next());
    all.extend(families.map(str::to_owned));
    assert!(all.contains("nodetally_queue_bytes") && all.contains("nodetally_answers_total"));
    let missing: Vec<_> =
        all.iter().filter(|key| !described.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "not in docs/status.md: {missing:?}");
    let _ = agent.0.kill();
}

#[test]
fn what_the_document_shows_is_what_is_printed() {
    // The heads of the example are those of the table.
    let desk = Desk::new(receiver(any_port()), "");
    let _agent = desk.start();
    desk.told("a post", |told| accepted(told) > 0);
    let shown = text(&desk.status(&[]).stdout);
    let heads = |text: &str| -> Vec<String> {
        let line = text.lines().find(|line| line.starts_with("ENDPOINTS (")).unwrap();
        line.split_whitespace().skip(2).map(str::to_owned).collect()
    };
    assert_eq!(heads(&shown), heads(include_str!("../../docs/status.md")));
    assert!(Path::new(&desk.socket()).exists());
}

#[test]
fn a_path_that_is_no_socket_is_called_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let shown = dir.path().to_str().unwrap().to_owned();
    for (path, words) in [
        (
            dir.path(),
            format!("it is a directory; name the socket in it, such as {shown}/status.sock"),
        ),
        (&file, "there is a file of that name, which is no socket".to_owned()),
    ] {
        let output = status(&["--socket", path.to_str().unwrap()]).output().unwrap();
        assert_no_agent(&output, &[&words]);
        let line = String::from_utf8(output.stderr).unwrap();
        assert!(!line.contains("has ended"), "{line}");
    }
}

#[test]
fn the_status_side_names_its_paths() {
    let desk = Desk::new(nobody(), "");
    let address = TcpListener::bind(any_port()).unwrap().local_addr().unwrap();
    desk.configure(nobody(), &format!("[status]\nlisten = \"{address}\""));
    let agent = desk.start();
    let ask = |path: &str| {
        let mut stream = TcpStream::connect(address).ok()?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    };
    let index = eventually("an answer", || ask("/"));
    assert!(index.starts_with("HTTP/1.1 200"), "{index}");
    for path in index.lines().filter_map(|line| line.strip_prefix("GET ")?.split(' ').next()) {
        let answer = ask(path).unwrap();
        assert!(!answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    assert_eq!(index.matches("\nGET /").count(), 4, "{index}");
    let other = ask("/nonsense").unwrap();
    assert!(other.starts_with("HTTP/1.1 404") && other.contains("GET / lists"), "{other}");
    agent.signal(Signal::SIGTERM);
    agent.end();
}
