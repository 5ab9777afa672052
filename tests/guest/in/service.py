"""The agent as a service: installed as docs/service.md says, reloaded, stuck, and started again."""

import re
import shutil
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import host
import scenarios
from agent import BINARY, Posts, cpu_usec, total
from host import HANDED_IN, MIB, Cgroup, Stage, sh
from node import Watch, disk_totals
from runtimes import Container, slice_of, systemd_driver

UNIT = "nodetally.service"
UNIT_FILE = Path("/etc/systemd/system", UNIT)
DROP_IN = Path(f"/run/systemd/system/{UNIT}.d/check.conf")
CONFIG = Path("/etc/nodetally/config.toml")
CREDENTIAL = Path("/etc/credstore/nodetally.token")
PODS = range(620, 628)
TOKEN = "a-token-that-no-log-shall-show"
SCHED_IDLE = 5
NAMED = {"CAP_DAC_READ_SEARCH": 2, "CAP_SYS_PTRACE": 19}


def configure(posts, interval, more=""):
    CONFIG.write_text(
        f'[sampling]\ninterval = "{interval}s"\n{more}[[endpoint]]\nname = "central"\n'
        f'url = "{posts.url}"\nspread = "0s"\nextras = true\n'
        'bearer_token_file = "${CREDENTIALS_DIRECTORY}/nodetally.token"\n'
    )


def install(posts):
    shutil.copy(BINARY, "/usr/local/bin/nodetally")
    CONFIG.parent.mkdir(exist_ok=True)
    shutil.copy(HANDED_IN / "systemd/config.toml", CONFIG)
    configure(posts, 10)
    CREDENTIAL.parent.mkdir(mode=0o700, exist_ok=True)
    CREDENTIAL.touch(0o600)
    CREDENTIAL.write_text(TOKEN + "\n")
    shutil.copy(HANDED_IN / "systemd" / UNIT, UNIT_FILE)
    UNIT_FILE.chmod(0o644)


def shown(name):
    return sh("systemctl", "show", "--value", "-p", name, UNIT).strip()


def journal():
    return sh("journalctl", "-o", "cat", "-u", UNIT)


def analyze(verdict):
    verify = subprocess.run(
        ["systemd-analyze", "verify", UNIT_FILE], capture_output=True, text=True, check=False
    )
    said = verify.stdout + verify.stderr
    verdict.true(verify.returncode == 0 and not said.strip(), f"systemd-analyze verify: {said}")
    security = sh("systemd-analyze", "security", "--no-pager", UNIT, check=False)
    exposure = re.search(r"exposure level for \S+: ([\d.]+)", security)
    verdict.true(exposure is not None, f"systemd-analyze security: {security[-300:]}")
    if exposure:
        verdict.at_most("exposure", float(exposure[1]), 2.4)
        verdict.say(f"exposure {exposure[1]}")


