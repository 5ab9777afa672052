//! The error line for a configuration that cannot be used, and the reasons in it.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use super::endpoint_url::InvalidUrl;
use super::variables::{CREDENTIALS, CREDENTIALS_VARIABLE, VARIABLE_PREFIX};
use crate::quantity::counted;

/// The most problems that are shown.
const PROBLEMS_MAX: usize = 50;

/// The errors of a configuration, each as one line: the place of the value (`file:line`, an
/// environment variable, a flag), the value, and the allowed values. At least one, those of the file
/// first, from its top.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", shown(.problems))]
pub struct ConfigError {
    problems: Vec<Problem>,
}

/// One error, by the line of the file, which others come behind.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Problem {
    file_line: usize,
    text: String,
}

fn shown(problems: &[Problem]) -> String {
    let mut lines: Vec<&str> =
        problems.iter().take(PROBLEMS_MAX).map(|problem| problem.text.as_str()).collect();
    let more = problems.len().saturating_sub(PROBLEMS_MAX);
    let more = format!("and {}", counted(more, "other error", "other errors"));
    if problems.len() > PROBLEMS_MAX {
        lines.push(&more);
    }
    lines.join("\n")
}

impl ConfigError {
    pub(super) fn new(line: &str) -> Self {
        Self { problems: vec![Problem { file_line: usize::MAX, text: one_line(line) }] }
    }

    /// The same, of this line of the file (from 1).
    pub(super) fn at_line(mut self, file_line: usize) -> Self {
        self.problems.iter_mut().for_each(|problem| problem.file_line = file_line);
        self
    }

    /// All of them as one; `None` if there are none.
    pub(super) fn of_all(errors: Vec<Self>) -> Option<Self> {
        let mut problems: Vec<Problem> = Vec::new();
        for problem in errors.into_iter().flat_map(|error| error.problems) {
            if !problems.iter().any(|other| other.text == problem.text) {
                problems.push(problem);
            }
        }
        problems.sort_by_key(|problem| problem.file_line);
        (!problems.is_empty()).then_some(Self { problems })
    }

    /// For the file at `path` that could not be read.
    #[must_use]
    pub fn unreadable_file(path: &Path, reason: &io::Error) -> Self {
        Self::new(&format!("{}: cannot be read: {reason}", path.display()))
    }
}

/// The reason why a value is refused, in a few words and without the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidValue {
    #[error("found {0}")]
    Found(&'static str),
    #[error("empty")]
    Empty,
    #[error("too small")]
    TooSmall,
    #[error("too large")]
    TooLarge,
    #[error("too long")]
    TooLong,
    #[error("too many")]
    TooMany,
    #[error("not a boolean")]
    NotABoolean,
    #[error("not an integer in range")]
    NotAnInteger,
    #[error("not a duration")]
    NotADuration,
    #[error("not an amount of bytes")]
    NotBytes,
    #[error("not one of the known words{}", hint(*.0))]
    UnknownWord(Option<&'static str>),
    #[error("not a plain name")]
    NotAName,
    #[error("not a namespace")]
    NotANamespace,
    #[error("not a DNS name")]
    NotADnsName,
    #[error("not KEY=VALUE")]
    NotKeyAndValue,
    #[error("holds a control character")]
    ControlCharacter,
    #[error("holds a NUL, which no path can")]
    Nul,
    #[error("not an absolute path")]
    NotAbsolute,
    #[error("not a header's name")]
    NotAHeader,
    #[error("not a header's value: visible characters of ASCII, spaces only inside")]
    NotAHeaderValue,
    #[error("the header is set twice")]
    HeaderTwice,
    #[error("{0} belongs to the request and carries no token")]
    HeaderOfTheRequest(&'static str),
    #[error("not a variable's name")]
    NotAVariable,
    #[error("begins with {VARIABLE_PREFIX}, as only settings do")]
    OwnVariable,
    #[error("begins with another variable than {CREDENTIALS}")]
    OtherVariable,
    #[error("names no credential behind {CREDENTIALS}/")]
    NoCredentialNamed,
    #[error(
        "{CREDENTIALS_VARIABLE} is not set, so no credential is available (systemd sets it with \
         LoadCredential=)"
    )]
    NoCredentials,
    #[error("not an address to listen on")]
    NotAnAddress,
    #[error("no address is known of a host of that name")]
    UnknownHost,
    #[error(transparent)]
    Url(#[from] InvalidUrl),
    #[error("a password in it would be logged and listed: put it into a file, password_file=FILE")]
    StorePassword,
    #[error("not https, and a token goes there")]
    NotHttps,
    #[error("\"{0}\" is listed twice")]
    Twice(&'static str),
    #[error("{item}: {reason}")]
    Item { item: String, reason: Box<InvalidValue> },
    #[error("{0}")]
    Conflict(String),
    /// A mistake in the declaration of the key.
    #[error("the key is declared with another type")]
    OtherType,
}

/// The question behind an unknown word, with the word that was probably meant.
fn hint(meant: Option<&str>) -> String {
    meant.map_or(String::new(), |meant| format!(", did you mean \"{meant}\"?"))
}

/// The text with everything escaped that a terminal or a log would treat as more than a character of the
/// line (line breaks of any kind, escape sequences, direction marks) written as `\u{…}`.
///
/// Configuration texts come from outside: a file's name, a quoted key and a value can all hold
/// line breaks.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        let breaks = c.is_control()
            || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}')
            || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        match c {
            '\n' => line.push_str("\\n"),
            _ if breaks => {
                // Writing to a String cannot fail.
                let _ = write!(line, "\\u{{{:x}}}", u32::from(c));
            }
            _ => line.push(c),
        }
    }
    line
}

/// At most `chars_max` characters of the text, with `…` where some were left out.
pub(super) fn shortened(text: &str, chars_max: usize) -> String {
    let mut shortened: String = text.chars().take(chars_max).collect();
    if shortened.len() < text.len() {
        shortened.push('…');
    }
    shortened
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_break_becomes_visible() {
        assert_eq!(one_line("a\nb\u{2028}c\u{85}d\re"), "a\\nb\\u{2028}c\\u{85}d\\u{d}e");
        assert_eq!(one_line("grün \\ 漢"), "grün \\ 漢");
    }

    #[test]
    fn shortening_cuts_between_characters() {
        assert_eq!(shortened("grün", 3), "grü…");
        assert_eq!(shortened("grün", 4), "grün");
    }
}
