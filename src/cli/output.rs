//! Writing to standard output.

use std::io::{self, Write as _};

use anyhow::Context as _;

/// Writes `text` to standard output.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    concluded(io::stdout().lock().write_all(text.as_bytes()))
}

/// The result of writing to standard output. A reader that closed its end is no error.
pub(super) fn concluded(written: io::Result<()>) -> anyhow::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("standard output"),
    }
}
