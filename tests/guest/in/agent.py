"""The agent under test: `dump` over an interval, `run` with its posts taken in, and what it costs."""

import contextlib
import http.server
import json
import os
import re
import subprocess
import threading
import time
from pathlib import Path

from host import HANDED_IN, Broken

BINARY = HANDED_IN / "nodetally"
PACKAGE = HANDED_IN / "nodetally.deb"
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def released():
    """The agent as people get it, for what CPU and memory it takes: the package's, or a release build."""
    if not PACKAGE.exists():
        return HANDED_IN / "nodetally-release"
    # Nothing below /run may be run.
    unpacked = Path("/var/tmp/unpacked-package")
    if not unpacked.exists():
        subprocess.run(["dpkg-deb", "--extract", PACKAGE, unpacked], check=True)
    return unpacked / "usr/bin/nodetally"


def check():
    done = subprocess.run([BINARY, "check"], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


class Dump:
    """`dump` in the background. What happens between `begun` and `end` lies inside its interval:
    the first sample is long taken when `begun` returns, and `end` waits for the second."""

    # Time from the start of the program to its first sample; far below this, also under TCG.
    SETTLE_SECONDS = 2.0

    def __init__(self, seconds):
        self.seconds = seconds
        self.begun_at = time.monotonic()
        self.process = subprocess.Popen(
            [BINARY, "dump", "--interval", f"{seconds}s", "--format", "json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        time.sleep(self.SETTLE_SECONDS)

    def end(self):
        """The document. A load that was not done in time is the scenario's fault."""
        if time.monotonic() - self.begun_at > self.seconds - 0.5:
            self.process.kill()
            raise Broken(f"the loads took longer than the {self.seconds} s of the dump")
        out, err = self.process.communicate(timeout=self.seconds + 60)
        if self.process.returncode != 0:
            raise AssertionError(f"dump exited with {self.process.returncode}: {err.strip()}")
        return json.loads(out)


class Posts:
    """A server of the resource API that keeps all it is sent, with the time of arrival."""

    def __init__(self, port=7700):
        self.all = []
        self.authorizations = set()
        self.lock = threading.Lock()
        posts = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                with posts.lock:
                    posts.authorizations.add(self.headers.get("Authorization"))
                    posts.all.append((time.monotonic(), self.path, json.loads(body)))
                self.send_response(201)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", port), Handler)
        self.url = f"http://127.0.0.1:{port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def since(self, at):
        with self.lock:
            return [post for post in self.all if post[0] > at]

    def nodes(self, at=0.0):
        return [post for post in self.since(at) if post[1].startswith("/api/nodes/")]

    def wait_for_node(self, seconds):
        """The time of arrival of the node's next post."""
        begun, end = time.monotonic(), time.monotonic() + seconds
        while time.monotonic() < end:
            nodes = self.nodes(begun)
            if nodes:
                return nodes[0][0]
            time.sleep(0.05)
        raise AssertionError(f"the agent posted nothing for {seconds} s")

    def pods(self, at=0.0):
        """By pod, its posts."""
        pods = {}
        for post in self.since(at):
            named = re.match(r"/api/namespaces/[^/]+/pods/([^/]+)/metrics", post[1])
            if named:
                pods.setdefault(named[1], []).append(post)
        return pods


def total(posts, *keys):
    figures = 0
    for _, _, body in posts:
        for key in keys:
            body = body[key]
        figures += body
    return figures


def cpu_usec(posts):
    """The CPU time of posts with `extras`: a late sample has a longer interval."""
    return sum(body["cpu_nanocores"] * body["window_millis"] // 1_000_000 for _, _, body in posts)


class Run:
    """`run`, posting to `posts`, which has a `url`."""

    def __init__(self, posts, interval, state_dir="none", log=None, binary=BINARY):
        # What is measured stands beside the posts by their time of arrival.
        environment = {
            **os.environ, "NODETALLY_ENDPOINT_URL": posts.url, "NODETALLY_ENDPOINT_SPREAD": "0s",
            "NO_COLOR": "1",
        }  # fmt: skip
        self.log = Path(log or "/run/agent.log")
        self.process = subprocess.Popen(
            # The scenario `service` leaves a file in the default place.
            [binary, "run", "--config", "none", "--interval", f"{interval}s", "--state-dir", str(state_dir)],
            env=environment, stdout=subprocess.DEVNULL, stderr=open(self.log, "a"),
        )  # fmt: skip
        self.begun_at = time.monotonic()

    def proc(self, file):
        return Path(f"/proc/{self.process.pid}/{file}").read_text()

    def cpu_seconds(self):
        fields = self.proc("stat").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def cpu_usec(self):
        """By thread name, in the scheduler's own nanoseconds: /proc/<pid>/stat counts ticks, of
        which an emulated CPU loses some."""
        usec = {}
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            name = (task / "comm").read_text().strip()
            ran = int((task / "schedstat").read_text().split()[0]) / 1000
            usec[name] = usec.get(name, 0) + ran
        return usec

    def peak_bytes(self):
        """The largest that its resident set has been."""
        return int(re.search(r"^VmHWM:\s+(\d+)", self.proc("status"), re.MULTILINE)[1]) * 1024

    def resident_bytes(self):
        return int(self.proc("statm").split()[1]) * PAGE

    def anonymous_bytes(self):
        """What it allocated. The rest of the resident set are pages of its file, which come in as
        code is first run."""
        return int(re.search(r"^RssAnon:\s+(\d+)", self.proc("status"), re.MULTILINE)[1]) * 1024

    def open_files(self, below=""):
        """The paths of those that have `below` in it. Without connections, of which there are as
        many as posts under way."""
        paths = []
        for fd in os.listdir(f"/proc/{self.process.pid}/fd"):
            with contextlib.suppress(FileNotFoundError):
                path = os.readlink(f"/proc/{self.process.pid}/fd/{fd}")
                if below in path and not path.startswith("socket:"):
                    paths.append(path)
        return sorted(paths)

    def cost(self):
        age = time.monotonic() - self.begun_at
        cpu = self.cpu_seconds()
        return f"agent: {cpu:.2f} s CPU in {age:.0f} s, RSS {self.resident_bytes() / 2**20:.1f} MiB"

    def stop(self, signal_number=15, seconds=15):
        self.process.send_signal(signal_number)
        return self.process.wait(seconds)
