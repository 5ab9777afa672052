//! The messages of the socket monitor about TCP (include/uapi/linux/inet_diag.h, sock_diag.h):
//! `inet_diag_req_v2` to the kernel, `inet_diag_msg` with attributes from it, each behind a
//! `nlmsghdr`. All figures are in the machine's own byte order but addresses and ports.

use serde::{Deserialize, Serialize};

use crate::quantity::Bytes;
use crate::source::Malformed;

const TCPDIAG_GETSOCK: u16 = 18;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const IPPROTO_TCP: u8 = 6;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_CGROUP_ID: u16 = 21;

/// TCP_LISTEN (net/tcp_states.h).
const LISTEN: u8 = 10;

/// The states of sockets that have carried data or may do, and of those that accept others: all but
/// SYN_RECV, TIME_WAIT, CLOSE and NEW_SYN_RECV.
const STATES: u32 = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << LISTEN | 1 << 11;

const HEADER_BYTES: usize = 16;
const MESSAGE_BYTES: usize = 72;
const REQUEST_BYTES: usize = HEADER_BYTES + 60;

/// The sockets that a dump asks for. The kernel walks its whole table for one, however few sockets
/// there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DumpOf {
    /// Both families in one walk (TCPDIAG_GETSOCK, the older request).
    Both,
    One(IpFamily),
}

/// The address family of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IpFamily {
    V4,
    /// With IPv4 addresses mapped into it, where the socket takes both.
    V6,
}

/// AF_INET and AF_INET6.
const FAMILIES: [(IpFamily, u8); 2] = [(IpFamily::V4, 2), (IpFamily::V6, 10)];

/// One TCP socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpSocket {
    /// The kernel's number of it, which is not reused within one boot.
    pub cookie: u64,
    /// The inode of the cgroup it was created in; `None` before Linux 5.7 and for an ended socket.
    pub cgroup: Option<u64>,
    /// It waits for connections (LISTEN). A socket that it accepts has its family, port and cgroup.
    pub listens: bool,
    /// Its own end. An ended socket still has it.
    pub end: SocketEnd,
    /// Its other end is on this host too, so its traffic uses loopback only.
    pub is_local: bool,
    pub traffic: TcpTraffic,
}

/// The end of a socket that is on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketEnd {
    pub port: u16,
    pub family: IpFamily,
    /// As the kernel writes it: an IPv4 address is in the first four bytes. All 0: any address.
    pub address: [u8; 16],
    /// The index of the interface that it is bound to; 0: any.
    pub interface: u32,
}

/// `tcp_info`: payload without headers, each byte once however often it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TcpTraffic {
    /// tcpi_bytes_received.
    pub received: Bytes,
    /// tcpi_bytes_acked: sent, and known to have arrived.
    pub acked: Bytes,
    /// tcpi_segs_in and tcpi_segs_out, which begin again from 0 after 2^32.
    pub segments_in: u32,
    pub segments_out: u32,
}

/// The state of an answer after one piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    GoesOn,
    Done,
    /// The errno.
    Failed(i32),
}

// inet_diag_req     family u8, src_len u8, dst_len u8, ext u8, id 48 bytes, states u32, dbs u32
// inet_diag_req_v2  family u8, protocol u8, ext u8, pad u8, states u32, id 48 bytes
/// Asks for sockets with their `tcp_info`; the cgroup comes unasked.
#[must_use]
pub fn request(of: DumpOf) -> [u8; REQUEST_BYTES] {
    const INFO: u8 = 1 << (INET_DIAG_INFO - 1);
    let mut bytes = [0; REQUEST_BYTES];
    let mut put = |at: usize, figure: &[u8]| {
        if let Some(place) = bytes.get_mut(at..at + figure.len()) {
            place.copy_from_slice(figure);
        }
    };
    put(0, &(REQUEST_BYTES as u32).to_ne_bytes());
    put(6, &NLM_F_REQUEST_DUMP.to_ne_bytes());
    match of {
        DumpOf::Both => {
            put(4, &TCPDIAG_GETSOCK.to_ne_bytes());
            put(HEADER_BYTES + 3, &[INFO]);
            put(HEADER_BYTES + 52, &STATES.to_ne_bytes());
        }
        DumpOf::One(family) => {
            let number = FAMILIES.iter().find(|(known, _)| *known == family);
            let number = number.map_or(0, |(_, number)| *number);
            put(0, &(REQUEST_BYTES as u32 - 4).to_ne_bytes());
            put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
            put(HEADER_BYTES, &[number, IPPROTO_TCP, INFO, 0]);
            put(HEADER_BYTES + 4, &STATES.to_ne_bytes());
        }
    }
    bytes
}

