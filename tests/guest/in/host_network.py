"""TCP of pods in the host's network namespace and of host units, by socket."""

import time

import host
from agent import Dump
from host import MIB, Cgroup, Stage, sh
from scenarios import by_uid, own_network_card

SINK_PORT = 7008


def host_network(verdict):
    """Two pods in the host's namespace and a unit: who sent over TCP is given that, and nobody the
    host's totals; UDP and what was too short to be seen stand in the remainder."""
    own_network_card()
    sh("systemd-run", "--quiet", "--unit=sink-peer", "-p", "NetworkNamespacePath=/run/netns/peer",
       host.LOAD, "sink", SINK_PORT)  # fmt: skip
    time.sleep(1)
    stage, peer = Stage("sockets"), f"10.88.0.2:{SINK_PORT}"
    sender, quiet, talker = (host.uid_of(600 + number) for number in range(3))
    loads = {
        sender: stage.arguments("sender", tcp=peer, tcp_mib=100),
        quiet: stage.arguments("quiet", cpu_msec=100),
        # Neither a connection that no sample sees nor a datagram can be given to it.
        talker: stage.arguments("talker", tcp=peer, tcp_short_mib=6,
                                udp=f"10.88.0.2:{host.ECHO_PORT}", datagrams=1000),
    }  # fmt: skip
    children = []
    for number, (uid, load) in enumerate(loads.items(), 600):
        cgroup = Cgroup(f"kubepods/burstable/pod{uid}/{host.id_of(number)}")
        children.append(cgroup.spawn(load))
    unit = stage.arguments("unit", tcp=peer, tcp_mib=20)
    sh("systemd-run", "--quiet", "--unit=unit-sender", host.LOAD, *unit)
    stage.ready()
    time.sleep(1)
    dump = Dump(45)
    done = stage.go()
    # What the peer has yet to acknowledge.
    time.sleep(1)
    document = dump.end()
    seen = by_uid(document)
    for uid, want in ((sender, done["sender"]["tcp_sent_bytes"]), (quiet, 0), (talker, 0)):
        pod = seen.get(uid, {})
        what = f"pod {uid} network_tx_bytes"
        verdict.true(pod.get("host_network") is True, f"pod {uid} is in the host's namespace")
        verdict.true(pod.get("network_from") == "tcp_sockets", f"{what} is of its sockets")
        if want:
            verdict.near(what, pod.get("network_tx_bytes"), want, 0.02, group="tcp")
        else:
            verdict.at_most(what, pod.get("network_tx_bytes"), 100)
        verdict.at_most(f"pod {uid} network_rx_bytes", pod.get("network_rx_bytes"), 100)
    units = {row["name"]: row for row in document["host_units"]}
    verdict.near("unit network_tx_bytes", units.get("unit-sender.service", {}).get("network_tx_bytes"),
                 done["unit"]["tcp_sent_bytes"], 0.02, group="tcp")  # fmt: skip
    balance = document["conservation"]["network_tx_bytes"]
    unseen = done["talker"]["tcp_short_bytes"] + done["talker"]["sent_bytes"]
    verdict.true(unseen > 7 * MIB, f"the talker sent {unseen} bytes")
    # Beside it, the headers of all the rest.
    verdict.at_least("unattributed network_tx_bytes", balance["unattributed"], unseen)
    verdict.at_most("unattributed network_tx_bytes", balance["unattributed"],
                    unseen + balance["node"] * 0.06)  # fmt: skip
    parts = sum(balance[key] for key in ("pods", "host_units", "kernel", "exited", "unattributed"))
    verdict.true(parts == balance["node"], f"the parts come to {parts} of {balance['node']}")
    verdict.say(f"node sent {balance['node'] / MIB:.0f} MiB, unattributed "
                f"{balance['unattributed'] / MIB:.1f} MiB of which {unseen / MIB:.1f} unseen")
    stage.close()
    for child in children:
        child.wait()
    sh("systemctl", "stop", "sink-peer", check=False)
    host.remove_tree(host.CGROUPS / "kubepods")
