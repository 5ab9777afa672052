//! Writing to standard output.

use std::io::{self, Write as _};

use anyhow::Context as _;

use crate::printable::printable_lines;

/// Writes a text for people to standard output, with what could steer a terminal escaped.
pub(super) fn print_lines(text: &str) -> anyhow::Result<()> {
    print(&printable_lines(text))
}

/// Writes `text` to standard output as it is.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    print_bytes(text.as_bytes())
}

/// Writes `bytes` to standard output as they are.
pub(super) fn print_bytes(bytes: &[u8]) -> anyhow::Result<()> {
    concluded(io::stdout().lock().write_all(bytes))
}

/// The result of writing to standard output. A reader that closed its end is no error.
pub(super) fn concluded(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output"),
    }
}