// nlmsghdr        len u32, type u16, flags u16, seq u32, pid u32
// inet_diag_msg   family u8, state u8, timer u8, retrans u8,
//                 sport be16, dport be16, src 16 bytes, dst 16 bytes, if u32, cookie u64,
//                 expires u32, rqueue u32, wqueue u32, uid u32, inode u32
// attributes      len u16 (with these four bytes), type u16, the value, padding to four bytes
/// Calls `each` with every socket in `bytes`, a whole number of messages. Sockets without counters
/// (those in TIME_WAIT) are passed over.
pub fn parse(bytes: &[u8], mut each: impl FnMut(TcpSocket)) -> Result<Reply, Malformed> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let cut = Malformed::expected("a whole netlink message");
        let length = u32_at(rest, 0).ok_or(cut)? as usize;
        let message = rest.get(HEADER_BYTES..length).ok_or(cut)?;
        match u16_at(rest, 4).ok_or(cut)? {
            SOCK_DIAG_BY_FAMILY | TCPDIAG_GETSOCK => {
                if let Some(socket) = socket(message)? {
                    each(socket);
                }
            }
            NLMSG_DONE => return Ok(Reply::Done),
            NLMSG_ERROR => {
                let errno = u32_at(message, 0).ok_or(cut)? as i32;
                return Ok(Reply::Failed(errno.wrapping_neg()));
            }
            _ => {}
        }
        // The last message may come without its padding.
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(Reply::GoesOn)
}

fn socket(message: &[u8]) -> Result<Option<TcpSocket>, Malformed> {
    let cut = Malformed::expected("an inet_diag_msg of 72 bytes");
    let number = *message.first().ok_or(cut)?;
    let listens = *message.get(1).ok_or(cut)? == LISTEN;
    let port = u16::from_be_bytes(bytes_at(message, 4).ok_or(cut)?);
    let interface = u32_at(message, 40).ok_or(cut)?;
    let (source, peer) = (message.get(8..24).ok_or(cut)?, message.get(24..40).ok_or(cut)?);
    let cookie = u64_at(message, 44).ok_or(cut)?;
    let mut attributes = message.get(MESSAGE_BYTES..).ok_or(cut)?;
    let (mut traffic, mut cgroup) = (None, None);
    while !attributes.is_empty() {
        let cut = Malformed::expected("a whole netlink attribute");
        let length = usize::from(u16_at(attributes, 0).ok_or(cut)?);
        let value = attributes.get(4..length).ok_or(cut)?;
        match u16_at(attributes, 2).ok_or(cut)? {
            INET_DIAG_INFO => traffic = tcp_info(value),
            INET_DIAG_CGROUP_ID => cgroup = u64_at(value, 0),
            _ => {}
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    let Some((family, _)) = FAMILIES.iter().find(|(_, known)| *known == number) else {
        return Ok(None);
    };
    let is_local = match family {
        IpFamily::V4 => {
            let (source, peer) = (source.get(..4), peer.get(..4));
            source == peer || is_loopback_v4(source) || is_loopback_v4(peer)
        }
        IpFamily::V6 => source == peer || is_loopback_v6(source) || is_loopback_v6(peer),
    };
    let address = bytes_at(source, 0).ok_or(cut)?;
    let end = SocketEnd { port, family: *family, address, interface };
    Ok(traffic.map(|traffic| TcpSocket { cookie, cgroup, listens, end, is_local, traffic }))
}

fn is_loopback_v4(address: Option<&[u8]>) -> bool {
    address.and_then(<[u8]>::first) == Some(&127)
}

fn is_loopback_v6(address: &[u8]) -> bool {
    const LOOPBACK: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    address == LOOPBACK || is_loopback_v4(address.strip_prefix(&MAPPED))
}

// Eight bytes of states and options, 24 figures of u32, then as u64 pacing_rate, max_pacing_rate,
// bytes_acked, bytes_received (4.1), and as u32 segs_out, segs_in (4.2), and more.
fn tcp_info(value: &[u8]) -> Option<TcpTraffic> {
    Some(TcpTraffic {
        acked: Bytes::from_bytes(u64_at(value, 120)?),
        received: Bytes::from_bytes(u64_at(value, 128)?),
        segments_out: u32_at(value, 136)?,
        segments_in: u32_at(value, 140)?,
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_ne_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_ne_bytes)
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}
