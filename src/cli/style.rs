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
    let set = |variable: &str| std::env::var(variable).ok();
    Some((
        known_length(size.ws_col, set("COLUMNS").as_deref(), 80),
        known_length(size.ws_row, set("LINES").as_deref(), 24),
    ))
}

/// The length that a terminal says; where that is 0, the one that a variable sets, else the usual one.
fn known_length(said: u16, set: Option<&str>, usual: u16) -> usize {
    let set = set.and_then(|text| text.parse().ok());
    let length = [Some(said), set].into_iter().flatten().find(|length| *length > 0);
    usize::from(length.unwrap_or(usual))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_without_a_size_has_that_of_the_variable_or_the_usual_one() {
        for (said, set, length) in [
            (120, None, 120),
            (120, Some("90"), 120),
            (0, Some("90"), 90),
            (0, None, 80),
            (0, Some("0"), 80),
            (0, Some("wide"), 80),
            (0, Some("99999999"), 80),
        ] {
            assert_eq!(known_length(said, set, 80), length, "{said} {set:?}");
        }
    }
}
