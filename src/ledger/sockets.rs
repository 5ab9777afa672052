//! TCP traffic of the host's network namespace, by the cgroup that each socket was created in.

use super::account::{NetworkSource, NetworkUsage};
use super::counters::{Counters, SocketCounters};
use super::delta::{CounterBounds, Gains, most_link_bytes};
use crate::quantity::Bytes;
use crate::snapshot::Snapshot;
use crate::snapshot::cgroups::tree_order;
use crate::snapshot::gaps::Gaps;
use crate::snapshot::known_sockets::MISSING_MAX;
use crate::source::netlink::inet_diag::TcpTraffic;

/// Finds cgroups by inode, in memory that is reused.
#[derive(Debug, Default)]
pub(super) struct CgroupsByInode {
    indices: Vec<(u64, usize)>,
}

impl CgroupsByInode {
    fn learn(&mut self, snapshot: &Snapshot) {
        self.indices.clear();
        let inodes = snapshot.tree().iter().map(|reading| reading.key.inode);
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
            let above = snapshot.tree().get(1..)?;
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
        gaps: &mut Gaps,
        mut give: impl FnMut(usize, NetworkUsage),
    ) {
        let sockets = &snapshot.sockets;
        let Some(before) = &last.sockets else { return };
        // A socket that dumps missed counts from the last that had it.
        let over_usec = snapshot.ended_at.usec_since(last.begun_at);
        let most = most_link_bytes(None, over_usec.saturating_mul(u64::from(MISSING_MAX) + 1));
        let mut gains = Gains::default();
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
                give(index, delta(&then, &row.traffic, most, &mut gains));
            }
        }
        for row in &sockets.ended {
            if let Some(before) = find(&before.rows, row.cookie)
                && let Some(index) = self.index_of(before.cgroup, last, snapshot)
            {
                // A socket that is closed at once (SO_LINGER 0) ends with all its counters at 0.
                let was_cleared = row.traffic == TcpTraffic::default();
                let now = if was_cleared { &before.traffic } else { &row.traffic };
                give(index, delta(&before.traffic, now, most, &mut gains));
            }
        }
        for sum in &sockets.short_lived {
            // It begins with its sockets, so all of it is of this interval.
            let mut gained = |bytes: Bytes| {
                Bytes::from_bytes(gains.of(0, bytes.as_bytes(), CounterBounds::most(most)))
            };
            let usage = NetworkUsage {
                rx: gained(sum.received),
                tx: gained(sum.acked),
                rx_packets: sum.segments_in,
                tx_packets: sum.segments_out,
                from: NetworkSource::TcpSockets,
                ..NetworkUsage::default()
            };
            if let Some(index) = self.index_of(sum.cgroup, last, snapshot) {
                give(index, usage);
            }
        }
        gains.report(gaps, &[b"TCP sockets"]);
    }
}

fn find(rows: &[SocketCounters], cookie: u64) -> Option<&SocketCounters> {
    let at = rows.binary_search_by_key(&cookie, |row| row.cookie).ok()?;
    rows.get(at)
}

/// The traffic between two counts of a socket. `most`: the bytes that it can have carried in one
/// direction. One that is connected anew counts from 0 again, which the cookie does not show.
fn delta(before: &TcpTraffic, now: &TcpTraffic, most: u64, gains: &mut Gains) -> NetworkUsage {
    let mut own = Gains::default();
    let mut bytes = |part: fn(&TcpTraffic) -> Bytes| {
        let (before, now) = (part(before).as_bytes(), part(now).as_bytes());
        Bytes::from_bytes(own.of(before, now, CounterBounds::most(most)))
    };
    let (rx, tx) = (bytes(|traffic| traffic.received), bytes(|traffic| traffic.acked));
    let segments = CounterBounds { most: most / 16, narrow_unit: Some(1) };
    let mut segments =
        |part: fn(&TcpTraffic) -> u32| own.of(part(before).into(), part(now).into(), segments);
    let rx_packets = segments(|traffic| traffic.segments_in);
    let tx_packets = segments(|traffic| traffic.segments_out);
    gains.went_back |= own.went_back;
    gains.too_much |= own.too_much;
    let usage = NetworkUsage {
        rx,
        tx,
        rx_packets,
        tx_packets,
        from: NetworkSource::TcpSockets,
        ..NetworkUsage::default()
    };
    if own.too_much {
        return NetworkUsage { from: usage.from, ..NetworkUsage::default() };
    }
    usage
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::CgroupKey;
    use crate::ledger::counters::SocketsCounters;
    use crate::snapshot::CgroupReading;
    use crate::snapshot::sockets::ShortLivedTraffic;

    #[test]
    fn every_figure_of_short_connections_is_their_cgroups() {
        let mut snapshot = Snapshot::default();
        for (at, path) in ["/", "/a", "/b"].into_iter().enumerate() {
            let key = CgroupKey { path: path.as_bytes().into(), inode: 10 + at as u64 };
            snapshot.cgroups.push(CgroupReading::unread(key));
        }
        snapshot.sockets.readable = true;
        snapshot.sockets.short_lived.push(ShortLivedTraffic {
            cgroup: 12,
            received: Bytes::from_bytes(1000),
            acked: Bytes::from_bytes(2000),
            segments_in: 3,
            segments_out: 4,
        });
        let last = Counters { sockets: Some(SocketsCounters::default()), ..Counters::default() };
        let mut found = Vec::new();
        let give = |at, usage| found.push((at, usage));
        CgroupsByInode::default().each_delta(&last, &snapshot, &mut Gaps::default(), give);
        let usage = NetworkUsage {
            rx: Bytes::from_bytes(1000),
            tx: Bytes::from_bytes(2000),
            rx_packets: 3,
            tx_packets: 4,
            from: NetworkSource::TcpSockets,
            ..NetworkUsage::default()
        };
        assert_eq!(found, [(2, usage)]);
    }

    /// More than a link can carry within the interval is no traffic, and still of sockets.
    #[test]
    fn traffic_that_is_too_much_is_that_of_sockets_and_none() {
        let traffic = |received, segments_in| TcpTraffic {
            received: Bytes::from_bytes(received),
            acked: Bytes::from_bytes(300),
            segments_in,
            segments_out: 4,
        };
        let from = NetworkSource::TcpSockets;
        let nothing = NetworkUsage { from, ..NetworkUsage::default() };
        let all = NetworkUsage {
            rx: Bytes::from_bytes(1600),
            tx: Bytes::from_bytes(300),
            rx_packets: 100,
            tx_packets: 4,
            ..nothing
        };
        for (now, usage) in [
            (traffic(1600, 100), all),
            (traffic(1601, 100), nothing),
            // No segment is shorter than 16 bytes.
            (traffic(1600, 101), nothing),
        ] {
            let mut gains = Gains::default();
            assert_eq!(delta(&TcpTraffic::default(), &now, 1600, &mut gains), usage);
            assert_eq!((gains.too_much, gains.went_back), (usage == nothing, false));
        }
    }
}
