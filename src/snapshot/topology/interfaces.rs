//! The interfaces by which traffic leaves a network namespace, so that each transfer counts once.
//!
//! Without it the same bytes count twice: /proc/net/dev has a row for a bond and for each of its
//! ports, for a tunnel and for the interface that its packets leave by, and for both ends of a
//! pair. What the kernel links decides. Names decide only where it says nothing.

use super::link::{Link, LinkFiles};
use crate::source::proc::net_dev::{InterfaceName, InterfaceRow};
use crate::source::root::Buffer;

/// The part of an interface in the traffic of its namespace with the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InterfaceKind {
    /// Counted, and a card or a function of one: it keeps its counters when it moves to another
    /// namespace.
    Hardware,
    /// Counted, and made by software.
    Virtual,
    /// Its traffic shows on a counted one too, or does not leave the namespace.
    #[default]
    LeftOut,
}

/// The facts about an interface that are kept between two readings of its counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct InterfaceFacts {
    /// The number that the kernel gives it in its namespace. `None`: not readable, or not asked for
    /// because the interface is left out.
    pub index: Option<u32>,
    pub kind: InterfaceKind,
}

/// The facts about the interfaces of the host's namespace. Where no interface is hardware (a node
/// that is a container or a small virtual machine) those of the default routes count. `uplinks`
/// gives them.
#[must_use]
pub fn host_facts(
    files: &LinkFiles,
    rows: &[InterfaceRow],
    uplinks: impl FnOnce() -> Vec<InterfaceName>,
    buffer: &mut Buffer,
) -> Vec<InterfaceFacts> {
    if rows.iter().any(|row| files.has_device(row.name)) {
        // A node has a veth for each pod, and nothing else need be known about those.
        let links: Vec<_> = rows
            .iter()
            .map(|row| match files.has_device(row.name) {
                true => files.link(row.name, buffer),
                false => Link::named(row.name),
            })
            .collect();
        let counts = |link: &Link| link.has_device && !repeats_hardware(link, &links);
        return facts(&links, |at| {
            links.get(at).filter(|link| counts(link)).map(|_| InterfaceKind::Hardware)
        });
    }
    let links: Vec<_> = rows.iter().map(|row| files.link(row.name, buffer)).collect();
    let roles = roles(&links);
    let mut chosen = uplinks_below(&links, &roles, &uplinks());
    if !chosen.contains(&true) {
        chosen = ways_out(&links, &roles);
    }
    facts(&links, |at| chosen.get(at)?.then_some(InterfaceKind::Virtual))
}

/// The facts about the interfaces of another namespace.
#[must_use]
pub fn inner_facts(
    files: &LinkFiles,
    rows: &[InterfaceRow],
    buffer: &mut Buffer,
) -> Vec<InterfaceFacts> {
    let links: Vec<_> = rows.iter().map(|row| files.link(row.name, buffer)).collect();
    let roles = roles(&links);
    let chosen = ways_out(&links, &roles);
    facts(&links, |at| {
        chosen.get(at)?.then(|| match roles.get(at) {
            Some(LinkRole::Hardware) => InterfaceKind::Hardware,
            _ => InterfaceKind::Virtual,
        })
    })
}

fn facts(links: &[Link], kind: impl Fn(usize) -> Option<InterfaceKind>) -> Vec<InterfaceFacts> {
    let one = |(at, link): (usize, &Link)| InterfaceFacts {
        index: link.index,
        kind: kind(at).unwrap_or_default(),
    };
    links.iter().enumerate().map(one).collect()
}

