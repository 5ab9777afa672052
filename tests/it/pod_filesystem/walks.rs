//! Walks through one tree each.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use nodetally::disk_usage::walk::{DEPTH_MAX, OPEN_MAX, Progress, TreeUsage, Walk, Workspace};
use nodetally::source::root::ReadFailure;
use proptest::prelude::*;

use crate::pod_filesystem::oracle;
use crate::support::rounds::cases;
use crate::support::skip::skip;

fn file(path: &Path, bytes: usize) {
    File::create(path).unwrap().write_all(&vec![7; bytes]).unwrap();
}

/// The number of directories below `root` that this process has open.
fn open_below(root: &Path) -> usize {
    fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|fd| fs::read_link(fd.unwrap().path()).ok())
        .filter(|target| target.starts_with(root))
        .count()
}

#[test]
fn everything_with_a_name_counts_as_the_disk_has_it() {
    let outside = tempfile::tempdir().unwrap();
    file(&outside.path().join("large"), 3 << 20);
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    fs::create_dir_all(root.join("var/lib/empty")).unwrap();
    fs::create_dir_all(root.join("var/log")).unwrap();
    file(&root.join("var/log/text"), 100_001);
    file(&root.join("var/log/nothing"), 0);
    file(&root.join("twice"), 50_000);
    fs::hard_link(root.join("twice"), root.join("var/once more")).unwrap();
    fs::hard_link(root.join("twice"), root.join("var/lib/and more")).unwrap();
    symlink(outside.path(), root.join("var/directory")).unwrap();
    symlink(outside.path().join("large"), root.join("var/file")).unwrap();
    symlink("nowhere", root.join("var/dangling")).unwrap();
    nix::unistd::mkfifo(&root.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    File::create(root.join("sparse")).unwrap().set_len(1 << 40).unwrap();

    let expected = oracle::count(root);
    // Seven directories' worth of names with three of them for one file.
    assert_eq!(expected.inodes, 13, "{expected:?}");
    assert!(expected.bytes < 1 << 20, "links were followed or holes counted: {expected:?}");
    for entries_max in [0, 1, 2, 7, 1_000_000] {
        assert_eq!(oracle::walk(root, entries_max), expected, "{entries_max} a step");
        let parked = oracle::walk_parked(root, entries_max, |_| true);
        assert_eq!(parked, expected, "{entries_max} a step, parked");
    }
}

#[test]
fn a_directory_of_many_buffers_is_resumed_where_it_was_left() {
    let tree = tempfile::tempdir().unwrap();
    for at in 0..3_000 {
        let name = tree.path().join(format!("{at}-{}", "x".repeat(at % 200)));
        if at % 50 == 0 {
            fs::create_dir(&name).unwrap();
            file(&name.join("within"), at);
        } else {
            file(&name, at % 9);
        }
    }
    let expected = oracle::count(tree.path());
    assert_eq!(expected.inodes, 1 + 3_000 + 60);
    for entries_max in [3, 100, 256, 1_000_000] {
        assert_eq!(oracle::walk(tree.path(), entries_max), expected, "{entries_max} a step");
        let parked = oracle::walk_parked(tree.path(), entries_max, |step| step % 2 == 0);
        assert_eq!(parked, expected, "{entries_max} a step, parked");
    }
}

#[test]
fn a_deep_tree_is_walked_with_few_directories_open_and_none_between_turns() {
    let tree = tempfile::tempdir().unwrap();
    let mut at = tree.path().to_owned();
    for depth in 0..10 * OPEN_MAX {
        fs::create_dir_all(at.join("aside/below")).unwrap();
        file(&at.join("aside/below/file"), depth);
        file(&at.join("zz"), 5000);
        at.push("down");
    }
    fs::create_dir(&at).unwrap();
    let expected = oracle::count(tree.path());

    let mut workspace = Workspace::default();
    let mut walk = Walk::new("/".into(), tree.path().to_owned());
    let (mut open_max, mut turns) = (0, 0);
    let usage = loop {
        match walk.step(3, &mut workspace) {
            Progress::More => {}
            Progress::Done(usage) => break usage,
            Progress::Failed(failure) => panic!("{failure:?}"),
        }
        open_max = open_max.max(open_below(tree.path()));
        turns += 1;
        if turns % 5 == 0 {
            walk.park();
            assert_eq!(open_below(tree.path()), 0);
        }
    };
    assert_eq!(usage, expected);
    assert!((2..=OPEN_MAX).contains(&open_max), "{open_max} directories were open");
}

#[test]
fn what_lies_too_deep_is_left_out_and_the_figure_says_so() {
    let tree = tempfile::tempdir().unwrap();
    let deepest: PathBuf = std::iter::repeat_n("d", DEPTH_MAX + 50).collect();
    fs::create_dir_all(tree.path().join(deepest)).unwrap();
    let usage = oracle::walk_parked(tree.path(), 100, |step| step % 3 == 0);
    assert!(usage.incomplete);
    // The root, those that were entered below it, and the first that was not.
    assert_eq!(usage.inodes, 1 + DEPTH_MAX as u64);
    assert!(!oracle::walk(&tree.path().join("d/".repeat(51)), 100).incomplete);
}

#[test]
fn one_step_asks_for_no_more_than_it_may() {
    let tree = tempfile::tempdir().unwrap();
    for at in 0..500 {
        fs::create_dir(tree.path().join(format!("{at}"))).unwrap();
    }
    let mut workspace = Workspace::default();
    let mut walk = Walk::new("/".into(), tree.path().to_owned());
    let mut before = 0;
    // A directory is asked for, opened, and its end is looked for.
    while let Progress::More = walk.step(10, &mut workspace) {
        let spent = walk.entries() - before;
        assert!((10..=12).contains(&spent), "{spent} entries in a step of 10");
        before = walk.entries();
    }
    assert!(walk.entries() >= 3 * 500, "{}", walk.entries());
}

#[test]
fn without_room_for_files_with_several_names_they_count_more_than_once_and_it_is_said() {
    let tree = tempfile::tempdir().unwrap();
    for at in 0..100 {
        file(&tree.path().join(format!("{at}")), 5000);
        fs::hard_link(tree.path().join(format!("{at}")), tree.path().join(format!("{at} too")))
            .unwrap();
    }
    let truth = oracle::count(tree.path());
    assert_eq!(truth.inodes, 101);
    let mut workspace = Workspace::with_room_for(24 * 60);
    let mut walk = Walk::new("/".into(), tree.path().to_owned());
    let Progress::Done(usage) = walk.step(u64::MAX, &mut workspace) else { panic!("not done") };
    assert!(usage.overcounted && !usage.incomplete, "{usage:?}");
    // Sixty are known again; of the other forty each may count twice.
    assert!((102..=141).contains(&usage.inodes), "{usage:?}");
    assert!(usage.bytes > truth.bytes);
    assert_eq!(workspace.bytes_left(), 24 * 60);
}

#[test]
fn without_room_for_names_directories_are_left_out_and_it_is_said() {
    let tree = tempfile::tempdir().unwrap();
    for at in 0..100 {
        fs::create_dir(tree.path().join(format!("{at:04}"))).unwrap();
        file(&tree.path().join(format!("{at:04}/file")), 1);
    }
    let mut workspace = Workspace::with_room_for(5 * 20 + 200);
    let mut walk = Walk::new("/".into(), tree.path().to_owned());
    let Progress::Done(usage) = walk.step(u64::MAX, &mut workspace) else { panic!("not done") };
    assert!(usage.incomplete && !usage.overcounted, "{usage:?}");
    assert!((102..201).contains(&usage.inodes), "{usage:?}");
    assert_eq!(workspace.bytes_left(), 5 * 20 + 200);
}

#[test]
fn a_walk_that_is_given_up_gives_its_room_back() {
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("a/b/c/d")).unwrap();
    let mut workspace = Workspace::default();
    let room = workspace.bytes_left();
    let mut walk = Walk::new("/".into(), tree.path().to_owned());
    assert_eq!(walk.step(4, &mut workspace), Progress::More);
    assert!(workspace.bytes_left() < room);
    walk.end(&mut workspace);
    assert_eq!(workspace.bytes_left(), room);
}

