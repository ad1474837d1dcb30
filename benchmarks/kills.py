"""Kill the server and its workers at random while clients submit background jobs, and count what is lost, doubled or wrong.

Targets: no accepted job is lost or doubled, no result differs, nothing hangs, no file or process is left. By default it
takes about an hour; `--jobs 20 --kills 4` a few minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psutil
from PIL import Image

from octabox import demo

#: Seeds of the requests; each has one correct result.
SEEDS = range(8)

#: Seconds after which a job that has not ended hangs.
LIMIT = 1800


class Server:
    """A server in a process, which is started again after each kill."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.data, self.url = folder / "data", f"http://127.0.0.1:{self.port}"
        (folder / "models").mkdir()
        self._command = [sys.executable, "-m", "octabox", "serve", "--port", str(self.port), "--threads", "1"]
        self._command += ["--models", str(folder / "models"), "--data-dir", str(self.data)]
        self.start()

    def start(self) -> None:
        """Start the process, and wait until it responds."""
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(self._command, env=environment, stderr=subprocess.DEVNULL)
        while True:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/healthz", trust_env=False).is_success:
                    return
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill the server, and start it again."""
        self.process.kill()
        self.process.wait()
        self.start()

    def kill_worker(self) -> bool:
        """Kill a worker, and return whether there was one."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        # The fork server is a child, and the workers are its children.
        workers = [each for each in children if each.ppid() != self.process.pid]
        if workers:
            with contextlib.suppress(psutil.NoSuchProcess):
                random.choice(workers).kill()
        return bool(workers)


class Client(threading.Thread):
    """Submits jobs and waits for their results, whatever happens to the server."""

    def __init__(self, server: Server, name: str, jobs: int, right: dict[int, bytes]) -> None:
        super().__init__(name=name, daemon=True)
        self.server, self.jobs, self.right = server, jobs, right
        self.ids: list[str] = []
        self.counts: Counter[str] = Counter()

    def run(self) -> None:
        """Submit all jobs, then wait for each."""
        self.ids = [self.submit(index) for index in range(self.jobs)]
        for index, name in enumerate(self.ids):
            self.check(name, index % len(SEEDS))

    def submit(self, index: int) -> str:
        """Submit a job until it is accepted, with the same key."""
        headers = {"idempotency-key": f"{self.name}-{index}"}
        return str(self.call("POST", "/v1/jobs", json=body(index % len(SEEDS)), headers=headers).json()["id"])

    def check(self, name: str, seed: int) -> None:
        """Wait for the end of a job, and compare its result."""
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            job = self.call("GET", f"/v1/jobs/{name}").json()
            status = job.get("status", "lost")
            if status == "failed":
                # Two kills during its runs: the server refuses to run it again by itself.
                self.counts[f"retried: {job['error']['code']}"] += 1
                self.call("POST", f"/v1/jobs/{name}/retry")
            elif status in {"completed", "lost", "cancelled"}:
                content = self.content(job) if status == "completed" else b""
                self.counts[status if content == self.right[seed] or not content else "wrong"] += 1
                return
            time.sleep(0.2)
        self.counts["hung"] += 1

    def content(self, job: dict[str, Any]) -> bytes:
        """Return the pixels of the result of a job."""
        return pixels(self.call("GET", httpx.URL(job["result"]["outputs"][0]["url"]).path).content)

    def call(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request until there is a response that is not of a server that starts or stops."""
        key = {"authorization": f"Bearer {self.name}"}
        arguments["headers"] = {**key, **arguments.get("headers", {})}
        while True:
            with contextlib.suppress(httpx.TransportError):
                answer = httpx.request(method, self.server.url + path, timeout=60, trust_env=False, **arguments)
                if answer.status_code not in {429, 503}:
                    return answer
            time.sleep(0.1)


def body(seed: int) -> dict[str, Any]:
    """Return a small request."""
    params = {"prompt": demo.PROMPT, "num_inference_steps": 8, "width": 64, "height": 64}
    return {"model": demo.NAME, "params": params, "seed": seed}


def pixels(content: bytes) -> bytes:
    """Return the pixels of an image."""
    with Image.open(io.BytesIO(content)) as image:
        found: bytes = image.tobytes()
        return found


def main() -> None:
    """Print the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    for name, default in (("jobs", 200), ("kills", 100), ("clients", 4), ("seed", 0)):
        options.add_argument(f"--{name}", type=int, default=default)
    args = options.parse_args()
    random.seed(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        direct = Client(server, "direct", 0, {})
        right = {
            seed: direct.content({"result": direct.call("POST", "/v1/generations", json=body(seed)).json()})
            for seed in SEEDS
        }
        clients = [Client(server, f"client{index}", args.jobs // args.clients, right) for index in range(args.clients)]
        for client in clients:
            client.start()
        kills = kill_at_random(server, clients, args.kills)
        for client in clients:
            client.join()
        report(server, clients, kills)


def kill_at_random(server: Server, clients: list[Client], count: int) -> Counter[str]:
    """Kill the server or a worker at random moments, while clients wait, and return how often."""
    kills: Counter[str] = Counter()
    while kills.total() < count and any(client.is_alive() for client in clients):
        time.sleep(random.uniform(0.2, 3))
        if random.choice((True, False)):
            server.kill()
            kills["server"] += 1
        else:
            kills["worker"] += server.kill_worker()
    return kills


def report(server: Server, clients: list[Client], kills: Counter[str]) -> None:
    """Print what was accepted, lost, doubled and left."""
    ids = [name for client in clients for name in client.ids]
    listed = httpx.get(f"{server.url}/v1/jobs", params={"limit": 1000}, trust_env=False).json()
    counts = sum((client.counts for client in clients), Counter[str]())
    processes = psutil.Process(server.process.pid).children(recursive=True)
    server.process.terminate()
    server.process.wait(60)
    left = psutil.wait_procs(processes, timeout=30)[1]
    files = [*(server.data / "jobs" / "files").iterdir()]
    print(f"kills            {dict(kills)}")
    print(f"accepted         {len(ids)}, {len({*ids})} ids")
    print(f"outcomes         {dict(counts)} (target: completed alone, but for retries)")
    print(f"listed           {len(listed['data'])} {listed['counts']} (target: as many as accepted)")
    print(f"files            {len(files)} (target: as many as accepted)")
    print(f"processes left   {len(left)} (target: 0)")


if __name__ == "__main__":
    main()
