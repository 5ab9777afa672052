"""Scenarios of the running agent: restarts, and pods that come and go."""

import signal
import subprocess
import time
from pathlib import Path

import host
from agent import Posts, Run, total
from host import MIB, Cgroup, Stage
from node import disk_totals

DATA = Path("/var/lib/loads")
# That the agent ever keeps open: fifteen and the directory.
FILES_PER_CGROUP = 16


def restart(verdict):
    """SIGTERM and SIGKILL in the middle: the sums neither lose nor double an interval."""
    DATA.mkdir(exist_ok=True)
    posts, stage = Posts(), Stage("restart")
    uid, netns = host.uid_of(500), host.network(500)
    cgroup = Cgroup(f"kubepods/burstable/pod{uid}/{host.id_of(500)}")
    state = "/run/nodetally-restart"
    load = stage.arguments(
        "restart", file=DATA / "restart", write_mib=2, read_mib=1, steps=60, step_msec=400,
        udp=f"{host.GATEWAY}:{host.ECHO_PORT}", datagrams=2000,
    )  # fmt: skip
    child = cgroup.spawn(load, netns)
    stage.ready()
    host.sh("sync")
    agent = Run(posts, 2, state)
    posts.wait_for_node(20)
    first = posts.wait_for_node(20)
    node_before = disk_totals()
    stage.begin()
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        time.sleep(5.3)
        agent.stop(number)
        time.sleep(2.1)
        agent = Run(posts, 2, state)
    done = stage.done()["restart"]
    # The sample that has the last of it, and one more to be sure that nothing comes twice.
    for _ in range(3):
        posts.wait_for_node(20)
    node_after = disk_totals()
    time.sleep(0.5)
    own = [post for post in posts.pods(first).get(uid, [])]
    pairs = [
        (("disk_io", "write_bytes"), "written_bytes"),
        (("disk_io", "read_bytes"), "read_bytes"),
        (("network_io", "bytes_sent"), "sent_bytes"),
        (("network_io", "bytes_recv"), "received_bytes"),
    ]
    for keys, want in pairs:
        verdict.near(f"pod {'.'.join(keys)}", total(own, *keys), done[want], 0.01, group=want)
    for keys, before, after in zip((("disk_io", "read_bytes"), ("disk_io", "write_bytes")),
                                   node_before, node_after):  # fmt: skip
        verdict.near(f"node {'.'.join(keys)}", total(posts.nodes(first), *keys), after - before,
                     0.01, group="node " + keys[1])  # fmt: skip
    verdict.say(f"{len(own)} posts over 4 restarts, {agent.cost()}")
    if verdict.failures:
        series = [(round(post[0] - first, 1), post[2]["disk_io"]["write_bytes"]) for post in own]
        verdict.failures.append(f"posts of the pod, seconds and bytes written: {series}")
        verdict.failures.append(f"log: {agent.log.read_text()[-600:]}")
    agent.stop()
    stage.close()
    child.wait()
    posts.close()
    host.remove_tree(host.CGROUPS / "kubepods")
    host.remove_network(500)


def churn(verdict):
    """Twenty pods made and removed a second for 30 s, during sampling; and the same twice more, so
    that what is kept in hand for the next pods is told from what is lost."""
    posts = Posts(7701)
    agent = Run(posts, 1)
    parent = Cgroup("kubepods/besteffort/held").path.parent
    posts.wait_for_node(20)
    posts.wait_for_node(20)
    memory, files, most_files = [agent.anonymous_bytes()], [], 0
    for number in range(3):
        child = subprocess.Popen(
            [host.LOAD, "churn", parent, str(10_000 * (1 + number)), "20", "30", "1000"],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        while child.poll() is None:
            most_files = max(most_files, len(agent.open_files("/pod0")))
            time.sleep(0.5)
        made, took_msec, alive = map(int, child.stdout.read().split())
        verdict.true(made == 600, f"expected 600 pods made, got {made}")
        verdict.say(f"{made} pods made in {took_msec / 1000:.0f} s, up to {alive} at once")
        for _ in range(5):
            posts.wait_for_node(20)
        memory.append(agent.anonymous_bytes())
        files.append(agent.open_files("kubepods"))
        # Of pods that are gone nothing may be open. Of the three cgroups that stay, how much is
        # depends on whether each rested in the last tick, and one more is open in passing if this
        # looks in the middle of a tick; something lost at every pod or every listing comes to
        # hundreds.
        pods = [path for path in files[-1] if "/pod0" in path]
        verdict.true(not pods, f"files of removed pods are open: {pods[:3]}")
        verdict.at_most("open files of their parents", len(files[-1]), 3 * FILES_PER_CGROUP + 2)
    verdict.true(agent.process.poll() is None, f"the agent ended with {agent.process.poll()}")
    seen = len(posts.pods())
    verdict.at_least("pods seen", seen, 600)
    # Else there was nothing to be left open.
    verdict.at_least("files of pods open while they stood", most_files, 1)
    verdict.at_most("anonymous memory after the third round beside the second", memory[3],
                    memory[2] * 1.05 + MIB / 4)  # fmt: skip
    for _, path, body in posts.since(0):
        figures = [body["cpu_millicores"], body["memory_bytes"], *body["disk_io"].values(),
                   *body["network_io"].values()]  # fmt: skip
        verdict.true(all(figure >= 0 for figure in figures), f"negative: {path} {body}")
        verdict.true(body["cpu_millicores"] <= 2100, f"more than 2 CPUs: {path} {body}")
        verdict.true(body["disk_io"]["write_bytes"] < 1 << 30, f"a spike: {path} {body}")
    complaints = [
        line for line in agent.log.read_text().splitlines() if "WARN" in line or "ERROR" in line
    ]
    verdict.true(not complaints, f"the log complains: {complaints[:3]}")
    verdict.say(f"{seen} pods seen; up to {most_files} files of pods open, "
                f"then {[len(paths) for paths in files]} of their parents; anonymous KiB "
                f"{[bytes // 1024 for bytes in memory]}; {agent.cost()}")  # fmt: skip
    agent.stop()
    posts.close()
    host.remove_tree(host.CGROUPS / "kubepods")
