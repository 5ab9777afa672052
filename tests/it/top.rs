//! `top` on a pseudo-terminal: the real binary, keys, and the screen that a person would see.

use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::agent::{Agent, Host, eventually};
use crate::support::scripted_agent::{SOCKET, ScriptedAgent, later, lines_of};
use crate::support::terminal::{OnTerminal, pseudo_terminal, size};

/// A process of a name of its own that uses a CPU, until it is dropped.
struct Burner {
    child: Child,
    _dir: tempfile::TempDir,
}

impl Burner {
    fn start(name: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join(OsString::from_vec(name.to_vec()));
        fs::copy("/bin/sh", &program).unwrap();
        // Another thread that forks meanwhile may still hold the copy open for writing.
        let child = eventually("the burner", || {
            Command::new(&program).args(["-c", "while :; do :; done"]).spawn().ok()
        });
        Self { child, _dir: dir }
    }
}

impl Drop for Burner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The CPU column of each row below the head, in its order.
fn cpu_of_rows(lines: &[String]) -> Vec<f64> {
    let Some(head) = lines.iter().position(|line| line.contains("NAME") && line.contains("CPU"))
    else {
        return Vec::new();
    };
    let end = lines[head].split("CPU").next().unwrap().chars().count() + 3;
    let cell = |line: &String| -> String {
        line.chars().take(end).skip(end.saturating_sub(6)).collect::<String>().trim().to_owned()
    };
    lines[head + 1..].iter().map_while(|line| cell(line).parse().ok()).collect()
}

fn looked_at(columns: u16, lines: u16) {
    // A name that would clear the screen if it came there as it is.
    let burner = Burner::start(format!("nt\x1b[2Jb{columns}").as_bytes());
    let name = format!("nt\\u{{1b}}[2Jb{columns}");
    let mut top = OnTerminal::start(columns, lines, &["top", "--interval", "500ms"], &[]);
    top.shows_text("by CPU");
    top.press("3");
    let shown = top.shows("the burner among the processes", |lines| {
        lines.iter().any(|line| line.contains(&name)) && cpu_of_rows(lines).len() > 2
    });
    assert!(shown[0].starts_with("nodetally") && shown[0].contains("live"), "{}", shown[0]);
    assert!(shown.iter().all(|line| line.chars().count() <= columns.into()));
    // Largest first; a row may be drawn between two samples, but never in another order.
    let cpu = cpu_of_rows(&shown);
    assert!(cpu.is_sorted_by(|a, b| a >= b), "{cpu:?}\n{}", shown.join("\n"));

    top.press(&format!("/2jB{columns}\r"));
    let only = |lines: &[String]| {
        let rows = cpu_of_rows(lines);
        rows.len() == 1 && rows[0] >= 0.05 && lines.iter().any(|line| line.contains(&name))
    };
    let shown = top.shows("the burner alone", only);
    let at = shown.iter().position(|line| line.contains(&name)).unwrap();
    assert!(shown[at].contains(&burner.child.id().to_string()), "{}", shown[at]);
    assert!(top.reversed(at).contains(&name), "the row is selected");
    let over_time = |lines: &[String]| {
        let line = &lines[lines.len() - 2];
        line.contains("CPU, at most") && line.contains(['▁', '▃', '▅', '▇', '█'])
    };
    top.shows("the line over time", over_time);

    top.press("\x1b[D\x1b[D");
    top.shows_text("HELD");
    top.press(" ");
    top.shows_text("live");
    top.press("?");
    top.shows_text("draw anew");
    top.press("\x1b");
    top.shows("no help", |lines| !lines.iter().any(|line| line.contains("draw anew")));
    top.press("q");
    assert!(top.given_back().success());
}

#[test]
fn a_burner_is_found_at_80_columns() {
    looked_at(80, 24);
}

#[test]
fn a_burner_is_found_at_200_columns() {
    looked_at(200, 60);
}

#[test]
fn a_burner_is_found_at_40_columns() {
    looked_at(40, 18);
}

#[test]
fn signals_and_ctrl_c_give_the_terminal_back() {
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        let top = OnTerminal::start(80, 24, &["top", "--interval", "1s"], &[]);
        top.shows_text("by CPU");
        top.signal(signal);
        assert!(top.given_back().success(), "{signal}");
    }
    let mut top = OnTerminal::start(80, 24, &["top", "--interval", "1s"], &[("NO_COLOR", "1")]);
    top.shows_text("by CPU");
    top.press("/q\x03");
    assert!(top.given_back().success());
}

#[test]
fn a_terminal_that_is_too_small_says_so_until_it_grows() {
    let top = OnTerminal::start(80, 24, &["top", "--interval", "1s"], &[]);
    top.shows_text("by CPU");
    top.resize(30, 8);
    top.shows_text("terminal too small");
    top.resize(80, 24);
    top.shows_text("by CPU");
    drop(top);
}

