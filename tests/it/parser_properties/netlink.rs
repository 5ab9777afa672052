//! The socket monitor's messages, written by hand and read by the parser.

use nodetally::source::netlink::inet_diag::{
    DumpOf, IpFamily, Reply, SocketEnd, TcpSocket, parse, request,
};
use proptest::prelude::*;

use crate::support::rounds::cases;

#[derive(Debug, Clone)]
struct Written {
    /// Of the answer to the newer request, or the older.
    kind: u16,
    family: u8,
    state: u8,
    port: u16,
    interface: u32,
    source: [u8; 16],
    peer: [u8; 16],
    cookie: u64,
    cgroup: Option<u64>,
    /// received, acked, segments in, segments out
    info: Option<(u64, u64, u32, u32)>,
    /// Attributes that nobody here knows.
    others: Vec<(u16, Vec<u8>)>,
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(u16::try_from(4 + value.len()).unwrap().to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn message(kind: u16, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(u32::try_from(16 + body.len()).unwrap().to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend([0; 10]);
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

impl Written {
    fn bytes(&self) -> Vec<u8> {
        let mut body = vec![self.family, self.state, 0, 0];
        body.extend(self.port.to_be_bytes());
        body.extend([0xc3, 0x50]);
        body.extend(self.source);
        body.extend(self.peer);
        body.extend(self.interface.to_ne_bytes());
        body.extend(self.cookie.to_ne_bytes());
        body.extend([0; 20]);
        assert_eq!(body.len(), 72);
        for (kind, value) in &self.others {
            body.extend(attribute(*kind, value));
        }
        if let Some((received, acked, segments_in, segments_out)) = self.info {
            let mut info = vec![0xee; 120];
            info.extend(acked.to_ne_bytes());
            info.extend(received.to_ne_bytes());
            info.extend(segments_out.to_ne_bytes());
            info.extend(segments_in.to_ne_bytes());
            info.extend([0xee; 100]);
            body.extend(attribute(2, &info));
        }
        if let Some(cgroup) = self.cgroup {
            body.extend(attribute(21, &cgroup.to_ne_bytes()));
        }
        message(self.kind, &body)
    }
}

fn written() -> impl Strategy<Value = Written> {
    (
        (prop_oneof![Just(18_u16), Just(20)], prop_oneof![Just(2_u8), Just(10)]),
        (1..13_u8, any::<u16>(), any::<u32>()),
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        any::<u64>(),
        any::<Option<u64>>(),
        any::<Option<(u64, u64, u32, u32)>>(),
        prop::collection::vec((30..90_u16, prop::collection::vec(any::<u8>(), 0..9)), 0..3),
    )
        .prop_map(|(message, end, source, peer, cookie, cgroup, info, others)| {
            let ((kind, family), (state, port, interface)) = (message, end);
            Written {
                kind,
                family,
                state,
                port,
                interface,
                source,
                peer,
                cookie,
                cgroup,
                info,
                others,
            }
        })
}

fn parsed(bytes: &[u8]) -> (Vec<TcpSocket>, Option<Reply>) {
    let mut sockets = Vec::new();
    let reply = parse(bytes, |socket| sockets.push(socket)).ok();
    (sockets, reply)
}

proptest! {
    #![proptest_config(cases(256))]

    #[test]
    fn what_is_written_is_read(all in prop::collection::vec(written(), 0..5), done: bool) {
        let mut bytes: Vec<u8> = all.iter().flat_map(Written::bytes).collect();
        if done {
            bytes.extend(message(3, &[0; 4]));
        }
        let (sockets, reply) = parsed(&bytes);
        prop_assert_eq!(reply, Some(if done { Reply::Done } else { Reply::GoesOn }));
        let wanted: Vec<_> = all.iter().filter(|one| one.info.is_some()).collect();
        prop_assert_eq!(sockets.len(), wanted.len());
        for (socket, wanted) in sockets.iter().zip(wanted) {
            let traffic = socket.traffic;
            let found = (
                traffic.received.as_bytes(),
                traffic.acked.as_bytes(),
                traffic.segments_in,
                traffic.segments_out,
            );
            prop_assert_eq!(Some(found), wanted.info);
            prop_assert_eq!((socket.cookie, socket.cgroup), (wanted.cookie, wanted.cgroup));
            let family = if wanted.family == 2 { IpFamily::V4 } else { IpFamily::V6 };
            let Written { port, source: address, interface, .. } = *wanted;
            prop_assert_eq!(socket.end, SocketEnd { port, family, address, interface });
            prop_assert_eq!(socket.listens, wanted.state == 10);
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        parsed(&bytes);
    }

    #[test]
    fn no_cut_and_no_changed_byte_makes_it_panic(
        one in written(), two in written(), at: prop::sample::Index, byte: u8, cut: prop::sample::Index,
    ) {
        let mut bytes = [one.bytes(), two.bytes()].concat();
        let end = cut.index(bytes.len());
        parsed(&bytes[..end]);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        parsed(&bytes);
    }
}

#[test]
fn an_error_comes_with_its_number() {
    let mut body = (-13_i32).to_ne_bytes().to_vec();
    body.extend([0; 16]);
    assert_eq!(parsed(&message(2, &body)).1, Some(Reply::Failed(13)));
    assert_eq!(parsed(&message(2, &i32::MIN.to_ne_bytes())).1, Some(Reply::Failed(i32::MIN)));
}

#[test]
fn local_traffic_differs_from_traffic_that_leaves_the_host() {
    let v4 = |address: [u8; 4]| {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&address);
        bytes
    };
    let v6 = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap().octets();
    let cases = [
        (2, v4([127, 0, 0, 1]), v4([127, 0, 0, 53]), true),
        (2, v4([10, 0, 0, 7]), v4([10, 0, 0, 7]), true),
        (2, v4([10, 0, 0, 7]), v4([10, 0, 0, 8]), false),
        (2, v4([10, 127, 0, 7]), v4([12, 0, 0, 1]), false),
        (10, v6("::1"), v6("::1"), true),
        (10, v6("::ffff:127.0.0.1"), v6("::ffff:127.0.0.1"), true),
        (10, v6("::ffff:10.0.0.1"), v6("::ffff:10.0.0.2"), false),
        (10, v6("fd00::7"), v6("fd00::7"), true),
        (10, v6("fd00::7"), v6("fd00::8"), false),
        (10, v6("7f00::1"), v6("7f00::2"), false),
    ];
    for (family, source, peer, is_local) in cases {
        let one = Written {
            kind: 20,
            family,
            state: 1,
            port: 8080,
            interface: 0,
            source,
            peer,
            cookie: 1,
            cgroup: Some(2),
            info: Some((3, 4, 5, 6)),
            others: Vec::new(),
        };
        let (sockets, _) = parsed(&one.bytes());
        assert_eq!(sockets[0].is_local, is_local, "{source:?} {peer:?}");
    }
}

#[test]
fn each_family_is_asked_for_by_its_number() {
    for (family, number) in [(IpFamily::V4, 2), (IpFamily::V6, 10)] {
        let request = request(DumpOf::One(family));
        assert_eq!(request[..4], 72_u32.to_ne_bytes());
        assert_eq!(request[4..6], 20_u16.to_ne_bytes());
        // The family, TCP, and of the extensions tcp_info.
        assert_eq!(request[16..19], [number, 6, 2]);
        assert_states(&request[20..24]);
    }
}

#[test]
fn both_families_are_asked_for_by_the_older_request() {
    let request = request(DumpOf::Both);
    assert_eq!(request.len(), 76);
    assert_eq!(request[..4], 76_u32.to_ne_bytes());
    assert_eq!(request[4..6], 18_u16.to_ne_bytes());
    assert_eq!(request[16..20], [0, 0, 0, 2]);
    assert_states(&request[68..72]);
}

/// ESTABLISHED, and LISTEN for the owners of what was accepted; not TIME_WAIT, which has no owner.
fn assert_states(bytes: &[u8]) {
    let states = u32::from_ne_bytes(bytes.try_into().unwrap());
    for (state, asked) in [(1, true), (10, true), (3, false), (6, false), (7, false)] {
        assert_eq!(states & 1 << state != 0, asked, "state {state}");
    }
}