#[test]
fn what_vanishes_under_the_walk_is_no_flaw_and_the_rest_is_counted() {
    for parks in [false, true] {
        let tree = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            let below: PathBuf = [name, "1", "2", "3"].iter().collect();
            fs::create_dir_all(tree.path().join(below)).unwrap();
            file(&tree.path().join(name).join("1/2/3/file"), 9000);
        }
        let mut workspace = Workspace::default();
        let mut walk = Walk::new("/".into(), tree.path().to_owned());
        // Three names, then two directories of one of them: it stands in the second.
        assert_eq!(walk.step(10, &mut workspace), Progress::More);
        let stands_in = ["a", "b", "c"].into_iter().find(|name| {
            let fds = fs::read_dir("/proc/self/fd").unwrap();
            fds.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok())
                .any(|target| target.starts_with(tree.path().join(name)))
        });
        let stands_in = stands_in.expect("the walk stands in one of the three");
        if parks {
            walk.park();
        }
        fs::remove_dir_all(tree.path().join(stands_in)).unwrap();
        let Progress::Done(usage) = walk.step(u64::MAX, &mut workspace) else { panic!("not done") };
        assert!(!usage.incomplete, "{usage:?}");
        // Two are whole, of the third stands what was seen before.
        let left = oracle::count(tree.path());
        assert_eq!(left.inodes, 1 + 2 * 5);
        assert!((left.inodes + 1..=left.inodes + 5).contains(&usage.inodes), "{usage:?}");
    }
}