#[test]
fn without_a_terminal_one_error_names_dump() {
    let output = Command::new(env!("CARGO_BIN_EXE_nodetally")).arg("top").output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(error.lines().count(), 1, "{error}");
    assert!(error.contains("is not a terminal") && error.contains("nodetally dump"), "{error}");

    let mut top = OnTerminal::start(120, 24, &["top"], &[("TERM", "dumb")]);
    top.shows("the error", |lines| lines.concat().contains("nodetally dump"));
    assert_eq!(top.child.wait().unwrap().code(), Some(2));

    // A serial line, or a terminal that a program made and gave no size.
    let (_master, slave) = pseudo_terminal(size(0, 0));
    let mut top = Command::new(env!("CARGO_BIN_EXE_nodetally"));
    top.arg("top").env("TERM", "xterm").stdin(slave.try_clone().unwrap()).stdout(slave);
    let output = top.output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("stty cols 80 rows 24") && error.contains("nodetally dump"), "{error}");
}

#[test]
fn a_running_agent_is_followed_over_its_socket() {
    let host = Host::copy("6.12-podman-bare");
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let text = format!(
        "[node]\nname = \"n1\"\n[sampling]\ninterval = \"1s\"\n[spool]\ndir = {:?}\n\
         [[endpoint]]\nname = \"central\"\nurl = \"http://127.0.0.1:9/\"\n",
        path("spool")
    );
    fs::write(path("c.toml"), text).unwrap();
    let flags = |path: &Path| path.display().to_string();
    let (config, state) = (flags(&path("c.toml")), flags(&path("state")));
    let mut command = host.agent(&["run"]);
    command.args(["--config", &config, "--state-dir", &state]);
    let agent = Agent::start(command);
    eventually("the agent's socket", || path("state/status.sock").exists().then_some(()));
    let arguments = ["top", "--config", &config, "--state-dir", &state];
    let mut top = OnTerminal::start(120, 30, &arguments, &[]);
    top.press("2");
    let shown = top.shows("the agent's figures", |lines| {
        lines[0].contains("n1  agent at") && lines.iter().any(|line| line.contains("ssh"))
    });
    assert!(shown[0].contains("live"), "{}", shown[0]);
    let first = shown[0].clone();
    top.shows("the next sample", |lines| lines[0].contains("live") && lines[0] != first);
    drop(agent);
    top.shows_text("no agent answers at");
    top.press("q");
    assert!(top.given_back().success());
}

/// The first word of each row and its CPU, in their order. A pod's containers are indented.
fn rows(lines: &[String]) -> Vec<String> {
    let head = lines.iter().position(|line| line.contains("NAME")).unwrap();
    let name = |line: &String| {
        let text = line.trim_start_matches(['+', '-', ' ']);
        let indent = line.len() - text.len();
        let name = text.split_whitespace().next().unwrap();
        format!("{}{name}", " ".repeat(indent.saturating_sub(2)))
    };
    let cpu = cpu_of_rows(lines).into_iter();
    cpu.zip(&lines[head + 1..]).map(|(cpu, line)| format!("{} {cpu:.2}", name(line))).collect()
}

