"""Progress of a caller's own task, and its end, over fakes."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from fakes import Server
from octabox.frontends.http.a1111.callers import Caller, Callers
from octabox.frontends.http.a1111.progress.routes import routes
from octabox.frontends.http.a1111.progress.tasks import OnProgress, Preview, Task, Tasks
from octabox.security.clients import current_client
from octabox.types import Artifact, Progress

PREFIX = "/sdapi/v1"

#: Index of a batch that fails.
FAILING = 4


async def start(client: httpx.AsyncClient, server: Server, **body: Any) -> asyncio.Task[httpx.Response]:
    """Start a request that does not end."""
    await client.get(f"{PREFIX}/scripts")
    server.generations.hang = True
    server.generations.begun.clear()
    request = asyncio.create_task(client.post(f"{PREFIX}/txt2img", json={"prompt": "x", **body}))
    await asyncio.wait_for(server.generations.begun.wait(), 30)
    return request


async def progress(client: httpx.AsyncClient, **query: Any) -> dict[str, Any]:
    """Return the progress."""
    found: dict[str, Any] = (await client.get(f"{PREFIX}/progress", params=query)).json()
    return found


async def test_two_callers_at_one_address() -> None:
    """Each sees its own task; the end of one leaves the other."""
    server = Server()
    first = server.http
    second = httpx.AsyncClient(transport=httpx.ASGITransport(server.app), base_url="http://localhost")
    mine, theirs = await start(first, server, force_task_id="mine"), await start(second, server)
    seen = [(await progress(each))["id_task"] for each in (first, second)]
    named = await progress(second, id_task="mine")
    ended = await first.post(f"{PREFIX}/interrupt")
    answer = await asyncio.wait_for(mine, 30)
    idle, running = await progress(first), await progress(second)
    await second.post(f"{PREFIX}/interrupt")
    await asyncio.wait_for(theirs, 30)

    assert "mine" == seen[0] != seen[1]
    assert "mine" == named["id_task"]
    assert {} == ended.json()
    assert (200, []) == (answer.status_code, answer.json()["images"])
    assert (0, 0) == (idle["progress"], idle["state"]["job_count"])
    assert running["progress"] > 0


async def test_tasks_of_another_address() -> None:
    """They are not in the list of what waits."""
    server = Server()
    running = await start(server.http, server, force_task_id="mine")
    foreign = httpx.ASGITransport(server.app, client=("192.0.2.7", 1))
    other = httpx.AsyncClient(transport=foreign, base_url="http://localhost")
    tasks = [(await each.get("/internal/pending-tasks")).json()["tasks"] for each in (server.http, other)]
    await server.http.post(f"{PREFIX}/interrupt")
    await asyncio.wait_for(running, 30)

    assert [["mine"], []] == tasks


async def test_previews_of_another_address() -> None:
    """They are for the caller alone, also where another one knows the id of the task."""
    tasks, mine, app = Tasks(), Caller("127.0.0.1"), FastAPI()
    app.include_router(routes(Callers(), tasks))
    with tasks.started("one", mine, "txt2img", 1) as task:
        task.advance(Progress("running", 1, 10, preview=Artifact("image", "image/png", b"seen", 1)))
        shown = {}
        for name in ("127.0.0.1", "192.0.2.7"):
            token = current_client.set(name)
            client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost")
            shown[name] = await progress(client, id_task="one")
            current_client.reset(token)

    assert ["one", "one"] == [each["id_task"] for each in shown.values()]
    assert [True, False] == [bool(each["current_image"]) for each in shown.values()]


async def test_a_client_without_cookies() -> None:
    """It ends its own task, also while that of a session at its address runs; without one of its own, that of the session."""
    tasks, bare, session = Tasks(), Caller("a"), Caller("a", "s" * 16)
    with tasks.started("theirs", session, "txt2img", 1) as theirs:
        theirs.advance(Progress("running", 1, 10))
        alone = tasks.current(bare)
        with tasks.started("mine", bare, "txt2img", 1) as mine:
            found = [tasks.current(bare), tasks.current(session)]

    assert [theirs, mine, theirs] == [alone, *found]


class Works:
    """Batches that run together, each until a test ends it."""

    def __init__(self, count: int) -> None:
        self.task = Task("x", Caller("a"), "txt2img", batches=count)
        self.gates = [asyncio.Event() for _ in range(count)]
        self.running = asyncio.create_task(self.task.run(0, [partial(self._run, index) for index in range(count)]))

    async def _run(self, index: int, on_progress: OnProgress) -> int:
        on_progress(Progress("running", index + 1, 10))
        await self.gates[index].wait()
        if index == FAILING:
            raise ValueError
        return index


async def test_batches_run_together() -> None:
    """One that is skipped has no result; the progress is that of the first that has not ended."""
    works = Works(4)
    await asyncio.sleep(0.01)
    assert (0, 1) == (works.task.batch, works.task.progress.step)
    works.gates[2].set()
    await asyncio.sleep(0.01)
    works.task.skip()
    await asyncio.sleep(0.01)
    assert (2, True) == (works.task.batch, works.task.is_current(1))
    works.gates[1].set()
    works.gates[3].set()

    assert [None, 1, 2, 3] == await works.running


async def test_batches_that_are_interrupted_or_fail() -> None:
    """What is finished is kept; a failure ends the others."""
    works = Works(3)
    works.gates[1].set()
    await asyncio.sleep(0.01)
    works.task.interrupt()
    assert [None, 1, None] == await works.running
    failing = Works(FAILING + 2)
    failing.gates[FAILING].set()

    with pytest.raises(ValueError):  # noqa: PT011 (that of the work)
        await failing.running


async def test_the_preview_of_a_batch() -> None:
    """It is that of the batch that runs; an interrupted batch keeps its own, and one that waits has none."""
    works = Works(3)
    await asyncio.sleep(0.01)
    preview = Artifact("image", "image/png", b"first", 1)
    works.task.advance(Progress("running", 2, 10, preview=preview), 0)
    works.gates[1].set()
    await asyncio.sleep(0.01)
    kept = works.task.preview
    works.gates[0].set()
    await asyncio.sleep(0.01)
    waiting = works.task.preview
    works.task.advance(Progress("running", 2, 10, preview=replace(preview, content=b"third")), 2)
    works.task.interrupt()
    await works.running

    assert (Preview(preview, 0), None) == (kept, waiting)
    assert works.task.preview is not None
    assert (2, b"third") == (works.task.preview.batch, works.task.preview.artifact.content)


async def test_the_preview_of_a_part_before() -> None:
    """Batches that start later, such as those of the next cell of a plot, begin without it."""
    task = Task("x", Caller("a"), "txt2img", batches=2)
    task.preview = Preview(Artifact("image", "image/png", b"before", 1), 0)
    seen = []

    async def work(_: OnProgress) -> None:
        seen.append(task.preview)

    await task.run(1, [work])

    assert [None] == seen


async def test_the_batches_of_a_request() -> None:
    """Each is a request of its own with the seeds that follow those of the one before; the images are in that order."""
    server = Server()
    answer = (await server.http.post(f"{PREFIX}/txt2img", json={"prompt": "x", "n_iter": 3, "seed": 5})).json()

    assert 3 == len(answer["images"])
    assert [5, 6, 7] == json.loads(answer["info"])["all_seeds"]
    # The engine distinguishes requests that run together by their ids.
    assert 3 == len({each.id for each in server.generations.requests})


async def test_a_task_by_its_id() -> None:
    """It waits, then has ended; the same id cannot run twice."""
    server = Server()
    running = await start(server.http, server, force_task_id="one")
    again = await server.http.post(f"{PREFIX}/txt2img", json={"prompt": "x", "force_task_id": "one"})
    body = {"id_task": "one", "id_live_preview": -1, "live_preview": True}
    before = (await server.http.post("/internal/progress", json=body)).json()
    pending = (await server.http.get("/internal/pending-tasks")).json()
    await server.http.post(f"{PREFIX}/interrupt", params={"id_task": "one"})
    await asyncio.wait_for(running, 30)
    after = (await server.http.post("/internal/progress", json=body)).json()

    assert 400 == again.status_code
    assert (True, False) == (before["queued"], before["completed"])
    assert {"size": 1, "tasks": ["one"]} == pending
    assert (False, True) == (after["active"], after["completed"])
    assert {} == (await server.http.get("/internal/ping")).json()


async def test_previews_are_for_callers_that_read_them() -> None:
    """They take time, so that others have none, unless the request asks for them."""
    server = Server()
    body = {"prompt": "x", "steps": 21}
    await server.http.post(f"{PREFIX}/txt2img", json=body)
    without = server.asked.partial_images
    await server.http.get(f"{PREFIX}/progress", params={"skip_current_image": True})
    await server.http.post(f"{PREFIX}/txt2img", json=body)
    skipped = server.asked.partial_images
    await server.http.get(f"{PREFIX}/progress")
    await server.http.post(f"{PREFIX}/txt2img", json=body)

    assert (0, 0, 2) == (without, skipped, server.asked.partial_images)


async def test_the_client_leaves() -> None:
    """Its request is cancelled."""
    server = Server()
    server.generations.hang = True
    await server.leave(f"{PREFIX}/txt2img", prompt="x")

    assert server.generations.cancelled.is_set()


def test_the_fraction_of_a_task() -> None:
    """It grows over parts and batches, and is above 0 from the beginning."""
    task = Task("x", Caller("a"), "txt2img", batches=2)
    start_ = task.fraction
    task.advance(Progress("running", 5, 10, part=2, parts=2))
    first = task.fraction
    task.batch = 1

    assert 0.01 == start_
    assert 0.375 == first
    assert 0.875 == task.fraction
