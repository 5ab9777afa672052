//! Mounts that are nobody else's: in a mount namespace of a thread of its own, and of what it starts.

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
