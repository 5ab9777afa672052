"""The scenarios. Each holds what the agent says against what its loads measured of themselves."""

import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import host
from agent import Dump, Posts, Run
from host import MIB, Cgroup, Stage, emulated, sh
from node import Watch, run_usec, unix_of
from runtimes import Container, Containerd, ran_usec, slice_of, systemd_driver

DATA = Path("/var/lib/loads")
SCRATCH_DISK = "/dev/vdc"


def by_uid(document):
    return {pod["uid"]: pod for pod in document["pods"]}


def own_network_card():
    """eth0 with a peer at the other end of the wire: eth1, in a namespace of its own."""
    if Path("/run/netns/peer").exists():
        return
    sh("ip", "netns", "add", "peer")
    sh("ip", "link", "set", "eth1", "netns", "peer")
    sh("ip", "-n", "peer", "address", "add", "10.88.0.2/24", "dev", "eth1")
    sh("ip", "-n", "peer", "link", "set", "eth1", "up")
    sh("ip", "address", "add", "10.88.0.1/24", "dev", "eth0")
    sh("ip", "link", "set", "eth0", "up")
    sh("systemd-run", "--quiet", "--unit=echo-peer", "-p", "NetworkNamespacePath=/run/netns/peer",
       host.LOAD, "echo", host.ECHO_PORT)  # fmt: skip


def check_balance(verdict, document):
    """The rows that are printed add up to the node, with what nobody has."""
    for resource, key, of_node in (
        ("cpu_usec", "cpu_usage_usec", "cpu_busy_usec"),
        ("disk_read_bytes", "disk_read_bytes", "disk_read_bytes"),
        ("disk_written_bytes", "disk_written_bytes", "disk_written_bytes"),
    ):
        balance = document["conservation"].get(resource)
        if balance is None:
            verdict.true(False, f"there is no balance of {resource}")
            continue
        rows = [*document["pods"], *document["host_units"], *document["conservation"]["exited"]]
        given = sum(row.get(key, 0) for row in rows)
        given += balance["kernel"] + balance["interrupts"] + balance["unattributed"]
        verdict.near(f"{resource}: sum of all parts", given, document["node"][of_node], 0.005)
    cpu = document["conservation"]["cpu_usec"]
    # An emulated CPU takes so long for each interrupt that what the kernel tells of them, by the
    # tick, is off by more than the bound itself.
    most = 0.025 if emulated() else 0.01
    verdict.at_most("share of unattributed CPU", abs(cpu["unattributed"]) / cpu["node"], most)
    verdict.say(f"unattributed CPU {cpu['unattributed'] / cpu['node']:+.2%} of {cpu['node']} usec")


def check_memory(verdict, document, shared_bytes):
    """Used memory has owners, and what a file in /dev/shm holds is told apart."""
    balance = document["conservation"]["memory_bytes"]
    share = abs(balance["unattributed"]) / balance["node"]
    verdict.at_most("share of memory without an owner", share, 0.02)
    verdict.say(f"memory without an owner {balance['unattributed'] / balance['node']:+.2%} of "
                f"{balance['node'] / MIB:.0f} MiB, of the kernel {balance['kernel'] / MIB:.0f} MiB")  # fmt: skip
    shared = document["node"].get("memory_shared_bytes", 0)
    verdict.at_least("memory_shared_bytes", shared, shared_bytes)


