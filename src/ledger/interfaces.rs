//! Traffic of interfaces. An interface is the same one while its index in its namespace is.

use super::account::NetworkUsage;
use super::counters::KnownInterface;
use super::delta::{CounterBounds, Gains, most_link_bytes};
use crate::quantity::Bytes;
use crate::snapshot::InterfaceReading;
use crate::snapshot::topology::InterfaceKind;
use crate::source::proc::net_dev::{InterfaceName, InterfaceRow};

/// The earlier interfaces of a namespace.
#[derive(Debug, Clone, Copy)]
pub(super) enum Earlier<'a> {
    /// The namespace was there. An interface that it did not have can have moved in with all its
    /// counters, so its traffic counts from now on.
    Known(&'a [KnownInterface]),
    /// The namespace was created since. What software made in it was too; hardware moved in.
    Created(HostInterfaces<'a>),
}

/// The interfaces of the host's namespace, where a plugin finds those that it moves into a pod.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct HostInterfaces<'a> {
    pub before: &'a [KnownInterface],
    pub now: &'a [InterfaceReading],
}

impl<'a> HostInterfaces<'a> {
    /// The earlier row of an interface that has left the host's namespace since. The kernel keeps
    /// its index, unless the new namespace has that already, and its counters.
    fn moved(self, inner: &InterfaceReading) -> Option<&'a InterfaceRow> {
        let index = inner.facts.index?;
        if self.now.iter().any(|now| now.facts.index == Some(index)) {
            return None;
        }
        let before = self.before.iter().find(|before| before.index == Some(index))?;
        let (then, now) = (&before.row, &inner.row);
        (then.rx_bytes <= now.rx_bytes && then.tx_bytes <= now.tx_bytes).then_some(then)
    }
}

/// The traffic of the interfaces that count, and the part of hardware in it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InterfacesDelta {
    pub all: NetworkUsage,
    pub hardware: NetworkUsage,
    /// The one interface that has carried any traffic yet; `None`: none or several have.
    pub carrier: Option<InterfaceName>,
}

/// The traffic within `over_usec`. `link_rate`: bytes in a second, where known. `report` gets what is odd about an interface, with its name.
/// `None`: an interface shows more than it can have carried.
pub(super) fn interfaces_delta(
    earlier: Earlier<'_>,
    now: &[InterfaceReading],
    over_usec: u64,
    link_rate: impl Fn(InterfaceName) -> Option<u64>,
    mut report: impl FnMut(Gains, &[u8]),
) -> Option<InterfacesDelta> {
    let mut delta = InterfacesDelta::default();
    let mut known = true;
    let mut carriers = 0_u32;
    for reading in now {
        let is_hardware = match reading.facts.kind {
            InterfaceKind::LeftOut => continue,
            InterfaceKind::Virtual => false,
            InterfaceKind::Hardware => true,
        };
        if reading.row.rx_bytes > 0 || reading.row.tx_bytes > 0 {
            carriers += 1;
            delta.carrier = (carriers == 1).then_some(reading.row.name);
        }
        let before = match earlier {
            Earlier::Known(before) => match find(before, reading) {
                Some(known) => Some(&known.row),
                None => continue,
            },
            Earlier::Created(host) => match host.moved(reading) {
                Some(before) => Some(before),
                None if is_hardware => continue,
                None => None,
            },
        };
        let mut gains = Gains::default();
        let most = most_link_bytes(link_rate(reading.row.name), over_usec);
        let usage = interface_gain(before, &reading.row, most, &mut gains);
        report(gains, reading.row.name.as_bytes());
        known &= gains.known();
        delta.all.add(&usage);
        if is_hardware {
            delta.hardware.add(&usage);
        }
    }
    known.then_some(delta)
}

/// The same interface in an earlier reading of its namespace. Where one of the two readings has no
/// index, the name decides.
fn find<'k>(before: &'k [KnownInterface], now: &InterfaceReading) -> Option<&'k KnownInterface> {
    before.iter().find(|known| match (known.index, now.facts.index) {
        (Some(before), Some(now)) => before == now,
        _ => known.row.name == now.row.name,
    })
}

