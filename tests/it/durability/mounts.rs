//! Disks that are full, or may not be written to.

use std::path::Path;

use nix::mount::{MsFlags, mount};

const NOTHING: Option<&str> = None;

pub fn tmpfs(onto: &Path, size: &str) {
    let size = format!("size={size}");
    mount(Some("tmpfs"), onto, Some("tmpfs"), MsFlags::empty(), Some(&*size)).unwrap();
}

pub fn resize(tmpfs: &Path, size: &str) {
    let size = format!("size={size}");
    mount(NOTHING, tmpfs, NOTHING, MsFlags::MS_REMOUNT, Some(&*size)).unwrap();
}

pub fn make_read_only(dir: &Path) {
    mount(Some(dir), dir, NOTHING, MsFlags::MS_BIND, NOTHING).unwrap();
    let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(NOTHING, dir, NOTHING, read_only, NOTHING).unwrap();
}

pub fn unmount(dir: &Path) {
    // Whoever had a file open there may just be ending.
    nix::mount::umount2(dir, nix::mount::MntFlags::MNT_DETACH).unwrap();
}
