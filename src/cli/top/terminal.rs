//! The terminal: opened for a whole screen, and given back as it was however the program ends.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _};
use std::panic::PanicHookInfo;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use ratatui_core::layout::Rect;
use ratatui_core::terminal::Terminal;
use ratatui_crossterm::CrosstermBackend;
use ratatui_crossterm::crossterm::cursor::{Hide, Show};
use ratatui_crossterm::crossterm::style::force_color_output;
use ratatui_crossterm::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui_crossterm::crossterm::{execute, queue};
use rustix::event::{PollFd, PollFlags, poll};
use tokio::signal::unix::{SignalKind, signal};

use super::model::TopModel;
use super::palette::TopPalette;
use super::view;

/// Bytes of a frame that are written at once.
const FRAME_BYTES: usize = 64 << 10;

/// The exit status after a panic, that of Rust's programs.
const PANICKED: i32 = 101;

/// The terminal has been changed and not been given back.
static IS_OPEN: AtomicBool = AtomicBool::new(false);

/// The reason why no screen can be drawn.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError {
    #[error(
        "{0} is not a terminal, and `top` draws on one; `nodetally dump` prints the same figures"
    )]
    NoTerminal(&'static str),
    #[error(
        "the terminal cannot place text (TERM is {0:?}); `nodetally dump` prints the same figures"
    )]
    Dumb(String),
    #[error(
        "the terminal does not say its size; `stty cols 80 rows 24` sets one, and `nodetally dump` prints \
         the same figures"
    )]
    Sizeless,
    #[error("the terminal: {0}")]
    Io(#[from] io::Error),
}

/// Looks whether a screen can be drawn, before anything is done for it.
///
/// # Errors
/// There is no terminal, it cannot place text, or it has no size.
pub fn check() -> Result<(), ScreenError> {
    if !io::stdin().is_terminal() {
        return Err(ScreenError::NoTerminal("standard input"));
    }
    if !io::stdout().is_terminal() {
        return Err(ScreenError::NoTerminal("standard output"));
    }
    let term = std::env::var("TERM").unwrap_or_default();
    if term.is_empty() || term == "dumb" {
        return Err(ScreenError::Dumb(term));
    }
    // The library would start a program to ask for one.
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col == 0 || size.ws_row == 0 => Err(ScreenError::Sizeless),
        _ => Ok(()),
    }
}

/// A terminal that shows a whole screen. Dropping it gives the terminal back.
pub struct WholeScreen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
    palette: TopPalette,
}

impl WholeScreen {
    /// Opens the terminal of standard input and output.
    ///
    /// # Errors
    /// It cannot be written to.
    pub fn open(palette: TopPalette) -> Result<Self, ScreenError> {
        // Whether there is colour was decided with all that is known.
        force_color_output(palette.has_colour);
        let backend = CrosstermBackend::new(BufWriter::with_capacity(FRAME_BYTES, io::stdout()));
        let terminal = Terminal::new(backend)?;
        std::panic::set_hook(Box::new(after_panic));
        IS_OPEN.store(true, Ordering::SeqCst);
        let screen = Self { terminal, palette };
        enable_raw_mode()?;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Draws the present state.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub fn draw(&mut self, model: &mut TopModel) -> io::Result<()> {
        let palette = self.palette;
        self.terminal.draw(|frame| view::draw(model, palette, frame.buffer_mut()))?;
        Ok(())
    }

    /// Forgets what is on the screen, so that all is drawn anew.
    ///
    /// # Errors
    /// The terminal cannot be written to.
    pub fn clear(&mut self) -> io::Result<()> {
        // `Terminal::clear` would ask the terminal for the cursor, and not every one answers.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::new(0, 0, size.width, size.height))
    }
}

impl Drop for WholeScreen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back, if it was not yet.
fn give_back() {
    if IS_OPEN.swap(false, Ordering::SeqCst) {
        // A terminal that is gone needs nothing.
        let mut out = io::stdout();
        let _ = queue!(out, LeaveAlternateScreen, Show);
        let _ = out.flush();
        let _ = disable_raw_mode();
    }
}

/// Ends the program with one line, unless the panic is in a task: sources of names start theirs again.
fn after_panic(panic: &PanicHookInfo<'_>) {
    if tokio::task::try_id().is_some() {
        return;
    }
    give_back();
    // The message could quote a text from outside.
    let place = panic.location().map_or_else(String::new, |place| format!(" at {place}"));
    let _ = writeln!(
        io::stderr(),
        "nodetally: a panic{place}; this is a fault of the program, please report it"
    );
    process::exit(PANICKED);
}

/// The time that the program has to end by itself once its terminal is gone.
const TO_END: Duration = Duration::from_secs(1);

/// Becomes `true` with a signal that ends programs, or when the terminal is gone. The terminal is given
/// back first, by whoever asks; if nobody does within [`TO_END`], the program ends.
///
/// # Errors
/// The signals cannot be caught.
pub fn ending_signal() -> io::Result<Arc<AtomicBool>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signals = {
        let _entered = runtime.enter();
        let kinds = [
            SignalKind::terminate(),
            SignalKind::interrupt(),
            SignalKind::hangup(),
            SignalKind::quit(),
        ];
        kinds.into_iter().map(signal).collect::<io::Result<Vec<_>>>()?
    };
    let has_come = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&has_come);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        runtime.block_on(std::future::poll_fn(|context| {
            let is_here = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if is_here { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        }));
        end(&seen);
    })?;
    let seen = Arc::clone(&has_come);
    thread::Builder::new().name("hangup".to_owned()).spawn(move || {
        // Without wanted events, poll returns with an error or a hangup alone.
        let stdin = io::stdin();
        while let Err(rustix::io::Errno::INTR) =
            poll(&mut [PollFd::new(&stdin, PollFlags::empty())], None)
        {}
        end(&seen);
    })?;
    Ok(has_come)
}

fn end(has_come: &AtomicBool) {
    has_come.store(true, Ordering::SeqCst);
    // crossterm reads a terminal that is gone again and again, and never returns.
    thread::sleep(TO_END);
    give_back();
    process::exit(1);
}
