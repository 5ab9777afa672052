"""The test's own view of the node: /proc read often, and what it came to at an instant between."""

import calendar
import os
import threading
import time
from pathlib import Path


def disk_totals():
    """Bytes read and written by the whole disks of this guest."""
    read = written = 0
    for line in Path("/proc/diskstats").read_text().splitlines():
        fields = line.split()
        if fields[2] in ("vda", "vdb", "vdc"):
            read += int(fields[5]) * 512
            written += int(fields[9]) * 512
    return read, written


def look():
    cpu = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    idle, iowait, _irq, _softirq, steal = cpu[3:8]
    memory = {}
    for line in Path("/proc/meminfo").read_text().splitlines():
        key, value = line.split(":")
        memory[key] = int(value.split()[0]) * 1024
    read, written = disk_totals()
    card = next(
        line for line in Path("/proc/net/dev").read_text().splitlines() if "eth0:" in line
    )
    card = [int(word) for word in card.partition(":")[2].split()]
    return {
        # Idle time is measured, use is counted by the tick, and an emulated CPU that its machine
        # is too busy to run misses ticks.
        "cpu_busy_usec": os.cpu_count() * time.monotonic_ns() // 1000
        - (idle + iowait + steal) * 10_000,
        "disk_read_bytes": read,
        "disk_written_bytes": written,
        "network_rx_bytes": card[0],
        "network_tx_bytes": card[8],
        "memory_used_bytes": memory["MemTotal"] - memory["MemFree"],
        "memory_working_set_bytes": memory["MemTotal"] - memory["MemFree"]
        - memory["Inactive(file)"],
    }


def run_usec():
    """What all CPUs have run, on the clock of the cgroups' own CPU time. /proc/stat is counted by
    the tick, and an emulated CPU that its machine is too busy to run misses ticks."""
    rows = [line.split() for line in Path("/proc/schedstat").read_text().splitlines()]
    return sum(int(row[7]) for row in rows if row[0].startswith("cpu")) // 1000


class Watch:
    def __init__(self, every=0.1):
        self.looks = []
        self.every = every
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.over.wait(self.every):
            at = time.time()
            self.looks.append((at, look()))

    def end(self):
        self.over.set()
        self.thread.join()

    def at(self, instant):
        """Every figure at a time between two looks, by a straight line between them."""
        before = after = None
        for row in self.looks:
            if row[0] <= instant:
                before = row
            elif after is None:
                after = row
        if before is None or after is None:
            raise AssertionError(f"{instant} lies outside of what was watched")
        part = (instant - before[0]) / (after[0] - before[0])
        return {key: was + (after[1][key] - was) * part for key, was in before[1].items()}


def unix_of(stamp):
    """Of `2026-01-02T03:04:05.678Z`."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{fraction or 0}")
