//! Captured trees: a host's files at one instant, with what files cannot say of themselves beside
//! them. `fixtures/hosts/README.md` describes the layout.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use thiserror::Error;

use crate::directory::objects::{self, ObjectLimits};
use crate::directory::{Catalog, Directory, SourceKind};
use crate::quantity::{BootTime, WallTime};
use crate::snapshot::roots::{CapturedCgroup, CapturedInstant, Roots, Units};

/// `instant.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Instant {
    boottime_ns: u64,
    unix_ms: u64,
    clk_tck: u64,
    page_size_bytes: u64,
}

#[derive(Debug, Error)]
pub enum CaptureError {
    #[error("{}: {source}", path.display())]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{}: {reason}", path.display())]
    Malformed { path: PathBuf, reason: String },
}

/// The two instants of the capture in `dir`: `dir/t0` and `dir/t1`.
pub fn load(dir: &Path) -> Result<[Roots; 2], CaptureError> {
    Ok([load_instant(&dir.join("t0"))?, load_instant(&dir.join("t1"))?])
}

/// The catalog of the capture in `dir`, from the API server's list of pods
/// (`dir/api/pods-of-node.json`). Empty if the capture has no list.
pub fn load_catalog(dir: &Path) -> Result<Arc<Catalog>, CaptureError> {
    let path = dir.join("api/pods-of-node.json");
    let body = match read(&path) {
        Err(CaptureError::Unreadable { source, .. }) if source.kind() == ErrorKind::NotFound => {
            return Ok(Arc::default());
        }
        body => body?,
    };
    let limits = ObjectLimits { annotation_bytes_max: 0 };
    let page = objects::pods_of_list(body.as_bytes(), &limits).map_err(|error| {
        let reason = error.to_string();
        CaptureError::Malformed { path, reason }
    })?;
    let (directory, publishers) = Directory::new(&[SourceKind::Kubernetes]);
    for publisher in publishers {
        publisher.replace_pods(page.pods.clone(), BootTime::default());
    }
    Ok(directory.catalog())
}

fn load_instant(dir: &Path) -> Result<Roots, CaptureError> {
    let path = dir.join("instant.toml");
    let instant: Instant = toml::from_str(&read(&path)?).map_err(|error| {
        let reason = error.message().to_owned();
        CaptureError::Malformed { path, reason }
    })?;
    let path = dir.join("cgroups.tsv");
    let table = read(&path)?;
    let cgroups = table
        .lines()
        .skip(1)
        .enumerate()
        .map(|(at, line)| {
            parse_row(line).ok_or_else(|| CaptureError::Malformed {
                path: path.clone(),
                reason: format!(
                    "line {}: expected path, inode, begin and end of reading, between tabs",
                    at + 2
                ),
            })
        })
        .collect::<Result<BTreeMap<_, _>, _>>()?;
    Ok(Roots {
        procfs: dir.join("proc"),
        sysfs: dir.join("sys"),
        cgroupfs: None,
        rootfs: dir.to_owned(),
        units: Units {
            ticks_per_second: instant.clk_tck,
            page_size_bytes: instant.page_size_bytes,
        },
        captured: Some(CapturedInstant {
            at: BootTime::from_nanos(instant.boottime_ns),
            wall: WallTime::from_unix_millis(instant.unix_ms),
            cgroups,
        }),
    })
}

// /system.slice/ssh.service	206	89759649176	89772626072
fn parse_row(line: &str) -> Option<(Vec<u8>, CapturedCgroup)> {
    let mut fields = line.split('\t');
    let path = fields.next()?.as_bytes().to_vec();
    let inode = fields.next()?.parse().ok()?;
    let end = fields.nth(1)?.parse().ok()?;
    Some((path, CapturedCgroup { inode, read_at: BootTime::from_nanos(end) }))
}

#[expect(
    clippy::disallowed_methods,
    reason = "a capture's own description is no file of the kernel's"
)]
fn read(path: &Path) -> Result<String, CaptureError> {
    std::fs::read_to_string(path)
        .map_err(|source| CaptureError::Unreadable { path: path.to_owned(), source })
}