def node(verdict):
    """Node figures over 30 s against /proc, read by the test."""
    own_network_card()
    stage = Stage("node")
    DATA.mkdir(exist_ok=True)
    shared = Path("/dev/shm/node")
    shared.write_bytes(bytes(256 * MIB))
    loads = [
        stage.arguments("burner", cpu_msec=16000),
        stage.arguments("disk", file=DATA / "node", write_mib=6, read_mib=4, steps=40, step_msec=500),
        stage.arguments("net", udp=f"10.88.0.2:{host.ECHO_PORT}", datagrams=4000),
    ]
    children = [subprocess.Popen([host.LOAD, *load]) for load in loads]
    stage.ready()
    watch = Watch()
    time.sleep(0.5)
    dump = Dump(30)
    stage.begin()
    document = dump.end()
    time.sleep(0.5)
    watch.end()
    stage.close()
    shared.unlink()
    for child in children:
        child.kill()
        child.wait()
    check_memory(verdict, document, 256 * MIB)
    got = document["node"]
    until = unix_of(got["sampled_at"])
    since = until - got["interval_usec"] / 1e6
    first, last = watch.at(since), watch.at(until)
    verdict.near("interval_usec", got["interval_usec"], 30_000_000, 0.01)
    verdict.say(f"{(last['cpu_busy_usec'] - first['cpu_busy_usec']) / 1e6:.2f} CPU s")
    for key in ("cpu_busy_usec", "disk_read_bytes", "disk_written_bytes", "network_rx_bytes",
                "network_tx_bytes"):  # fmt: skip
        want = round(last[key] - first[key])
        verdict.at_least(f"{key} of the test's own", want, 1)
        verdict.near(key, got.get(key), want, 0.01, group=key)
    for key in ("memory_used_bytes", "memory_working_set_bytes"):
        verdict.near(key, got.get(key), round(last[key]), 0.01, group=key)


def compare_owner(verdict, what, row, want, part=0.02):
    if row is None:
        verdict.true(False, f"{what}: the agent does not have it")
        return
    pairs = [
        ("cpu_usage_usec", "cpu_usec", "cpu"),
        ("disk_written_bytes", "written_bytes", "written"),
        ("disk_read_bytes", "read_bytes", "read"),
        ("network_tx_bytes", "sent_bytes", "sent"),
        ("network_rx_bytes", "received_bytes", "received"),
        ("memory_working_set_bytes", "memory_bytes", "memory"),
    ]
    for key, own, group in pairs:
        # Of a load that did none of it, or holds less than what the kernel itself holds for a
        # process, nothing can be said to 2 %.
        least = 32 * MIB if own == "memory_bytes" else 1
        if want.get(own, 0) >= least:
            verdict.near(f"{what} {key}", row.get(key), want[own], part, group=group)


def added(rows):
    return {key: sum(row[key] for row in rows) for key in rows[0]}


