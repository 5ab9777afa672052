//! Walks through trees with something mounted in them, each in a mount namespace of its own thread.

use std::fs;
use std::path::Path;

use nix::mount::{MsFlags, mount};

use crate::pod_filesystem::oracle;
use crate::support::mounts::in_own_mounts;

const NOTHING: Option<&str> = None;

fn bind(from: &Path, onto: &Path) {
    mount(Some(from), onto, NOTHING, MsFlags::MS_BIND, NOTHING).unwrap();
}

#[test]
fn another_filesystem_in_the_tree_is_no_part_of_it() {
    in_own_mounts(|| {
        let tree = tempfile::tempdir().unwrap();
        let onto = tree.path().join("a/memory");
        fs::create_dir_all(&onto).unwrap();
        fs::write(tree.path().join("a/file"), [1; 10_000]).unwrap();
        mount(Some("tmpfs"), &onto, Some("tmpfs"), MsFlags::empty(), NOTHING).unwrap();
        fs::create_dir(onto.join("below")).unwrap();
        fs::write(onto.join("below/large"), vec![1; 1 << 20]).unwrap();
        let walked = oracle::walk(tree.path(), 2);
        assert_eq!(walked, oracle::count(tree.path()));
        assert_eq!(walked.inodes, 3, "{walked:?}");
        assert!(walked.bytes < 1 << 20);
        nix::mount::umount(&onto).unwrap();
    });
}

/// The device is the same, so only the mount's number tells.
#[test]
fn another_part_of_the_same_filesystem_is_not_counted_here() {
    in_own_mounts(|| {
        let elsewhere = tempfile::tempdir().unwrap();
        fs::create_dir(elsewhere.path().join("below")).unwrap();
        fs::write(elsewhere.path().join("file"), vec![1; 1 << 20]).unwrap();
        let tree = tempfile::tempdir().unwrap();
        let (directory, file) = (tree.path().join("directory"), tree.path().join("file"));
        fs::create_dir(&directory).unwrap();
        fs::write(&file, [1; 10]).unwrap();
        let before = oracle::walk(tree.path(), 2);
        assert_eq!(before.inodes, 3);
        bind(elsewhere.path(), &directory);
        bind(&elsewhere.path().join("file"), &file);
        let walked = oracle::walk(tree.path(), 2);
        nix::mount::umount(&directory).unwrap();
        nix::mount::umount(&file).unwrap();
        assert_eq!((walked.inodes, walked.incomplete), (1, false), "{walked:?}");
        assert_eq!(oracle::walk(tree.path(), 2), before);
    });
}
