//! TCP sockets of the host's network namespace, as plain data: each with the cgroup it was created
//! in, so that traffic has an owner where interfaces cannot tell.

use crate::quantity::Bytes;
use crate::source::netlink::inet_diag::TcpTraffic;

/// Limit of followed sockets. The traffic of others stays in the remainder.
pub const SOCKETS_MAX: usize = 16_384;

/// The sockets of one instant.
#[derive(Debug, Clone, Default)]
pub struct SocketsReading {
    /// The kernel answered.
    pub readable: bool,
    /// The rows have every socket, so that a cookie that is missing in them is a new socket's.
    pub complete: bool,
    /// Sorted by cookie. Sockets whose other end is on this host are left out: their traffic uses
    /// loopback only.
    pub rows: Vec<SocketReading>,
    /// Sockets of earlier samples that ended since the last one, sorted by cookie.
    pub ended: Vec<EndedSocket>,
    /// Sockets that began and ended since the last sample, summed by cgroup and sorted by it.
    pub short_lived: Vec<ShortLivedTraffic>,
}

/// All traffic of the sockets of a cgroup that began and ended between two samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShortLivedTraffic {
    /// The inode of the cgroup.
    pub cgroup: u64,
    pub received: Bytes,
    pub acked: Bytes,
    pub segments_in: u64,
    pub segments_out: u64,
}

impl ShortLivedTraffic {
    /// Adds a socket's.
    pub fn add(&mut self, traffic: &TcpTraffic) {
        self.received += traffic.received;
        self.acked += traffic.acked;
        self.segments_in += u64::from(traffic.segments_in);
        self.segments_out += u64::from(traffic.segments_out);
    }
}

/// The last counters of a socket; the kernel sends no cgroup with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedSocket {
    pub cookie: u64,
    pub traffic: TcpTraffic,
}

/// The counters of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketReading {
    /// The kernel's number of it, which is not reused within one boot.
    pub cookie: u64,
    /// The inode of the cgroup it was created in.
    pub cgroup: u64,
    pub traffic: TcpTraffic,
}
