//! Interfaces that move, and interfaces on interfaces: what leaves a namespace counts once.

use super::host::{BOTH, Dump, Host, MIB, NET_DEV_HEAD, near, net_dev_row};

/// A node of two cards in a bond, with pods of one interface each.
const HOST: &str = "6.8-crio-systemd";

/// A pod that received 20 MiB by its eth0 and sent 8 MiB, and its namespace.
const POD: &str = "cd47dd0a";
const NAMESPACE: &str = "net:[4026532262]";

/// A pod that was created between the instants, and a process of it. It received 256 KiB.
const NEWBORN: &str = "86dbca75";
const NEWBORN_PID: &str = "4541";

/// The bytes of a function of a card that has run for long.
const PAST: u64 = 900_000_000_000;

impl Host {
    fn edit_host(&self, instant: usize, change: impl Fn(&str) -> String) {
        for file in ["proc/1/net/dev", "proc/net/dev"] {
            self.edit(instant, file, &change);
        }
    }

    fn add_to_host(&self, instant: usize, row: &str) {
        self.edit_host(instant, |text| format!("{text}{row}"));
    }

    /// The processes of a namespace whose interfaces were captured.
    fn readable_in(&self, instant: usize, namespace: &str) -> Vec<String> {
        let mut pids = self.pids_in(instant, namespace);
        pids.retain(|pid| self.path(instant, &format!("proc/{pid}/net/dev")).exists());
        assert!(!pids.is_empty(), "nobody is in {namespace}");
        pids
    }

    fn edit_namespace(&self, instant: usize, namespace: &str, change: impl Fn(&str) -> String) {
        for pid in self.readable_in(instant, namespace) {
            self.edit(instant, &format!("proc/{pid}/net/dev"), &change);
        }
    }

    fn add_to_namespace(&self, instant: usize, namespace: &str, row: &str) {
        self.edit_namespace(instant, namespace, |text| format!("{text}{row}"));
    }

