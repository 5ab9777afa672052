"""The balance of CPU under loads that hardly use it: many short sleeps, a sender, forks, burners."""

import sys
import textwrap

from agent import Dump
from host import Cgroup, emulated
from scenarios import own_network_card

SECONDS = 30
# Of each load: all of them have five minutes. Five are the goal, with a longer limit.
TIMES = 1
# The larger of the two counts. An emulated CPU misses a third of the ticks of such loads, and its idle
# time begins and ends late, so there only the bound that the dump states can hold.
MOST_SHARE = 0.01
MOST_USEC = 20_000

PART_TIME = """
    import time
    while True:
        until = time.monotonic() + WORK
        while time.monotonic() < until:
            pass
        time.sleep(SLEEP)
"""
LOADS = {
    "burner": "while True: pass",
    "part time": PART_TIME.replace("WORK", "0.002").replace("SLEEP", "0.008"),
    "short sleeps": PART_TIME.replace("WORK", "0.0002").replace("SLEEP", "0.001"),
    "forks": """
        import os
        while True:
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)
    """,
    "sender": """
        import socket, time
        out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        while True:
            for _ in range(100):
                out.sendto(b"x" * 1400, ("10.88.0.2", 9))
            time.sleep(0.01)
    """,
}


def low_load(verdict):
    """|unattributed| is within the bound that the dump states, and on a real processor at most 1 % of
    busy or 20 ms."""
    own_network_card()
    for name, program in LOADS.items():
        for turn in range(TIMES):
            dump = Dump(SECONDS)
            cgroup = Cgroup(f"lowload/{name.replace(' ', '-')}.service")
            child = cgroup.spawn(["-c", textwrap.dedent(program)], program=sys.executable)
            document = dump.end()
            child.kill()
            child.wait()
            cpu = document["conservation"]["cpu_usec"]
            of_node = document["node"]
            verdict.say(
                f"{name} {turn}: busy {cpu['node']}, by idle "
                f"{of_node.get('cpu_busy_by_idle_usec')}, by ticks "
                f"{of_node.get('cpu_busy_by_ticks_usec')}, interrupts {cpu['interrupts']}, "
                f"unattributed {cpu['unattributed']} within {cpu.get('uncertainty')}"
            )
            if not emulated():
                most = max(cpu["node"] * MOST_SHARE, MOST_USEC)
                verdict.at_most(f"{name}: unattributed", abs(cpu["unattributed"]), most)
            bound = cpu.get("uncertainty", 0)
            verdict.at_most(f"{name}: beside its bound", abs(cpu["unattributed"]), bound)
