"""Scenarios of the running agent: restarts, and pods that come and go."""

import signal
import time
from pathlib import Path

import host
from agent import Posts, Run, total
from host import MIB, Cgroup, Stage

DATA = Path("/var/lib/loads")


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
    verdict.near("node disk_io.write_bytes", total(posts.nodes(first), "disk_io", "write_bytes"),
                 done["written_bytes"], 0.02, slack=2 * MIB)  # fmt: skip
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
    """Twenty pods made and removed a second for 30 s, during sampling."""
    posts = Posts(7701)
    agent = Run(posts, 1)
    standing = Cgroup("kubepods/besteffort")
    posts.wait_for_node(20)
    posts.wait_for_node(20)
    files, resident = agent.open_files(), agent.resident_bytes()
    begun, made, alive, most_files = time.monotonic(), 0, [], files
    while time.monotonic() < begun + 30:
        due = int((time.monotonic() - begun) * 20)
        while made < due:
            number = 10_000 + made
            cgroup = Cgroup(f"kubepods/besteffort/pod{host.uid_of(number)}/{host.id_of(number)}")
            alive.append((time.monotonic(), cgroup, cgroup.spawn(["pause"])))
            made += 1
        while alive and alive[0][0] < time.monotonic() - 1:
            _, cgroup, child = alive.pop(0)
            child.kill()
            child.wait()
            host.remove_tree(cgroup.path.parent)
        most_files = max(most_files, agent.open_files())
        time.sleep(0.01)
    took = time.monotonic() - begun
    for _, cgroup, child in alive:
        child.kill()
        child.wait()
        host.remove_tree(cgroup.path.parent)
    standing.remove()
    for _ in range(5):
        posts.wait_for_node(20)
    verdict.true(agent.process.poll() is None, f"the agent ended with {agent.process.poll()}")
    verdict.at_least("pods made", made, 500)
    verdict.at_least("pods seen", len(posts.pods()), made // 4)
    verdict.at_most("open files afterwards", agent.open_files(), files + 2)
    # A tenth and a half MiB: what an allocator keeps in hand.
    verdict.at_most("resident afterwards", agent.resident_bytes(), resident * 1.1 + MIB / 2)
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
    verdict.say(f"{made} pods in {took:.0f} s, {len(posts.pods())} seen; up to {most_files} open "
                f"files, {files} before; RSS {resident / MIB:.1f} MiB before; {agent.cost()}")  # fmt: skip
    agent.stop()
    posts.close()
