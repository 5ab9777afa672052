//! Mounts that are nobody else's: in a mount namespace of a thread of its own, and of what it starts.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::support::skip::skip;

const NOTHING: Option<&str> = None;

/// Runs `test` in a mount namespace of its own, or skips it where none may be made.
#[track_caller]
pub fn in_own_mounts(test: impl FnOnce() + Send + 'static) {
    let thread = std::thread::spawn(move || {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWNS) {
            return Err(format!("no mount namespace may be made here: {errno}"));
        }
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        if let Err(errno) = mount(NOTHING, "/", NOTHING, private, NOTHING) {
            return Err(format!("mounts may not be made private here: {errno}"));
        }
        test();
        Ok(())
    });
    if let Err(reason) = thread.join().unwrap() {
        skip(reason);
    }
}