/// The place of an interface between the namespace's own sockets and the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LinkRole {
    Loopback,
    Hardware,
    /// Its other end, or what it lies on, is in another namespace.
    Peer,
    /// It hands frames to a program: a container's user-space network, or a virtual machine. Also a
    /// software interface of which nothing more is known.
    Tap,
    /// Its packets leave by another interface, unless it was moved in alone.
    Tunnel,
    /// A near end: the far one is in a namespace below this one.
    NearEnd,
    /// A bridge, bond or team: its ports count.
    Master,
    /// A VLAN, macvlan or the like on an interface of this namespace, or hardware whose traffic
    /// other hardware counts.
    Stacked,
    /// It drops all that is sent to it.
    Dummy,
}

/// ARPHRD_ numbers.
const TYPE_INFINIBAND: u64 = 32;
const TYPE_LOOPBACK: u64 = 772;
/// Monitors of a wireless card see every frame once more.
const TYPES_MONITOR: std::ops::RangeInclusive<u64> = 801..=803;
/// PPP; IPIP, IP6IP6; SIT, GRE; GRE over IPv6; none (tun, WireGuard).
const TYPES_TUNNEL: [u64; 7] = [512, 768, 769, 776, 778, 823, 65534];

fn roles(links: &[Link]) -> Vec<LinkRole> {
    let mut roles: Vec<_> = links.iter().map(|link| role(link, links)).collect();
    let at = |name: InterfaceName| links.iter().position(|link| link.name == Some(name));
    let in_bridge = |link: &Link| {
        link.master.and_then(at).filter(|at| links.get(*at).is_some_and(|master| master.is_bridge))
    };
    let leaves = |role: &LinkRole| matches!(role, LinkRole::Hardware | LinkRole::Peer);
    let has_other_way =
        links.iter().zip(&roles).any(|(link, role)| leaves(role) && in_bridge(link).is_none());
    for (place, link) in links.iter().enumerate() {
        let Some(bridge) = in_bridge(link).filter(|_| roles.get(place) == Some(&LinkRole::Peer))
        else {
            continue;
        };
        // The bridge of a virtual machine joins its tap with the pod's own interface. A bridge of
        // near ends only is for containers.
        let has_tap = links.iter().zip(&roles).any(|(port, role)| {
            in_bridge(port) == Some(bridge) && matches!(role, LinkRole::Tap | LinkRole::Tunnel)
        });
        if !has_tap
            && has_other_way
            && let Some(role) = roles.get_mut(place)
        {
            *role = LinkRole::NearEnd;
        }
    }
    roles
}

fn role(link: &Link, links: &[Link]) -> LinkRole {
    if link.name() == b"lo" || link.hardware_type == Some(TYPE_LOOPBACK) {
        return LinkRole::Loopback;
    }
    if link.has_device {
        return if repeats_hardware(link, links) { LinkRole::Stacked } else { LinkRole::Hardware };
    }
    let is_master = matches!(&*link.kind, b"bridge" | b"bond" | b"team" | b"vrf" | b"hsr");
    if link.is_bridge || link.is_bond || is_master {
        return LinkRole::Master;
    }
    let is_tunnel_type = link.hardware_type.is_some_and(|number| TYPES_TUNNEL.contains(&number));
    let is_tunnel_kind =
        matches!(&*link.kind, b"vxlan" | b"geneve" | b"wireguard" | b"ppp" | b"gtp" | b"l2tpeth");
    if is_tunnel_type || is_tunnel_kind {
        return LinkRole::Tunnel;
    }
    if link.is_tun {
        return LinkRole::Tap;
    }
    if link.lower.iter().any(|lower| links.iter().any(|link| link.name == Some(*lower))) {
        return LinkRole::Stacked;
    }
    let by_name = role_by_name(link.name(), links);
    let (Some(peer), Some(index)) = (link.peer, link.index) else { return by_name };
    if peer == 0 {
        return LinkRole::Tunnel;
    }
    if peer == index {
        return match by_name {
            // It ends here, so it is no way out beside one that does not.
            LinkRole::Peer if link.no_arp => LinkRole::Dummy,
            // Both ends of a pair can have the same number, each in its namespace. In a whole sysfs
            // all else that ends here has shown itself above.
            LinkRole::Peer if link.is_whole => LinkRole::Peer,
            LinkRole::Peer | LinkRole::NearEnd => LinkRole::Tap,
            other => other,
        };
    }
    match links.iter().find(|other| other.index == Some(peer)) {
        // Both ends of a pair are here.
        Some(other) if other.peer == Some(index) => LinkRole::Dummy,
        // A whole sysfs has a link to what an interface lies on, and this has none. So the number
        // is one of another namespace.
        Some(_) if !link.is_whole => LinkRole::Stacked,
        _ => match by_name {
            LinkRole::NearEnd | LinkRole::Tunnel => by_name,
            _ => LinkRole::Peer,
        },
    }
}

