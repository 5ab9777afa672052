//! Hands the program its commit and its target, for `nodetally --version`, and a static one its packed
//! relocations.
//!
//! The commit is `BUILD_COMMIT` where that is set, else git's if these sources are a checkout. A debug
//! build asks git nothing: a commit would compile every test program once more.
//!
//! The names do not begin with NODETALLY_: cargo hands them to what it runs, and the agent refuses
//! variables of its own that it does not know.

use std::env;
use std::path::Path;
use std::process::Command;

/// The files that a build reads. Where one has an uncommitted change, the commit ends in `-modified`.
const SOURCES: [&str; 5] = ["src", "Cargo.toml", "Cargo.lock", "build.rs", ".cargo"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=BUILD_COMMIT");
    let named = env::var("BUILD_COMMIT").unwrap_or_default();
    let commit = if !named.trim().is_empty() {
        named.trim().to_owned()
    } else if env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        commit_of_git().unwrap_or_else(|| "unknown".to_owned())
    } else {
        "unknown".to_owned()
    };
    println!("cargo::rustc-env=BUILD_COMMIT={commit}");
    println!("cargo::rustc-env=BUILD_TARGET={}", env::var("TARGET").unwrap_or_default());
    if env::var("TARGET").is_ok_and(|target| target == "x86_64-unknown-linux-musl") {
        // A program that is loaded at a random address reads all of its relocations at each start: 1.1 MiB, which
        // stay resident, and 30 KiB once they are packed. Not for glibc, which reads these since 2.36 alone; and
        // zig's linker, which makes the one for aarch64, does not know the option.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// `None` without git, outside a checkout, and where the checkout is that of somebody else around these
/// sources.
fn commit_of_git() -> Option<String> {
    let top = git(&["rev-parse", "--show-toplevel"])?;
    let here = env::var_os("CARGO_MANIFEST_DIR")?;
    if Path::new(&top).canonicalize().ok()? != Path::new(&here).canonicalize().ok()? {
        return None;
    }
    let branch = git(&["rev-parse", "--symbolic-full-name", "HEAD"])?;
    let git_files =
        ["HEAD", &branch, "packed-refs"].map(|name| git(&["rev-parse", "--git-path", name]));
    for path in git_files.into_iter().flatten().chain(SOURCES.map(str::to_owned)) {
        // Cargo runs this each time for a path that is not there.
        if Path::new(&path).exists() {
            println!("cargo::rerun-if-changed={path}");
        }
    }
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let arguments: Vec<&str> = ["status", "--porcelain", "--"].into_iter().chain(SOURCES).collect();
    Some(if git(&arguments)?.is_empty() { commit } else { format!("{commit}-modified") })
}

/// The text that this command of git prints; `None` where it fails.
#[expect(clippy::disallowed_methods, reason = "the agent starts no processes; its build may")]
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
