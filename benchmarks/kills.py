"""Kill the server and its workers at random while clients submit background jobs, and count what is lost, doubled or wrong.

Targets: no accepted job is lost or doubled, no result differs, nothing hangs, no file or process is left. A server that is
killed takes some seconds until it has a worker again, so that most kills are of workers. `--seconds 200` ends within
five minutes. With `--jobs 200`, the clients submit so many, spread over the kills, and the run ends after the last job and
the last kill.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
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
import numpy as np
import psutil
from PIL import Image

from octabox import demo

#: Seeds of the requests; each has one correct result.
SEEDS = range(8)

#: Largest difference of a channel by rounding, 0 to 255.
ROUNDING = 2

#: Seconds after which a job that has not ended hangs.
LIMIT = 600

#: Share of the kills that are of the server.
SERVER_SHARE = 0.2

#: How many jobs of a client wait or run.
OUTSTANDING = 6

#: Seconds that a process has to end after the server that started it.
GRACE = 20

#: Seconds that a server has to respond, and that a worker has to be there while jobs wait.
START_LIMIT, WORKER_LIMIT = 120, 30


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
        self.seen: set[psutil.Process] = set()
        self.start()

    def start(self) -> None:
        """Start the process, and wait until it responds."""
        environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(self._command, env=environment, stderr=subprocess.DEVNULL)
        end = time.monotonic() + START_LIMIT
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/healthz", trust_env=False).is_success:
                    return
            time.sleep(0.05)
        raise SystemExit(f"The server did not respond within {START_LIMIT} s; its exit code is {self.process.poll()}.")

    def children(self) -> list[psutil.Process]:
        """Return the processes that the server has started; all that ever were are in `seen`."""
        children: list[psutil.Process] = psutil.Process(self.process.pid).children(recursive=True)
        self.seen.update(children)
        return children

    def workers(self) -> list[psutil.Process]:
        """Return the workers: the fork server is a child of the server, and they are its children."""
        workers = []
        for each in self.children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if each.ppid() != self.process.pid:
                    workers.append(each)
        return workers

    def kill(self) -> None:
        """Kill the server, and start it again."""
        self.children()
        self.process.kill()
        self.process.wait()
        self.start()

    def kill_worker(self) -> bool:
        """Kill a worker, and return whether one was killed."""
        with contextlib.suppress(psutil.NoSuchProcess, IndexError):
            random.choice(self.workers()).kill()
            return True
        return False

    def stop(self) -> list[psutil.Process]:
        """Stop the server regularly, and return the processes that are left of all that were started."""
        self.children()
        self.process.terminate()
        self.process.wait(60)
        left: list[psutil.Process] = psutil.wait_procs(self.seen, timeout=GRACE)[1]
        return left


class Allowance:
    """How many jobs clients may submit: all without a number, else as many as the share of the kills that were made.

    Args:
        jobs: The number; 0 is no limit.
        kills: How many kills are planned.
    """

    def __init__(self, jobs: int, kills: int) -> None:
        self.jobs, self._kills = jobs, max(kills, 1)
        self._allowed, self._taken, self._lock = 0.0, 0, threading.Lock()

    @property
    def is_used(self) -> bool:
        """Whether there is a number of jobs, and all were submitted."""
        return 0 < self.jobs <= self._taken

    def extend(self) -> None:
        """Allow the jobs of one more kill."""
        self._allowed += self.jobs / self._kills

    def extend_to_all(self) -> None:
        """Allow all jobs."""
        self._allowed = self.jobs

    def take(self) -> bool:
        """Return whether one more job may be submitted."""
        with self._lock:
            allowed = not self.jobs or self._taken < min(self.jobs, math.ceil(self._allowed + 1e-9))
            self._taken += allowed
            return allowed


class Client(threading.Thread):
    """Submits jobs and waits for their results, whatever happens to the server."""

    def __init__(self, server: Server, name: str, right: dict[int, bytes], allowance: Allowance | None = None) -> None:
        super().__init__(name=name, daemon=True)
        self.server, self.right, self.allowance = server, right, allowance or Allowance(0, 0)
        self.ids: list[str] = []
        self.counts: Counter[str] = Counter()
        self.attempts: Counter[int] = Counter()
        self.ends = threading.Event()

    def run(self) -> None:
        """Keep some jobs waiting until the end, then wait for each."""
        checked = 0
        while not self.is_done or checked < len(self.ids):
            while not self.is_done and len(self.ids) - checked < OUTSTANDING and self.allowance.take():
                self.ids.append(self.submit(len(self.ids)))
            if checked < len(self.ids):
                self.check(self.ids[checked], checked % len(SEEDS))
                checked += 1
            else:
                time.sleep(0.1)

    @property
    def is_done(self) -> bool:
        """Whether no further job is to be submitted: after the kills, or after the number of jobs, if there is one."""
        return self.allowance.is_used if self.allowance.jobs else self.ends.is_set()

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
                self.counts[status if not content or is_same(content, self.right[seed]) else "wrong"] += 1
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
        end = time.monotonic() + LIMIT
        while time.monotonic() < end:
            with contextlib.suppress(httpx.TransportError):
                answer = httpx.request(method, self.server.url + path, timeout=60, trust_env=False, **arguments)
                if answer.status_code not in {429, 503}:
                    return answer
            time.sleep(0.1)
        self.counts["hung"] += 1
        raise TimeoutError(f"{method} {path} had no response within {LIMIT} s")


def body(seed: int) -> dict[str, Any]:
    """Return a small request."""
    params = {"prompt": demo.PROMPT, "num_inference_steps": 8, "width": 64, "height": 64}
    return {"model": demo.NAME, "params": params, "seed": seed}


def is_same(content: bytes, expected: bytes) -> bool:
    """Return whether the pixels of two images are the same but for rounding, by which jobs that shared a batch differ."""
    first, second = (np.frombuffer(each, np.uint8).astype(int) for each in (content, expected))
    return first.shape == second.shape and bool(np.abs(first - second).max() <= ROUNDING)


def pixels(content: bytes) -> bytes:
    """Return the pixels of an image."""
    with Image.open(io.BytesIO(content)) as image:
        found: bytes = image.tobytes()
        return found


def main() -> None:
    """Print the figures."""
    options = argparse.ArgumentParser(description=__doc__)
    for name, default in (("seconds", 3600), ("kills", 1000), ("clients", 4), ("seed", 0), ("jobs", 0)):
        options.add_argument(f"--{name}", type=int, default=default)
    args = options.parse_args()
    random.seed(args.seed)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        direct = Client(server, "direct", {})
        right = {
            seed: direct.content({"result": direct.call("POST", "/v1/generations", json=body(seed)).json()})
            for seed in SEEDS
        }
        began = time.monotonic()
        allowance = Allowance(args.jobs, args.kills)
        clients = [Client(server, f"client{index}", right, allowance) for index in range(args.clients)]
        for client in clients:
            client.start()
        kills = kill_at_random(server, args.kills, began + args.seconds, allowance)
        allowance.extend_to_all()
        for client in clients:
            client.ends.set()
        print(f"after {time.monotonic() - began:.0f} s  {dict(kills)}, waiting for the last jobs", flush=True)
        for client in clients:
            client.join()
        report(server, clients, kills)


def kill_at_random(server: Server, count: int, end: float, allowance: Allowance) -> Counter[str]:
    """Kill the server or a worker at random moments, and return how often each; one of five kills is of the server."""
    kills: Counter[str] = Counter()
    while kills.total() < count and time.monotonic() < end:
        allowance.extend()
        if random.random() < SERVER_SHARE or not await_worker(server, allowance, end):
            # Also while it starts.
            time.sleep(random.uniform(0.1, 5))
            server.kill()
            kills["server"] += 1
            continue
        time.sleep(random.choice((random.uniform(0, 0.3), random.uniform(0, 5))))
        kills["worker"] += server.kill_worker()
        if kills.total() % 10 == 0:
            print(f"                 {dict(kills)}", flush=True)
    return kills


def await_worker(server: Server, allowance: Allowance, end: float) -> bool:
    """Wait until there is a worker; return whether there is one, which there may not be once all jobs are done."""
    end = min(end, time.monotonic() + (WORKER_LIMIT if allowance.jobs else LIMIT))
    while not (found := server.workers()) and time.monotonic() < end:
        time.sleep(0.05)
    return bool(found)


def report(server: Server, clients: list[Client], kills: Counter[str]) -> None:
    """Print what was accepted, lost, doubled and left."""
    ids = [name for client in clients for name in client.ids]
    jobs = listed(clients[0])  # Without API keys, a client sees the jobs of all.
    counts = sum((client.counts for client in clients), Counter[str]())
    left = server.stop()
    files = [*(server.data / "jobs" / "files").iterdir()]
    completed = counts["completed"] + counts["wrong"]
    print(f"kills            {dict(kills)}")
    print(f"accepted         {len(ids)}, {len({*ids})} ids")
    print(f"outcomes         {dict(counts)} (target: completed alone, but for retries)")
    print(f"lost             {len({*ids} - {job['id'] for job in jobs})} (target: 0)")
    print(f"done twice       {len(jobs) - len({*ids})} jobs, {len(files) - completed} files (target: 0)")
    print(f"runs by job      {dict(Counter(job['attempts'] for job in jobs))}")
    print(f"processes left   {len(left)} of {len(server.seen)} (target: 0)")


def listed(client: Client) -> list[dict[str, Any]]:
    """Return all jobs of a client, page by page."""
    found: list[dict[str, Any]] = []
    after: dict[str, Any] = {}
    while True:
        page = client.call("GET", "/v1/jobs", params={"limit": 1000, **after}).json()
        found += page["data"]
        if not page["has_more"]:
            return found
        after = {"after": page["last_id"]}


if __name__ == "__main__":
    main()
