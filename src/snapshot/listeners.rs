//! Listening TCP sockets, and the cgroup of a connection that one of them accepted.

use crate::source::netlink::inet_diag::{SocketEnd, TcpSocket};

/// Limit of listeners. Connections to others have no known cgroup once they have ended.
const LISTENERS_MAX: usize = 4096;

/// A listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct ListeningSocket {
    end: SocketEnd,
    /// Inode.
    cgroup: u64,
    cookie: u64,
}

impl ListeningSocket {
    /// Its rank among the listeners that `end` fits, as the kernel ranks them: its own address
    /// before any address, then its own interface before any interface. `None`: it does not fit.
    ///
    /// An accepted socket has its listener's family, also where an IPv6 listener takes IPv4.
    fn rank(&self, end: &SocketEnd) -> Option<(bool, bool)> {
        let (by_address, by_interface) = (self.end.address != [0; 16], self.end.interface != 0);
        let fits = self.end.port == end.port
            && self.end.family == end.family
            && (!by_address || self.end.address == end.address)
            && (!by_interface || self.end.interface == end.interface);
        fits.then_some((by_address, by_interface))
    }
}

/// The listeners of the last dump, less those that have closed since.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// Sorted by port.
    rows: Vec<ListeningSocket>,
}

impl Listeners {
    /// A dump begins.
    pub fn clear(&mut self) {
        self.rows.clear();
    }

    /// Adds a listener of the dump.
    pub fn add(&mut self, socket: &TcpSocket) {
        if let Some(cgroup) = socket.cgroup
            && self.rows.len() < LISTENERS_MAX
        {
            self.rows.push(ListeningSocket { end: socket.end, cgroup, cookie: socket.cookie });
        }
    }

    /// The dump is over. It may have had a listener twice.
    pub fn sort(&mut self) {
        self.rows.sort_unstable();
        self.rows.dedup();
    }

    /// Removes a listener that has closed, since another process may take its port. False if the
    /// socket was no listener.
    pub fn remove(&mut self, socket: &TcpSocket) -> bool {
        let (first, of_port) = self.of_port(socket.end.port);
        match of_port.iter().position(|listener| listener.cookie == socket.cookie) {
            Some(at) => {
                self.rows.remove(first + at);
                true
            }
            None => false,
        }
    }

    /// The cgroup of the listener that accepted a connection at `end`. `None` if there is none, or if
    /// several cgroups share its place (SO_REUSEPORT), since the kernel chose one of them.
    pub fn cgroup_of(&self, end: &SocketEnd) -> Option<u64> {
        let (_, of_port) = self.of_port(end.port);
        let best = of_port.iter().filter_map(|listener| listener.rank(end)).max()?;
        let mut fitting = of_port.iter().filter(|listener| listener.rank(end) == Some(best));
        let cgroup = fitting.next()?.cgroup;
        fitting.all(|listener| listener.cgroup == cgroup).then_some(cgroup)
    }

    /// The listeners of a port, and the index of the first.
    fn of_port(&self, port: u16) -> (usize, &[ListeningSocket]) {
        let first = self.rows.partition_point(|listener| listener.end.port < port);
        let rest = self.rows.get(first..).unwrap_or_default();
        let count = rest.partition_point(|listener| listener.end.port == port);
        (first, rest.get(..count).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::netlink::inet_diag::{IpFamily, TcpTraffic};

    fn end(address: &str, port: u16, interface: u32) -> SocketEnd {
        let mut octets = [0; 16];
        let family = match address.parse().unwrap() {
            std::net::IpAddr::V4(v4) => {
                octets[..4].copy_from_slice(&v4.octets());
                IpFamily::V4
            }
            std::net::IpAddr::V6(v6) => {
                octets = v6.octets();
                IpFamily::V6
            }
        };
        SocketEnd { port, family, address: octets, interface }
    }

    fn listening(cookie: u64, cgroup: u64, end: SocketEnd) -> TcpSocket {
        let traffic = TcpTraffic::default();
        TcpSocket { cookie, cgroup: Some(cgroup), listens: true, end, is_local: true, traffic }
    }

    fn listeners(all: &[(u64, SocketEnd)]) -> Listeners {
        let mut listeners = Listeners::default();
        for (cookie, (cgroup, end)) in (1..).zip(all) {
            listeners.add(&listening(cookie, *cgroup, *end));
        }
        listeners.sort();
        listeners
    }

    #[test]
    fn a_connection_is_of_the_listener_that_the_kernel_chooses() {
        let all = listeners(&[
            (1, end("0.0.0.0", 80, 0)),
            (2, end("10.0.0.7", 80, 0)),
            (3, end("0.0.0.0", 80, 4)),
            (4, end("10.0.0.7", 80, 5)),
            (5, end("::", 80, 0)),
            (6, end("fd00::7", 80, 0)),
            (7, end("::", 443, 0)),
            (8, end("127.0.0.1", 81, 0)),
        ]);
        let cases = [
            (end("10.0.0.8", 80, 0), Some(1)),
            (end("10.0.0.7", 80, 0), Some(2)),
            (end("10.0.0.8", 80, 4), Some(3)),
            // The address goes before the interface.
            (end("10.0.0.7", 80, 4), Some(2)),
            (end("10.0.0.7", 80, 5), Some(4)),
            (end("fd00::8", 80, 0), Some(5)),
            (end("fd00::7", 80, 0), Some(6)),
            // IPv4 at an IPv6 listener.
            (end("::ffff:10.0.0.8", 80, 0), Some(5)),
            (end("::ffff:10.0.0.8", 443, 0), Some(7)),
            // An IPv4 socket was not accepted by an IPv6 listener.
            (end("10.0.0.8", 443, 0), None),
            (end("10.0.0.8", 81, 0), None),
            (end("10.0.0.8", 82, 0), None),
        ];
        for (at, cgroup) in cases {
            assert_eq!(all.cgroup_of(&at), cgroup, "{at:?}");
        }
    }

    #[test]
    fn a_place_that_two_cgroups_share_is_nobodys() {
        let any = end("0.0.0.0", 80, 0);
        let one = end("10.0.0.7", 80, 0);
        assert_eq!(listeners(&[(1, any), (1, any)]).cgroup_of(&one), Some(1));
        assert_eq!(listeners(&[(1, any), (2, any)]).cgroup_of(&one), None);
        // A more exact one is not disturbed by them.
        assert_eq!(listeners(&[(1, any), (2, any), (3, one)]).cgroup_of(&one), Some(3));
    }

    #[test]
    fn a_closed_listener_accepts_nothing_more() {
        let any = end("::", 80, 0);
        let mut all =
            listeners(&[(1, any), (2, any), (3, end("::", 79, 0)), (4, end("::", 81, 0))]);
        assert!(!all.remove(&listening(9, 1, any)), "a connection at its port");
        assert!(all.remove(&listening(2, 0, any)));
        assert_eq!(all.cgroup_of(&any), Some(1));
        assert!(all.remove(&listening(1, 0, any)));
        assert_eq!(all.cgroup_of(&any), None);
        assert_eq!(all.rows.len(), 2);
    }

    #[test]
    fn listeners_are_bounded() {
        let mut all = Listeners::default();
        for cookie in 0..=LISTENERS_MAX as u64 {
            all.add(&listening(cookie, 1, end("::", 80, 0)));
        }
        assert_eq!(all.rows.len(), LISTENERS_MAX);
    }
}
