//! `dump --watch`: one frame after the other, in its place on a terminal, until a signal.

use std::io::{self, Write};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use super::style::terminal_size;
use crate::runtime::wait::{self, StopSignal};

/// A stop that comes with SIGINT, SIGTERM or SIGHUP.
pub(super) fn stop_by_signal() -> io::Result<StopSignal> {
    let (waker, stop) = wait::stop_signal()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    // From here on they no longer end the program.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    drop(entered);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hang_up.recv() => {}
            }
        });
        drop(waker);
    })?;
    Ok(stop)
}

/// The alternate screen of a terminal, without its cursor. Dropping it restores both.
pub(super) struct WatchScreen(());

impl WatchScreen {
    pub(super) fn open() -> io::Result<Self> {
        let screen = Self(());
        write_now("\x1b[?1049h\x1b[?25l")?;
        Ok(screen)
    }

    /// Replaces what is shown. Lines beyond the terminal's height are left out.
    #[expect(clippy::unused_self, reason = "there is a screen to draw on only while it is open")]
    pub(super) fn draw(&self, text: &str) -> io::Result<()> {
        let rows = terminal_size().map_or(24, |(_, rows)| rows.max(2));
        write_now(&frame(text, rows))
    }
}

impl Drop for WatchScreen {
    fn drop(&mut self) {
        let _ = write_now("\x1b[?25h\x1b[?1049l");
    }
}

fn write_now(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// The codes that replace the screen by `text`, of which `rows` lines are kept.
fn frame(text: &str, rows: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut kept: Vec<String> = lines.iter().take(rows).map(|line| (*line).to_owned()).collect();
    if lines.len() > rows {
        kept.pop();
        kept.push(format!("and {} more lines (a higher terminal)", lines.len() - rows + 1));
    }
    // Each line clears what stood behind it; none ends the last row, which would scroll.
    format!("\x1b[H{}\x1b[K\x1b[J", kept.join("\x1b[K\r\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_no_more_lines_than_the_terminal() {
        assert_eq!(frame("a\nb\n", 2), "\x1b[Ha\x1b[K\r\nb\x1b[K\x1b[J");
        let cut = frame("a\nb\nc\nd\n", 3);
        assert_eq!(cut.matches("\r\n").count(), 2);
        assert!(cut.contains("and 2 more lines"), "{cut:?}");
    }
}
