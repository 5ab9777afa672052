//! The disk usage of a tree, as a project quota has it.
//!
//! statfs(2) is the one question about projects that needs no more than a descriptor: of a directory
//! whose project has a limit below the filesystem's size, ext4 (ext4_statfs_project) and XFS
//! (xfs_qm_statvfs) give the limit as the size and as free what the project leaves of it, since
//! Linux 6.14 no more than the filesystem has left. A project that is only counted, with a limit
//! beyond any disk, as the kubelet makes them for emptyDir volumes, does not show.

use crate::source::tree::Space;

/// Bytes, and inodes where these are limited as well, of the project that begins between `outside`
/// and `tree`; `None` where there is none, or where it cannot be distinguished by its free space.
///
/// `outside` is two directories further up: runtimes begin a container's project in the directory
/// that the writable layer lies in. A project that begins further up is not the container's alone.
#[must_use]
pub fn used(tree: Space, outside: Space) -> Option<(u64, Option<u64>)> {
    // A project that has used all it may, or more, leaves nothing, and how much more is not said.
    let shows = |limit: u64, free: u64, limit_outside: u64, free_outside: u64| {
        limit < limit_outside && 0 < free && free < free_outside
    };
    if !shows(tree.capacity_bytes, tree.free_bytes, outside.capacity_bytes, outside.free_bytes) {
        return None;
    }
    let inodes = shows(tree.inodes, tree.inodes_free, outside.inodes, outside.inodes_free)
        .then(|| tree.inodes.saturating_sub(tree.inodes_free));
    Some((tree.capacity_bytes.saturating_sub(tree.free_bytes), inodes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DISK: Space = Space {
        capacity_bytes: 100 << 30,
        free_bytes: 40 << 30,
        available_bytes: 35 << 30,
        inodes: 1_000_000,
        inodes_free: 900_000,
    };

    fn project(limit: u64, free: u64) -> Space {
        Space { capacity_bytes: limit, free_bytes: free, available_bytes: free, ..DISK }
    }

    #[test]
    fn a_limited_project_shows_what_it_has_used() {
        assert_eq!(used(project(10 << 30, 7 << 30), DISK), Some((3 << 30, None)));
        let inodes = Space { inodes: 5_000, inodes_free: 4_200, ..project(10 << 30, 7 << 30) };
        assert_eq!(used(inodes, DISK), Some((3 << 30, Some(800))));
        // Within a larger project.
        let outer = project(20 << 30, 12 << 30);
        assert_eq!(used(project(10 << 30, 7 << 30), outer), Some((3 << 30, None)));
    }

    #[test]
    fn no_figure_is_made_where_free_space_does_not_show_one() {
        // No project, or one without a limit that shows.
        assert_eq!(used(DISK, DISK), None);
        // One that begins further up: everybody's below it, not this tree's.
        let shared = project(10 << 30, 7 << 30);
        assert_eq!(used(shared, shared), None);
        // Used up: it may be over its limit, which not all are stopped at.
        assert_eq!(used(project(10 << 30, 0), DISK), None);
        // The disk is fuller than the project, and what is free is the disk's.
        assert_eq!(used(project(60 << 30, 40 << 30), DISK), None);
    }
}