def pods_systemd(verdict):
    """Twenty pods of two containers each, by three runtimes under systemd, on a bridge."""
    systemd_driver()
    containerd = Containerd()
    stage, pods, waiting = Stage("systemd"), {}, []
    classes = ("burstable", "besteffort", "guaranteed")
    runtimes = ("crun", "runc", "crun", "containerd", "crun")
    begun = time.monotonic()
    for number in range(20):
        uid, netns = host.uid_of(number), host.network(number)
        slice_name = slice_of(uid, classes[number % 3])
        loads = {
            "app": stage.arguments(
                f"app{number}", ctl="/ctl", cpu_msec=800 + 20 * number, file="/data/file",
                write_mib=16 + number, read_mib=8 + number,
                udp=f"{host.GATEWAY}:{host.ECHO_PORT}", datagrams=400 + 20 * number,
            ),
            "side": stage.arguments(
                f"side{number}", ctl="/ctl", cpu_msec=700 + 10 * number, memory_mib=48
            ),
        }  # fmt: skip
        pods[uid] = {}
        for at, (name, load) in enumerate(loads.items()):
            place = 1000 + 2 * number + at
            runtime = runtimes[number % len(runtimes)]
            waiting.append((runtime, place, slice_name, load, netns, stage, DATA / f"{name}{number}"))
            pods[uid][host.id_of(place)] = f"{name}{number}"
    networks_made = time.monotonic()
    # systemd works while a runtime waits for it.
    with ThreadPoolExecutor(3) as hands:
        containers = list(hands.map(lambda container: Container(*container), waiting))
    print(f"networks {networks_made - begun:.1f} s, "
          f"containers {time.monotonic() - networks_made:.1f} s", flush=True)  # fmt: skip
    stage.ready(120)
    sh("sync")
    verdict.say(f"40 containers in {time.monotonic() - begun:.0f} s")
    run_before = run_usec()
    shims = containerd.shims()
    dump = Dump(60)
    shims_before = ran_usec(shims)
    done = stage.go()
    # So that the shims have something to do.
    asked = [container for container in containers if container.runtime == "containerd"]
    for container in asked[:2]:
        sh("ctr", "tasks", "metrics", container.id)
    shims_ran = ran_usec(shims) - shims_before
    document = dump.end()
    verdict.say(f"/proc/schedstat {run_usec() - run_before} usec")
    at_done, done = done, stage.settle(done)
    behind = max(done[name]["cpu_usec"] - at_done[name]["cpu_usec"] for name in done)
    verdict.say(f"loads used up to {behind} usec behind their last word")
    check_shims(verdict, document, shims, shims_ran)

    seen = by_uid(document)
    for uid, loads in pods.items():
        pod = seen.get(uid)
        compare_owner(verdict, f"pod {uid}", pod, added([done[name] for name in loads.values()]))
        if pod is None:
            continue
        rows = {row["container_id"]: row for row in pod["containers"]}
        for container_id, name in loads.items():
            # The network belongs to the pod.
            own = {**done[name], "sent_bytes": 0, "received_bytes": 0}
            compare_owner(verdict, f"container {name}", rows.get(container_id), own)
        verdict.true(pod.get("host_network") is False, f"pod {uid} has a namespace of its own")
    verdict.true(len(seen) == 20, f"expected 20 pods, got {len(seen)}")
    check_balance(verdict, document)
    current = [gap for gap in document["gaps"] if not gap["standing"]]
    verdict.true(not current, f"gaps: {current[:3]}")

    stage.close()
    for container in containers:
        container.remove()
    containerd.end()
    for number in range(20):
        host.remove_network(number)
    sh("systemctl", "stop", "kubepods.slice", check=False)


def check_shims(verdict, document, shims, ran):
    """containerd's shims stand in its service, and so does their CPU: the pods, held to what the
    loads used, have none of it."""
    verdict.true(len(shims) == 8, f"expected 8 shims, got {len(shims)}")
    service = "/system.slice/containerd.service"
    elsewhere = set(shims.values()) - {service}
    verdict.true(not elsewhere, f"shims outside of {service}: {elsewhere}")
    row = next((row for row in document["host_units"] if row["cgroup"] == service), {})
    verdict.at_least("CPU of the shims", ran, 5_000)
    verdict.at_least(f"{service} cpu_usage_usec", row.get("cpu_usage_usec"), ran)
    verdict.say(f"shims {ran / 1e6:.2f} s of {service}'s {row.get('cpu_usage_usec', 0) / 1e6:.2f} s")


