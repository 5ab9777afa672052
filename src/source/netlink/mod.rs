//! The kernel's socket monitor (NETLINK_SOCK_DIAG, sock_diag(7)): every TCP socket of the agent's
//! own network namespace, and events of those that end.

pub mod inet_diag;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::sockopt::set_socket_recv_buffer_size;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrAny, SocketFlags, SocketType, bind, recvfrom,
    send, socket_with,
};

use super::root::ReadFailure;
use inet_diag::{DumpOf, IpFamily, Reply, TcpSocket};

/// SKNLGRP_INET_TCP_DESTROY and SKNLGRP_INET6_TCP_DESTROY, the groups 1 and 3.
const DESTROYED: u32 = 1 << 0 | 1 << 2;

/// Size of the receive buffer, in the kernel's count, of which an event takes about 1 KiB. The
/// kernel allows net.core.rmem_max at most.
const WAITING_BYTES: usize = 1 << 20;

/// The largest piece of a dump.
const PIECE_BYTES_MAX: usize = 32 << 10;

/// Limit of pieces of one answer: half a million sockets.
const PIECES_MAX: usize = 8192;

/// Two sockets to the monitor, and the buffer for their messages.
pub struct SocketMonitor {
    asking: OwnedFd,
    ended: OwnedFd,
    piece: Vec<u8>,
    /// False once the kernel has refused to walk its table for both families at once.
    asks_for_both: bool,
}

/// The completeness of the events since the last call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndedEvents {
    All,
    /// More came than the kernel keeps (ENOBUFS).
    SomeLost,
}

impl SocketMonitor {
    /// Denied where a sandbox forbids the address family (EAFNOSUPPORT reads as failed).
    pub fn open() -> Result<Self, ReadFailure> {
        let (asking, ended) = (connect(0)?, connect(DESTROYED)?);
        // A smaller buffer is no error: events are lost sooner, which the caller learns.
        let _ = set_socket_recv_buffer_size(&ended, WAITING_BYTES);
        Ok(Self { asking, ended, piece: vec![0; PIECE_BYTES_MAX], asks_for_both: true })
    }

    /// Calls `each` with every TCP socket that carries data or waits for connections, some of them
    /// twice: the table changes meanwhile. Absent where the kernel has no such monitor
    /// (CONFIG_INET_DIAG).
    pub fn dump(&mut self, mut each: impl FnMut(TcpSocket)) -> Result<(), ReadFailure> {
        if self.asks_for_both {
            match self.ask(DumpOf::Both, &mut each) {
                // Sandboxes and later kernels may know the newer request only.
                Err(failure) if is_unknown_request(failure) => self.asks_for_both = false,
                other => return other,
            }
        }
        self.ask(DumpOf::One(IpFamily::V4), &mut each)?;
        match self.ask(DumpOf::One(IpFamily::V6), &mut each) {
            // A kernel without IPv6 has no sockets of it.
            Err(ReadFailure::Absent) => Ok(()),
            other => other,
        }
    }

    fn ask(&mut self, of: DumpOf, each: impl FnMut(TcpSocket)) -> Result<(), ReadFailure> {
        let outcome = self.ask_once(of, each);
        if outcome.is_err() {
            // The rest of a broken answer must not become a part of the next one.
            self.asking = connect(0)?;
        }
        outcome
    }

    fn ask_once(&mut self, of: DumpOf, mut each: impl FnMut(TcpSocket)) -> Result<(), ReadFailure> {
        send(&self.asking, &inet_diag::request(of), SendFlags::empty()).map_err(failure)?;
        for _ in 0..PIECES_MAX {
            let Some(piece) = receive(&self.asking, &mut self.piece)? else { continue };
            match inet_diag::parse(piece, &mut each) {
                Ok(Reply::GoesOn) => {}
                Ok(Reply::Done) => return Ok(()),
                Ok(Reply::Failed(errno)) => return Err(Errno::from_raw(errno).into()),
                Err(_) => return Err(ReadFailure::Failed(Errno::EBADMSG as i32)),
            }
        }
        Err(ReadFailure::TooLarge)
    }

    /// Calls `each` with the last counters of every TCP socket that ended since the last call. An
    /// event has no cgroup. Does not wait.
    pub fn drain_ended(&mut self, mut each: impl FnMut(TcpSocket)) -> EndedEvents {
        let mut events = EndedEvents::All;
        for _ in 0..PIECES_MAX {
            match receive(&self.ended, &mut self.piece) {
                // A message that cannot be parsed is no event.
                Ok(Some(piece)) => drop(inet_diag::parse(piece, &mut each)),
                Ok(None) => {}
                Err(ReadFailure::Failed(errno)) if errno == Errno::ENOBUFS as i32 => {
                    events = EndedEvents::SomeLost;
                }
                Err(_) => return events,
            }
        }
        events
    }
}