/// The traffic of one interface since `before`; from 0 where there is none. `most_bytes`: what its
/// link can carry in one direction.
fn interface_gain(
    before: Option<&InterfaceRow>,
    now: &InterfaceRow,
    most_bytes: u64,
    gains: &mut Gains,
) -> NetworkUsage {
    gains.unread |= now.is_odd || before.is_some_and(|before| before.is_odd);
    if gains.unread {
        return NetworkUsage::default();
    }
    let bytes = |row: &InterfaceRow| [row.rx_bytes, row.tx_bytes];
    let all = [Some(now), before].into_iter().flatten().flat_map(bytes);
    let bounds = CounterBounds::narrow(most_bytes, 1, all);
    // No frame is shorter. Drivers count errors and drops as they like.
    let packets = CounterBounds { most: most_bytes / 16, ..bounds };
    let unbounded = CounterBounds { most: u64::MAX, ..bounds };
    let mut gain = |part: fn(&InterfaceRow) -> u64, bounds: CounterBounds| {
        gains.of(before.map_or(0, part), part(now), bounds)
    };
    NetworkUsage {
        rx: Bytes::from_bytes(gain(|row| row.rx_bytes, bounds)),
        tx: Bytes::from_bytes(gain(|row| row.tx_bytes, bounds)),
        rx_packets: gain(|row| row.rx_packets, packets),
        tx_packets: gain(|row| row.tx_packets, packets),
        rx_errors: gain(|row| row.rx_errors, unbounded),
        tx_errors: gain(|row| row.tx_errors, unbounded),
        rx_dropped: gain(|row| row.rx_dropped, unbounded),
        tx_dropped: gain(|row| row.tx_dropped, unbounded),
        ..NetworkUsage::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::topology::InterfaceFacts;

    fn row(name: &str, bytes: u64) -> InterfaceRow {
        InterfaceRow {
            name: InterfaceName::new(name.as_bytes()).unwrap(),
            rx_bytes: bytes,
            rx_packets: 0,
            rx_errors: 0,
            rx_dropped: 0,
            tx_bytes: 2 * bytes,
            tx_packets: 0,
            tx_errors: 0,
            tx_dropped: 0,
            is_odd: false,
        }
    }

    fn known(name: &str, index: Option<u32>, bytes: u64) -> KnownInterface {
        KnownInterface { index, row: row(name, bytes) }
    }

    fn reading(
        name: &str,
        index: Option<u32>,
        kind: InterfaceKind,
        bytes: u64,
    ) -> InterfaceReading {
        InterfaceReading { row: row(name, bytes), facts: InterfaceFacts { index, kind } }
    }

    fn of(earlier: Earlier<'_>, now: &[InterfaceReading]) -> InterfacesDelta {
        interfaces_delta(earlier, now, 10_000_000, |_| None, |_, _| {}).unwrap()
    }

    #[test]
    fn the_index_decides_what_is_the_same_interface() {
        use InterfaceKind::{Hardware, LeftOut, Virtual};
        let before = [known("eth0", Some(2), 1_000), known("net1", Some(3), 50)];
        let cases = [
            // Same index: the gain, whatever it is called now.
            (reading("eth0", Some(2), Virtual, 1_300), 300),
            (reading("renamed", Some(2), Virtual, 1_300), 300),
            // Another interface under a known name, or under a new one.
            (reading("eth0", Some(7), Virtual, 9_000_000), 0),
            (reading("net2", Some(8), Hardware, 9_000_000), 0),
            (reading("net2", None, Virtual, 9_000_000), 0),
            // Without an index the name decides.
            (reading("net1", None, Hardware, 60), 10),
            (reading("eth0", Some(2), LeftOut, 1_300), 0),
        ];
        for (now, gained) in cases {
            let delta = of(Earlier::Known(&before), &[now]);
            assert_eq!(delta.all.rx.as_bytes(), gained, "{now:?}");
            assert_eq!(delta.all.tx.as_bytes(), 2 * gained, "{now:?}");
            let of_hardware = if now.facts.kind == Hardware { gained } else { 0 };
            assert_eq!(delta.hardware.rx.as_bytes(), of_hardware, "{now:?}");
        }
        let names = [known("eth0", None, 1_000)];
        let now = reading("eth0", Some(2), Virtual, 1_001);
        assert_eq!(of(Earlier::Known(&names), &[now]).all.rx.as_bytes(), 1);
    }

    #[test]
    fn in_a_new_namespace_only_software_begins_at_zero() {
        let now = [
            reading("eth0", Some(2), InterfaceKind::Virtual, 700),
            reading("net1", Some(9), InterfaceKind::Hardware, 900_000_000_000),
        ];
        let delta = of(Earlier::Created(HostInterfaces::default()), &now);
        assert_eq!(delta.all.rx.as_bytes(), 700);
        assert_eq!(delta.hardware, NetworkUsage::default());
    }

    /// Without rights over the pod a function of a card looks like software. Its index tells where
    /// it was before.
    #[test]
    fn in_a_new_namespace_what_left_the_host_counts_on() {
        use InterfaceKind::{Hardware, Virtual};
        let now = reading("net1", Some(9), Virtual, 1_000);
        let before = [known("ens1f0", Some(2), 7), known("ens1f0v3", Some(9), 900)];
        let other = [known("ens1f0v3", Some(8), 900)];
        let more = [known("ens1f0v3", Some(9), 1_001)];
        let nameless = [known("net1", None, 900)];
        let (card, stays) = ([reading("ens1f0", Some(2), Hardware, 8)], [now]);
        let received = |before: &[KnownInterface], host: &[InterfaceReading], now| {
            let earlier = Earlier::Created(HostInterfaces { before, now: host });
            of(earlier, &[now]).all.rx.as_bytes()
        };
        assert_eq!(received(&before, &card, now), 100);
        let hardware = reading("net1", Some(9), Hardware, 1_000);
        assert_eq!(received(&before, &card, hardware), 100);
        // It is there still, it had another index or more bytes, or no index is known.
        assert_eq!(received(&before, &stays, now), 1_000);
        for before in [&other, &more, &nameless] {
            assert_eq!(received(before, &card, now), 1_000);
        }
        let mut unsent = before;
        unsent[1].row.tx_bytes = 2_001;
        assert_eq!(received(&unsent, &card, now), 1_000);
        assert_eq!(received(&before, &card, reading("net1", None, Virtual, 1_000)), 1_000);
    }

    fn counting(by: u64) -> InterfaceRow {
        InterfaceRow {
            rx_packets: 3 * by,
            rx_errors: 4 * by,
            rx_dropped: 5 * by,
            tx_packets: 6 * by,
            tx_errors: 7 * by,
            tx_dropped: 8 * by,
            ..row("eth0", by)
        }
    }

    #[test]
    fn every_counter_of_an_interface_has_its_own_gain() {
        let mut gains = Gains::default();
        let usage = interface_gain(Some(&counting(10)), &counting(110), u64::MAX, &mut gains);
        let right = NetworkUsage {
            rx: Bytes::from_bytes(100),
            tx: Bytes::from_bytes(200),
            rx_packets: 300,
            rx_errors: 400,
            rx_dropped: 500,
            tx_packets: 600,
            tx_errors: 700,
            tx_dropped: 800,
            ..NetworkUsage::default()
        };
        assert_eq!((usage, gains), (right, Gains::default()));
        assert_eq!(interface_gain(None, &counting(100), u64::MAX, &mut gains), right);
    }

    /// A link carries so many bytes, and a packet in 16 of them. Errors and drops are not bounded.
    #[test]
    fn a_link_bounds_bytes_and_packets() {
        let from_zero = |now: InterfaceRow| {
            let mut gains = Gains::default();
            interface_gain(None, &now, 1600, &mut gains);
            gains.too_much
        };
        let idle = row("eth0", 0);
        for (now, too_much) in [
            (InterfaceRow { rx_bytes: 1600, ..idle }, false),
            (InterfaceRow { rx_bytes: 1601, ..idle }, true),
            (InterfaceRow { rx_packets: 100, ..idle }, false),
            (InterfaceRow { rx_packets: 101, ..idle }, true),
            (InterfaceRow { tx_packets: 101, ..idle }, true),
            (InterfaceRow { rx_errors: 9000, tx_errors: 9000, ..idle }, false),
            (InterfaceRow { rx_dropped: 9000, tx_dropped: 9000, ..idle }, false),
        ] {
            assert_eq!(from_zero(now), too_much, "{now:?}");
        }
    }

    #[test]
    fn one_interface_that_is_not_known_makes_the_sum_unknown() {
        let odd = InterfaceRow { is_odd: true, ..row("eth1", 500) };
        let facts = InterfaceFacts { index: None, kind: InterfaceKind::Virtual };
        let (well, ill) = (reading("eth0", None, InterfaceKind::Virtual, 300), odd);
        let ill = InterfaceReading { row: ill, facts };
        let known_before = [known("eth0", None, 100), known("eth1", None, 100)];
        let odd_before = [known("eth0", None, 100), KnownInterface { index: None, row: odd }];
        let now_well = reading("eth1", None, InterfaceKind::Virtual, 600);
        for (before, now, is_known) in [
            (&known_before, [well, now_well], true),
            (&known_before, [well, ill], false),
            (&known_before, [ill, well], false),
            (&odd_before, [well, now_well], false),
            (&odd_before, [well, ill], false),
        ] {
            let delta =
                interfaces_delta(Earlier::Known(before), &now, 10_000_000, |_| None, |_, _| {});
            assert_eq!(delta.is_some(), is_known);
        }
    }
}
