//! How full the node's filesystems are.

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