/// True if other hardware counts the traffic of this hardware too.
fn repeats_hardware(link: &Link, links: &[Link]) -> bool {
    let devices = || links.iter().filter(|other| other.has_device && other.name != link.name);
    // A virtual function below a paravirtual interface (netvsc, net_failover): the upper one counts
    // both. A bond above a port is no hardware.
    let is_below = devices().any(|other| link.master.is_some() && link.master == other.name);
    // The port of a switch (DSA): the interface between the processor and the switch counts all.
    let is_above = devices().any(|other| {
        let by_link = other.name.is_some_and(|name| link.lower.contains(&name));
        let by_index = link.peer.is_some() && link.peer != link.index && link.peer == other.index;
        // The children of an InfiniBand interface have counters of their own.
        let is_child = link.hardware_type == Some(TYPE_INFINIBAND);
        (by_link || by_index) && other.master != link.name && !is_child
    });
    // The near end of a virtual function, on a card whose switch the host sees.
    let is_port = |link: &Link| is_port_of_function(&link.port_name);
    let represents = is_port(link)
        && devices().any(|other| other.switch_id == link.switch_id && !is_port(other))
        && !link.switch_id.is_empty();
    let monitors = link.hardware_type.is_some_and(|number| TYPES_MONITOR.contains(&number));
    is_below || is_above || represents || monitors
}

/// True for `pf0vf3`, `pf0sf1`, `pf0` and the same behind a controller (`c1pf0vf3`): these ports
/// lead to a function. `p0` leads to the wire.
fn is_port_of_function(port: &[u8]) -> bool {
    let port = port.strip_prefix(b"c").map_or(port, |rest| {
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        rest.get(digits..).unwrap_or_default()
    });
    port.starts_with(b"pf")
}

/// The interfaces of default routes, or what lies below them where they are a bridge or a VLAN.
fn uplinks_below(links: &[Link], roles: &[LinkRole], uplinks: &[InterfaceName]) -> Vec<bool> {
    let mut chosen = vec![false; links.len()];
    for (at, (link, role)) in links.iter().zip(roles).enumerate() {
        let routed = link.name.is_some_and(|name| uplinks.contains(&name));
        if !routed || matches!(role, LinkRole::Loopback | LinkRole::Dummy | LinkRole::Tunnel) {
            continue;
        }
        let mut found = false;
        if matches!(role, LinkRole::Master | LinkRole::Stacked) {
            for (below, (lower, role)) in links.iter().zip(roles).enumerate() {
                let is_lower = lower.name.is_some_and(|name| link.lower.contains(&name))
                    || lower.master.is_some() && lower.master == link.name;
                if is_lower && matches!(role, LinkRole::Peer | LinkRole::Tap) {
                    found = true;
                    chosen.iter_mut().skip(below).take(1).for_each(|chosen| *chosen = true);
                }
            }
        }
        if !found {
            chosen.iter_mut().skip(at).take(1).for_each(|chosen| *chosen = true);
        }
    }
    chosen
}

