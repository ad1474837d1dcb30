"""Workers that answer messages in memory, so that queue, supervisor and residency are tested without a process."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from multiprocessing.context import BaseContext
from typing import Any

from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.engine.local.engine import LocalEngine
from octabox.engine.local.processes.forkserver import ProcessStarter
from octabox.engine.local.processes.worker_process import Listener
from octabox.engine.messages import (
    CancelCall,
    Failed,
    Finished,
    FromWorker,
    Loaded,
    RunBatch,
    RunCall,
    RunFinished,
    RunStarted,
    Sleep,
    Start,
    ToWorker,
    WakeUp,
    WeightsMoved,
)
from octabox.engine.protocol import Call, Engine, Run
from octabox.errors import GenerationCancelledError, OctaboxError, WorkerDiedError
from octabox.types import Event, Generation, Progress

PIPELINE = "StableDiffusionPipeline"

#: Seconds in which a test must have come to its end; nothing here takes more than a few milliseconds.
LIMIT = 20

_numbers = itertools.count(1)


def model(name: str = "demo", **fields: Any) -> ModelConfig:
    """Return the configuration of a model; its device is named, so that no process looks for accelerators."""
    return ModelConfig(name=name, model=f"/nowhere/{name}", **{"device": "cpu", **fields})


def call(name: str = "demo", *, continues: bool = False, **fields: Any) -> Call:
    """Return a call of a model."""
    return Call(
        id=f"call {next(_numbers)}",
        model=model(name, **fields),
        pipeline=PIPELINE,
        runs_as=PIPELINE,
        task="text-to-image",
        runs=(Run({"prompt": "a red circle"}),),
        continues=continues,
    )


def result(of: Call) -> Generation:
    """Return the result of a call, with what its worker measured."""
    return Generation(of.id, of.model.name, of.runs_as, of.task, (), timings={"run": 2.0, "encode": 1.0})


class FakeWorker:
    """A worker that does what a test lets it do.

    Args:
        start: What it is to load.
        listener: Receives its messages.
        runs: Whether it runs each call to its end by itself.
    """

    #: Address of its machine.
    node = ""

    def __init__(self, start: Start, listener: Listener, *, runs: bool) -> None:
        self.start, self.pid, self.alive = start, next(_numbers), True
        self.received: list[ToWorker] = []
        #: What it answers when it is to move its weights; an error where it cannot.
        self.move_error: OctaboxError | None = None
        #: Whether it answers that by itself, and what is set once it is asked.
        self.moves, self.asked = True, asyncio.Event()
        self._listener, self.runs = listener, runs
        self._calls: asyncio.Queue[Call] = asyncio.Queue()
        self._cancels: asyncio.Queue[str] = asyncio.Queue()

    async def send(self, message: ToWorker) -> None:
        """Take a message; one to a worker that has ended is lost."""
        if not self.alive:
            return
        self.received.append(message)
        if isinstance(message, RunCall | RunBatch):
            for each in message.calls if isinstance(message, RunBatch) else (message.call,):
                self._calls.put_nowait(each)
                if self.runs:
                    self.start_run(each)
                    self.finish(each)
        elif isinstance(message, Sleep | WakeUp):
            self.asked.set()
            if self.moves:
                self.post(WeightsMoved(self.move_error, message.number))
        elif isinstance(message, CancelCall):
            self._cancels.put_nowait(message.id)
            if self.runs:
                self.post(Failed(message.id, GenerationCancelledError("The request was cancelled.")))

    async def stop(self) -> None:
        """End."""
        self.exit(WorkerDiedError("It was stopped."))
        await asyncio.sleep(0)

    async def next_call(self) -> Call:
        """Wait for the next call."""
        return await asyncio.wait_for(self._calls.get(), LIMIT)

    async def next_cancel(self) -> str:
        """Wait until a call is cancelled, and return its id."""
        return await asyncio.wait_for(self._cancels.get(), LIMIT)

    @property
    def calls(self) -> list[str]:
        """The ids of all calls that it has received."""
        return [message.call.id for message in self.received if isinstance(message, RunCall)]

    def post(self, *messages: FromWorker | OctaboxError) -> None:
        """Send messages to the server."""
        for message in messages:
            asyncio.get_running_loop().call_soon(self._listener, message)

    def start_run(self, of: Call, members: int = 1) -> None:
        """Start a call, in a batch of so many members."""
        self.post(RunStarted(of.id, members))

    def finish(self, of: Call) -> None:
        """Finish a call, its encoding included."""
        self.post(RunFinished(of.id), Finished(of.id, result(of)))

    def exit(self, error: OctaboxError) -> None:
        """End with this error, unless it has ended."""
        if self.alive:
            self.alive = False
            self.post(error)


class FakeWorkers:
    """Starts fake workers; its `start` takes the place of `WorkerProcess.start`.

    Args:
        runs: Whether they run each call to its end by themselves.
        answers: What the next workers answer when they are to load; None answers nothing, and those after the last load.
    """

    def __init__(self, *, runs: bool = True, answers: Iterable[FromWorker | OctaboxError | None] = ()) -> None:
        self.started: list[FakeWorker] = []
        self._runs, self._answers = runs, list(answers)
        self._new: asyncio.Queue[FakeWorker] = asyncio.Queue()

    async def start(self, start: Start, listener: Listener, context: BaseContext) -> FakeWorker:
        """Start a worker."""
        del context
        worker = FakeWorker(start, listener, runs=self._runs)
        answer = self._answers.pop(0) if self._answers else Loaded(start.model.device or "cpu", 0.1)
        if isinstance(answer, OctaboxError):
            worker.exit(answer)
        elif answer is not None:
            worker.post(answer)
        self.started.append(worker)
        self._new.put_nowait(worker)
        return worker

    def run_all(self) -> None:
        """Let them, and those that are started later, run each further call to its end by themselves."""
        self._runs = True
        for each in self.started:
            each.runs = True

    async def next_started(self) -> FakeWorker:
        """Wait for the next worker."""
        return await asyncio.wait_for(self._new.get(), LIMIT)


class FakeProcesses(ProcessStarter):
    """Counts how often the fork server was to be ended."""

    ended = 0

    def end_fork_server(self) -> None:
        """Count it."""
        self.ended += 1


def engine_of(start: FakeWorkers | Callable[..., Any], **options: Any) -> LocalEngine:
    """Return an engine with fake workers."""
    load_catalog()  # As a server has before its first request: reading it takes longer than requests are to wait here.
    start_worker = start.start if isinstance(start, FakeWorkers) else start
    options.setdefault("processes", FakeProcesses(spawns=False))
    return LocalEngine(start_worker=start_worker, **options)


class Client:
    """Runs a call, as a frontend does, and keeps its events."""

    def __init__(self, engine: Engine, of: Call) -> None:
        self.call = of
        self.events: list[Event] = []
        self.task = asyncio.create_task(self._run(engine))

    async def _run(self, engine: Engine) -> Generation:
        generation = None
        async for event in engine.generate(self.call):
            self.events.append(event)
            generation = event if isinstance(event, Generation) else generation
        assert generation is not None
        return generation

    @property
    def positions(self) -> list[int]:
        """The positions in the queue that it was sent."""
        return [each.position for each in self.events if isinstance(each, Progress) and each.phase == "queued"]

    async def result(self) -> Generation:
        """Wait for the result."""
        return await asyncio.wait_for(self.task, LIMIT)

    async def leave(self) -> None:
        """Cancel the request."""
        self.task.cancel()
        await asyncio.wait({self.task}, timeout=LIMIT)


async def settle() -> None:
    """Let everything that is ready on the event loop run."""
    for _ in range(20):
        await asyncio.sleep(0)
