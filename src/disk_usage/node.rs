//! Capacity of the node's filesystems, asked for beside the samples.
//!
//! `statfs` on a filesystem whose server has died waits for ever. So it is never asked on the
//! sampling thread, network filesystems are not asked at all, and the one thread that asks is left
//! alone when it does not come back in time.

use std::collections::BTreeSet;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::Duration;

use nix::sys::statvfs::statvfs;

use super::usage::FilesystemUsage;
use crate::clock;
use crate::quantity::BootTime;
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

/// More mounts than this are not asked by a dump.
const MOUNTS_MAX: usize = 256;

/// More mounts than this are not asked by [`NodeFilesystems`].
const FOLLOWED_MAX: usize = 64;

/// From one question to the next.
const REFRESH: Duration = Duration::from_secs(60);

/// Older answers are dropped: the filesystems do not answer any more.
const AGE_MAX: Duration = Duration::from_secs(180);

/// Every local filesystem once, by the shortest of its mount points; at most `mounts_max`.
fn local_mounts(roots: &Roots, mounts_max: usize) -> Vec<Mount> {
    let mut mounts = roots.mounts();
    mounts.retain(|mount| is_local(&mount.filesystem));
    mounts.sort_by_key(|mount| mount.mount_point.as_os_str().len());
    let mut seen = BTreeSet::new();
    // Bind mounts and subvolumes are the same filesystem again.
    mounts.retain(|mount| seen.insert(mount.device.clone()));
    mounts.truncate(mounts_max);
    mounts
}

/// The filesystems of the node, asked on a thread of their own once a minute. Nobody waits for it: while
/// it waits for a filesystem, it is asked nothing more.
#[derive(Debug)]
pub struct NodeFilesystems {
    questions: SyncSender<()>,
    answers: Receiver<Vec<FilesystemUsage>>,
    asked_at: Option<BootTime>,
    is_waiting: bool,
    latest: Vec<FilesystemUsage>,
    latest_at: BootTime,
}

impl NodeFilesystems {
    /// Starts the thread, which ends with this unless a filesystem does not answer.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start(roots: Roots) -> io::Result<Self> {
        let (questions, asked) = mpsc::sync_channel::<()>(1);
        let (answer, answers) = mpsc::sync_channel(1);
        thread::Builder::new().name("statfs".to_owned()).spawn(move || {
            for () in asked {
                let mounts = local_mounts(&roots, FOLLOWED_MAX);
                let all = mounts.iter().filter_map(|mount| usage_of(&roots, mount)).collect();
                if answer.send(all).is_err() {
                    return;
                }
            }
        })?;
        let (latest, latest_at) = (Vec::new(), BootTime::default());
        Ok(Self { questions, answers, asked_at: None, is_waiting: false, latest, latest_at })
    }

    /// The newest answer, and the next question where one is due. Empty before the first answer, and
    /// where the last one is too old.
    pub fn latest(&mut self, now: BootTime) -> &[FilesystemUsage] {
        if self.is_waiting
            && let Ok(usage) = self.answers.try_recv()
        {
            (self.latest, self.latest_at, self.is_waiting) = (usage, now, false);
        }
        let is_due = self.asked_at.is_none_or(|at| now.since(at) >= REFRESH);
        if is_due && !self.is_waiting && self.questions.try_send(()).is_ok() {
            (self.asked_at, self.is_waiting) = (Some(now), true);
        }
        if now.since(self.latest_at) > AGE_MAX {
            self.latest.clear();
        }
        &self.latest
    }
}