    /// Received and sent bytes of an interface of a process.
    fn counts(&self, instant: usize, pid: &str, name: &str) -> (u64, u64) {
        let text = self.read(instant, &format!("proc/{pid}/net/dev"));
        let row = text.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}:")));
        let figures: Vec<u64> =
            row.unwrap().split_whitespace().map(|figure| figure.parse().unwrap()).collect();
        (figures[0], figures[8])
    }

    /// Makes the namespace's /sys/class/net reachable, with these interfaces.
    fn show_sysfs(&self, instant: usize, namespace: &str, interfaces: &[Sysfs]) {
        for pid in self.pids_in(instant, namespace) {
            for one in interfaces {
                let dir = format!("proc/{pid}/root/sys/class/net/{}", one.name);
                self.write(instant, &format!("{dir}/ifindex"), &format!("{}\n", one.index));
                self.write(instant, &format!("{dir}/iflink"), &format!("{}\n", one.link));
                if one.hardware {
                    self.link(instant, &format!("{dir}/device"), "../../../0000:00:1e.3");
                }
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Sysfs {
    name: &'static str,
    index: u32,
    link: u32,
    hardware: bool,
}

fn software(name: &'static str, index: u32, link: u32) -> Sysfs {
    Sysfs { name, index, link, hardware: false }
}

fn hardware(name: &'static str, index: u32) -> Sysfs {
    Sysfs { name, index, link: index, hardware: true }
}

fn received(dump: &Dump, uid: &str) -> Option<u64> {
    dump.pod(uid)["network_rx_bytes"].as_u64()
}

fn sent(dump: &Dump, uid: &str) -> Option<u64> {
    dump.pod(uid)["network_tx_bytes"].as_u64()
}

#[track_caller]
fn assert_pod(dump: &Dump, rx: u64, tx: u64) {
    assert!(near(received(dump, POD), rx), "received {:?}, right is {rx}", received(dump, POD));
    assert!(near(sent(dump, POD), tx), "sent {:?}, right is {tx}", sent(dump, POD));
}

/// A function of a card keeps its counters when it moves into a pod's namespace. Its traffic counts
/// from then on.
#[test]
fn hardware_that_moves_into_a_namespace_brings_no_past() {
    let pod = [software("lo", 1, 1), software("eth0", 2, 11), hardware("net1", 9)];
    // With sysfs and without, into a pod that was there.
    for reachable in [true, false] {
        let host = Host::copy(HOST);
        host.add_to_namespace(1, NAMESPACE, &net_dev_row("net1", PAST, PAST));
        if reachable {
            host.show_sysfs(1, NAMESPACE, &pod);
        }
        assert_pod(&host.dump(), 20 * MIB, 8 * MIB);
    }
    // Into a pod that is new. Its own interface counts from 0.
    let host = Host::copy(HOST);
    let namespace = host.namespace_of(1, NEWBORN_PID);
    host.add_to_namespace(1, &namespace, &net_dev_row("net1", PAST, PAST));
    host.show_sysfs(1, &namespace, &pod);
    assert_eq!(received(&host.dump(), NEWBORN), Some(256 << 10));
    // Into the host's namespace.
    let host = Host::copy(HOST);
    host.add_to_host(1, &net_dev_row("ens1f0v3", PAST, PAST));
    let device = "sys/devices/pci0000:00/0000:00:1e.3/net/ens1f0v3";
    host.link(1, &format!("{device}/device"), "../../../0000:00:1e.3");
    host.link(1, "sys/class/net/ens1f0v3", "../../devices/pci0000:00/0000:00:1e.3/net/ens1f0v3");
    assert!(near(host.dump().node("network_rx_bytes"), 50 * MIB));
}

/// Without rights over a new pod a function looks like software. Its index is the one that it had in
/// the host's namespace, and it has carried 3 MiB since.
#[test]
fn a_function_that_leaves_the_host_for_a_new_pod_counts_on() {
    let host = Host::copy(HOST);
    host.add_to_host(0, &net_dev_row("ens1f0v3", PAST, PAST));
    let device = "sys/devices/pci0000:00/0000:00:1e.3/net/ens1f0v3";
    host.link(0, &format!("{device}/device"), "../../../0000:00:1e.3");
    host.write(0, &format!("{device}/ifindex"), "9\n");
    host.link(0, "sys/class/net/ens1f0v3", "../../devices/pci0000:00/0000:00:1e.3/net/ens1f0v3");
    let namespace = host.namespace_of(1, NEWBORN_PID);
    host.add_to_namespace(1, &namespace, &net_dev_row("net1", PAST + 3 * MIB, PAST));
    for pid in host.readable_in(1, &namespace) {
        let file = format!("proc/{pid}/net/dev_snmp6/net1");
        host.write(1, &file, "ifIndex                         \t9\n");
    }
    let dump = host.dump();
    assert_eq!(received(&dump, NEWBORN), Some((256 << 10) + 3 * MIB));
    assert!(near(dump.node("network_rx_bytes"), 50 * MIB));
}

/// Also a pair that a plugin adds to a running pod (`docker network connect`), whatever it shows.
#[test]
fn an_interface_that_arrives_counts_from_its_arrival() {
    let host = Host::copy(HOST);
    host.add_to_namespace(1, NAMESPACE, &net_dev_row("eth1", 5_000_000_000, 1));
    assert_pod(&host.dump(), 20 * MIB, 8 * MIB);
}

#[test]
fn the_index_tells_interfaces_apart_and_a_name_does_not() {
    let rename = |host: &Host, from: &str, to: &str| {
        host.edit_namespace(1, NAMESPACE, |text| text.replace(from, to));
    };
    // A renamed interface counts on.
    let host = Host::copy(HOST);
    host.show_sysfs(0, NAMESPACE, &[software("lo", 1, 1), software("eth0", 2, 11)]);
    rename(&host, "eth0:", "net7:");
    host.show_sysfs(1, NAMESPACE, &[software("lo", 1, 1), software("net7", 2, 11)]);
    assert_pod(&host.dump(), 20 * MIB, 8 * MIB);
    // Another one of the same name begins anew.
    let host = Host::copy(HOST);
    host.show_sysfs(0, NAMESPACE, &[software("lo", 1, 1), software("eth0", 2, 11)]);
    host.show_sysfs(1, NAMESPACE, &[software("lo", 1, 1), software("eth0", 8, 23)]);
    assert_pod(&host.dump(), 0, 0);
    // Without rights over the process its files in /proc/net have the index.
    type Text = fn(u32) -> String;
    let files: [(&str, Text); 2] = [
        ("dev_snmp6/eth0", |index| format!("ifIndex                         \t{index}\n")),
        ("igmp", |index| {
            format!("Idx\tDevice    : Count Querier\tGroup\n{index}\teth0      :     1      V3\n")
        }),
    ];
    for (file, text) in files {
        let host = Host::copy(HOST);
        for (instant, index) in [(0, 2), (1, 8)] {
            for pid in host.readable_in(instant, NAMESPACE) {
                host.write(instant, &format!("proc/{pid}/net/{file}"), &text(index));
            }
        }
        assert_pod(&host.dump(), 0, 0);
    }
}

/// Hardware in a pod's namespace sends by its own wire, so it is the node's traffic too.
#[test]
fn hardware_in_a_pod_is_traffic_of_the_node() {
    let host = Host::copy(HOST);
    for (instant, gained) in [(0, 0), (1, 100 * MIB)] {
        let bytes = 5_000_000_000 + gained;
        host.add_to_namespace(instant, NAMESPACE, &net_dev_row("net1", bytes, bytes));
        let pod = [software("lo", 1, 1), software("eth0", 2, 11), hardware("net1", 9)];
        host.show_sysfs(instant, NAMESPACE, &pod);
    }
    let dump = host.dump();
    assert_pod(&dump, 120 * MIB, 108 * MIB);
    assert!(near(dump.node("network_rx_bytes"), 150 * MIB));
    assert!(near(dump.node("network_tx_bytes"), 120 * MIB));
    // The node's 150 MiB less the pods' 133.25.
    let pods: u64 = dump.0["pods"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|pod| pod["network_rx_bytes"].as_u64())
        .sum();
    let rest = i64::try_from(150 * MIB - pods).unwrap();
    assert_eq!(dump.unattributed("network_rx_bytes"), Some(rest));
}

/// A tunnel or a VLAN above the pod's interface repeats its traffic. With sysfs its links say so,
/// without it the name.
#[test]
fn what_lies_on_another_interface_of_the_pod_is_not_counted_again() {
    let over = |name: &'static str, sysfs: Option<(u32, u32)>| {
        let host = Host::copy(HOST);
        for instant in BOTH {
            let pid = host.readable_in(instant, NAMESPACE).remove(0);
            let (rx, tx) = host.counts(instant, &pid, "eth0");
            let row = net_dev_row(name, rx * 95 / 100, tx * 95 / 100);
            host.add_to_namespace(instant, NAMESPACE, &row);
            if let Some((index, link)) = sysfs {
                let pod =
                    [software("lo", 1, 1), software("eth0", 2, 11), software(name, index, link)];
                host.show_sysfs(instant, NAMESPACE, &pod);
            }
        }
        assert_pod(&host.dump(), 20 * MIB, 8 * MIB);
    };
    for name in [
        "tun0",
        "tap0",
        "wg0",
        "tailscale0",
        "ppp0",
        "eth0.100",
        "vlan7",
        "macvlan0",
        "ipvlan1",
        "vxlan.calico",
        "gre1",
        "sit0",
        "ipsec0",
    ] {
        over(name, None);
    }
    // Any name: a VLAN, macvlan or ipvlan of eth0, a tun or WireGuard without a link, a GRE tunnel.
    for (index, link) in [(5, 2), (7, 7), (8, 0)] {
        over("office", Some((index, link)));
    }
}

/// An interface of a kind that is left out beside others is the way out where it is alone: the tap
/// of a rootless container, the WireGuard of a container that has nothing else.
#[test]
fn the_only_interface_of_a_pod_is_its_way_out_whatever_its_name() {
    for name in ["tap0", "wg0", "tun0", "veth0", "cali7", "eth0.100", "bond0", "docker0"] {
        let host = Host::copy(HOST);
        for instant in BOTH {
            host.edit_namespace(instant, NAMESPACE, |text| {
                text.replace("eth0:", &format!("{name}:"))
            });
        }
        assert_pod(&host.dump(), 20 * MIB, 8 * MIB);
    }
}

/// KubeVirt puts a bridge between the pod's interface, which it renames, and the tap of the virtual
/// machine, and leaves a dummy with the old name.
#[test]
fn a_bridge_between_a_pod_and_its_virtual_machine_counts_once() {
    for reachable in [true, false] {
        let host = Host::copy(HOST);
        for instant in BOTH {
            for pid in host.readable_in(instant, NAMESPACE) {
                let (rx, tx) = host.counts(instant, &pid, "eth0");
                let rows = [
                    net_dev_row("lo", 0, 0),
                    net_dev_row("eth0-nic", rx, tx),
                    net_dev_row("k6t-eth0", rx / 10, 0),
                    net_dev_row("tap0", tx, rx),
                    net_dev_row("eth0", 0, 0),
                ];
                let text = format!("{NET_DEV_HEAD}{}", rows.concat());
                host.write(instant, &format!("proc/{pid}/net/dev"), &text);
                let class = format!("proc/{pid}/root/sys/class/net");
                if !reachable {
                    continue;
                }
                for name in ["lo", "eth0-nic", "k6t-eth0", "tap0", "eth0"] {
                    host.make_dir(instant, &format!("{class}/{name}"));
                }
                host.make_dir(instant, &format!("{class}/k6t-eth0/bridge"));
                for port in ["eth0-nic", "tap0"] {
                    host.make_dir(instant, &format!("{class}/{port}/brport"));
                    host.link(instant, &format!("{class}/{port}/master"), "../k6t-eth0");
                }
            }
        }
        assert_pod(&host.dump(), 20 * MIB, 8 * MIB);
    }
}

/// Adds an interface to the host that shows the traffic of eno1, or the same seen from the other
/// side. The node's own is 50 MiB in and 20 MiB out.
fn with_another_eno1(host: &Host, name: &str, swapped: bool) {
    for instant in BOTH {
        let (rx, tx) = host.counts(instant, "1", "eno1");
        let (rx, tx) = if swapped { (tx, rx) } else { (rx, tx) };
        host.add_to_host(instant, &net_dev_row(name, rx, tx));
        let device = format!("{ENO1}/../{name}");
        let device = device.replace("/eno1/..", "");
        host.link(instant, &format!("{device}/device"), "../../../0000:02:00.0");
        host.link(
            instant,
            &format!("sys/class/net/{name}"),
            &format!("../../{}", device.strip_prefix("sys/").unwrap()),
        );
    }
}

const ENO1: &str = "sys/devices/pci0000:00/0000:00:1c.0/0000:02:00.0/net/eno1";

fn beside_eno1(host: &Host, name: &str, files: &[(&str, &str)]) {
    for instant in BOTH {
        for (file, text) in files {
            let path = format!("{}/{file}", ENO1.replace("/eno1", &format!("/{name}")));
            host.write(instant, &path, &format!("{text}\n"));
        }
    }
}

#[test]
fn the_near_ends_of_a_cards_functions_are_no_traffic_of_the_node() {
    for port in ["pf0vf0", "pf0sf88", "pf1vf12", "c1pf0vf3"] {
        let host = Host::copy(HOST);
        with_another_eno1(&host, "eth8", true);
        beside_eno1(
            &host,
            "eth8",
            &[
                ("phys_port_name", port),
                ("phys_switch_id", "3a2b1c"),
                ("ifindex", "40"),
                ("iflink", "40"),
            ],
        );
        beside_eno1(&host, "eno1", &[("phys_port_name", "p0"), ("phys_switch_id", "3a2b1c")]);
        let dump = host.dump();
        assert!(near(dump.node("network_rx_bytes"), 50 * MIB), "{port}");
        assert!(near(dump.node("network_tx_bytes"), 20 * MIB), "{port}");
    }
    // A second port of the same card leads to a wire of its own: eno1 once more.
    let host = Host::copy(HOST);
    with_another_eno1(&host, "eth8", false);
    beside_eno1(&host, "eth8", &[("phys_port_name", "p1"), ("phys_switch_id", "3a2b1c")]);
    beside_eno1(&host, "eno1", &[("phys_port_name", "p0"), ("phys_switch_id", "3a2b1c")]);
    let (before, now) = (host.counts(0, "1", "eno1").0, host.counts(1, "1", "eno1").0);
    let right = 50 * MIB + now - before;
    assert!(near(host.dump().node("network_rx_bytes"), right));
}

/// The port of a switch (DSA) sends by the interface between the processor and the switch.
#[test]
fn the_ports_of_a_switch_are_counted_by_its_conduit() {
    let by_index: &[(&str, &str)] = &[("ifindex", "40"), ("iflink", "2")];
    let by_link: &[(&str, &str)] = &[("lower_eno1/ifindex", "2")];
    for files in [by_index, by_link] {
        let host = Host::copy(HOST);
        beside_eno1(&host, "eno1", &[("ifindex", "2"), ("iflink", "2")]);
        with_another_eno1(&host, "lan1", false);
        beside_eno1(&host, "lan1", files);
        assert!(near(host.dump().node("network_rx_bytes"), 50 * MIB), "{files:?}");
    }
}

/// A node that is a container: no hardware, and the pods' ends beside its own interface.
#[test]
fn a_node_without_hardware_counts_the_way_out() {
    let in_use = "00000003";
    let refused = "00200200";
    let ipv6 = |name: &str, flags: &str| {
        let zero = "0".repeat(32);
        format!("{zero} 00 {zero} 00 {zero} 00000400 00000001 00000000 {flags} {name}\n")
    };
    let heading = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n";
    let ipv4 = "eth0\t00000000\t010011AC\t0003\t0\t0\t0\t00000000\n";
    // By IPv6 alone, by IPv4 alone, and without any default route.
    let routes = [
        (heading.to_owned(), ipv6("eth0", in_use)),
        (format!("{heading}{ipv4}"), ipv6("lo", refused)),
        (heading.to_owned(), ipv6("lo", refused)),
        (heading.to_owned(), String::new()),
    ];
    for (number, (ipv4, ipv6)) in routes.iter().enumerate() {
        let host = Host::copy(HOST);
        for instant in BOTH {
            let gained = instant as u64 * 10 * MIB;
            let rows = [
                ("lo", 0, 0),
                ("eth0", 1_000_000_000 + gained, 500_000_000 + gained),
                ("cilium_net", 2000 + gained / 100, 0),
                ("cilium_host", 3000, gained / 100),
                ("cilium_vxlan", 70_000_000 + gained / 2, 70_000_000 + gained / 2),
                ("wg0", 70_000_000 + gained / 2, 70_000_000 + gained / 2),
                ("lxc_health", 100, 100),
                ("lxc1a2b3c4d5e6f", 80_000_000 + gained / 2, 90_000_000 + gained / 2),
            ];
            let text: String =
                rows.iter().map(|(name, rx, tx)| net_dev_row(name, *rx, *tx)).collect();
            host.edit_host(instant, |_| format!("{NET_DEV_HEAD}{text}"));
            host.remove(instant, "sys/class/net");
            for (name, ..) in rows {
                host.make_dir(instant, &format!("sys/class/net/{name}"));
            }
            for process in ["proc", "proc/1"] {
                host.write(instant, &format!("{process}/net/route"), ipv4);
                host.write(instant, &format!("{process}/net/ipv6_route"), ipv6);
            }
        }
        let dump = host.dump();
        assert!(
            near(dump.node("network_rx_bytes"), 10 * MIB),
            "{number}: {:?}",
            dump.node("network_rx_bytes")
        );
        assert!(near(dump.node("network_tx_bytes"), 10 * MIB), "{number}");
    }
}

#[test]
fn two_containers_in_one_namespace_have_its_traffic_once() {
    let host = Host::copy("6.12-podman-bare");
    for instant in BOTH {
        let namespace = host.namespace_of(instant, "1510");
        host.link(instant, "proc/1610/ns/net", &namespace);
        let text = host.read(instant, "proc/1510/net/dev");
        host.write(instant, "proc/1610/net/dev", &text);
    }
    let dump = host.dump();
    let containers = dump.0["host_units"].as_array().unwrap().iter();
    let rx: u64 = containers
        .filter(|unit| unit["unit_kind"] == "container")
        .filter_map(|unit| unit["network_rx_bytes"].as_u64())
        .sum();
    // The first one's 4 MiB, and 1 MiB of the rootless one.
    assert_eq!(rx, 5 * MIB);
}

/// A node in a container, with pods in it: their traffic is in the container's too.
#[test]
fn the_pods_of_a_node_in_a_container_are_balanced_once() {
    let dump = Host::copy("6.1-containerd-kind").dump();
    let balance = |resource: &str, key: &str| dump.0["conservation"][resource][key].as_u64();
    // The node 12 MiB in; redis 3 and the node's container 6, with the 3 MiB of its pods in them.
    assert_eq!(dump.node("network_rx_bytes"), Some(12 * MIB));
    assert_eq!(balance("network_rx_bytes", "host_units"), Some(9 * MIB));
    assert_eq!(balance("network_rx_bytes", "pods"), Some(0));
    assert_eq!(dump.unattributed("network_rx_bytes"), Some(3 << 20));
    assert_eq!(balance("network_rx_bytes", "inside_node"), Some(0));
    // 28 MiB out; redis 6 and the node's container 20.
    assert_eq!(balance("network_tx_bytes", "host_units"), Some(26 * MIB));
    assert_eq!(dump.unattributed("network_tx_bytes"), Some(2 << 20));
    // The pods' own figures stay.
    assert_eq!(received(&dump, "3da18e20"), Some(2 * MIB));
    assert_eq!(sent(&dump, "3da18e20"), Some(16 * MIB));
}

/// Traffic from owner to owner does not pass the node's cards: 30 MiB between two pods.
#[test]
fn traffic_between_owners_is_a_figure_of_its_own() {
    let host = Host::copy(HOST);
    let pids = [host.readable_in(1, NAMESPACE), host.readable_in(1, "net:[4026532201]")];
    for pid in pids.concat() {
        let (rx, tx) = host.counts(1, &pid, "eth0");
        host.edit_line(
            1,
            &format!("proc/{pid}/net/dev"),
            |line| line.contains("eth0:"),
            |_| net_dev_row("eth0", rx + 30 * MIB, tx + 30 * MIB).trim_end().to_owned(),
        );
    }
    let before = Host::copy(HOST).dump();
    let dump = host.dump();
    for resource in ["network_rx_bytes", "network_tx_bytes"] {
        let of = |dump: &Dump, key: &str| dump.0["conservation"][resource][key].as_i64().unwrap();
        let owners = |dump: &Dump| of(dump, "pods") + of(dump, "host_units") + of(dump, "exited");
        assert_eq!(owners(&dump), owners(&before) + (60 << 20));
        let node = of(&dump, "node");
        assert_eq!(of(&dump, "inside_node"), (owners(&dump) - node).max(0), "{resource}");
        assert_eq!(of(&dump, "unattributed"), (node - owners(&dump)).max(0), "{resource}");
        assert!(of(&dump, "inside_node") > 0, "{resource}");
    }
}
