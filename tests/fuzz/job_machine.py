"""Two servers that share their background jobs, and the operations of clients on them, in any order."""

from __future__ import annotations

import asyncio
import json
import logging
import shutil
import tempfile
import threading
from collections.abc import AsyncGenerator, Coroutine
from pathlib import Path
from typing import Any

import httpx
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from fakes import FakeGenerations, Server
from octabox.errors import GenerationError, OutOfMemoryError, QueueFullError, WorkerDiedError
from octabox.service.jobs.errors import JobStoreError
from octabox.service.jobs.job import STATUSES
from octabox.service.protocols import Models
from octabox.types import Event, GenerationRequest, Progress
from queue_houses import end_abruptly

PATH = "/v1/jobs"

#: Statuses that a job keeps.
FINAL = frozenset(STATUSES[2:])

#: Seconds that any response may take, and all jobs together once nothing holds them.
LIMIT = 20

#: What the run of a job does, by its prompt.
ERRORS: dict[str, Exception] = {
    "fails": GenerationError("It fails."),
    "memory": OutOfMemoryError("There is none.", model="demo"),
    "full": QueueFullError("It is full.", retry_after=0.01),
    "dies": WorkerDiedError("It has died.", model="demo"),
    "breaks": ValueError("Nobody expects this."),
}
PROMPTS = st.sampled_from(["works", "waits", *ERRORS])

#: Names that clients choose, few enough to meet again.
NAMES = st.sampled_from(["a", "b", "c", "..", "a/b", "", "x" * 200])

#: Values of fields that are right, at an edge, or wrong.
NUMBERS = st.sampled_from([None, 0, 1, -100, 100, 101, 2**63, 1.5, True, "1", -1])


class Generations(FakeGenerations):
    """Runs that end by themselves, that wait, and that fail in each way."""

    def __init__(self, released: asyncio.Event) -> None:
        super().__init__()
        self.released, self.failures = released, dict[str, int]()

    async def stream(self, request: GenerationRequest, models: Models | None = None) -> AsyncGenerator[Event, None]:
        """Yield the events of a run."""
        prompt = str(request.params.get("prompt"))
        if prompt in ERRORS:
            yield Progress("queued")
            self.failures[request.id] = self.failures.get(request.id, 0) + 1
            # A queue that is full is tried again.
            if prompt != "full" or self.failures[request.id] < 3:
                raise ERRORS[prompt]
        if prompt == "waits":
            yield Progress("running", 1, 2)
            await self.released.wait()
        async for event in super().stream(request, models):
            yield event


