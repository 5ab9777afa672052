//! The same count by other means: the standard library, recursion, and nothing left out.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nodetally::disk_usage::walk::{Progress, TreeUsage, Walk, Workspace};

/// Allocated bytes and inodes of the tree at `root`.
pub fn count(root: &Path) -> TreeUsage {
    let mut usage = TreeUsage::default();
    let mut seen = BTreeSet::new();
    count_below(root, fs::symlink_metadata(root).unwrap().dev(), &mut seen, &mut usage);
    usage
}

fn count_below(path: &Path, device: u64, seen: &mut BTreeSet<u64>, usage: &mut TreeUsage) {
    let metadata = fs::symlink_metadata(path).unwrap();
    if metadata.dev() != device || !seen.insert(metadata.ino()) {
        return;
    }
    usage.bytes += metadata.blocks() * 512;
    usage.inodes += 1;
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            count_below(&entry.unwrap().path(), device, seen, usage);
        }
    }
}

/// Walks `root` in steps of `entries_max`.
pub fn walk(root: &Path, entries_max: u64) -> TreeUsage {
    walk_parked(root, entries_max, |_| false)
}

/// The same, letting go of everything between steps where `parks` says so.
pub fn walk_parked(root: &Path, entries_max: u64, mut parks: impl FnMut(u64) -> bool) -> TreeUsage {
    let mut workspace = Workspace::default();
    let room = workspace.bytes_left();
    let mut walk = Walk::new("/".into(), root.to_owned());
    // Far more than any tree here takes: a walk that begins anew at every step ends as well.
    for step in 0..1_000_000 {
        match walk.step(entries_max, &mut workspace) {
            Progress::More => {}
            Progress::Done(usage) => {
                assert_eq!(workspace.bytes_left(), room, "something was not given back");
                return usage;
            }
            Progress::Failed(failure) => panic!("{}: {failure:?}", root.display()),
        }
        if parks(step) {
            walk.park();
        }
    }
    panic!("{}: the walk does not come to its end", root.display())
}
