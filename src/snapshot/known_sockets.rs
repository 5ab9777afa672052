//! The cgroups of TCP sockets, kept until they end: the kernel's event of an end has no cgroup.
//!
//! A socket that ends is one of these:
//!
//! - The last sample had it. Its last counters are kept, and the ledger subtracts.
//! - It began since, and a dump between the samples had it, or it was accepted by a known listener.
//!   All that it carried is of this interval, so it is summed by cgroup.
//! - Its cgroup is unknown. Its traffic stays in the remainder.

use super::listeners::Listeners;
use super::sockets::{EndedSocket, SOCKETS_MAX, ShortLivedTraffic, SocketReading, SocketsReading};
use crate::source::netlink::inet_diag::TcpSocket;

/// Number of dumps in a row that may lack a socket without an event of its end. A dump of a table
/// that changes meanwhile can skip one.
pub const MISSING_MAX: u8 = 3;

#[derive(Debug, Clone, Copy)]
struct KnownSocket {
    cookie: u64,
    /// Inode.
    cgroup: u64,
    /// It began after the last sample, which had all sockets.
    is_new: bool,
    missing: u8,
    ended: bool,
}

/// The sockets of the last sample, of the dumps since, and their ends.
#[derive(Debug, Default)]
pub struct KnownSockets {
    /// Sorted by cookie.
    rows: Vec<KnownSocket>,
    /// The number of rows that are sorted. Those behind them are of the dump under way.
    sorted: usize,
    listeners: Listeners,
    /// The last sample had every socket, so that another one is new.
    complete: bool,
    /// More were missing in the last sample than are kept, so that an unknown one may be old.
    dropped: bool,
    ended: Vec<EndedSocket>,
    /// Sorted by cgroup.
    short_lived: Vec<ShortLivedTraffic>,
    /// A socket with traffic has ended whose cgroup is unknown.
    missed: bool,
}

impl KnownSockets {
    /// A dump begins.
    pub fn begin_dump(&mut self) {
        self.listeners.clear();
    }

    /// Adds a listener of the dump under way.
    pub fn add_listener(&mut self, socket: &TcpSocket) {
        self.listeners.add(socket);
    }

    /// Adds a socket of a dump between two samples.
    pub fn add(&mut self, socket: &TcpSocket) {
        let Some(cgroup) = socket.cgroup.filter(|_| !socket.is_local) else { return };
        if self.find(socket.cookie).is_none() && self.rows.len() < 2 * SOCKETS_MAX {
            let (cookie, is_new) = (socket.cookie, self.complete);
            self.rows.push(KnownSocket { cookie, cgroup, is_new, missing: 0, ended: false });
        }
    }

    /// A dump between two samples is over.
    pub fn end_dump(&mut self) {
        self.listeners.sort();
        self.sort();
    }

    /// The dump under way has failed. Of a part of the listeners, the most exact one is not known.
    pub fn fail_dump(&mut self) {
        self.listeners.clear();
        self.missed = true;
        self.sort();
    }

    /// Takes the sockets of a sample, sorted by cookie.
    pub fn sampled(&mut self, sockets: &[SocketReading]) {
        self.listeners.sort();
        for row in &mut self.rows {
            if sockets.binary_search_by_key(&row.cookie, |socket| socket.cookie).is_ok() {
                (row.is_new, row.missing) = (false, 0);
            } else {
                row.missing += 1;
            }
        }
        let mut missing = 0;
        self.rows.retain(|row| {
            let is_kept = !row.ended && row.missing <= MISSING_MAX;
            missing += usize::from(is_kept && row.missing > 0);
            is_kept && (row.missing == 0 || missing <= SOCKETS_MAX)
        });
        self.dropped = missing > SOCKETS_MAX;
        self.sorted = self.rows.len();
        for SocketReading { cookie, cgroup, .. } in sockets {
            if self.find(*cookie).is_none() {
                let (cookie, cgroup) = (*cookie, *cgroup);
                let (is_new, ended) = (false, false);
                self.rows.push(KnownSocket { cookie, cgroup, is_new, missing: 0, ended });
            }
        }
        self.sort();
    }

    /// Takes an event.
    pub fn end(&mut self, socket: &TcpSocket) {
        if self.listeners.remove(socket) {
            self.missed = true;
            return;
        }
        if socket.is_local {
            return;
        }
        let kept = EndedSocket { cookie: socket.cookie, traffic: socket.traffic };
        match self.find(socket.cookie).and_then(|at| self.rows.get_mut(at)) {
            Some(row) if row.ended => {}
            Some(row) => {
                row.ended = true;
                let (cgroup, is_new) = (row.cgroup, row.is_new);
                if is_new {
                    self.add_short_lived(cgroup, socket);
                } else if self.ended.len() < SOCKETS_MAX {
                    self.ended.push(kept);
                }
            }
            // An earlier run of the agent may have known it.
            None if !self.complete => {
                if self.ended.len() < SOCKETS_MAX / 2 {
                    self.ended.push(kept);
                }
            }
            None => match self.listeners.cgroup_of(&socket.end) {
                Some(cgroup) => self.add_short_lived(cgroup, socket),
                None => self.missed |= socket.traffic != Default::default(),
            },
        }
    }

