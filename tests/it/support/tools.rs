//! Programs and Python packages of others, which some tests drive.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::skip::skip;

/// The program in target/tools, where `.ci/install-helm` puts it, or else of this machine. `None`: it is
/// nowhere, which is recorded.
#[track_caller]
pub fn tool(name: &str) -> Option<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools").join(name);
    let program = if ours.exists() { ours } else { PathBuf::from(name) };
    if Command::new(&program).arg("--help").output().is_ok_and(|output| output.status.success()) {
        return Some(program);
    }
    skip(format!("{name} is not installed; .ci/install-helm fetches it"));
    None
}

/// Python with the packages in target/python, where `.ci/run` puts them.
pub fn python() -> Command {
    let packages = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../python");
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", packages);
    python
}

/// True if Python finds this module of a package. If not, that is recorded.
#[track_caller]
pub fn has_python_module(module: &str, package: &str) -> bool {
    let import = format!("import {module}");
    let found = python().args(["-c", &import]).stderr(Stdio::null()).status();
    let has_it = found.is_ok_and(|status| status.success());
    if !has_it {
        skip(format!("Python's package {package} is not in target/python"));
    }
    has_it
}