#[test]
fn a_tree_that_is_gone_fails_and_does_not_count() {
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path().join("root");
    let mut workspace = Workspace::default();
    let mut walk = Walk::new("/".into(), root.clone());
    assert_eq!(walk.step(1, &mut workspace), Progress::Failed(ReadFailure::Absent));
    fs::create_dir_all(root.join("a/b")).unwrap();
    assert_eq!(walk.step(1, &mut workspace), Progress::More);
    walk.park();
    // Another directory of the same name is not the one that was walked.
    fs::rename(&root, tree.path().join("aside")).unwrap();
    fs::create_dir(&root).unwrap();
    assert_eq!(walk.step(1, &mut workspace), Progress::Failed(ReadFailure::Gone));
    // And a link is no tree.
    symlink(tree.path(), tree.path().join("link")).unwrap();
    let mut link = Walk::new("/".into(), tree.path().join("link"));
    assert_eq!(link.step(1, &mut workspace), Progress::Failed(ReadFailure::Absent));
}

#[test]
fn a_directory_that_becomes_a_link_meanwhile_is_not_followed() {
    let outside = tempfile::tempdir().unwrap();
    for at in 0..50 {
        file(&outside.path().join(format!("{at}")), 1);
    }
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir(tree.path().join("a")).unwrap();
    let mut workspace = Workspace::default();
    let mut walk = Walk::new("/".into(), tree.path().to_owned());
    // The root and its one name, which is not yet entered.
    assert_eq!(walk.step(2, &mut workspace), Progress::More);
    fs::remove_dir(tree.path().join("a")).unwrap();
    symlink(outside.path(), tree.path().join("a")).unwrap();
    let Progress::Done(usage) = walk.step(u64::MAX, &mut workspace) else { panic!("not done") };
    assert_eq!((usage.inodes, usage.incomplete), (2, false));
}

#[test]
fn links_on_the_way_to_a_tree_lead_where_they_lead_on_its_host() {
    let host = tempfile::tempdir().unwrap();
    fs::create_dir_all(host.path().join("data/containers/1/fs")).unwrap();
    file(&host.path().join("data/containers/1/fs/file"), 70_000);
    fs::create_dir_all(host.path().join("var/lib")).unwrap();
    // Absolute, as an administrator writes it; from here it leads to nothing.
    symlink("/data/containers", host.path().join("var/lib/containers")).unwrap();
    let mut workspace = Workspace::default();
    let mut walk = Walk::new(host.path().to_owned(), "/var/lib/containers/1/fs".into());
    let expected = oracle::count(&host.path().join("data/containers/1/fs"));
    assert_eq!(walk.step(u64::MAX, &mut workspace), Progress::Done(expected));
}

/// Set where the test below has started itself as somebody without rights.
const UNREADABLE: &str = "NODETALLY_TEST_UNREADABLE_TREE";

