"""TCP of pods in the host's network namespace and of host units, by socket."""

import time

import host
from agent import Dump
from host import MIB, Cgroup, Stage, emulated, sh
from scenarios import by_uid, own_network_card

SINK_PORT = 7008
SERVER_PORT = 7009


def host_network(verdict):
    """Pods in the host's namespace and a unit: who sent over TCP is given that, also over connections
    that no sample saw, and nobody the host's totals; UDP and what was opened from here for less than a
    second stand in the remainder."""
    own_network_card()
    sh("systemd-run", "--quiet", "--unit=sink-peer", "-p", "NetworkNamespacePath=/run/netns/peer",
       host.LOAD, "sink", SINK_PORT)  # fmt: skip
    time.sleep(1)
    stage, peer = Stage("sockets"), f"10.88.0.2:{SINK_PORT}"
    sender, quiet, talker, once, caller, server = (host.uid_of(600 + at) for at in range(6))
    loads = {
        sender: stage.arguments("sender", tcp=peer, tcp_mib=100),
        quiet: stage.arguments("quiet", cpu_msec=100),
        # One connection that is opened and closed within the interval, and several.
        once: stage.arguments("once", calls=peer, call_count=1, call_kib=100 << 10, call_msec=2500),
        caller: stage.arguments("caller", calls=peer, call_count=5, call_kib=10 << 10, call_msec=4000),
        # Neither a connection that ends within a second nor a datagram can be given to it.
        talker: stage.arguments("talker", tcp=peer, tcp_short_mib=6,
                                udp=f"10.88.0.2:{host.ECHO_PORT}", datagrams=1000),
    }  # fmt: skip
    children = []
    for number, (uid, load) in enumerate(loads.items(), 600):
        cgroup = Cgroup(f"kubepods/burstable/pod{uid}/{host.id_of(number)}")
        children.append(cgroup.spawn(load))
    sink = Cgroup(f"kubepods/burstable/pod{server}/{host.id_of(605)}").spawn(["sink", SERVER_PORT])
    # Short ones towards it.
    asking = stage.arguments("asking", calls=f"10.88.0.1:{SERVER_PORT}", call_count=300, call_kib=10)
    sh("systemd-run", "--quiet", "--unit=asking-peer", "-p", "NetworkNamespacePath=/run/netns/peer",
       host.LOAD, *asking)  # fmt: skip
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
    sent = (
        (sender, done["sender"]["tcp_sent_bytes"]),
        (once, done["once"]["called_bytes"]),
        (caller, done["caller"]["called_bytes"]),
        (quiet, 0),
    )
    for uid, want in sent:
        pod = seen.get(uid, {})
        what = f"pod {uid} network_tx_bytes"
        verdict.true(pod.get("host_network") is True, f"pod {uid} is in the host's namespace")
        verdict.true(pod.get("network_from") == "tcp_sockets", f"{what} is of its sockets")
        if uid == caller and emulated():
            # Sockets are listed about once a second of which a part is free, and an emulated processor that
            # five loads share lists too seldom for some connections of four seconds.
            verdict.at_least(what, pod.get("network_tx_bytes"), want // 2)
            verdict.at_most(what, pod.get("network_tx_bytes"), want * 1.02)
        elif want:
            verdict.near(what, pod.get("network_tx_bytes"), want, 0.02, group="tcp")
        else:
            verdict.at_most(what, pod.get("network_tx_bytes"), 100)
        verdict.at_most(f"pod {uid} network_rx_bytes", pod.get("network_rx_bytes"), 100)
    received = seen.get(server, {}).get("network_rx_bytes")
    verdict.near("server network_rx_bytes", received, done["asking"]["called_bytes"], 0.02, group="tcp")
    units = {row["name"]: row for row in document["host_units"]}
    verdict.near("unit network_tx_bytes", units.get("unit-sender.service", {}).get("network_tx_bytes"),
                 done["unit"]["tcp_sent_bytes"], 0.02, group="tcp")  # fmt: skip
    balance = document["conservation"]["network_tx_bytes"]
    # On a slow machine it may live long enough to be seen.
    short = seen.get(talker, {}).get("network_tx_bytes", 0)
    verdict.at_most("talker network_tx_bytes", short, done["talker"]["tcp_short_bytes"] + 100)
    unseen = max(0, done["talker"]["tcp_short_bytes"] - short) + done["talker"]["sent_bytes"]
    verdict.true(unseen > MIB, f"the talker sent {unseen} bytes")
    called = done["caller"]["called_bytes"]
    unseen += max(0, called - seen.get(caller, {}).get("network_tx_bytes", 0))
    # Beside it, the headers of all the rest.
    verdict.at_least("unattributed network_tx_bytes", balance["unattributed"], unseen)
    verdict.at_most("unattributed network_tx_bytes", balance["unattributed"],
                    unseen + balance["node"] * 0.06)  # fmt: skip
    parts = sum(balance[key] for key in ("pods", "host_units", "kernel", "exited", "unattributed"))
    verdict.true(parts == balance["node"], f"the parts come to {parts} of {balance['node']}")
    verdict.say(f"node sent {balance['node'] / MIB:.0f} MiB, unattributed "
                f"{balance['unattributed'] / MIB:.1f} MiB of which {unseen / MIB:.1f} unseen")
    stage.close()
    sink.kill()
    for child in [*children, sink]:
        child.wait()
    sh("systemctl", "stop", "sink-peer", check=False)
    host.remove_tree(host.CGROUPS / "kubepods")
