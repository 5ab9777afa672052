//! The answer to `--version`: release, commit, target, and what is compiled in.

use std::sync::LazyLock;

use crate::payload::dialect::Dialect;

/// The commit of the sources, `-modified` behind it where they were changed since; `unknown` for sources
/// without git, and in a debug build.
pub const COMMIT: &str = env!("BUILD_COMMIT");

static LONG: LazyLock<String> = LazyLock::new(|| {
    format!(
        "{}\ncommit: {COMMIT}\ntarget: {}\ndialects: {}\nfeatures: TLS (rustls with ring), spool (SQLite {})",
        env!("CARGO_PKG_VERSION"),
        env!("BUILD_TARGET"),
        Dialect::WORDS.join(", "),
        rusqlite::version(),
    )
});

/// The lines behind the program's name.
#[must_use]
pub fn long() -> &'static str {
    &LONG
}
