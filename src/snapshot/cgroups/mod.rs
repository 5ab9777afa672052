//! The walk over the cgroup2 tree.
//!
//! Two rules decide the order of reads. Children are read before their parent, so that a parent's
//! self usage is never negative. And a subtree is skipped if its top did not change. CPU and I/O
//! counters are hierarchical: if neither they nor memory.current of a cgroup changed, nothing below
//! it did, and its processes used no CPU. For this, an inner cgroup's counters are read once on the
//! way down. If they changed, its children are read, and then its counters once more.

mod cold_files;
mod events;
mod followed;
mod hot_files;
mod listing;
mod shares;
mod slot;
mod tree;

pub use followed::CGROUPS_MAX;
pub use tree::{CgroupTree, CgroupWalk, REFRESH_TICKS, is_cgroup2};

/// The order of paths in a snapshot: parents before children, and each subtree in one piece. It
/// compares as if the slash, which no name contains, were the smallest byte.
#[must_use]
pub fn tree_order(a: &[u8], b: &[u8]) -> std::cmp::Ordering {
    let rank = |byte: &u8| if *byte == b'/' { 0 } else { u16::from(*byte) + 1 };
    // The root's path is a slash, with which every other path begins.
    a.iter().map(rank).cmp(b.iter().map(rank))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_stays_in_one_piece_whatever_its_siblings_are_called() {
        let mut paths: Vec<&[u8]> =
            vec![b"/a.b", b"/a/z", b"/", b"/a", b"/a b", b"/a/b/c", b"/a/b", b"/a-b", b"/\x01"];
        paths.sort_by(|a, b| tree_order(a, b));
        let expected: Vec<&[u8]> =
            vec![b"/", b"/\x01", b"/a", b"/a/b", b"/a/b/c", b"/a/z", b"/a b", b"/a-b", b"/a.b"];
        assert_eq!(paths, expected);
    }
}
