//! Capacity of the node's filesystems, asked for beside the samples.
//!
//! `statfs` on a filesystem whose server has died waits for ever. So it is never asked on the
//! sampling thread, network filesystems are not asked at all, and the one thread that asks is left
//! alone when it does not come back in time.

use std::collections::BTreeSet;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use nix::sys::statvfs::statvfs;

use super::usage::FilesystemUsage;
use crate::clock;
use crate::snapshot::roots::Roots;
use crate::source::proc::mountinfo::Mount;

/// Filesystems that hold files on this node's own devices.
const LOCAL: [&str; 12] = [
    "bcachefs", "btrfs", "erofs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "vfat", "xfs",
    "zfs",
];

/// `true` for a kind of filesystem that answers statfs(2) without a server.
#[must_use]
pub fn is_local(filesystem: &str) -> bool {
    LOCAL.contains(&filesystem)
}

/// More mounts than this are not asked.
const MOUNTS_MAX: usize = 256;

/// Every local filesystem once, by the shortest of its mount points; and whether all answered
/// within `deadline`.
#[must_use]
pub fn read(roots: &Roots, deadline: Duration) -> (Vec<FilesystemUsage>, bool) {
    let mut mounts = roots.mounts();
    mounts.retain(|mount| is_local(&mount.filesystem));
    mounts.sort_by_key(|mount| mount.mount_point.as_os_str().len());
    let mut seen = BTreeSet::new();
    // Bind mounts and subvolumes are the same filesystem again.
    mounts.retain(|mount| seen.insert(mount.device.clone()));
    mounts.truncate(MOUNTS_MAX);

    let roots = roots.clone();
    let (found, answers) = mpsc::channel();
    let asked = thread::Builder::new().name("statfs".to_owned()).spawn(move || {
        for mount in mounts {
            if let Some(usage) = usage_of(&roots, &mount)
                && found.send(usage).is_err()
            {
                return;
            }
        }
    });
    let mut all = Vec::new();
    if asked.is_err() {
        return (all, false);
    }
    let start = clock::boot_time();
    loop {
        let spent = Duration::from_micros(clock::boot_time().usec_since(start));
        match answers.recv_timeout(deadline.saturating_sub(spent)) {
            Ok(usage) => all.push(usage),
            Err(RecvTimeoutError::Disconnected) => return (all, true),
            Err(RecvTimeoutError::Timeout) => return (all, false),
        }
    }
}

fn usage_of(roots: &Roots, mount: &Mount) -> Option<FilesystemUsage> {
    let stat = statvfs(&roots.seen_from_here(&mount.mount_point)).ok()?;
    let block = stat.fragment_size();
    let bytes = |blocks: u64| blocks.saturating_mul(block);
    Some(FilesystemUsage {
        mount_point: mount.mount_point.as_os_str().as_encoded_bytes().to_vec(),
        filesystem: mount.filesystem.clone(),
        capacity_bytes: bytes(stat.blocks()),
        available_bytes: bytes(stat.blocks_available()),
        used_bytes: bytes(stat.blocks().saturating_sub(stat.blocks_free())),
        inodes: stat.files(),
        inodes_free: stat.files_free(),
    })
}
