//! Disks that are full or may not be written to, each in a mount namespace of its own thread.

use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount, umount2};
use nodetally::spool::{RowId, RowPresence, SpoolError};

use crate::spool::support::{AMPLE, Desk, at, batch, bounds, lost, names, wait};
use crate::support::log_lines;
use crate::support::mounts::in_own_mounts;

const NOTHING: Option<&str> = None;

/// Runs `test` with a directory on a file system of its own, where mounts are nobody else's; says so
/// where that may not be had. The queues' threads begin below this one, and see the same.
fn on_own_disk(options: &'static str, test: impl FnOnce(&Path) + Send + 'static) {
    in_own_mounts(move || {
        let dir = tempfile::tempdir().unwrap();
        mount(Some("tmpfs"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(options)).unwrap();
        test(dir.path());
        // A queue's thread may be about to close its file.
        umount2(dir.path(), MntFlags::MNT_DETACH).unwrap();
    });
}

/// Takes all the space that is left.
fn fill(path: &Path) {
    let mut bytes = 0;
    while std::fs::write(path, vec![1; bytes + 4096]).is_ok() {
        bytes += 4096;
    }
}

fn no_space(desk: &Desk) -> SpoolError {
    SpoolError::NoSpace { path: desk.path.display().to_string() }
}

/// Appends until it does not go any more; the number of the first that did not.
fn append_until_full(desk: &Desk, mut n: u64) -> u64 {
    loop {
        match desk.append(&batch(n, 2, 10_000), at(n)) {
            Ok(_) => n += 1,
            Err(error) => {
                assert_eq!(error, no_space(desk));
                return n;
            }
        }
    }
}

#[test]
fn a_full_disk_is_reported_and_kept_batches_stay_whole() {
    on_own_disk("size=1m", |dir| {
        let desk = Desk::new(&dir.join("spool"), AMPLE);
        let first = append_until_full(&desk, 0);
        assert!(first > 20, "{first}");
        assert_eq!(append_until_full(&desk, first), first);
        let kept = desk.queue.contents();
        assert_eq!((kept.batches, kept.posts), (first, 2 * first));
        let all = desk.all(at(first));
        assert_eq!(all.len() as u64, first);
        assert!((0..).zip(&all).all(|(n, (_, found))| *found == batch(n, 2, 10_000)));

        // Room by what was sent, though the disk is as full as before.
        let rows: Vec<RowId> = all.iter().take(10).map(|(row, _)| *row).collect();
        desk.remove(&rows).unwrap();
        let second = append_until_full(&desk, first);
        assert!(second >= first + 8, "{second}");
        let expected: Vec<u64> = (10..second).collect();
        assert_eq!(desk.samples(at(second)), expected);

        desk.rest();
        assert_eq!(desk.open(at(second)).unwrap().batches, second - 10);
        assert_eq!(desk.samples(at(second)), expected);
        assert_eq!(desk.queue.take_lost(), lost(0, 0, 0));
    });
}

#[test]
fn once_there_is_space_again_it_goes_on() {
    on_own_disk("size=1m", |dir| {
        let ballast = dir.join("ballast");
        fill(&ballast);
        let desk = Desk::new(dir, AMPLE);
        for _ in 0..2 {
            assert_eq!(desk.append(&batch(0, 2, 100), at(0)), Err(no_space(&desk)));
            // Nothing half made lies there.
            assert_eq!(names(dir), ["ballast"]);
        }
        std::fs::remove_file(&ballast).unwrap();
        desk.append(&batch(1, 2, 100), at(1)).unwrap();
        assert_eq!(desk.samples(at(1)), [1]);
    });
}

#[test]
fn no_inode_left_is_no_space_left() {
    on_own_disk("nr_inodes=3", |dir| {
        let desk = Desk::new(dir, AMPLE);
        // The directory has the first, the queue's file takes the third, and none is left for its
        // journal.
        std::fs::write(dir.join("ballast"), "").unwrap();
        assert_eq!(desk.append(&batch(0, 2, 100), at(0)), Err(no_space(&desk)));
        assert_eq!(names(dir), ["ballast"]);
        std::fs::remove_file(dir.join("ballast")).unwrap();
        desk.append(&batch(0, 2, 100), at(0)).unwrap();
    });
}

#[test]
fn a_row_that_could_not_be_removed_is_not_given_out_again() {
    on_own_disk("size=1m", |dir| {
        let desk = Desk::new(dir, AMPLE);
        let rows: Vec<RowId> =
            (0..6).map(|n| desk.append(&batch(n, 2, 100), at(n)).unwrap()).collect();
        // Closed, and its journal with it: to remove anything takes space that is not there.
        desk.rest();
        desk.open(at(6)).unwrap();
        let ballast = dir.join("ballast");
        fill(&ballast);
        assert_eq!(desk.remove(&rows[..2]), Err(no_space(&desk)));
        assert_eq!(desk.remove(&[rows[3]]), Err(no_space(&desk)));
        let kept = desk.queue.contents();
        assert_eq!((kept.batches, kept.posts, kept.oldest), (3, 6, Some(at(2))));
        assert_eq!(desk.samples(at(6)), [2, 4, 5]);
        assert_eq!(wait(desk.queue.replace(rows[0], &batch(0, 1, 10))), Ok(RowPresence::Gone));
        // Nor after it was closed and opened in between.
        desk.rest();
        assert_eq!(desk.open(at(6)).unwrap().batches, 3);
        assert_eq!(desk.samples(at(6)), [2, 4, 5]);

        std::fs::remove_file(&ballast).unwrap();
        desk.append(&batch(6, 2, 100), at(6)).unwrap();
        drop(desk);
        let desk = Desk::new(dir, AMPLE);
        // The thread of before may be about to let go of it.
        std::iter::repeat_with(|| desk.open(at(6))).find(Result::is_ok);
        assert_eq!(desk.samples(at(6)), [2, 4, 5, 6]);
        assert_eq!(desk.queue.take_lost(), lost(0, 0, 0));
    });
}

#[test]
fn a_queue_of_which_nothing_can_be_removed_gives_its_space_back_once_it_is_empty() {
    on_own_disk("size=1m", |dir| {
        let desk = Desk::new(dir, AMPLE);
        let row = desk.append(&batch(0, 2, 100), at(0)).unwrap();
        desk.rest();
        desk.open(at(1)).unwrap();
        fill(&dir.join("ballast"));
        assert_eq!(desk.remove(&[row]), Err(no_space(&desk)));
        assert_eq!(desk.next(at(1)), Ok(None));
        desk.rest();
        assert_eq!(names(dir), ["ballast"]);
    });
}

#[test]
fn what_is_too_old_is_not_given_out_where_nothing_can_be_removed() {
    on_own_disk("size=1m", |dir| {
        let desk = Desk::new(dir, bounds(1 << 20, 60));
        for n in 0..6 {
            desk.append(&batch(n, 2, 100), at(n)).unwrap();
        }
        desk.rest();
        desk.open(at(6)).unwrap();
        fill(&dir.join("ballast"));
        for _ in 0..2 {
            assert_eq!(desk.samples(at(63)), [3, 4, 5]);
        }
        assert_eq!(desk.queue.take_lost(), lost(0, 6, 0));
        assert_eq!(desk.queue.contents().posts, 6);
    });
}

fn remount(dir: &Path, flags: MsFlags) {
    mount(NOTHING, dir, NOTHING, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags, NOTHING).unwrap();
}

fn read_only(path: &Path) -> SpoolError {
    let reason = "read-only file system".to_owned();
    SpoolError::Failed { path: path.display().to_string(), reason }
}

#[test]
fn a_read_only_directory_is_reported_and_used_once_it_is_writable() {
    on_own_disk("size=1m", |dir| {
        log_lines::hear_all();
        mount(Some(dir), dir, NOTHING, MsFlags::MS_BIND, NOTHING).unwrap();
        let desk = Desk::new(dir, AMPLE);
        remount(dir, MsFlags::MS_RDONLY);
        // Told at the start, and not in the first outage.
        assert_eq!(desk.open(at(0)), Err(read_only(dir)));
        assert_eq!(desk.append(&batch(0, 2, 100), at(0)), Err(read_only(&desk.path)));
        let below = Desk::new(&dir.join("spool"), AMPLE);
        assert_eq!(below.append(&batch(0, 2, 100), at(0)), Err(read_only(&dir.join("spool"))));

        remount(dir, MsFlags::empty());
        let row = desk.append(&batch(0, 2, 100), at(0)).unwrap();
        desk.append(&batch(1, 2, 100), at(1)).unwrap();
        desk.rest();
        remount(dir, MsFlags::MS_RDONLY);
        assert_eq!(desk.append(&batch(2, 2, 100), at(2)), Err(read_only(&desk.path)));
        assert_eq!(desk.remove(&[row]), Err(read_only(&desk.path)));

        remount(dir, MsFlags::empty());
        assert_eq!(desk.samples(at(2)), [1]);
        assert_eq!(desk.queue.contents().posts, 2);
        desk.rest();

        std::fs::write(&desk.path, "damaged").unwrap();
        remount(dir, MsFlags::MS_RDONLY);
        for _ in 0..2 {
            let Err(SpoolError::Failed { path, reason }) = desk.open(at(3)) else { panic!() };
            assert_eq!(path, desk.path.display().to_string());
            assert!(reason.contains("read-only file system"), "{reason}");
        }
        remount(dir, MsFlags::empty());
        desk.append(&batch(3, 2, 100), at(3)).unwrap();
        assert_eq!(desk.samples(at(3)), [3]);
        let said = log_lines::about(&desk.path);
        assert!(said.len() == 1 && said[0].contains("set aside"), "{said:?}");
        desk.rest();
        umount(dir).unwrap();
    });
}
