//! Colour and size of text for people.

use std::io::{self, IsTerminal as _};

use super::args::ColorChoice;

/// Colour, width and length of a table.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub colour: bool,
    /// The width of the terminal, which no row exceeds; `None`: no terminal.
    pub width: Option<usize>,
    /// The most rows of each list.
    pub top: usize,
}

/// The weight of a remark beside a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grade {
    /// Something is near its end.
    Warning,
    /// Something was refused or killed.
    Alarm,
}

impl Style {
    /// The style for standard output: colour and width depend on whether it is a terminal.
    #[must_use]
    pub fn of_output(colour: ColorChoice, top: usize) -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self {
            colour: match colour {
                ColorChoice::Always => true,
                ColorChoice::Never => false,
                ColorChoice::Auto => {
                    is_terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
                }
            },
            width: is_terminal.then(terminal_size).flatten().map(|(width, _)| width),
            top,
        }
    }

    pub(super) fn bold(self, text: &str) -> String {
        self.painted("1", text)
    }

    pub(super) fn dim(self, text: &str) -> String {
        self.painted("2", text)
    }

    pub(super) fn graded(self, grade: Grade, text: &str) -> String {
        match grade {
            Grade::Warning => self.painted("33", text),
            Grade::Alarm => self.painted("1;31", text),
        }
    }

    fn painted(self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// The columns and rows of the terminal on standard output; `None` if it is none. A terminal that does
/// not say them (a serial line) has those of `COLUMNS` and `LINES`, else 80 and 24.
pub(super) fn terminal_size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    let known = |said: u16, variable: &str, usual: usize| match said {
        0 => std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual),
        said => usize::from(said),
    };
    Some((known(size.ws_col, "COLUMNS", 80).max(1), known(size.ws_row, "LINES", 24).max(1)))
}