/// Every local filesystem once, by the shortest of its mount points; and whether all answered
/// within `deadline`.
#[must_use]
pub fn read(roots: &Roots, deadline: Duration) -> (Vec<FilesystemUsage>, bool) {
    let mounts = local_mounts(roots, MOUNTS_MAX);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::roots::Units;

    fn seconds(seconds: u64) -> BootTime {
        BootTime::default().plus(Duration::from_secs(seconds))
    }

    /// A host whose mountinfo names these places, each a folder of the test's own filesystem.
    fn host(mounts: &[(&str, &str, &str)]) -> (tempfile::TempDir, Roots) {
        let dir = tempfile::tempdir().unwrap();
        let procfs = dir.path().join("proc");
        std::fs::create_dir_all(procfs.join("1")).unwrap();
        let line = |(at, (device, kind, place)): (usize, &(&str, &str, &str))| {
            std::fs::create_dir_all(dir.path().join(place.trim_start_matches('/'))).unwrap();
            format!("{} 1 {device} / {place} rw,relatime - {kind} /dev/x rw\n", at + 20)
        };
        let text: String = mounts.iter().enumerate().map(line).collect();
        std::fs::write(procfs.join("1/mountinfo"), text).unwrap();
        let roots = Roots {
            procfs,
            sysfs: dir.path().join("sys"),
            cgroupfs: None,
            rootfs: dir.path().to_owned(),
            units: Units { ticks_per_second: 100, page_size_bytes: 4096 },
            captured: None,
        };
        (dir, roots)
    }

    /// Asks until the answer is there.
    fn answered(all: &mut NodeFilesystems, now: BootTime) -> Vec<String> {
        for _ in 0..500 {
            all.latest(now);
            if !all.is_waiting {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let places = all.latest(now).iter().map(|usage| usage.mount_point.clone());
        places.map(|place| String::from_utf8(place).unwrap()).collect()
    }

    #[test]
    fn each_local_filesystem_is_asked_once_a_minute() {
        let (dir, roots) = host(&[
            ("8:1", "ext4", "/mnt/bind"),
            ("8:1", "ext4", "/"),
            ("8:2", "xfs", "/data"),
            ("0:40", "nfs4", "/net"),
            ("0:41", "tmpfs", "/run"),
        ]);
        let mut all = NodeFilesystems::start(roots).unwrap();
        assert!(all.latest(seconds(1)).is_empty(), "nobody waits for the first answer");
        assert_eq!(answered(&mut all, seconds(1)), ["/", "/data"]);
        let expected = statvfs(dir.path()).unwrap();
        let usage = &all.latest(seconds(2))[1];
        assert_eq!(usage.filesystem, "xfs");
        assert_eq!(usage.capacity_bytes, expected.blocks() * expected.fragment_size());
        // A filesystem that is gone is seen to be so after a minute.
        std::fs::remove_dir(dir.path().join("data")).unwrap();
        assert_eq!(answered(&mut all, seconds(60)).len(), 2);
        all.latest(seconds(61));
        assert_eq!(answered(&mut all, seconds(61)), ["/"]);
    }

    #[test]
    fn a_filesystem_that_hangs_is_asked_once_and_its_figures_end() {
        // A thread that never answers.
        let (questions, asked) = mpsc::sync_channel(1);
        let (answer, answers) = mpsc::sync_channel(1);
        let known = FilesystemUsage {
            mount_point: b"/".to_vec(),
            filesystem: "ext4".to_owned(),
            capacity_bytes: 1,
            available_bytes: 1,
            used_bytes: 0,
            inodes: 0,
            inodes_free: 0,
        };
        let mut all = NodeFilesystems {
            questions,
            answers,
            asked_at: None,
            is_waiting: false,
            latest: vec![known.clone()],
            latest_at: seconds(100),
        };
        for now in [100, 160, 220, 280] {
            assert_eq!(all.latest(seconds(now)).len(), 1, "{now}");
        }
        assert!(all.latest(seconds(281)).is_empty(), "unknown now");
        assert_eq!(asked.try_iter().count(), 1);
        answer.send(vec![known]).unwrap();
        assert_eq!(all.latest(seconds(300)).len(), 1, "the late answer");
        assert_eq!(asked.try_iter().count(), 1, "and the next question");
    }

    #[test]
    fn many_mounts_are_bounded() {
        let places: Vec<(String, String)> =
            (0..100).map(|at| (format!("8:{at}"), format!("/m{at:03}"))).collect();
        let mounts: Vec<_> =
            places.iter().map(|(device, place)| (&**device, "ext4", &**place)).collect();
        let (_dir, roots) = host(&mounts);
        assert_eq!(local_mounts(&roots, FOLLOWED_MAX).len(), FOLLOWED_MAX);
    }
}