def pods_cgroupfs(verdict):
    """Paths of the cgroupfs driver, a container with cgroups of its own, and a prefix in front."""
    stage, pods, children = Stage("cgroupfs"), {}, []
    DATA.mkdir(exist_ok=True)
    # Prefix, QoS folder, and below the container's cgroup the places where its loads stand.
    shapes = [
        ("kubepods/burstable", [""]),
        ("kubepods/besteffort", [""]),
        ("kubepods", [""]),
        ("kubepods/burstable", ["init.scope", "system.slice/job.service"]),
        ("kubelet.slice/kubelet/kubepods/burstable", [""]),
        ("system.slice/docker-" + "d" * 64 + ".scope/kubepods/besteffort", ["docker/" + "e" * 64]),
    ]
    for at, (prefix, places) in enumerate(shapes):
        number = 100 + at
        uid, netns = host.uid_of(number), host.network(number)
        container_id = host.id_of(number)
        pods[uid] = (container_id, [])
        for index, place in enumerate(places):
            name = f"cgroupfs{number}-{index}"
            cgroup = Cgroup(f"{prefix}/pod{uid}/{container_id}/{place}")
            load = stage.arguments(
                name, cpu_msec=600 + 50 * at, file=DATA / name, write_mib=16 + at, read_mib=8,
                udp=f"{host.GATEWAY}:{host.ECHO_PORT}", datagrams=300, memory_mib=48,
            )  # fmt: skip
            pods[uid][1].append(name)
            children.append((cgroup, cgroup.spawn(load, netns)))
    stage.ready()
    sh("sync")
    dump = Dump(25)
    done = stage.go()
    document = dump.end()
    done = stage.settle(done)
    seen = by_uid(document)
    for uid, (container_id, names) in pods.items():
        want = added([done[name] for name in names])
        pod = seen.get(uid)
        compare_owner(verdict, f"pod {uid}", pod, want)
        rows = {row["container_id"]: row for row in pod["containers"]} if pod else {}
        own = {**want, "sent_bytes": 0, "received_bytes": 0}
        compare_owner(verdict, f"container of {uid}", rows.get(container_id), own)
        verdict.true(len(rows) == 1, f"pod {uid}: expected 1 container, got {sorted(rows)}")
    stage.close()
    for _, child in children:
        child.wait()
    for path in ("kubepods", "kubelet.slice", "system.slice/docker-" + "d" * 64 + ".scope"):
        host.remove_tree(host.CGROUPS / path)
    for at in range(len(shapes)):
        host.remove_network(100 + at)


def short_jobs(verdict):
    """Fifty pods that burn 1.0 s each and are gone before the second sample."""
    stage, truth, charged = Stage("short"), 0, 0
    parent = Cgroup("kubepods/besteffort")
    run_before = run_usec()
    # The jobs take 25 s of both processors.
    dump = Dump(55)
    stage.begin()
    waiting, running, made = list(range(200, 250)), [], 0
    while waiting or running:
        while waiting and len(running) < os.cpu_count():
            number = waiting.pop()
            cgroup = Cgroup(f"kubepods/besteffort/pod{host.uid_of(number)}/{host.id_of(number)}")
            load = stage.arguments(f"short{number}", cpu_msec=1000, exit=True)
            running.append((cgroup, cgroup.spawn(load)))
            made += 1
        for entry in list(running):
            cgroup, child = entry
            if child.poll() is not None:
                running.remove(entry)
                stat = dict(line.split() for line in cgroup.read("cpu.stat").splitlines())
                charged += int(stat["usage_usec"])
                host.remove_tree(cgroup.path.parent)
        time.sleep(0.02)
    truth = sum(row["cpu_since_main_usec"] for row in stage.done(1).values())
    document = dump.end()
    stage.close()
    exited = [row for row in document["conservation"]["exited"] if "kubepods" in row["cgroup"]]
    named = sum(pod["cpu_usage_usec"] for pod in document["pods"])
    ledger = named + sum(row["cpu_usage_usec"] for row in exited)
    # A runtime takes longer to remove a cgroup than this scenario, which is why not all need be. The agent
    # races with it for each of them, and an emulated processor decides: agents of one profile had 21, 26 and 44 s.
    share = 0.25 if host.emulated() else 0.5
    verdict.at_least("jobs' CPU under their names", named, round(truth * share))
    verdict.true(all(pod.get("exited") for pod in document["pods"]), "all of them have exited")
    verdict.say(f"{made} jobs: they {truth / 1e6:.2f} s, cgroups {charged / 1e6:.2f} s, "
                f"ledger {ledger / 1e6:.2f} s, named {named / 1e6:.2f} s")  # fmt: skip
    verdict.at_least("jobs' CPU in the ledger", ledger, round(truth * 0.99))
    verdict.at_most("jobs' CPU in the ledger", ledger, round(charged * 1.01))
    check_balance(verdict, document)
    verdict.say(f"/proc/schedstat {run_usec() - run_before} usec")
    parent.remove()


