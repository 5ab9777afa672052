//! Usage of the node's filesystems, and of the pods' files on them.

use crate::quantity::BootTime;

/// One filesystem on a device of this node, as statfs(2) has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesystemUsage {
    /// On the host, wherever the agent reaches it; bytes, since a path need not be UTF-8.
    pub mount_point: Vec<u8>,
    /// `ext4` and the like.
    pub filesystem: String,
    pub capacity_bytes: u64,
    /// To users without privileges: less than capacity − used where blocks are reserved.
    pub available_bytes: u64,
    pub used_bytes: u64,
    /// 0 where the filesystem makes inodes as it needs them.
    pub inodes: u64,
    pub inodes_free: u64,
}

/// The disk usage of one pod's files on this node's disks: allocated blocks and inodes, as `du` and
/// the kubelet count them. Volumes in memory are no part of it, nor are those of other kinds.
///
/// A part is `None` where it is not known, and 0 where there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodFilesystemUsage {
    /// The sum of the parts that are known.
    pub used_bytes: u64,
    /// Files and directories of the same parts; `None` where a quota gave bytes only.
    pub inodes: Option<u64>,
    /// Bytes that the containers wrote outside of volumes.
    pub writable_layer_bytes: Option<u64>,
    pub empty_dir_bytes: Option<u64>,
    pub logs_bytes: Option<u64>,
    /// When the last of the parts was done: their age is that of the figure.
    pub as_of: BootTime,
    /// When the first of them was begun: a tree that is changed while it is walked is as of some
    /// moment between the two.
    pub begun_at: BootTime,
    /// Of the filesystem that the kubelet's directory lies on; `None` where it did not answer.
    pub capacity_bytes: Option<u64>,
    pub available_bytes: Option<u64>,
    /// Something could not be read: the truth is not less than the figure.
    pub incomplete: bool,
    /// More files with several names than are kept in mind: the truth is not more than the figure,
    /// where it is complete.
    pub overcounted: bool,
    pub from: UsageSource,
}

/// Who counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UsageSource {
    /// Every file was looked at.
    Walk,
    /// The filesystem keeps the count for at least one part, and was asked.
    ProjectQuota,
}

/// The disk usage of a pod's files: writable layers, emptyDir volumes and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PodFilesystem {
    pub usage_bytes: u64,
    /// Of the filesystem they lie on; `None`: not known.
    pub capacity_bytes: Option<u64>,
    pub available_bytes: Option<u64>,
    /// Files and directories; `None` where a quota gave bytes only.
    pub inodes: Option<u64>,
    /// The age of the values, in milliseconds.
    pub age_millis: u64,
    /// A directory could not be read: the true value is at least this one.
    pub incomplete: bool,
}

/// The filesystem that the node's pods lie on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeFilesystem {
    pub usage_bytes: u64,
    pub capacity_bytes: u64,
    /// The bytes that an unprivileged process can still write.
    pub available_bytes: u64,
    pub inodes_used: u64,
    pub inodes_free: u64,
}