/// The expected rows were worked out from the lines of the captured host, where CPU is in thousandths.
#[test]
fn the_samples_of_an_agent_are_followed_and_looked_back_at() {
    let first = lines_of("7.2-containerd-systemd");
    let moved = |time: &str, millicores| {
        let pod = ("web-6877cbddcc-hx6s4", "app");
        later(&first, &format!("2026-11-20T{time}.237Z"), "containerd.service", pod, millicores)
    };
    let agent = ScriptedAgent::start(first.clone());
    let mut top = OnTerminal::start_in(agent.dir(), 120, 30, &["top", "--socket", SOCKET], &[]);
    let shown = top.shows_text("live  17:28:17 UTC");
    let source = format!("nodetally  worker-1  agent at {SOCKET} ");
    assert!(shown[0].starts_with(&source), "{}", shown[0]);
    let as_captured = [
        "shop/web-6877cbddcc-lm9mb 0.03",
        "shop/web-6877cbddcc-hx6s4 0.03",
        "shop/web-6877cbddcc-ztv9k 0.03",
        "kube-system/edge-worker-1 0.01",
        "shop/exact 0.01",
        "kube-system/node-helper-wtjt2 0.00",
    ];
    assert_eq!(rows(&shown), as_captured);
    eventually("an answer that nothing is new", || (agent.unchanged() > 0).then_some(()));

    // 28 + 90 thousandths: it becomes the first.
    agent.publish(moved("17:28:32", 90));
    let shown = top.shows_text("live  17:28:32 UTC");
    let mut busier = as_captured.map(str::to_owned);
    busier[1] = "shop/web-6877cbddcc-hx6s4 0.12".to_owned();
    busier.swap(0, 1);
    assert_eq!(rows(&shown), busier);
    top.press("\r");
    let shown = top.shows("the containers of the first pod", |lines| rows(lines).len() == 8);
    assert_eq!(rows(&shown)[1..3], ["  app 0.12", "  550bfd8fe6d5 0.00"]);

    // 760, 684, 644, 640, 568 and 552 KiB; of the containers 348 and 240 KiB.
    top.press("m");
    let shown = top.shows_text("by memory");
    let by_memory = [
        "kube-system/edge-worker-1 0.01",
        "shop/web-6877cbddcc-hx6s4 0.12",
        "  app 0.12",
        "  550bfd8fe6d5 0.00",
        "shop/web-6877cbddcc-ztv9k 0.03",
        "shop/web-6877cbddcc-lm9mb 0.03",
        "shop/exact 0.01",
        "kube-system/node-helper-wtjt2 0.00",
    ];
    assert_eq!(rows(&shown), by_memory);

    agent.publish(moved("17:28:47", 150));
    top.shows_text("live  17:28:47 UTC");
    top.press("c");
    let shown = top.shows_text("by CPU");
    assert_eq!(rows(&shown)[..2], ["shop/web-6877cbddcc-hx6s4 0.18", "  app 0.18"]);
    let over_time = &shown[shown.len() - 2];
    assert_eq!(over_time.trim_end(), "shop/web-6877cbddcc-hx6s4 CPU, at most 0.18  ▂▅█");

    top.press("\x1b[D");
    let shown = top.shows_text("HELD, 1 back  17:28:32 UTC");
    assert_eq!(rows(&shown)[1], "  app 0.12");
    top.press("\x1b[D");
    let shown = top.shows_text("HELD, 2 back  17:28:17 UTC");
    assert_eq!(rows(&shown)[..3], [as_captured[0], as_captured[1], "  app 0.03"]);
    // The sample that is looked at stays while others come.
    agent.publish(moved("17:29:02", -10));
    top.shows_text("HELD, 3 back  17:28:17 UTC");
    top.press("\x1b[C");
    top.shows_text("HELD, 2 back  17:28:32 UTC");
    top.press(" ");
    let shown = top.shows_text("live  17:29:02 UTC");
    assert_eq!(rows(&shown)[0], as_captured[0]);
    assert_eq!(agent.sent(), [1, 2, 3, 4], "each sample is sent once");
    top.press("q");
    assert!(top.given_back().success());
}

/// An agent that has just started has no sample yet, and is followed all the same.
#[test]
fn the_first_sample_of_an_agent_is_waited_for() {
    let agent = ScriptedAgent::start_early(lines_of("7.2-containerd-systemd"), 2);
    let top = OnTerminal::start_in(agent.dir(), 80, 24, &["top", "--socket", SOCKET], &[]);
    top.shows_text("live  17:28:17 UTC");
    assert_eq!(agent.sent(), [1]);
}

/// The rows of a screen up to the end of their CPU, with the columns of a terminal.
fn rows_up_to_cpu(top: &OnTerminal) -> Vec<String> {
    let lines = top.lines();
    let head = lines.iter().position(|line| line.contains("NAME")).unwrap();
    let end = lines[head].find("CPU").unwrap() + "CPU".len();
    top.with_screen(|screen| {
        assert!((0..screen.size().0).all(|line| !screen.row_wrapped(line)));
        screen.rows(0, u16::try_from(end).unwrap()).skip(head + 1).collect()
    })
}

/// A Chinese character has two columns.
#[test]
fn wide_names_keep_figures_below_their_heads() {
    let lines = lines_of("7.2-containerd-systemd")
        .replace("containerd.service", "データベース.service")
        .replace("\"comm\":\"kubelet\"", "\"comm\":\"世界你好世\"");
    let agent = ScriptedAgent::start(lines);
    let mut top = OnTerminal::start_in(agent.dir(), 80, 24, &["top", "--socket", SOCKET], &[]);
    top.press("2");
    top.shows_text("データベース.service");
    let units = rows_up_to_cpu(&top);
    for (row, cpu) in units.iter().zip(["  0.25", "  0.20", "  0.10"]) {
        assert!(row.ends_with(cpu), "{row:?} {cpu}");
    }
    top.press("3");
    top.shows_text("世界你好世");
    let processes = rows_up_to_cpu(&top);
    for (row, cpu) in processes.iter().zip(["  0.07", "  0.06", "  0.04"]) {
        assert!(row.ends_with(cpu), "{row:?} {cpu}");
    }
    assert!(processes[0].contains("世界你好世"), "{processes:?}");
}

/// With and without a signal, which only the terminal's own session gets.
#[test]
fn a_terminal_that_is_gone_ends_it() {
    for session in [&["--ctty"][..], &[]] {
        let (mut master, slave) = pseudo_terminal(size(80, 24));
        let end = || Stdio::from(slave.try_clone().unwrap());
        let mut child = Command::new("setsid")
            .args(session)
            .args([env!("CARGO_BIN_EXE_nodetally"), "top", "--interval", "1s"])
            .env("TERM", "xterm-256color")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        drop(slave);
        // It has drawn.
        master.read_exact(&mut [0; 500]).unwrap();
        drop(master);
        eventually("the end of top", || child.try_wait().unwrap());
    }
}