/// The interfaces by which traffic leaves: of the kinds that the namespace has, the outermost.
fn ways_out(links: &[Link], roles: &[LinkRole]) -> Vec<bool> {
    let tiers: [&[LinkRole]; 5] = [
        &[LinkRole::Hardware, LinkRole::Peer],
        &[LinkRole::Tap],
        &[LinkRole::Tunnel],
        // The only pair of a namespace leads outside, whatever its name.
        &[LinkRole::NearEnd],
        &[LinkRole::Master],
    ];
    let is_in = |tier: &[LinkRole], link: &Link, role: &LinkRole| {
        // A bridge of the kernel's sends by its ports. One that is only called so can be anything.
        tier.contains(role) && !(*role == LinkRole::Master && link.in_sysfs)
    };
    let all = || links.iter().zip(roles);
    let tier = tiers.iter().find(|tier| all().any(|(link, role)| is_in(tier, link, role)));
    all().map(|(link, role)| tier.is_some_and(|tier| is_in(tier, link, role))).collect()
}

/// The role by the names that programs give to interfaces. An unknown name is a way out.
fn role_by_name(name: &[u8], links: &[Link]) -> LinkRole {
    let starts = |prefixes: &[&[u8]]| prefixes.iter().any(|prefix| name.starts_with(prefix));
    let has = |wanted: &[u8]| links.iter().any(|link| link.name() == wanted);
    // KubeVirt renames the pod's interface and leaves a dummy in its place.
    if starts(DUMMIES) || has(&[name, b"-nic"].concat()) {
        return LinkRole::Dummy;
    }
    // A VLAN is mostly called after the interface that it lies on.
    if let Some(dot) = name.iter().rposition(|byte| *byte == b'.')
        && has(name.get(..dot).unwrap_or_default())
    {
        return LinkRole::Stacked;
    }
    if starts(TAPS) {
        LinkRole::Tap
    } else if starts(TUNNELS) {
        LinkRole::Tunnel
    } else if starts(NEAR_ENDS) {
        LinkRole::NearEnd
    } else if starts(MASTERS) {
        LinkRole::Master
    } else {
        LinkRole::Peer
    }
}

