"""Containers under systemd, by crun, runc or containerd: the trees that each of them leaves."""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path

from host import ROOTFS, Broken, id_of, sh

KUBEPODS_ACCOUNTING = """[Slice]
CPUAccounting=yes
MemoryAccounting=yes
IOAccounting=yes
TasksAccounting=yes
"""
IMAGE = "guest.test/load:1"


def versions():
    """What the guest has of all that makes the trees: the image takes what its mirror has."""
    runs = {
        "systemd": ["systemctl", "--version"],
        "crun": ["crun", "--version"],
        "runc": ["runc", "--version"],
        "containerd": ["containerd", "--version"],
    }
    words = [f"kernel {Path('/proc/sys/kernel/osrelease').read_text().strip()}"]
    for name, command in runs.items():
        said = next((word for word in sh(*command).split() if word[:1].isdigit()), "of no version")
        words.append(f"{name} {said}")
    return ", ".join(words)


def systemd_driver():
    """What a kubelet sets on every slice it makes, as drop-ins for all that is called so."""
    if Path("/run/systemd/system/kubepods.slice.d").exists():
        return
    for prefix in ("kubepods.slice.d", "kubepods-.slice.d"):
        folder = Path("/run/systemd/system", prefix)
        folder.mkdir(parents=True)
        (folder / "accounting.conf").write_text(KUBEPODS_ACCOUNTING)
    sh("systemctl", "daemon-reload")


def slice_of(uid, qos):
    part = {"guaranteed": "", "burstable": "-burstable", "besteffort": "-besteffort"}[qos]
    return f"kubepods{part}-pod{uid.replace('-', '_')}.slice"


class Container:
    """A container of a pod, running when this is made."""

    def __init__(self, runtime, number, slice_name, arguments, netns, stage, data):
        self.runtime = runtime
        self.id = id_of(number)
        # As the CRI of containerd asks each of them for it.
        self.cgroup = f"{slice_name}:cri-containerd:{self.id}"
        self.bundle = Path("/run/bundles", self.id)
        self.bundle.mkdir(parents=True)
        data.mkdir(parents=True, exist_ok=True)
        binds = {"/ctl": stage.dir, "/data": data}
        arguments = ["/load", *map(str, arguments)]
        if runtime == "containerd":
            command = self.by_containerd(arguments, netns, binds)
        else:
            command = self.by_bundle(arguments, netns, binds)
        # Into a file: the container keeps what crun writes to open for as long as it lives.
        log = self.bundle / "log"
        with open(log, "w") as out:
            done = subprocess.run(command, stdout=out, stderr=out, check=False)
        if done.returncode != 0:
            raise Broken(f"{runtime} run: {log.read_text().strip()}")

    def by_bundle(self, arguments, netns, binds):
        namespaces = [{"type": kind} for kind in ("pid", "mount", "ipc")]
        namespaces.append({"type": "network", "path": f"/run/netns/{netns}"})
        bind = {"type": "bind", "options": ["rbind", "rw"]}
        config = {
            "ociVersion": "1.0.2",
            "process": {
                "terminal": False, "user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/"],
                "args": arguments,
            },
            "root": {"path": str(ROOTFS), "readonly": True},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                # Its own, since all containers share one root and runc makes devices there.
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs",
                 "options": ["nosuid", "mode=755", "size=64k"]},
                *({"destination": to, "source": str(path), **bind} for to, path in binds.items()),
            ],
            "linux": {
                "namespaces": namespaces,
                "cgroupsPath": self.cgroup,
                "resources": {"cpu": {"shares": 100}},
            },
        }  # fmt: skip
        (self.bundle / "config.json").write_text(json.dumps(config))
        options = ["--systemd-cgroup", "run", "--detach", "--bundle", self.bundle]
        return [self.runtime, *options, self.id]

    def by_containerd(self, arguments, netns, binds):
        mounts = [f"type=bind,src={path},dst={to},options=rbind:rw" for to, path in binds.items()]
        return [
            "ctr", "run", "--detach", "--null-io", "--runc-systemd-cgroup",
            "--cgroup", self.cgroup, "--with-ns", f"network:/run/netns/{netns}",
            *(part for mount in mounts for part in ("--mount", mount)),
            IMAGE, self.id, *arguments,
        ]  # fmt: skip

    def remove(self):
        if self.runtime == "containerd":
            sh("ctr", "tasks", "rm", "--force", self.id, check=False)
            sh("ctr", "containers", "rm", self.id, check=False)
        else:
            sh(self.runtime, "delete", "--force", self.id, check=False)
        shutil.rmtree(self.bundle, ignore_errors=True)


class Containerd:
    """The service, with an image of one layer that holds the load."""

    def __init__(self):
        sh("systemctl", "start", "containerd.service")
        archive = Path("/run/load-image.tar")
        with tarfile.open(archive, "w") as tar:
            pack_image(tar)
        sh("ctr", "images", "import", archive)
        archive.unlink()

    def shims(self):
        """By pid, the cgroup of each shim."""
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                name = (place / "comm").read_text().strip()
                if name.startswith("containerd-shim"):
                    cgroup = (place / "cgroup").read_text().strip()
                    found[int(place.name)] = cgroup.removeprefix("0::")
            except OSError:
                continue
        return found

    def end(self):
        sh("systemctl", "stop", "containerd.service")


def ran_usec(pids):
    """What all threads of these processes have run, by the scheduler."""
    return sum(
        int(task.read_text().split()[0]) // 1000
        for pid in pids
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat")
    )


def pack_image(tar):
    """An OCI image layout."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as rootfs:
        rootfs.add(ROOTFS, ".")

    def add(name, content):
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))

    def blob(kind, content):
        digest = hashlib.sha256(content).hexdigest()
        add(f"blobs/sha256/{digest}", content)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "size": len(content),
                "digest": f"sha256:{digest}"}  # fmt: skip

    def document(content):
        return json.dumps(content).encode()

    layer = blob("layer.v1.tar", layer.getvalue())
    config = blob("config.v1+json", document({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }))  # fmt: skip
    manifest = blob("manifest.v1+json", document({
        "schemaVersion": 2, "config": config, "layers": [layer],
    }))  # fmt: skip
    manifest["annotations"] = {"io.containerd.image.name": IMAGE}
    add("index.json", document({"schemaVersion": 2, "manifests": [manifest]}))
    add("oci-layout", document({"imageLayoutVersion": "1.0.0"}))
