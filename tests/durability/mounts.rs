//! Mounts that are nobody else's: in a mount namespace of a thread of its own, and of what it starts.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

const NOTHING: Option<&str> = None;

/// Runs `test` where mounts are nobody else's; says so where that may not be had.
pub fn in_own_mounts(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWNS) {
            println!("not tried: no mount namespace may be made here: {errno}");
            return;
        }
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        if let Err(errno) = mount(NOTHING, "/", NOTHING, private, NOTHING) {
            println!("not tried: mounts may not be made private here: {errno}");
            return;
        }
        test();
    });
    thread.join().unwrap();
}

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