def watch_limits(verdict):
    """Where the limits of inotify are used up, jobs lose their names, no figure, and the agent says
    so once."""
    limits = [
        ("max_user_watches", "4"),
        ("max_user_instances", "0"),
    ]
    for number, (name, value) in enumerate(limits):
        file = Path("/proc/sys/fs/inotify", name)
        before = file.read_text()
        file.write_text(value)
        try:
            stage, posts = Stage(f"limit{number}"), Posts(7720 + number)
            agent = Run(posts, 1, log=f"/run/agent-{name}.log")
            dump = Dump(12)
            cgroup = Cgroup(f"kubepods/besteffort/pod{host.uid_of(260 + number)}/{host.id_of(260)}")
            child = cgroup.spawn(stage.arguments("job", cpu_msec=1000, exit=True))
            stage.begin()
            child.wait(30)
            truth = stage.done(1)["job"]["cpu_since_main_usec"]
            host.remove_tree(cgroup.path.parent)
            document = dump.end()
            rows = document["conservation"]["exited"]
            ledger = sum(row["cpu_usage_usec"] for row in rows if "kubepods" in row["cgroup"])
            verdict.at_least(f"{name}: the job's CPU in the ledger", ledger, round(truth * 0.99))
            verdict.true(not document["pods"], f"{name}: no pod has a name: {document['pods']}")
            gaps = [gap for gap in document["gaps"] if gap["path"] == "inotify"]
            verdict.true(len(gaps) == 1, f"{name}: one gap in the dump: {document['gaps']}")
            agent.stop()
            told = agent.log.read_text().count("inotify:")
            verdict.true(told == 1, f"{name}: one line in the log: {agent.log.read_text()[-600:]}")
            stage.close()
            posts.close()
        finally:
            file.write_text(before)
    host.remove_tree(host.CGROUPS / "kubepods")


def stacked_disks(verdict):
    """200 MiB O_DIRECT through loop devices and dm-linear: 200, not 400."""
    DATA.mkdir(exist_ok=True)
    backing = [DATA / "loop-direct.img", DATA / "loop-buffered.img"]
    for path in backing:
        # Written out and not sparse, so that the file system allocates nothing while measured.
        sh("dd", "if=/dev/zero", f"of={path}", "bs=1M", "count=64", "oflag=direct", "status=none")
    direct = sh("losetup", "--find", "--show", "--direct-io=on", backing[0]).strip()
    buffered = sh("losetup", "--find", "--show", backing[1]).strip()
    sectors = sh("blockdev", "--getsz", SCRATCH_DISK).strip()
    sh("dmsetup", "create", "linear", "--table", f"0 {sectors} linear {SCRATCH_DISK} 0")
    sh("dmsetup", "create", "twice", "--table", f"0 {sectors} linear /dev/mapper/linear 0")
    devices = {"loop direct": direct, "loop buffered": buffered, "dm on dm": "/dev/mapper/twice"}
    stage, pods = Stage("stacked"), {}
    for number, (name, device) in enumerate(devices.items(), 300):
        cgroup = Cgroup(f"kubepods/burstable/pod{host.uid_of(number)}/{host.id_of(number)}")
        load = stage.arguments(f"stacked{number}", file=device, write_mib=200, read_mib=100)
        pods[name] = (host.uid_of(number), f"stacked{number}", cgroup, cgroup.spawn(load))
    stage.ready()
    sh("sync")
    time.sleep(1)
    dump = Dump(20)
    done = stage.go()
    document = dump.end()
    seen = by_uid(document)
    for name, (uid, load, cgroup, _) in pods.items():
        want = {key: done[load][key] for key in ("written_bytes", "read_bytes")}
        before = len(verdict.failures)
        compare_owner(verdict, name, seen.get(uid), want)
        if len(verdict.failures) > before:
            verdict.failures.append(f"{name}: io.stat: {cgroup.read('io.stat')!r}")
    physical = document["node"]["disk_written_bytes"]
    verdict.at_least("node's disk_written_bytes", physical, 400 * MIB)
    verdict.at_most("node's disk_written_bytes", physical, 620 * MIB)
    stage.close()
    for _, _, _, child in pods.values():
        child.wait()
    host.remove_tree(host.CGROUPS / "kubepods")
    sh("losetup", "-d", direct, buffered)
    # udev looks into each device that was written to.
    sh("udevadm", "settle")
    sh("dmsetup", "remove", "--retry", "twice")
    sh("dmsetup", "remove", "--retry", "linear")