const DUMMIES: &[&[u8]] = &[b"dummy", b"ifb", b"kube-ipvs", b"nodelocaldns", b"teql"];
const TAPS: &[&[u8]] = &[b"tap", b"macvtap", b"vnet"];
const TUNNELS: &[&[u8]] = &[
    b"tun",
    b"wg",
    b"wt",
    b"ppp",
    b"tailscale",
    b"zt",
    b"utun",
    b"nordlynx",
    b"proton",
    b"mullvad",
    b"sit",
    b"ip6tnl",
    b"gre",
    b"ip6gre",
    b"erspan",
    b"ipip",
    b"ip_vti",
    b"ip6_vti",
    b"vti",
    b"ipsec",
    b"xfrm",
    b"vxlan",
    b"geneve",
    b"genev_sys",
    b"flannel",
    b"cilium_vxlan",
    b"cilium_geneve",
    b"cilium_wg",
    b"vlan",
    b"macvlan",
    b"ipvlan",
    b"l2tp",
];
const NEAR_ENDS: &[&[u8]] = &[b"veth", b"cali", b"lxc", b"cilium_", b"eni", b"azv"];
const MASTERS: &[&[u8]] = &[
    b"docker",
    b"cni",
    b"br-",
    b"virbr",
    b"lxdbr",
    b"incusbr",
    b"podman",
    b"kube-bridge",
    b"weave",
    b"ovs-system",
    b"k6t-",
    b"bond",
    b"team",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// An interface of a whole sysfs: `number`, and that of the interface at its other end.
    fn link(name: &str, number: u32, peer: u32) -> Link {
        Link {
            in_sysfs: true,
            is_whole: true,
            index: Some(number),
            peer: Some(peer),
            hardware_type: Some(1),
            ..named(name)
        }
    }

    fn named(name: &str) -> Link {
        Link::named(InterfaceName::new(name.as_bytes()).unwrap())
    }

    fn on(lower: &str, link: Link) -> Link {
        Link { lower: vec![InterfaceName::new(lower.as_bytes()).unwrap()], ..link }
    }

    fn port_of(master: &str, link: Link) -> Link {
        Link { master: InterfaceName::new(master.as_bytes()), ..link }
    }

    fn of_kind(kind: &str, link: Link) -> Link {
        Link { kind: kind.as_bytes().into(), ..link }
    }

    fn of_type(number: u64, link: Link) -> Link {
        Link { hardware_type: Some(number), ..link }
    }

    fn bridge(name: &str, number: u32) -> Link {
        Link { is_bridge: true, ..of_kind("bridge", link(name, number, number)) }
    }

    fn tun(number_of_type: u64, name: &str, number: u32) -> Link {
        Link { is_tun: true, ..of_type(number_of_type, link(name, number, number)) }
    }

    fn device(name: &str, number: u32) -> Link {
        Link { has_device: true, ..link(name, number, number) }
    }

    fn chosen(links: &[Link]) -> Vec<String> {
        let roles = roles(links);
        let chosen = ways_out(links, &roles);
        let named = |link: &Link| String::from_utf8_lossy(link.name()).into_owned();
        links
            .iter()
            .zip(chosen)
            .filter(|(_, chosen)| *chosen)
            .map(|(link, _)| named(link))
            .collect()
    }

    fn lo() -> Link {
        of_type(TYPE_LOOPBACK, link("lo", 1, 1))
    }

    #[test]
    fn the_kernels_links_show_the_ways_out_whatever_the_names() {
        let eth0 = || link("eth0", 2, 11);
        let cases = [
            (vec![lo(), eth0()], vec!["eth0"]),
            // The number of the other end is one of this namespace by chance.
            (vec![lo(), link("a", 2, 3), link("b", 3, 14)], vec!["a", "b"]),
            // Both ends of a pair have the same number.
            (vec![lo(), link("a", 2, 2), link("b", 3, 14)], vec!["a", "b"]),
            // VLAN, macvlan and ipvlan on eth0, or on what is in another namespace.
            (vec![lo(), eth0(), on("eth0", of_kind("vlan", link("x", 3, 2)))], vec!["eth0"]),
            (vec![lo(), eth0(), on("eth0", of_kind("macvlan", link("x", 3, 2)))], vec!["eth0"]),
            (vec![lo(), of_kind("macvlan", link("x", 3, 2))], vec!["x"]),
            // tun, tap, WireGuard, IPIP and VXLAN beside eth0.
            (vec![lo(), eth0(), tun(65534, "x", 3)], vec!["eth0"]),
            (vec![lo(), eth0(), tun(1, "x", 3)], vec!["eth0"]),
            (
                vec![lo(), eth0(), of_kind("wireguard", of_type(65534, link("x", 3, 3)))],
                vec!["eth0"],
            ),
            (vec![lo(), eth0(), of_type(768, link("x", 3, 2))], vec!["eth0"]),
            (vec![lo(), eth0(), of_kind("vxlan", link("x", 3, 2))], vec!["eth0"]),
            (vec![lo(), eth0(), link("x", 3, 0)], vec!["eth0"]),
            // The same alone; of a tap and a tunnel over it, the tap.
            (vec![lo(), tun(1, "x", 3)], vec!["x"]),
            (vec![lo(), of_kind("wireguard", of_type(65534, link("x", 3, 3)))], vec!["x"]),
            (vec![lo(), tun(1, "x", 3), tun(65534, "y", 4)], vec!["x"]),
            (vec![lo(), of_type(776, link("sit0", 2, 0)), link("up0", 3, 12)], vec!["up0"]),
            // A dummy leads nowhere, and neither does a pair with both ends here.
            (vec![lo(), Link { no_arp: true, ..link("x", 2, 2) }], vec![]),
            (vec![lo(), eth0(), link("x", 3, 4), link("y", 4, 3)], vec!["eth0"]),
            // A virtual machine on the pod's own interface, beside a pod's interface without one.
            (
                vec![
                    lo(),
                    eth0(),
                    port_of("b", link("n", 3, 12)),
                    bridge("b", 4),
                    port_of("b", tun(1, "t", 5)),
                ],
                vec!["eth0", "n"],
            ),
            // Containers behind a bridge, called as they like.
            (vec![lo(), eth0(), bridge("b", 4), port_of("b", link("c1", 5, 2))], vec!["eth0"]),
            // A bond of two functions.
            (
                vec![
                    lo(),
                    port_of("bond0", device("net1", 3)),
                    port_of("bond0", device("net2", 4)),
                    Link { is_bond: true, ..of_kind("bond", link("bond0", 5, 5)) },
                    on("bond0", of_kind("vlan", link("v", 6, 5))),
                ],
                vec!["net1", "net2"],
            ),
            // Kinds alone tell masters and tunnels as well.
            (vec![lo(), link("n", 3, 12), of_kind("team", link("m", 5, 77))], vec!["n"]),
            (vec![lo(), link("n", 3, 12), Link { is_bond: true, ..link("m", 5, 77) }], vec!["n"]),
            (vec![lo(), link("n", 3, 12), Link { is_bridge: true, ..link("m", 5, 77) }], vec!["n"]),
            (vec![lo(), link("n", 3, 12), of_kind("gtp", link("m", 5, 77))], vec!["n"]),
            // The only pair is behind a bridge, and leads outside before a tap does.
            (
                vec![lo(), bridge("b", 4), port_of("b", link("c1", 5, 12)), tun(1, "t", 6)],
                vec!["c1"],
            ),
            // A team: lower interfaces and no link of its own.
            (
                vec![lo(), port_of("team0", device("net1", 3)), on("net1", link("team0", 5, 5))],
                vec!["net1"],
            ),
        ];
        for (links, right) in cases {
            let names: Vec<_> = links
                .iter()
                .map(|link| String::from_utf8_lossy(link.name()).into_owned())
                .collect();
            assert_eq!(chosen(&links), right, "{names:?}");
        }
    }

    /// A near end by its name has its other end below, whatever number that has here.
    #[test]
    fn a_name_tells_the_near_end_of_a_pair_from_the_way_out() {
        let eth0 = || link("eth0", 2, 11);
        assert_eq!(chosen(&[lo(), eth0(), link("cali1", 5, 2)]), ["eth0"]);
        assert_eq!(chosen(&[lo(), eth0(), link("cali1", 5, 77)]), ["eth0"]);
        assert_eq!(chosen(&[lo(), eth0(), link("wg0", 5, 77)]), ["eth0"]);
        assert_eq!(chosen(&[lo(), eth0(), link("net1", 5, 77)]), ["eth0", "net1"]);
    }

    #[test]
    fn an_uplink_counts_by_what_lies_below_it() {
        let uplinks = |links: &[Link], names: &[&str]| {
            let names: Vec<_> =
                names.iter().map(|name| InterfaceName::new(name.as_bytes()).unwrap()).collect();
            let chosen = uplinks_below(links, &roles(links), &names);
            let named = |link: &Link| String::from_utf8_lossy(link.name()).into_owned();
            let all = links.iter().zip(chosen);
            all.filter(|(_, chosen)| *chosen).map(|(link, _)| named(link)).collect::<Vec<_>>()
        };
        let eth0 = || link("eth0", 2, 11);
        let links = [
            lo(),
            eth0(),
            link("eth1", 3, 12),
            bridge("b", 4),
            port_of("b", link("p1", 5, 13)),
            port_of("b", tun(1, "t", 6)),
            // It is in the bridge, and leads to no other namespace.
            port_of("b", Link { no_arp: true, ..link("d", 7, 7) }),
            on("eth1", of_kind("vlan", link("v", 8, 3))),
            tun(65534, "w", 9),
            bridge("alone", 10),
        ];
        let cases: [(&[&str], &[&str]); 8] = [
            (&["eth0"], &["eth0"]),
            (&["eth0", "eth1"], &["eth0", "eth1"]),
            (&["b"], &["p1", "t"]),
            (&["v"], &["eth1"]),
            // Nothing is below it, so it counts itself.
            (&["alone"], &["alone"]),
            (&["w"], &[]),
            (&["lo", "d"], &[]),
            (&["none"], &[]),
        ];
        for (names, right) in cases {
            assert_eq!(uplinks(&links, names), right, "{names:?}");
        }
    }

    #[test]
    fn names_decide_where_the_kernel_shows_nothing() {
        let cases: [(&[&str], &[&str]); 9] = [
            (&["lo", "eth0", "veth7f3a", "cni0", "br-5c1d"], &["eth0"]),
            // Here the pair is the way out.
            (&["lo", "veth0"], &["veth0"]),
            (&["lo", "cali1", "veth0"], &["cali1", "veth0"]),
            (&["bridge0", "eth0"], &["bridge0", "eth0"]),
            (&["lo", "eth0", "tun0", "wg0", "eth0.5", "sit0"], &["eth0"]),
            (&["lo", "eth0-nic", "k6t-eth0", "tap0", "eth0"], &["eth0-nic"]),
            (&["lo", "tap0", "wg0"], &["tap0"]),
            (&["lo", "wg0"], &["wg0"]),
            (&["lo", "dummy0"], &[]),
        ];
        for (names, right) in cases {
            let links: Vec<_> = names.iter().map(|name| named(name)).collect();
            assert_eq!(chosen(&links), right, "{names:?}");
        }
    }

    #[test]
    fn hardware_that_other_hardware_counts_is_left_out() {
        let port = |name: &str, number: u32, port: &str, switch: &str| Link {
            port_name: port.as_bytes().into(),
            switch_id: switch.as_bytes().into(),
            ..device(name, number)
        };
        let cases = [
            // A function below its paravirtual interface; the ports of a bond each.
            (vec![device("eth0", 2), port_of("eth0", device("vf", 3))], vec!["eth0"]),
            (
                vec![port_of("bond0", device("a", 2)), port_of("bond0", device("b", 3))],
                vec!["a", "b"],
            ),
            // The paravirtual interface also has a link to the function.
            (vec![on("vf", device("eth0", 2)), port_of("eth0", device("vf", 3))], vec!["eth0"]),
            // A port of a switch over its conduit, by link and by number.
            (vec![device("eth0", 2), on("eth0", device("lan0", 3))], vec!["eth0"]),
            (vec![device("eth0", 2), Link { peer: Some(2), ..device("lan0", 3) }], vec!["eth0"]),
            // The child of an InfiniBand interface has counters of its own.
            (
                vec![
                    of_type(32, device("ib0", 2)),
                    Link { peer: Some(2), ..of_type(32, device("ib0.8001", 3)) },
                ],
                vec!["ib0", "ib0.8001"],
            ),
            // The near ends of functions beside their wire, two wires, and near ends alone.
            (vec![port("a", 2, "p0", "x"), port("b", 3, "pf0vf0", "x")], vec!["a"]),
            (vec![port("a", 2, "p0", "x"), port("b", 3, "c1pf0sf9", "x")], vec!["a"]),
            (vec![port("a", 2, "p0", "x"), port("b", 3, "p1", "x")], vec!["a", "b"]),
            (vec![port("a", 2, "p0", "y"), port("b", 3, "pf0vf0", "x")], vec!["a", "b"]),
            // A monitor of a wireless card.
            (vec![device("wlan0", 2), of_type(803, device("mon0", 3))], vec!["wlan0"]),
        ];
        for (links, right) in cases {
            assert_eq!(chosen(&links), right, "{links:?}");
        }
    }
}
