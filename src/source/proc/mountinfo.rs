//! `/proc/<pid>/mountinfo` (proc_pid_mountinfo(5)), off the hot path: read when the agent starts.
//! The lines are taken apart by the procfs crate.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// One mount, of the fields that are used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The directory of the filesystem that is mounted here; `/` unless it is a bind mount.
    pub root: Vec<u8>,
    pub mount_point: PathBuf,
    pub filesystem: String,
    pub source: Option<String>,
    /// Controllers of a v1 hierarchy and the like: the superblock's options without values.
    pub super_options: Vec<String>,
    /// `major:minor` of the filesystem's device, as st_dev has it.
    pub device: String,
    pub read_only: bool,
    /// The upper directory of an overlay, as written in the mount option, which can be relative.
    /// `None` if the overlay has none.
    pub upper_dir: Option<PathBuf>,
    /// The value of `hidepid` of a procfs; `None` without it.
    pub hidepid: Option<String>,
    /// It is a procfs with the directories of processes alone (`subset=pid`).
    pub only_processes: bool,
}

/// The mounts in the kernel's order. Lines that cannot be parsed are left out and counted.
// 24 20 0:21 / /sys/fs/cgroup rw,nosuid shared:7 - cgroup2 cgroup2 rw,nsdelegate
#[must_use]
pub fn parse(text: &[u8]) -> (Vec<Mount>, usize) {
    let mut mounts = Vec::new();
    let mut malformed = 0;
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        // A mount point need not be UTF-8; those that nodetally looks for are.
        let line = String::from_utf8_lossy(line);
        // The crate indexes into a line's fields, so a line without them must not reach it.
        let parsed = (line.split(' ').count() >= 10 && line.contains(" - "))
            .then(|| procfs::process::MountInfo::from_line(&line).ok())
            .flatten();
        match parsed {
            Some(info) => mounts.push(Mount {
                root: unescape(&info.root),
                mount_point: path_of(unescape(&info.mount_point.to_string_lossy())),
                source: info.mount_source,
                read_only: info.mount_options.contains_key("ro"),
                upper_dir: info
                    .super_options
                    .get("upperdir")
                    .and_then(Option::as_ref)
                    .filter(|_| info.fs_type == "overlay")
                    .map(|path| path_of(unescape(path))),
                hidepid: info
                    .super_options
                    .get("hidepid")
                    .cloned()
                    .flatten()
                    .filter(|_| info.fs_type == "proc"),
                only_processes: info.fs_type == "proc"
                    && info
                        .super_options
                        .get("subset")
                        .is_some_and(|of| of.as_deref() == Some("pid")),
                filesystem: info.fs_type,
                super_options: info.super_options.into_keys().collect(),
                device: info.majmin,
            }),
            None => malformed += 1,
        }
    }
    (mounts, malformed)
}

fn path_of(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(OsString::from_vec(bytes))
}

/// Replaces escapes of three octal digits, which the kernel writes for blanks, tabs, newlines and
/// backslashes.
fn unescape(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let digits = bytes.get(at + 1..at + 4).filter(|_| *byte == b'\\');
        let octal = digits.and_then(|digits| {
            digits.iter().try_fold(0_u8, |value, digit| {
                let digit = digit.checked_sub(b'0').filter(|digit| *digit < 8)?;
                value.checked_mul(8)?.checked_add(digit)
            })
        });
        plain.push(octal.unwrap_or(*byte));
        at += if octal.is_some() { 4 } else { 1 };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cgroup2_mount_is_seen_among_v1_hierarchies() {
        let text = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
            41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n\
            nonsense\n";
        let (mounts, malformed) = parse(text);
        assert_eq!(malformed, 1);
        assert_eq!(mounts.len(), 3);
        assert_eq!(mounts[2].filesystem, "cgroup2");
        assert_eq!(mounts[2].mount_point, PathBuf::from("/sys/fs/cgroup/unified"));
        assert!(mounts[1].super_options.contains(&"cpu".to_owned()));
    }

    #[test]
    fn the_directory_that_an_overlay_writes_to_is_read_with_its_escapes() {
        let text = b"642 560 0:58 / / rw,relatime master:2 - overlay overlay rw,\
            lowerdir=/s/3/fs:/s/2/fs,upperdir=/var/lib/run\\040time/a\\054b\\075/fs,workdir=/s/w\n\
            643 642 0:59 / /ro ro - overlay overlay ro,lowerdir=/s/3/fs:/s/2/fs\n\
            644 642 8:1 / /disk rw - ext4 /dev/sda1 rw,upperdir=/not/one\n";
        let (mounts, malformed) = parse(text);
        assert_eq!(malformed, 0);
        let upper: Vec<_> = mounts.iter().map(|mount| mount.upper_dir.as_deref()).collect();
        let expected = std::path::Path::new("/var/lib/run time/a,b=/fs");
        assert_eq!(upper, [Some(expected), None, None]);
    }

    #[test]
    fn a_procfs_that_hides_processes_is_seen() {
        let text = b"23 28 0:22 / /proc rw shared:14 - proc proc rw,hidepid=invisible\n\
            24 28 0:23 / /old rw - proc proc rw,gid=4,hidepid=2\n\
            25 28 0:24 / /pids rw - proc proc rw,subset=pid\n\
            26 28 0:25 / /plain rw - proc proc rw\n\
            27 28 0:26 / /t rw - tmpfs t rw,hidepid=2,subset=pid\n";
        let (mounts, _) = parse(text);
        let found: Vec<_> =
            mounts.iter().map(|mount| (mount.hidepid.as_deref(), mount.only_processes)).collect();
        let hides = |value| (Some(value), false);
        let expected = [hides("invisible"), hides("2"), (None, true), (None, false), (None, false)];
        assert_eq!(found, expected);
    }

    #[test]
    fn octal_escapes_are_undone() {
        assert_eq!(unescape("/a\\040b\\134"), b"/a b\\");
        assert_eq!(unescape("/a\\04"), b"/a\\04");
        assert_eq!(unescape("\\777"), b"\\777");
    }
}