#[test]
fn a_directory_that_may_not_be_read_makes_the_figure_incomplete() {
    if let Some(root) = std::env::var_os(UNREADABLE) {
        let usage = oracle::walk(Path::new(&root), 3);
        // The tree, what may be read, and the other two themselves.
        assert_eq!((usage.inodes, usage.incomplete), (5, true), "{usage:?}");
        return;
    }
    let tree = tempfile::tempdir().unwrap();
    let root = tree.path();
    for name in ["open", "closed", "unsearchable"] {
        fs::create_dir(root.join(name)).unwrap();
        file(&root.join(name).join("file"), 1);
    }
    fs::set_permissions(root, fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(root.join("closed"), fs::Permissions::from_mode(0o000)).unwrap();
    // Its names can be had, and nothing of what they stand for.
    fs::set_permissions(root.join("unsearchable"), fs::Permissions::from_mode(0o444)).unwrap();
    let name =
        "pod_filesystem::walks::a_directory_that_may_not_be_read_makes_the_figure_incomplete";
    let mut again = std::process::Command::new(std::env::current_exe().unwrap());
    again.args([OsStr::new("--exact"), OsStr::new(name)]).env(UNREADABLE, root);
    if fs::metadata(root).unwrap().uid() == 0 {
        // root reads everything.
        again.uid(65_534).gid(65_534);
    }
    match again.output() {
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && told.contains("1 passed"), "{told}");
        }
        Err(error) => skip(format_args!("user 65534 cannot start this test program: {error}")),
    }
    for name in ["closed", "unsearchable"] {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// One thing that is made in a tree; the number picks a directory that is there.
#[derive(Debug, Clone)]
enum Making {
    Directory(usize, String),
    File(usize, String, usize),
    Hole(usize, String),
    HardLink(usize, String, usize),
    Link(usize, String, usize),
}

fn making() -> impl Strategy<Value = Making> {
    let name = || "[a-c]{1,2}|[a-z .\u{e4}]{3,60}";
    let any = any::<usize>;
    prop_oneof![
        3 => (any(), name()).prop_map(|(at, name)| Making::Directory(at, name)),
        3 => (any(), name(), 0..20_000_usize).prop_map(|(at, name, size)| Making::File(at, name, size)),
        1 => (any(), name()).prop_map(|(at, name)| Making::Hole(at, name)),
        2 => (any(), name(), any()).prop_map(|(at, name, to)| Making::HardLink(at, name, to)),
        1 => (any(), name(), any()).prop_map(|(at, name, to)| Making::Link(at, name, to)),
    ]
}

fn make(root: &Path, all: &[Making]) {
    let mut directories = vec![root.to_owned()];
    let mut files: Vec<PathBuf> = Vec::new();
    for one in all {
        let (Making::Directory(at, name)
        | Making::File(at, name, _)
        | Making::Hole(at, name)
        | Making::HardLink(at, name, _)
        | Making::Link(at, name, _)) = one;
        let path = directories[at % directories.len()].join(name);
        if fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        match one {
            Making::Directory(..) => {
                fs::create_dir(&path).unwrap();
                directories.push(path);
            }
            Making::File(_, _, size) => {
                file(&path, *size);
                files.push(path);
            }
            Making::Hole(..) => {
                File::create(&path).unwrap().set_len(1 << 30).unwrap();
                files.push(path);
            }
            Making::HardLink(_, _, to) if !files.is_empty() => {
                fs::hard_link(&files[to % files.len()], &path).unwrap();
            }
            Making::HardLink(..) => {}
            Making::Link(_, _, to) => symlink(&directories[to % directories.len()], &path).unwrap(),
        }
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn any_tree_is_counted_as_it_is_in_steps_of_any_size(
        all in prop::collection::vec(making(), 0..120),
        entries_max in prop_oneof![1..12_u64, 12..400_u64],
        parks in prop::collection::vec(any::<bool>(), 1..9),
    ) {
        let tree = tempfile::tempdir().unwrap();
        make(tree.path(), &all);
        let expected: TreeUsage = oracle::count(tree.path());
        let walked = oracle::walk_parked(tree.path(), entries_max, |step| {
            parks[step as usize % parks.len()]
        });
        prop_assert_eq!(walked, expected);
    }
}
