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
