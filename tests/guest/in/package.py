"""The Debian package on a booted system: installed, upgraded beside a load, removed, purged."""

import json
import re
import time
import urllib.request
from pathlib import Path

import host
import scenarios
from agent import PACKAGE, Posts, total
from host import Cgroup, Stage, sh
from node import disk_totals
from service import CONFIG, UNIT, UNIT_FILE, journal, shown

BINARY = Path("/usr/bin/nodetally")
RESUMED = "resumed from the counters"
# systemd's word for a service that it need not kill.
STOPPED = "Deactivated successfully"
# All that it may leave behind a purge is in the journal.
OWN = ("/etc/nodetally", "/etc/default/nodetally", "/var/lib/nodetally", "/var/lib/private/nodetally",
       "/run/nodetally", "/run/private/nodetally", "/usr/lib/systemd/system/nodetally.service",
       "/etc/systemd/system/multi-user.target.wants/nodetally.service")  # fmt: skip


def package(verdict):
    if not PACKAGE.exists():
        raise host.Broken("no package: tests/guest/run --package FILE package")
    # Of the scenario `service`, which installs by hand: a unit in /etc wins over a package's.
    for left in (UNIT_FILE, CONFIG, Path("/usr/local/bin/nodetally")):
        left.unlink(missing_ok=True)
    posts = Posts(7703)
    try:
        install(verdict)
        upgrade(verdict, posts)
        remove(verdict)
    finally:
        sh("dpkg", "--purge", "nodetally", check=False)
        posts.close()


def install(verdict):
    begun = time.monotonic()
    sh("dpkg", "-i", PACKAGE)
    verdict.say(f"installed in {time.monotonic() - begun:.1f} s")
    verdict.true(shown("SubState") == "running", f"it runs once it is installed: {journal()[-800:]}")
    verdict.true(shown("UnitFileState") == "enabled", f"it starts at a boot: {shown('UnitFileState')}")
    verdict.true(shown("FragmentPath").endswith("lib/systemd/system/nodetally.service"),
                 f"the package's unit: {shown('FragmentPath')}")  # fmt: skip
    # As docs/install.md tells a newcomer, with the package's configuration.
    node = Path("/proc/sys/kernel/hostname").read_text().strip()
    with urllib.request.urlopen(f"http://127.0.0.1:7643/api/nodes/{node}", timeout=10) as answer:
        verdict.true(json.load(answer) is not None, "its own receiver answers")
    said = sh("nodetally", "--version")
    verdict.true(re.search(r"^target: \w+-unknown-linux-musl$", said, re.MULTILINE), said)


def newer_package():
    """The same package by the next version's number."""
    tree = Path("/run/newer-package")
    sh("rm", "-rf", tree)
    sh("dpkg-deb", "-R", PACKAGE, tree)
    control = tree / "DEBIAN/control"
    text = control.read_text()
    control.write_text(re.sub(r"^Version: .*$", "Version: 99.0.0-1", text, flags=re.MULTILINE))
    made = Path("/run/newer.deb")
    # Unpacked again in the guest, so the least packing is the fastest.
    sh("dpkg-deb", "-Znone", "-b", tree, made)
    return made


def upgrade(verdict, posts):
    newer = newer_package()
    CONFIG.write_text(
        '[sampling]\ninterval = "2s"\n[[endpoint]]\nname = "central"\n'
        f'url = "{posts.url}"\nspread = "0s"\n'
    )
    mine = CONFIG.read_text()
    sh("systemctl", "restart", UNIT)

    scenarios.DATA.mkdir(exist_ok=True)
    stage = Stage("package")
    uid = host.uid_of(640)
    cgroup = Cgroup(f"kubepods/burstable/pod{uid}/{host.id_of(640)}")
    load = stage.arguments(
        "package", file=scenarios.DATA / "package", write_mib=2, read_mib=1, steps=60, step_msec=500
    )
    child = cgroup.spawn(load)
    try:
        stage.ready()
        sh("sync")
        posts.wait_for_node(30)
        # The pods' posts of the same sample come right behind the node's.
        first = posts.wait_for_node(30)
        time.sleep(0.5)
        first = time.monotonic()
        node_before = disk_totals()
        stage.begin()
        time.sleep(6)
        pid = shown("MainPID")
        resumed = journal().count(RESUMED)
        begun = time.monotonic()
        sh("dpkg", "-i", newer)
        verdict.say(f"upgraded in {time.monotonic() - begun:.1f} s")
        verdict.true(shown("SubState") == "running", f"it runs behind an upgrade: {journal()[-800:]}")
        verdict.true(shown("MainPID") != pid, "an upgrade starts the new binary")
        verdict.true(CONFIG.read_text() == mine, "an upgrade keeps the configuration")
        host.wait_until("the new binary resumes", 20, lambda: journal().count(RESUMED) > resumed)
        done = stage.done()["package"]
        for _ in range(3):
            posts.wait_for_node(20)
        node_after = disk_totals()
        time.sleep(0.5)
    finally:
        stage.close()
        child.kill()
        child.wait()
        host.remove_tree(host.CGROUPS / "kubepods")
    own = posts.pods(first).get(uid, [])
    for keys, want in ((("disk_io", "write_bytes"), "written_bytes"),
                       (("disk_io", "read_bytes"), "read_bytes")):  # fmt: skip
        verdict.near(f"pod {want} over the upgrade", total(own, *keys), done[want], 0.01, group=want)
    for key, before, after in zip(("read_bytes", "write_bytes"), node_before, node_after):
        verdict.near(f"node {key} over the upgrade", total(posts.nodes(first), "disk_io", key),
                     after - before, 0.01, group=f"node {key}")  # fmt: skip


def remove(verdict):
    stopped = journal().count(STOPPED)
    begun = time.monotonic()
    sh("dpkg", "--remove", "nodetally")
    # Most of it is dpkg's own, which an emulated processor makes long.
    verdict.say(f"removed in {time.monotonic() - begun:.1f} s")
    verdict.true(journal().count(STOPPED) == stopped + 1, f"it ends when asked: {journal()[-800:]}")
    verdict.true(shown("ActiveState") == "inactive", f"removed: {shown('ActiveState')}")
    verdict.true(not BINARY.exists(), "the binary is removed")
    verdict.true(CONFIG.exists(), "the configuration outlives a removal")
    sh("dpkg", "--purge", "nodetally")
    left = [path for path in OWN if Path(path).exists() or Path(path).is_symlink()]
    verdict.true(not left, f"left behind a purge: {left}")
    sh("systemctl", "daemon-reload")
    verdict.true(shown("LoadState") == "not-found", f"the unit behind a purge: {shown('LoadState')}")