class JobMachine(RuleBasedStateMachine):
    """Clients of two servers; each job that was accepted is known to both, and ends in one final status."""

    jobs = Bundle("jobs")
    servers = st.sampled_from([0, 1])

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="octabox-test-"))
        self.loop, self.released = asyncio.new_event_loop(), asyncio.Event()
        self.threads, self.faults = {each.name for each in threading.enumerate()}, list[str]()
        self.handler = logging.Handler(logging.WARNING)
        self.handler.emit = self._see  # type: ignore[method-assign]
        logging.getLogger().addHandler(self.handler)
        self.doors = [self._opened(), self._opened()]
        self.gone: list[Server] = []
        self.known: dict[str, str] = {}

    def _see(self, record: logging.LogRecord) -> None:
        """Note an exception that is logged, but those that runs raise here."""
        error = record.exc_info[1] if record.exc_info else None
        # The tasks of a server that has crashed end with its process, which is this one here.
        is_of_crash = isinstance(error, JobStoreError) and bool(self.gone)
        if error is not None and not is_of_crash and not isinstance(error, (ValueError, asyncio.CancelledError)):
            self.faults.append(f"{record.getMessage()}: {error!r}")

    def _opened(self) -> Server:
        """Return a server with the data of the others."""
        return Server(Generations(self.released), data_dir=self.folder)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Return what a coroutine returns in time."""
        return self.loop.run_until_complete(asyncio.wait_for(work, LIMIT))

    def send(self, server: int, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request, and check that its response is typed."""
        answer: httpx.Response = self.run(self.doors[server].http.request(method, path, **options))
        if answer.status_code >= 400:
            body = answer.json()
            assert body["error"]["code"] not in {"", "internal_error", "generation_failed"}, body
        return answer

    # Clients.

    @rule(
        target=jobs,
        server=servers,
        prompts=st.lists(PROMPTS, min_size=1, max_size=3),
        name=st.none() | NAMES,
        priority=NUMBERS,
        key=st.none() | st.sampled_from(["k", "l", "\xe9", "", "k" * 300]),
        route=st.sampled_from(["job", "batch", "list", "background"]),
    )
    def submit(
        self, server: int, prompts: list[str], name: str | None, priority: Any, key: str | None, route: str
    ) -> Any:
        """Submit one job or several, as often as a client wants with the same key."""
        bodies = [
            {"model": "demo", "params": {"prompt": prompt}, "seed": 5, "priority": priority} for prompt in prompts
        ]
        if name is not None:
            bodies[0]["id"] = name
        body: Any = {"job": bodies[0], "batch": {"requests": bodies}, "list": bodies, "background": bodies[0]}[route]
        if route == "background":
            body = {**body, "background": True}
        headers = {} if key is None else {"idempotency-key": key.encode("latin-1")}
        path = "/v1/generations" if route == "background" else PATH
        answer = self.send(server, "POST", path, json=body, headers=headers)
        if answer.status_code != 202:
            return multiple()
        found = answer.json()
        ids = [each["id"] for each in (found["data"] if found["object"] == "batch" else [found])]
        for each in ids:
            self.known.setdefault(each, "queued")
        return multiple(*ids)

    @rule(server=servers, job=jobs | NAMES)
    def read(self, server: int, job: str) -> None:
        """Read a job."""
        self.observe(server, job)

    @rule(server=servers, job=jobs, verb=st.sampled_from(["cancel", "retry"]))
    def end_or_repeat(self, server: int, job: str, verb: str) -> None:
        """Cancel a job, or run it again."""
        answer = self.send(server, "POST", f"{PATH}/{job}/{verb}")
        if verb == "retry" and answer.is_success:
            self.known[job] = "queued"
        elif answer.is_success:
            assert answer.json()["status"] in FINAL | {"queued", "in_progress"}

    @rule(server=servers, job=jobs)
    def delete(self, server: int, job: str) -> None:
        """Delete a job."""
        if self.send(server, "DELETE", f"{PATH}/{job}").is_success:
            self.known.pop(job, None)

    @rule(
        server=servers,
        job=jobs,
        change=st.fixed_dictionaries(
            {}, optional={"priority": NUMBERS, "position": st.sampled_from(["first", "last", "middle"])}
        ),
        other=st.none() | jobs,
        side=st.sampled_from(["before", "after"]),
    )
    def move(self, server: int, job: str, change: dict[str, Any], other: str | None, side: str) -> None:
        """Change the order."""
        self.send(server, "PATCH", f"{PATH}/{job}", json={**change, **({side: other} if other else {})})

    @rule(
        server=servers, verb=st.sampled_from(["pause", "resume"]), model=st.sampled_from([None, "demo", "nothing", 5])
    )
    def hold(self, server: int, verb: str, model: Any) -> None:
        """Pause or resume a model, or all."""
        self.send(server, "POST", f"{PATH}/{verb}", json={"model": model})

    @rule(
        server=servers,
        body=st.fixed_dictionaries(
            {},
            optional={
                "status": st.lists(st.sampled_from([*STATUSES, "x"]), max_size=2),
                "model": st.sampled_from(["demo", "x"]),
                "older_than": NUMBERS,
            },
        ),
    )
    def prune(self, server: int, body: dict[str, Any]) -> None:
        """Delete what has ended."""
        if self.send(server, "POST", f"{PATH}/prune", json=body).is_success:
            left = {each["id"] for each in self.listed(server)}
            # Only what has ended may be gone.
            for job in [each for each in self.known if each not in left]:
                del self.known[job]

    @rule(
        server=servers,
        job=jobs,
        last=st.none() | st.sampled_from(["0", "1", "9" * 30, "x", "-1", "4611686018427387904"]),
    )
    def follow(self, server: int, job: str, last: str | None) -> None:
        """Follow a job, from any event on, and go away before its end."""
        headers = {} if last is None else {"last-event-id": last}
        following = self.doors[server].http.get(f"{PATH}/{job}/events", headers=headers)
        try:
            answer = self.loop.run_until_complete(asyncio.wait_for(following, 0.05))
        except asyncio.TimeoutError:
            return
        if answer.status_code == 200:
            events = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
            assert not events or events[-1].get("status") in FINAL | {None}, events

    @rule(server=servers, job=jobs, index=st.sampled_from([0, 1, -1, 2**63]), verb=st.sampled_from(["mark", "delete"]))
    def change_outputs(self, server: int, job: str, index: int, verb: str) -> None:
        """Mark or delete outputs, whether they exist or not."""
        body = {"outputs": [{"id": job, "index": index}], **({"star": True, "tags": ["x"]} if verb == "mark" else {})}
        answer = self.send(server, "POST", f"{PATH}/outputs/{verb}", json=body)
        if verb == "delete" and answer.is_success and self.send(server, "GET", f"{PATH}/{job}").status_code == 404:
            self.known.pop(job, None)

    @rule(
        server=servers,
        query=st.fixed_dictionaries(
            {},
            optional={
                "status": st.sampled_from(["queued", "completed,failed", "x"]),
                "model": st.sampled_from(["demo", "x"]),
                "limit": NUMBERS.filter(lambda value: value is not None),
                "order": st.sampled_from(["asc", "desc", "x"]),
                "after": NAMES,
                "batch": NAMES,
            },
        ),
    )
    def list_some(self, server: int, query: dict[str, Any]) -> None:
        """List jobs by any filter."""
        self.send(server, "GET", PATH, params=query)

    # The servers.

    @rule(seconds=st.sampled_from([0.0, 0.02, 0.1]))
    def wait(self, seconds: float) -> None:
        """Let the servers work."""
        self.run(asyncio.sleep(seconds))

    @rule()
    def release(self) -> None:
        """Let the runs that wait go on."""
        self.released.set()
        self.run(asyncio.sleep(0.02))
        self.released.clear()

    @rule(server=servers)
    def restart(self, server: int) -> None:
        """Stop a server as its signal does, and start it again."""
        self.run(self.doors[server].queue.close())
        self.doors[server] = self._opened()

    @rule(server=servers)
    def crash(self, server: int) -> None:
        """End a server as the end of its process does, and let the other one notice that."""
        self.send(server, "GET", PATH)
        self.gone.append(self.doors[server])
        self.run(end_abruptly(self.doors[server].queue))
        self.doors[server] = self._opened()
        self.renew()

    def renew(self) -> None:
        """Renew the leases of both servers."""
        for door in self.doors:
            self.run(door.queue.open())
            self.run(door.queue.lease.renew())

    # What must hold.

    def listed(self, server: int) -> list[dict[str, Any]]:
        """Return all jobs that a server lists."""
        found: list[dict[str, Any]] = self.send(server, "GET", PATH, params={"limit": 1000}).json()["data"]
        return found

    def observe(self, server: int, job: str) -> None:
        """Read a job, and check that it is known as long as nobody has deleted it, and that its end does not change."""
        answer = self.send(server, "GET", f"{PATH}/{job}") if job not in {"", "..", "a/b"} else None
        if answer is None or job not in self.known:
            return
        assert 200 == answer.status_code, answer.text
        status = answer.json()["status"]
        assert self.known[job] not in FINAL or self.known[job] == status, (job, self.known[job], status)
        assert ("error" in answer.json() and answer.json()["error"] is not None) == (status in {"failed", "cancelled"})
        self.known[job] = status

    @invariant()
    def no_faults(self) -> None:
        """Nothing was raised that no request was told of."""
        assert not self.faults, self.faults

    @invariant()
    def both_know_all(self) -> None:
        """Both servers list the same jobs, which are those that were accepted and not deleted."""
        for server in (0, 1):
            assert {*self.known} <= {each["id"] for each in self.listed(server)}

    def teardown(self) -> None:
        """Check that each job ends, and that nothing is left of the servers."""
        try:
            self.released.set()
            self.renew()
            self.send(0, "POST", f"{PATH}/resume")
            self.renew()
            self.run(self._all_ended())
            for job in [*self.known]:
                self.observe(0, job)
                self.observe(1, job)
            assert {*self.known.values()} <= FINAL, self.known
        finally:
            logging.getLogger().removeHandler(self.handler)
            self._close()
        assert not self.faults, self.faults

    async def _all_ended(self) -> None:
        """Wait until no job waits or runs."""
        while True:
            listed = (await self.doors[0].http.get(PATH, params={"status": "queued,in_progress"})).json()["data"]
            if not listed:
                return
            await asyncio.sleep(0.02)

    def _close(self) -> None:
        """Close the servers; the tasks of those that have crashed end as their processes would."""
        for door in self.doors:
            self.run(door.queue.close())
        self.loop.run_until_complete(_end_tasks())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        shutil.rmtree(self.folder)
        left = {each.name for each in threading.enumerate()} - self.threads
        assert not left, left


async def _end_tasks() -> None:
    """Cancel all other tasks of the loop."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