    /// Takes the event of a socket that the sample under way has, and so has its counters.
    pub fn forget(&mut self, cookie: u64) {
        if let Some(row) = self.find(cookie).and_then(|at| self.rows.get_mut(at)) {
            row.ended = true;
        }
    }

    /// Ends a sample: moves the ends since the last one into `reading`.
    pub fn take(&mut self, reading: &mut SocketsReading) {
        reading.ended.clear();
        reading.ended.append(&mut self.ended);
        reading.ended.sort_unstable_by_key(|row| row.cookie);
        reading.short_lived.clear();
        reading.short_lived.append(&mut self.short_lived);
        // After a dump that failed, what is known is still of the last one that did not.
        if reading.readable {
            self.complete = reading.complete && !self.dropped;
        }
    }

    /// True if a dump may find more than the last one did, because a listener closed or a socket
    /// ended unknown. Once for each.
    pub fn take_missed(&mut self) -> bool {
        std::mem::take(&mut self.missed)
    }

    fn find(&self, cookie: u64) -> Option<usize> {
        let sorted = self.rows.get(..self.sorted)?;
        sorted.binary_search_by_key(&cookie, |row| row.cookie).ok()
    }

    fn sort(&mut self) {
        self.rows.sort_unstable_by_key(|row| row.cookie);
        self.rows.dedup_by_key(|row| row.cookie);
        self.sorted = self.rows.len();
    }

