"""What the scenarios make in the guest: pods by hand, namespaces, and loads in them."""

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

HANDED_IN = Path("/handed-in")
ROOTFS = HANDED_IN / "rootfs"
LOAD = ROOTFS / "load"
CGROUPS = Path("/sys/fs/cgroup")
CONTROLLERS = "+cpu +memory +io +pids"
GATEWAY = "10.77.0.1"
ECHO_PORT = 7007
MIB = 1 << 20


class Broken(Exception):
    """The scenario itself could not be set up: no word about the agent."""


def sh(*command, check=True):
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    if check and done.returncode != 0:
        raise Broken(f"{' '.join(map(str, command))}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def emulated():
    """Whether QEMU plays the processor (TCG), and no real one runs the guest (KVM)."""
    return "QEMU TCG" in Path("/proc/cpuinfo").read_text()


def wait_until(what, seconds, true):
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise Broken(f"{what}: not within {seconds} s")
        time.sleep(0.05)


def uid_of(number):
    return f"0e57ab1e-0000-4000-8000-{number:012x}"


def id_of(number):
    return f"{number:064x}"


class Stage:
    """A run of loads that start together: they prepare, wait for `go`, work and wait for `stop`."""

    number = 0

    def __init__(self, name):
        # A scenario may be played again.
        Stage.number += 1
        self.dir = Path("/run/stages", f"{name}-{Stage.number}")
        self.dir.mkdir(parents=True)
        self.expected = []
        self.gates = {}
        for gate in ("go", "stop"):
            os.mkfifo(self.dir / gate)
            # While this end is open, whoever reads at the other waits.
            self.gates[gate] = os.open(self.dir / gate, os.O_RDWR | os.O_CLOEXEC)

    def arguments(self, name, ctl=None, **options):
        self.expected.append(name)
        words = [key if value is True else f"{key}={value}" for key, value in options.items()]
        return ["run", name, str(ctl or self.dir), *words]

    def ready(self, seconds=60):
        wait_until(
            f"loads of {self.dir.name} ready", seconds,
            lambda: all((self.dir / f"{name}.ready").exists() for name in self.expected),
        )  # fmt: skip

    def open_gate(self, gate):
        fd = self.gates.pop(gate, None)
        if fd is not None:
            os.close(fd)

    def go(self, seconds=120):
        """Lets them work, and gives what each says it did."""
        self.begin()
        return self.done(seconds)

    def begin(self):
        self.open_gate("go")

    def done(self, seconds=120):
        wait_until(
            f"loads of {self.dir.name} done", seconds,
            lambda: all((self.dir / f"{name}.done").exists() for name in self.expected),
        )  # fmt: skip
        return {name: json.loads((self.dir / f"{name}.done").read_text()) for name in self.expected}

    def settle(self, done, seconds=60):
        """Ends the loads once the agent has its last sample of them; what they did, with all the
        CPU time they used until then."""
        self.open_gate("stop")
        wait_until(
            f"loads of {self.dir.name} at their end", seconds,
            lambda: all((self.dir / f"{name}.after").exists() for name in self.expected),
        )  # fmt: skip
        return {
            name: row | json.loads((self.dir / f"{name}.after").read_text())
            for name, row in done.items()
        }

    def close(self):
        self.open_gate("go")
        self.open_gate("stop")


class Cgroup:
    """A cgroup made by mkdir, as a kubelet with the cgroupfs driver does."""

    def __init__(self, path):
        self.path = CGROUPS / path.strip("/")
        made = CGROUPS
        for part in Path(path.strip("/")).parts:
            # Controllers are handed down from each ancestor, so that each child has them all.
            enabled = (made / "cgroup.subtree_control").read_text().split()
            if not {"cpu", "memory", "io", "pids"} <= set(enabled):
                (made / "cgroup.subtree_control").write_text(CONTROLLERS)
            made = made / part
            made.mkdir(exist_ok=True)

    def write(self, file, value):
        (self.path / file).write_text(str(value))

    def read(self, file):
        return (self.path / file).read_text()

    def spawn(self, arguments, netns=None, program=LOAD, **options):
        """Starts a program in this cgroup: a shell moves itself in first, so that nothing of its
        work is done elsewhere."""
        script = 'echo $$ >"$0/cgroup.procs" && exec "$@"'
        enter = ["nsenter", f"--net=/run/netns/{netns}", "--"] if netns else []
        return subprocess.Popen(
            ["/bin/sh", "-c", script, self.path, *enter, program, *map(str, arguments)], **options
        )

    def remove(self):
        remove_tree(self.path)


def remove_tree(path):
    if not path.is_dir():
        return
    with contextlib.suppress(OSError):
        (path / "cgroup.kill").write_text("1")
    for _ in range(100):
        for dir_path, _, _ in os.walk(path, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(dir_path)
        if not path.exists():
            return
        time.sleep(0.05)
    raise Broken(f"{path} cannot be removed")


# The network: a bridge on the host, a pod's end of a veth in each pod's namespace.


def bridge():
    if Path("/sys/class/net/cni0").exists():
        return
    # Router solicitations and the like would come on top of what the loads count. New namespaces
    # take this over.
    Path("/proc/sys/net/core/devconf_inherit_init_net").write_text("1")
    for scope in ("all", "default"):
        Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6").write_text("1")
    sh("ip", "link", "add", "cni0", "type", "bridge")
    sh("ip", "address", "add", f"{GATEWAY}/16", "dev", "cni0")
    sh("ip", "link", "set", "cni0", "up")
    sh("systemd-run", "--quiet", "--unit=echo", LOAD, "echo", ECHO_PORT)


def batch(commands, *options):
    """Many `ip` commands in one process."""
    done = subprocess.run(
        ["ip", *options, "-batch", "-"], input="\n".join(commands), capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode != 0:
        raise Broken(f"ip {commands}: {done.stderr.strip()}")


def network(number):
    """A namespace with `eth0` on the bridge; its name."""
    bridge()
    name, veth = f"pod{number}", f"veth{number}"
    batch([
        f"netns add {name}",
        f"link add {veth} type veth peer name eth0 netns {name}",
        f"link set {veth} master cni0 up",
    ])  # fmt: skip
    address = f"10.77.{number // 250 + 1}.{number % 250 + 1}/16"
    batch([f"address add {address} dev eth0", "link set eth0 up", "link set lo up"], "-n", name)
    return name


def remove_network(number):
    sh("ip", "netns", "delete", f"pod{number}", check=False)
    sh("ip", "link", "delete", f"veth{number}", check=False)
