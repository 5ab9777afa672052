"""Starts in the guest: runs what order.json asks for, and says on the serial port what came of it."""

import json
import os
import signal
import sys
import time
import traceback
from pathlib import Path

import agent
import cost
import endurance
import host_network
import low_load
import package
import runtimes
import scenarios
import service
from host import Broken, emulated
from verdict import Verdict

SCENARIOS = {
    "node": scenarios.node,
    "pods-systemd": scenarios.pods_systemd,
    "short-jobs": scenarios.short_jobs,
    "low-load": low_load.low_load,
    "watch-limits": scenarios.watch_limits,
    "host-network": host_network.host_network,
    "pods-cgroupfs": scenarios.pods_cgroupfs,
    "stacked-disks": scenarios.stacked_disks,
    "trouble": scenarios.trouble,
    "churn": endurance.churn,
    "restart": endurance.restart,
    "service": service.service,
    "package": package.package,
    "cost": cost.cost,
}

# So that one that hangs does not take the others with it.
SCENARIO_SECONDS_MAX = 300
SECONDS_MAX = {"cost": 600, "pods-systemd": 450, "service": 450}


def tell(kind, text):
    # One write a line: the host reads the port while it grows.
    sys.stdout.write(f"{kind} {text}\n")
    sys.stdout.flush()


def too_long(*_):
    raise Broken("not done in time")


def run(name, scenario):
    """Plays it, and once more if it failed where the processor is emulated: there a busy machine
    takes the guest's CPUs away in the middle of a measurement. Both are told."""
    result = play(name, scenario)
    if not result["ok"] and emulated():
        result["said"] += "; AND AGAIN, since the processor is emulated"
        tell("RESULT", json.dumps({**result, "again": True}))
        result = play(name, scenario)
    tell("RESULT", json.dumps(result))


def play(name, scenario):
    tell("BEGIN", name)
    verdict, begun = Verdict(), time.monotonic()
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(SECONDS_MAX.get(name, SCENARIO_SECONDS_MAX))
    try:
        scenario(verdict)
    except Broken as trouble:
        verdict.failures.append(f"the scenario could not be played: {trouble}")
    except Exception:
        verdict.failures.append(traceback.format_exc(limit=-3).strip().replace("\n", " / "))
    finally:
        signal.alarm(0)
    result = {
        "name": name,
        "ok": not verdict.failures,
        "seconds": time.monotonic() - begun,
        "said": verdict.summary(),
        "table": verdict.table,
        "failures": verdict.failures[:12],
    }
    if len(verdict.failures) > 12:
        result["failures"].append(f"and {len(verdict.failures) - 12} more")
    return result


def main():
    order = json.loads(Path(__file__).with_name("order.json").read_text())
    tell("SAY", f"{runtimes.versions()}; {os.cpu_count()} CPUs, cgroup v2")
    unknown = [name for name in order["scenarios"] if name not in SCENARIOS]
    if unknown:
        known = ", ".join(SCENARIOS)
        result = {"name": ", ".join(unknown), "ok": False, "seconds": 0, "said": "no such scenario",
                  "failures": [f"known: {known}"]}  # fmt: skip
        tell("RESULT", json.dumps(result))
        tell("END", "")
        return
    code, said = agent.check()
    for line in said.splitlines():
        tell("SAY", f"check| {line}")
    tell("SAY", f"check| exit {code}")
    # Where all are asked for, those that were handed what they need.
    every = [name for name in SCENARIOS if name != "package" or package.PACKAGE.exists()]
    for name in order["scenarios"] or every:
        run(name, SCENARIOS[name])
    tell("END", "")


if __name__ == "__main__":
    main()
