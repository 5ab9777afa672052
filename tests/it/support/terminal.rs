//! A pseudo-terminal with the screen that a person would see on it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::pty::{Winsize, grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{self, LocalFlags};
use nix::unistd::Pid;

use super::agent::eventually;

/// The time for a screen on a machine that is busy with other things.
const SCREEN_PATIENCE: Duration = Duration::from_secs(60);

/// The time within which the rest of a frame comes.
const WHOLE_FRAME: Duration = Duration::from_millis(50);

/// A program on a terminal of its own.
pub struct OnTerminal {
    pub child: Child,
    keys: File,
    /// Keeps the terminal open after the program's end, so that its state can be looked at.
    slave: File,
    screen: Arc<Mutex<vt100::Parser>>,
    reader: Option<JoinHandle<()>>,
}

pub fn size(columns: u16, lines: u16) -> Winsize {
    Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// A terminal's two ends. No program that another test starts has them.
pub fn pseudo_terminal(size: Winsize) -> (File, File) {
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
    pub fn start(columns: u16, lines: u16, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        Self::start_in(Path::new("."), columns, lines, arguments, variables)
    }

    pub fn start_in(
        dir: &Path,
        columns: u16,
        lines: u16,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Self {
        let (mut master, slave) = pseudo_terminal(size(columns, lines));
        let end = || Stdio::from(slave.try_clone().unwrap());
        // A session of its own, with this terminal as the one that signals come from.
        let child = Command::new("setsid")
            .args(["--ctty", env!("CARGO_BIN_EXE_nodetally")])
            .args(arguments)
            .current_dir(dir)
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

    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    pub fn lines(&self) -> Vec<String> {
        let parser = self.screen.lock().unwrap();
        let screen = parser.screen();
        screen.rows(0, screen.size().1).collect()
    }

    /// Waits until the screen is as wanted, and returns its lines. Fails with what is there instead.
    #[track_caller]
    pub fn shows(&self, what: &str, wanted: impl Fn(&[String]) -> bool) -> Vec<String> {
        let start = Instant::now();
        loop {
            let lines = self.lines();
            if wanted(&lines) {
                // A frame may have come in part.
                thread::sleep(WHOLE_FRAME);
                if self.lines() == lines {
                    return lines;
                }
            }
            let is_in_time = start.elapsed() < SCREEN_PATIENCE;
            assert!(is_in_time, "not within {SCREEN_PATIENCE:?}: {what}\n{}", lines.join("\n"));
            thread::sleep(Duration::from_millis(20));
        }
    }

    #[track_caller]
    pub fn shows_text(&self, text: &str) -> Vec<String> {
        self.shows(text, |lines| lines.iter().any(|line| line.contains(text)))
    }

    /// The columns of a line that are drawn reversed, as text.
    pub fn reversed(&self, line: usize) -> String {
        let line = u16::try_from(line).unwrap();
        self.with_screen(|screen| {
            let cells = (0..screen.size().1).filter_map(|column| screen.cell(line, column));
            cells.filter(|cell| cell.inverse()).map(|cell| cell.contents().to_owned()).collect()
        })
    }

    /// Looks at the cells.
    pub fn with_screen<T>(&self, look: impl FnOnce(&vt100::Screen) -> T) -> T {
        look(self.screen.lock().unwrap().screen())
    }

    pub fn resize(&self, columns: u16, lines: u16) {
        self.screen.lock().unwrap().screen_mut().set_size(lines, columns);
        let size =
            rustix::termios::Winsize { ws_row: lines, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&self.keys, size).unwrap();
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Waits for the end, and holds the terminal to the state before the start.
    #[track_caller]
    pub fn given_back(mut self) -> ExitStatus {
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