def trouble(verdict):
    """An OOM kill, CPU throttling and pressure stand in the pod's record."""
    stage = Stage("trouble")
    oom = Cgroup(f"kubepods/burstable/pod{host.uid_of(400)}/{host.id_of(400)}")
    oom.write("memory.max", 24 * MIB)
    if (oom.path / "memory.swap.max").exists():
        oom.write("memory.swap.max", 0)
    tight = Cgroup(f"kubepods/burstable/pod{host.uid_of(401)}/{host.id_of(401)}")
    tight.write("cpu.max", "20000 100000")
    stays = [oom.spawn(["pause"]), tight.spawn(["pause"])]
    burners = [
        tight.spawn(stage.arguments(f"tight{index}", cpu_msec=800)) for index in range(2)
    ]
    stage.ready()

    def throttling():
        stat = dict(line.split() for line in tight.read("cpu.stat").splitlines())
        return int(stat["throttled_usec"])

    def stalled():
        return int(tight.read("cpu.pressure").split("\n")[0].rpartition("=")[2])

    throttled_before = throttling()
    dump = Dump(25)
    # Stands outside of any stage: it never gets as far as being ready.
    greedy = oom.spawn(["run", "greedy", stage.dir, "memory_mib=64"])
    stage.go()
    verdict.true(greedy.wait(20) == -9, f"the greedy load was killed: {greedy.returncode}")
    throttled, stalled_before = throttling() - throttled_before, stalled()
    document = dump.end()
    stalled_after = stalled()
    seen = by_uid(document)
    pod = seen.get(host.uid_of(400), {})
    verdict.true(pod.get("oom_kills") == 1, f"expected 1 OOM kill, got {pod.get('oom_kills')}")
    containers = pod.get("containers") or [{}]
    verdict.true(containers[0].get("memory_limit_bytes") == 24 * MIB,
                 f"expected a limit of 24 MiB, got {containers[0].get('memory_limit_bytes')}")  # fmt: skip
    pod = seen.get(host.uid_of(401), {})
    container = (pod.get("containers") or [{}])[0]
    verdict.at_least("throttling in the kernel's own words", throttled, 1_000_000)
    verdict.near("cpu_throttled_usec", container.get("cpu_throttled_usec"), throttled, 0.02,
                 group="throttling")  # fmt: skip
    verdict.true(container.get("cpu_limit_millicores") == 200,
                 f"expected 200 millicores, got {container.get('cpu_limit_millicores')}")  # fmt: skip
    for name, row in (("pod", pod), ("container", container)):
        stall = row.get("pressure_cpu", {}).get("some", {}).get("total_usec")
        verdict.at_least(f"{name} pressure_cpu some total_usec", stall, stalled_before * 98 // 100)
        verdict.at_most(f"{name} pressure_cpu some total_usec", stall, stalled_after * 1.02 + 1000)
    verdict.say(f"throttled for {throttled / 1e6:.1f} s, stalled for {stalled_after / 1e6:.1f} s")
    stage.close()
    for child in (*stays, *burners):
        child.kill()
        child.wait()
    host.remove_tree(host.CGROUPS / "kubepods")
