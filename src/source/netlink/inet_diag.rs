//! The messages of the socket monitor about TCP (include/uapi/linux/inet_diag.h, sock_diag.h):
//! `inet_diag_req_v2` to the kernel, `inet_diag_msg` with attributes from it, each behind a
//! `nlmsghdr`. All figures are in the machine's own byte order but addresses and ports.

use serde::{Deserialize, Serialize};

use crate::quantity::Bytes;
use crate::source::Malformed;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const IPPROTO_TCP: u8 = 6;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_CGROUP_ID: u16 = 21;

/// The states (net/tcp_states.h) of sockets that have carried data or may do: all but SYN_RECV,
/// TIME_WAIT, CLOSE, LISTEN and NEW_SYN_RECV.
const STATES: u32 = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 11;

const HEADER_BYTES: usize = 16;
const MESSAGE_BYTES: usize = 72;
const REQUEST_BYTES: usize = HEADER_BYTES + 56;

/// The address family of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IpFamily {
    V4,
    /// With IPv4 addresses mapped into it.
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
    /// Its other end is on this host too, so its traffic uses loopback only.
    pub is_local: bool,
    pub traffic: TcpTraffic,
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

/// Asks for all sockets of one family with their `tcp_info`; the cgroup comes unasked.
#[must_use]
pub fn request(family: IpFamily) -> [u8; REQUEST_BYTES] {
    let mut bytes = [0; REQUEST_BYTES];
    let number =
        FAMILIES.iter().find(|(known, _)| *known == family).map_or(0, |(_, number)| *number);
    let mut put = |at: usize, figure: &[u8]| {
        if let Some(place) = bytes.get_mut(at..at + figure.len()) {
            place.copy_from_slice(figure);
        }
    };
    put(0, &(REQUEST_BYTES as u32).to_ne_bytes());
    put(4, &SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(6, &NLM_F_REQUEST_DUMP.to_ne_bytes());
    put(HEADER_BYTES, &[number, IPPROTO_TCP, 1 << (INET_DIAG_INFO - 1), 0]);
    put(HEADER_BYTES + 4, &STATES.to_ne_bytes());
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
            SOCK_DIAG_BY_FAMILY => {
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
    let family = *message.first().ok_or(cut)?;
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
    let is_local = match FAMILIES.iter().find(|(_, number)| *number == family) {
        Some((IpFamily::V4, _)) => {
            let (source, peer) = (source.get(..4), peer.get(..4));
            source == peer || is_loopback_v4(source) || is_loopback_v4(peer)
        }
        Some((IpFamily::V6, _)) => source == peer || is_loopback_v6(source) || is_loopback_v6(peer),
        None => return Ok(None),
    };
    Ok(traffic.map(|traffic| TcpSocket { cookie, cgroup, is_local, traffic }))
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
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