    fn add_short_lived(&mut self, cgroup: u64, socket: &TcpSocket) {
        let sums = &mut self.short_lived;
        let at = match sums.binary_search_by_key(&cgroup, |sum| sum.cgroup) {
            Ok(at) => at,
            Err(_) if sums.len() >= SOCKETS_MAX => return,
            Err(at) => {
                sums.insert(at, ShortLivedTraffic { cgroup, ..ShortLivedTraffic::default() });
                at
            }
        };
        if let Some(sum) = sums.get_mut(at) {
            sum.add(&socket.traffic);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::Bytes;
    use crate::source::netlink::inet_diag::{IpFamily, SocketEnd, TcpTraffic};

    fn socket(cookie: u64, cgroup: Option<u64>, port: u16) -> TcpSocket {
        let end = SocketEnd { port, family: IpFamily::V4, address: [0; 16], interface: 0 };
        let traffic = TcpTraffic { received: Bytes::from_bytes(50), ..TcpTraffic::default() };
        TcpSocket { cookie, cgroup, listens: false, end, is_local: false, traffic }
    }

    /// The kernel's event of an end, which names no cgroup.
    fn ended(cookie: u64, port: u16) -> TcpSocket {
        socket(cookie, None, port)
    }

    fn sampled(known: &mut KnownSockets, cookies: &[u64]) -> (Vec<u64>, Vec<(u64, u64)>) {
        let traffic = TcpTraffic::default();
        let rows: Vec<_> = cookies
            .iter()
            .map(|cookie| SocketReading { cookie: *cookie, cgroup: 7, traffic })
            .collect();
        known.sampled(&rows);
        let mut reading =
            SocketsReading { readable: true, complete: true, ..SocketsReading::default() };
        known.take(&mut reading);
        let ended = reading.ended.iter().map(|row| row.cookie);
        let short_lived =
            reading.short_lived.iter().map(|sum| (sum.cgroup, sum.received.as_bytes()));
        (ended.collect(), short_lived.collect())
    }

    #[test]
    fn a_socket_that_three_samples_miss_is_still_known() {
        for (missed, is_known) in [(0, true), (1, true), (3, true), (4, false)] {
            let mut known = KnownSockets::default();
            sampled(&mut known, &[1, 2]);
            for _ in 0..missed {
                sampled(&mut known, &[2]);
            }
            known.end(&ended(1, 4000));
            assert_eq!(known.take_missed(), !is_known, "{missed}");
            let (ended, short_lived) = sampled(&mut known, &[2]);
            assert_eq!(ended, if is_known { vec![1] } else { vec![] }, "{missed}");
            assert_eq!(short_lived, []);
        }
    }

    /// It is back after some samples, and may be missed as often again.
    #[test]
    fn a_socket_that_is_back_was_not_missed() {
        let mut known = KnownSockets::default();
        for cookies in [&[1][..], &[], &[], &[], &[1], &[], &[], &[]] {
            sampled(&mut known, cookies);
        }
        known.end(&ended(1, 4000));
        assert_eq!(sampled(&mut known, &[]).0, [1]);
    }

    #[test]
    fn what_a_dump_between_samples_finds_is_of_this_interval_alone() {
        let mut known = KnownSockets::default();
        sampled(&mut known, &[1]);
        known.begin_dump();
        known.add(&socket(1, Some(7), 4000));
        known.add(&socket(2, Some(9), 4001));
        known.add(&TcpSocket { is_local: true, ..socket(3, Some(9), 4002) });
        known.add(&socket(4, None, 4003));
        known.end_dump();
        for cookie in 1..=4 {
            known.end(&ended(cookie, 4000));
            // Its event is here twice.
            known.end(&ended(cookie, 4000));
        }
        assert!(known.take_missed(), "4 is nobody's, and so is 3");
        assert_eq!(sampled(&mut known, &[]), (vec![1], vec![(9, 50)]));
        // A socket that a sample had is of no interval alone.
        known.begin_dump();
        known.add(&socket(5, Some(9), 4001));
        known.end_dump();
        sampled(&mut known, &[5]);
        known.end(&ended(5, 4001));
        assert_eq!(sampled(&mut known, &[]), (vec![5], vec![]));
    }

    /// The sample already has its last counters.
    #[test]
    fn an_end_that_the_sample_has_seen_counts_once() {
        let mut known = KnownSockets::default();
        sampled(&mut known, &[5]);
        known.forget(5);
        known.end(&ended(5, 4000));
        assert_eq!(sampled(&mut known, &[]), (vec![], vec![]));
        assert!(!known.take_missed());
    }

    #[test]
    fn a_listener_is_of_the_last_whole_dump_alone() {
        let listener = |cookie, cgroup, port| TcpSocket {
            listens: true,
            ..socket(cookie, Some(cgroup), port)
        };
        let mut known = KnownSockets::default();
        sampled(&mut known, &[]);
        known.begin_dump();
        known.add_listener(&listener(1, 11, 80));
        known.end_dump();
        known.end(&ended(100, 80));
        assert_eq!(sampled(&mut known, &[]).1, [(11, 50)]);
        // The next dump does not have it.
        known.begin_dump();
        known.add_listener(&listener(2, 12, 81));
        known.end_dump();
        known.end(&ended(101, 80));
        assert!(known.take_missed());
        assert_eq!(sampled(&mut known, &[]).1, []);
        // The one after that fails behind its first listener.
        known.begin_dump();
        known.add_listener(&listener(3, 13, 82));
        known.fail_dump();
        assert!(known.take_missed());
        assert!(!known.take_missed());
        for port in [80, 81, 82] {
            known.end(&ended(u64::from(port), port));
        }
        assert_eq!(sampled(&mut known, &[]), (vec![], vec![]));
    }

    /// A connection that carried nothing is no reason to dump once more.
    #[test]
    fn an_unknown_socket_is_missed_for_its_traffic_alone() {
        let mut known = KnownSockets::default();
        sampled(&mut known, &[]);
        known.end(&TcpSocket { traffic: TcpTraffic::default(), ..ended(1, 80) });
        assert!(!known.take_missed());
        known.end(&ended(2, 80));
        assert!(known.take_missed());
    }

    /// Sockets without an event of their end are kept for three samples, but no more than so many.
    /// Once some are forgotten, an unknown one may be one of them.
    #[test]
    fn sockets_that_samples_miss_are_bounded() {
        let max = SOCKETS_MAX as u64;
        for (missing, is_known) in [(max, false), (max + 1, true)] {
            let mut known = KnownSockets::default();
            let all: Vec<_> = (0..missing).collect();
            sampled(&mut known, &all);
            sampled(&mut known, &[]);
            assert_eq!(known.rows.len(), SOCKETS_MAX);
            known.end(&ended(u64::MAX, 4000));
            assert_eq!(sampled(&mut known, &[]).0.len(), usize::from(is_known), "{missing}");
        }
    }

    #[test]
    fn sockets_that_a_sample_has_take_no_room_from_those_that_it_misses() {
        let max = SOCKETS_MAX as u64;
        let mut known = KnownSockets::default();
        sampled(&mut known, &(0..max + 10).collect::<Vec<_>>());
        sampled(&mut known, &(0..max).collect::<Vec<_>>());
        assert_eq!(known.rows.len(), SOCKETS_MAX + 10);
        known.end(&ended(u64::MAX, 4000));
        assert!(sampled(&mut known, &[]).0.is_empty(), "it cannot be one that was forgotten");
    }

    #[test]
    fn ends_of_unknown_sockets_and_cgroups_are_bounded() {
        let mut known = KnownSockets::default();
        for cookie in 0..=SOCKETS_MAX as u64 {
            known.end(&ended(cookie, 4000));
        }
        assert_eq!(sampled(&mut known, &[]).0.len(), SOCKETS_MAX / 2);
        known.begin_dump();
        for cookie in 0..=SOCKETS_MAX as u64 {
            known.add(&socket(cookie, Some(cookie), 4000));
        }
        known.end_dump();
        for cookie in 0..=SOCKETS_MAX as u64 {
            known.end(&ended(cookie, 4000));
        }
        assert_eq!(sampled(&mut known, &[]).1.len(), SOCKETS_MAX);
    }
}