def check_with(capabilities, *more):
    """`check` as an unprivileged user with these capabilities: what it says, and its status."""
    names = " ".join(capabilities)
    done = subprocess.run(
        ["systemd-run", "--quiet", "--pipe", "--wait", "-p", "DynamicUser=yes",
         "-p", f"AmbientCapabilities={names}", "-p", f"CapabilityBoundingSet={names}", *more,
         "/usr/local/bin/nodetally", "check", "--config", "none", "--listen", "127.0.0.1:0"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def capabilities(verdict):
    """Which of them do anything, and whether `check` knows."""
    io = ("-E", "NODETALLY_SAMPLING_PROCESS_IO=true")
    ptrace, both = ["CAP_SYS_PTRACE"], ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH"]
    # An empty list of names is all of them to systemd; ~ takes from it.
    none = ["~" + " ".join(both)]
    for given, more, help_wanted in (
        (none, (), "CAP_SYS_PTRACE"),
        (ptrace, (), None),
        (none, io, "CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH"),
        (ptrace, io, "CAP_DAC_READ_SEARCH"),
        (both, io, None),
    ):
        code, said = check_with(given, *more)
        helps = set(re.findall(r"would help: (CAP_.*)", said))
        what = f"check with {given} {more}"
        if help_wanted is None:
            verdict.true(code == 0 and not helps, f"{what}: exit {code}: {said[-1500:]}")
        else:
            verdict.true(code == 1 and help_wanted in helps, f"{what}: exit {code}: {said[-1500:]}")


def policies(pid):
    """By thread name, the scheduling class (sched(7))."""
    found = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        fields = (task / "stat").read_text().rpartition(")")[2].split()
        # Field 41; the first here is the third.
        found[(task / "comm").read_text().strip()] = int(fields[38])
    return found


def rights(verdict, pid):
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    verdict.true("0" not in status["Uid"].split(), f"the user is none but root: {status['Uid']}")
    wanted = sum(1 << NAMED[name] for name in shown("AmbientCapabilities").upper().split())
    for held in ("CapEff", "CapPrm", "CapBnd", "CapAmb"):
        got = int(status[held], 16)
        verdict.true(got == wanted, f"{held}: expected {wanted:x}, got {got:x}")
    verdict.true(status["Seccomp"].strip() == "2", f"Seccomp: {status['Seccomp']}")
    verdict.say(f"user {status['Uid'].split()[0]}, capabilities {wanted:#x}")
    of_thread = policies(pid)
    idle = {name for name, policy in of_thread.items() if policy == SCHED_IDLE}
    # The second asks for the space of filesystems on behalf of the first.
    verdict.true("usage" in idle and idle <= {"usage", "capacity"},
                 f"the thread that counts files, and no other, is idle: {of_thread}")  # fmt: skip


def pods(verdict, posts):
    """Scenarios 1 and 2 from what the service posts: the node, and eight pods of two containers each."""
    systemd_driver()
    if not Path("/run/netns/peer").exists():
        scenarios.own_network_card()
    scenarios.DATA.mkdir(exist_ok=True)
    stage, waiting, loads_of = Stage("service"), [], {}
    for number in PODS:
        uid, netns = host.uid_of(number), host.network(number)
        part = number - PODS.start
        loads = {
            f"app{number}": stage.arguments(
                f"app{number}", ctl="/ctl", cpu_msec=800 + 20 * part, file="/data/file",
                write_mib=16, read_mib=8, udp=f"{host.GATEWAY}:{host.ECHO_PORT}", datagrams=500,
            ),
            f"side{number}": stage.arguments(
                f"side{number}", ctl="/ctl", cpu_msec=700 + 10 * part, memory_mib=48
            ),
        }  # fmt: skip
        loads_of[uid] = list(loads)
        slice_name = slice_of(uid, ("burstable", "besteffort", "guaranteed")[number % 3])
        for at, (name, load) in enumerate(loads.items()):
            data = scenarios.DATA / f"service-{name}"
            place = 2 * number + at
            waiting.append(("crun", place, slice_name, load, netns, stage, data))
    with ThreadPoolExecutor(3) as hands:
        containers = list(hands.map(lambda container: Container(*container), waiting))
    of_node = [
        stage.arguments("disk", file=scenarios.DATA / "service", write_mib=4, read_mib=4, steps=10,
                        step_msec=500),
        stage.arguments("net", udp=f"10.88.0.2:{host.ECHO_PORT}", datagrams=2000),
    ]  # fmt: skip
    children = [subprocess.Popen([host.LOAD, *load]) for load in of_node]
    try:
        watch_loads(verdict, posts, stage, loads_of)
    finally:
        stage.close()
        for child in children:
            child.kill()
            child.wait()
        for container in containers:
            container.remove()
        for number in PODS:
            host.remove_network(number)
        sh("systemctl", "stop", "kubepods.slice", check=False)


def watch_loads(verdict, posts, stage, loads_of):
    """What was posted beside what the node's own files and the loads themselves say."""
    stage.ready(120)
    sh("sync")
    watch, watched_since = Watch(), time.time()

    # Samples fall on multiples of the interval.
    def sampled_at(arrived):
        return (time.time() - time.monotonic() + arrived) // 10 * 10

    first = posts.wait_for_node(30)
    if sampled_at(first) <= watched_since:
        # It was sampled before the watch had begun, and has only just come.
        first = posts.wait_for_node(30)
    # The pods' posts of the same sample come right behind the node's; and the test's own looks are
    # too far apart to tell what was done just before the sample from what was just behind it.
    time.sleep(2)
    behind = time.monotonic()
    done = stage.go()
    for _ in range(2):
        last = posts.wait_for_node(30)
    time.sleep(2)
    watch.end()
    done = stage.settle(done)

    since, until = watch.at(sampled_at(first)), watch.at(sampled_at(last))
    own = [post for post in posts.nodes(behind) if post[0] <= last]
    pairs = {
        "disk_read_bytes": ("disk_io", "read_bytes"), "disk_written_bytes": ("disk_io", "write_bytes"),
        "network_rx_bytes": ("network_io", "bytes_recv"), "network_tx_bytes": ("network_io", "bytes_sent"),
    }  # fmt: skip
    for key, keys in pairs.items():
        verdict.near(f"node {key}", total(own, *keys), round(until[key] - since[key]), 0.01,
                     group=f"node {key}")  # fmt: skip
    cpu = round(until["cpu_busy_usec"] - since["cpu_busy_usec"])
    # 1 %, or 0.3 s: the test looks some tenths of a second beside the samples, on an emulated processor.
    allowed = max(0.01, 300_000 / cpu)
    verdict.near("node CPU", cpu_usec(own), cpu, allowed, group="node CPU")
    verdict.near("node memory", own[-1][2]["memory_bytes"], round(until["memory_working_set_bytes"]),
                 0.01, group="node memory")  # fmt: skip

    by_pod = posts.pods(behind)
    for uid, names in loads_of.items():
        series = [post for post in by_pod.get(uid, []) if post[0] <= last + 2]
        row = None
        if series:
            row = {
                "cpu_usage_usec": cpu_usec(series),
                "memory_working_set_bytes": series[-1][2]["memory_bytes"],
                **{key: total(series, *keys) for key, keys in pairs.items()},
            }
        want = scenarios.added([done[name] for name in names])
        scenarios.compare_owner(verdict, f"pod {uid}", row, want)



def wait_for_line(word, seconds=20):
    host.wait_until(f"{word!r} in the journal", seconds, lambda: word in journal())


def disturbed(verdict, posts):
    """Reloads and a hang, beside a load that knows what it wrote."""
    stage = Stage("disturbed")
    uid = host.uid_of(610)
    cgroup = Cgroup(f"kubepods/burstable/pod{uid}/{host.id_of(610)}")
    load = stage.arguments(
        "disturbed", file=scenarios.DATA / "disturbed", write_mib=2, read_mib=1, steps=100,
        step_msec=500,
    )  # fmt: skip
    child = cgroup.spawn(load)
    stage.ready()
    sh("sync")
    posts.wait_for_node(30)
    # The pods' posts of the same sample come right behind the node's.
    time.sleep(2)
    first = time.monotonic()
    node_before = disk_totals()
    stage.begin()
    pid = shown("MainPID")

    configure(posts, 2)
    sh("systemctl", "reload", UNIT)
    wait_for_line("reloaded: samples every 2s")
    begun = time.monotonic()
    for _ in range(3):
        posts.wait_for_node(10)
    verdict.at_most("seconds for three samples after the reload", time.monotonic() - begun, 8.0)

    configure(posts, 2, "surprise = 1\n")
    sh("systemctl", "reload", UNIT)
    wait_for_line("not reloaded")
    verdict.true(f"{CONFIG}:3: sampling.surprise" in journal(), "the line names the place")
    posts.wait_for_node(10)
    verdict.true(shown("SubState") == "running", f"after a broken file: {shown('SubState')}")
    verdict.true(shown("MainPID") == pid, "reloads leave the process as it is")
    configure(posts, 2)

    # Half a second behind a sample, when all of it is on its way.
    posts.wait_for_node(10)
    time.sleep(0.5)
    stopped = time.monotonic()
    sh("kill", f"-{signal.SIGSTOP.value}", pid)
    host.wait_until(
        "started again after the watchdog", 90,
        lambda: shown("NRestarts") == "1" and shown("SubState") == "running",
    )  # fmt: skip
    verdict.say(f"stuck to restarted in {time.monotonic() - stopped:.0f} s")
    verdict.true("Watchdog timeout" in journal(), "the journal has the watchdog's word")
    verdict.true(shown("MainPID") != pid, "it is another process")
    verdict.true("resumed from the counters" in journal(), "it went on from the counters")

    done = stage.done()["disturbed"]
    for _ in range(3):
        posts.wait_for_node(20)
    node_after = disk_totals()
    time.sleep(0.5)
    own = posts.pods(first).get(uid, [])
    for keys, want in ((("disk_io", "write_bytes"), "written_bytes"),
                       (("disk_io", "read_bytes"), "read_bytes")):  # fmt: skip
        verdict.near(f"pod {want} over it all", total(own, *keys), done[want], 0.01, group=want)
    for key, before, after in zip(("read_bytes", "write_bytes"), node_before, node_after):
        verdict.near(f"node {key} over it all", total(posts.nodes(first), "disk_io", key),
                     after - before, 0.01, group=f"node {key}")  # fmt: skip
    if verdict.failures:
        series = [(round(post[0] - first, 1), post[2]["disk_io"]["write_bytes"]) for post in own]
        verdict.failures.append(f"posts of the pod, seconds and bytes written: {series}")
    stage.close()
    child.wait()
    host.remove_tree(host.CGROUPS / "kubepods")


def service(verdict):
    """Installed, checked, measured, reloaded, stuck."""
    posts = Posts(7702)
    # As on a node, a unit there needs the controllers, so that systemd passes them on.
    sh("systemd-run", "--quiet", "--unit=needs-controllers", "-p", "Delegate=yes", "sleep", "infinity")
    try:
        play(verdict, posts)
    finally:
        # One that broke is played again, and others come behind it.
        sh("systemctl", "stop", "needs-controllers", check=False)
        sh("systemctl", "disable", "--now", UNIT, check=False)
        posts.close()


def play(verdict, posts):
    install(posts)
    # What `check` finds with exactly the rights, the filters and the view that `run` will have.
    DROP_IN.parent.mkdir(parents=True, exist_ok=True)
    DROP_IN.write_text(
        f"[Service]\nExecStartPre=/usr/local/bin/nodetally check --config {CONFIG}\n"
    )
    sh("systemctl", "daemon-reload")
    started = time.monotonic()
    sh("systemctl", "enable", "--now", UNIT, check=False)
    verdict.true(Path("/run/nodetally/counters.json").exists(), "it is up with its first sample")
    verdict.say(f"started in {time.monotonic() - started:.1f} s")
    said = journal()
    verdict.true("nothing is missing" in said, f"check as the service: {said[-1500:]}")
    verdict.true(shown("SubState") == "running", f"it is {shown('SubState')}: {said[-800:]}")
    DROP_IN.unlink()
    sh("systemctl", "daemon-reload")

    analyze(verdict)
    capabilities(verdict)
    rights(verdict, shown("MainPID"))
    pods(verdict, posts)
    disturbed(verdict, posts)

    memory = int(shown("MemoryCurrent"))
    verdict.at_most("memory of the unit", memory, 64 * MIB)
    verdict.say(f"memory of the unit {memory / MIB:.1f} MiB")
    verdict.true(posts.authorizations == {f"Bearer {TOKEN}"},
                 f"every post brought the token: {posts.authorizations}")  # fmt: skip
    log = sh("journalctl", "-o", "cat")
    verdict.true(TOKEN not in log, "the token is in a log")
    begun = time.monotonic()
    sh("systemctl", "disable", "--now", UNIT)
    verdict.at_most("seconds to stop", time.monotonic() - begun, 10)
    verdict.true(shown("Result") == "success", f"it ended with {shown('Result')}")
    verdict.true(Path("/run/nodetally/counters.json").exists(), "the counters outlive a stop")
