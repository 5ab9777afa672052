//! TCP traffic of the host's network namespace, by the cgroup that each socket was created in.

use super::account::{NetworkSource, NetworkUsage};
use super::counters::{Counters, SocketCounters};
use super::delta::counter_delta;
use crate::quantity::Bytes;
use crate::snapshot::Snapshot;
use crate::snapshot::cgroups::tree_order;
use crate::source::netlink::inet_diag::TcpTraffic;

/// Finds cgroups by inode, in memory that is reused.
#[derive(Debug, Default)]
pub(super) struct CgroupsByInode {
    indices: Vec<(u64, usize)>,
}

impl CgroupsByInode {
    fn learn(&mut self, snapshot: &Snapshot) {
        self.indices.clear();
        let inodes = snapshot.cgroups.iter().map(|reading| reading.key.inode);
        self.indices.extend(inodes.enumerate().map(|(at, inode)| (inode, at)));
        self.indices.sort_unstable();
    }

    /// The cgroup's index in the snapshot; if it was removed, that of the nearest one above it.
    fn index_of(&self, inode: u64, last: &Counters, snapshot: &Snapshot) -> Option<usize> {
        if let Ok(at) = self.indices.binary_search_by_key(&inode, |(inode, _)| *inode) {
            return self.indices.get(at).map(|(_, index)| *index);
        }
        let removed = last.cgroups.iter().find(|cgroup| cgroup.key.inode == inode)?;
        let mut path = &*removed.key.path;
        loop {
            let end = path.iter().rposition(|byte| *byte == b'/')?;
            path = path.get(..end)?;
            // The root's own sockets are the kernel's, and no removed cgroup's.
            let above = snapshot.cgroups.get(1..)?;
            let found = above.binary_search_by(|reading| tree_order(&reading.key.path, path));
            if let Ok(at) = found {
                return Some(at + 1);
            }
        }
    }

    /// Calls `give` with the index of a cgroup and the traffic of a socket of it since `last`.
    pub fn each_delta(
        &mut self,
        last: &Counters,
        snapshot: &Snapshot,
        mut give: impl FnMut(usize, NetworkUsage),
    ) {
        let sockets = &snapshot.sockets;
        let Some(before) = &last.sockets else { return };
        self.learn(snapshot);
        for row in sockets.rows.iter().filter(|_| sockets.readable) {
            let then = match find(&before.rows, row.cookie) {
                Some(before) => before.traffic,
                // It was created since.
                None if before.complete => TcpTraffic::default(),
                None => continue,
            };
            if then != row.traffic
                && let Some(index) = self.index_of(row.cgroup, last, snapshot)
            {
                give(index, delta(&then, &row.traffic));
            }
        }
        for row in &sockets.ended {
            if let Some(before) = find(&before.rows, row.cookie)
                && let Some(index) = self.index_of(before.cgroup, last, snapshot)
            {
                give(index, delta(&before.traffic, &row.traffic));
            }
        }
    }
}

fn find(rows: &[SocketCounters], cookie: u64) -> Option<&SocketCounters> {
    let at = rows.binary_search_by_key(&cookie, |row| row.cookie).ok()?;
    rows.get(at)
}

/// The traffic between two counts of a socket. One that is connected anew, or was reset with
/// nothing left to send, starts again from 0.
fn delta(before: &TcpTraffic, now: &TcpTraffic) -> NetworkUsage {
    let was_reset = now.received < before.received || now.acked < before.acked;
    let before = if was_reset { &TcpTraffic::default() } else { before };
    let bytes = |part: fn(&TcpTraffic) -> Bytes| {
        Bytes::from_bytes(counter_delta(part(before).as_bytes(), part(now).as_bytes()))
    };
    NetworkUsage {
        rx: bytes(|traffic| traffic.received),
        tx: bytes(|traffic| traffic.acked),
        // These are counted in 32 bits.
        rx_packets: now.segments_in.wrapping_sub(before.segments_in).into(),
        tx_packets: now.segments_out.wrapping_sub(before.segments_out).into(),
        from: NetworkSource::TcpSockets,
        ..NetworkUsage::default()
    }
}