/// Readable when a socket has ended.
impl AsFd for SocketMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ended.as_fd()
    }
}

/// A socket to the monitor that is in the multicast groups whose bits are set.
fn connect(groups: u32) -> Result<OwnedFd, ReadFailure> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(SOCK_DIAG));
    let fd = fd.map_err(failure)?;
    bind(&fd, &SocketAddrNetlink::new(0, groups)).map_err(failure)?;
    Ok(fd)
}

/// One piece from the kernel; `None` if another process sent it.
fn receive<'p>(fd: &OwnedFd, piece: &'p mut [u8]) -> Result<Option<&'p [u8]>, ReadFailure> {
    let (read, whole, from) = recvfrom(fd, &mut *piece, RecvFlags::TRUNC).map_err(failure)?;
    if whole > piece.len() {
        return Err(ReadFailure::TooLarge);
    }
    let from_kernel = from
        .and_then(|from: SocketAddrAny| SocketAddrNetlink::try_from(from).ok())
        .is_some_and(|from| from.pid() == 0);
    Ok(piece.get(..read).filter(|_| from_kernel))
}

fn is_unknown_request(failure: ReadFailure) -> bool {
    let refusals = [Errno::EINVAL, Errno::EOPNOTSUPP];
    failure == ReadFailure::Absent
        || refusals.iter().any(|errno| failure == ReadFailure::Failed(*errno as i32))
}

fn failure(errno: rustix::io::Errno) -> ReadFailure {
    Errno::from_raw(errno.raw_os_error()).into()
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, SystemTime};

    use super::*;

    const BYTES: usize = 1_000_003;

    /// The one that has received so much, and the one that has sent it.
    fn ends(sockets: &[TcpSocket]) -> (Option<TcpSocket>, Option<TcpSocket>) {
        let received = |socket: &&TcpSocket| socket.traffic.received.as_bytes() == BYTES as u64;
        // The first byte that is acknowledged is the connection itself.
        let sent = |socket: &&TcpSocket| socket.traffic.acked.as_bytes() == BYTES as u64 + 1;
        (sockets.iter().find(received).copied(), sockets.iter().find(sent).copied())
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test's own patience")]
    fn a_transfer_is_seen_at_both_ends_and_once_more_when_they_close() {
        let mut monitor = SocketMonitor::open().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut receiver, _) = listener.accept().unwrap();
        let sending = std::thread::spawn(move || {
            sender.write_all(&vec![7; BYTES]).unwrap();
            sender
        });
        receiver.read_exact(&mut vec![0; BYTES]).unwrap();
        let sender = sending.join().unwrap();

        let mut all = Vec::new();
        monitor.dump(|socket| all.push(socket)).unwrap();
        let (Some(received), Some(sent)) = ends(&all) else { panic!("not among {all:?}") };
        assert!(received.is_local && sent.is_local);
        assert_ne!(received.cookie, sent.cookie);
        assert!(sent.cgroup.is_some() && sent.cgroup == received.cgroup);
        assert!(sent.traffic.segments_out > 15 && received.traffic.segments_in > 15);
        let address = listener.local_addr().unwrap();
        let listens = all.iter().find(|socket| socket.listens && socket.end.port == address.port());
        let listens = listens.unwrap();
        assert_eq!((listens.end, listens.cgroup), (received.end, received.cgroup));
        assert!(!received.listens && sent.end != received.end);
        assert_eq!(listens.traffic, Default::default());

        // Asked for one family after the other, as on a kernel that refuses the older request.
        monitor.asks_for_both = false;
        let mut again = Vec::new();
        monitor.dump(|socket| again.push(socket)).unwrap();
        let known = [listens.cookie, sent.cookie, received.cookie];
        assert!(known.iter().all(|known| again.iter().any(|socket| socket.cookie == *known)));

        drop((sender, receiver));
        let mut ended = Vec::new();
        let begun = SystemTime::now();
        while !ended.contains(&received.cookie) || !ended.contains(&sent.cookie) {
            // The kernel sends the event from a worker.
            assert!(begun.elapsed().unwrap() < Duration::from_secs(10), "{ended:?}");
            std::thread::sleep(Duration::from_millis(5));
            let events = monitor.drain_ended(|socket| {
                if [received.cookie, sent.cookie].contains(&socket.cookie) {
                    let end = if socket.cookie == sent.cookie { sent.end } else { received.end };
                    assert_eq!((socket.cgroup, socket.end), (None, end));
                    assert!(
                        socket.traffic.received.max(socket.traffic.acked).as_bytes()
                            >= BYTES as u64
                    );
                }
                ended.push(socket.cookie);
            });
            assert_eq!(events, EndedEvents::All);
        }
    }
}
