//! `top` on a pseudo-terminal: the real binary, keys, and the screen that a person would see.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use nix::fcntl::OFlag;
use nix::pty::{Winsize, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{self, LocalFlags};
use nix::unistd::Pid;

use crate::support::agent::{Agent, Host, eventually};

/// A program on a terminal of its own.
struct OnTerminal {
    child: Child,
    keys: File,
    /// Keeps the terminal open after the program's end, so that its state can be looked at.
    slave: File,
    screen: Arc<Mutex<vt100::Parser>>,
    reader: Option<JoinHandle<()>>,
}

fn size(columns: u16, lines: u16) -> Winsize {
    Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// A terminal's two ends. No program that another test starts has them.
fn pseudo_terminal(size: Winsize) -> (File, File) {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let master = posix_openpt(flags).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let slave = File::options()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NOCTTY.bits())
        .open(ptsname_r(&master).unwrap())
        .unwrap();
    let Winsize { ws_row, ws_col, ws_xpixel, ws_ypixel } = size;
    let size = rustix::termios::Winsize { ws_row, ws_col, ws_xpixel, ws_ypixel };
    rustix::termios::tcsetwinsize(&slave, size).unwrap();
    (File::from(std::os::fd::OwnedFd::from(master)), slave)
}

impl OnTerminal {
    fn start(columns: u16, lines: u16, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let (mut master, slave) = pseudo_terminal(size(columns, lines));
        let end = || Stdio::from(slave.try_clone().unwrap());
        // A session of its own, with this terminal as the one that signals come from.
        let child = Command::new("setsid")
            .args(["--ctty", env!("CARGO_BIN_EXE_nodetally")])
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("TERM", "xterm-256color")
            .envs(variables.iter().copied())
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let keys = master.try_clone().unwrap();
        let screen = Arc::new(Mutex::new(vt100::Parser::new(lines, columns, 0)));
        let drawn = Arc::clone(&screen);
        let reader = thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count) = master.read(&mut bytes) {
                drawn.lock().unwrap().process(&bytes[..count]);
            }
        });
        Self { child, keys, slave, screen, reader: Some(reader) }
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    fn lines(&self) -> Vec<String> {
        let parser = self.screen.lock().unwrap();
        let screen = parser.screen();
        screen.rows(0, screen.size().1).collect()
    }

    /// Waits until the screen is as wanted, and returns its lines.
    #[track_caller]
    fn shows(&self, what: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        eventually(what, || Some(self.lines()).filter(|lines| wanted(lines)))
    }

    #[track_caller]
    fn shows_text(&self, text: &str) -> Vec<String> {
        self.shows(text, |lines| lines.iter().any(|line| line.contains(text)))
    }

    fn resize(&self, columns: u16, lines: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(lines, columns);
        let size =
            rustix::termios::Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.keys, size).unwrap();
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Waits for the end, and holds the terminal to the state before the start.
    #[track_caller]
    fn given_back(mut self) -> ExitStatus {
        let status = self.child.wait().unwrap();
        let drawn = Arc::clone(&self.screen);
        eventually("the first screen", || {
            (!drawn.lock().unwrap().screen().alternate_screen()).then_some(())
        });
        assert!(!drawn.lock().unwrap().screen().hide_cursor(), "the cursor is hidden");
        let state = termios::tcgetattr(&self.slave).unwrap();
        let cooked = LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG;
        assert!(state.local_flags.contains(cooked), "{:?}", state.local_flags);
        status
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The reader ends with the last end of the terminal, which is dropped behind this.
        drop(self.reader.take());
    }
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
