"""Compare the engine of a cluster with that of one machine, in turn, in one run: what a call, an event and a cancel cost.

Targets on an idle machine: at most 15 ms more for a call at the median, events at most 5 ms late, a cancel within a step and
100 ms. The cluster is one node on this machine.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from contextlib import aclosing
from typing import Any

from octabox import demo
from octabox.config.model import ModelConfig
from octabox.engine.local.engine import LocalEngine
from octabox.engine.messages import FromWorker, StepDone, WorkerOptions
from octabox.engine.protocol import Call, Engine, Run
from octabox.engine.ray import ray_worker
from octabox.engine.ray.engine import RayEngine
from octabox.engine.ray.worker_actor import WorkerActor
from octabox.errors import OctaboxError
from octabox.types import Generation, Progress

#: Pairs of calls that are timed, and steps of each.
PAIRS, STEPS = 10, 10

#: Steps of a call that is cancelled, how often that is done, and the step at which it is.
MANY, CANCELS, CANCEL_AT = 900, 5, 3

Stamps = dict[tuple[str, int], float]


class TimedActor(WorkerActor):
    """An actor that notes when each step was reported to it."""

    def __init__(self) -> None:
        super().__init__()
        self._stamps: Stamps = {}
        put = self._messages.put_nowait

        def stamp(message: FromWorker | OctaboxError) -> None:
            if isinstance(message, StepDone):
                self._stamps.setdefault((message.id, message.progress.step), time.time())
            put(message)

        self._messages.put_nowait = stamp  # type: ignore[method-assign, assignment]

    async def stamps(self) -> Stamps:
        """Return when each step was reported."""
        return self._stamps


class Bench:
    """Runs calls on one engine.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, self._count = engine, 0
        self.overheads: list[float] = []
        self.arrivals: Stamps = {}
        self.waits: list[float] = []

    async def run(self, steps: int = STEPS) -> Generation:
        """Run a call, and note what it took apart from its worker, and when its steps arrived."""
        began, call = time.perf_counter(), self._call(steps)
        async for event in self._engine.generate(call):
            if isinstance(event, Progress) and event.step:
                self.arrivals.setdefault((call.id, event.step), time.time())
            if isinstance(event, Generation):
                elapsed = time.perf_counter() - began
                self.overheads.append(elapsed - event.timings["run"] - event.timings["encode"])
                return event
        raise AssertionError("no result")

    async def cancel(self) -> None:
        """Cancel a call at a step, and note how long the next one waits for the worker."""
        async with aclosing(self._engine.generate(self._call(MANY))) as events:
            async for event in events:
                if isinstance(event, Progress) and event.step >= CANCEL_AT:
                    break
        self.waits.append((await self.run(1)).timings["queue"])

    def _call(self, steps: int) -> Call:
        self._count += 1
        params = {"prompt": demo.PROMPT, "num_inference_steps": steps, "guidance_scale": 3.0}
        name = "StableDiffusionPipeline"
        return Call(
            id=f"{id(self)} {self._count}",
            model=ModelConfig(name=demo.NAME, model=str(demo.FOLDER)),
            pipeline=name,
            runs_as=name,
            task="text-to-image",
            runs=(Run(params, seed=1),),
        )


async def main() -> None:
    """Print the figures."""
    setattr(ray_worker, "WorkerActor", TimedActor)  # noqa: B010 (the module does not export it)
    options = WorkerOptions(threads=1, device="cpu")
    cluster = RayEngine(options, address=sys.argv[1] if len(sys.argv) > 1 else None)
    engines: dict[str, Engine] = {"local": LocalEngine(options), "ray": cluster}
    benches = {name: Bench(engine) for name, engine in engines.items()}
    for name, engine in engines.items():
        await engine.start(())
        began = time.perf_counter()
        outputs = (await benches[name].run()).artifacts
        print(f"{name}: first call {time.perf_counter() - began:.1f} s, {len(outputs[0].content)} bytes")
        benches[name].overheads.clear()
    for _ in range(PAIRS):
        for bench in benches.values():
            await bench.run()
    medians = {name: 1000 * statistics.median(bench.overheads) for name, bench in benches.items()}
    print(f"a call apart from its worker, median: {medians['local']:.1f} ms local, {medians['ray']:.1f} ms ray")
    for name, bench in benches.items():
        for _ in range(CANCELS):
            await bench.cancel()
        waits = sorted(1000 * wait for wait in bench.waits)
        print(
            f"{name}: next call after a cancel {statistics.median(waits):.0f} ms at the median, at most {waits[-1]:.0f} ms"
        )
    await print_lateness(cluster, benches["ray"])
    for engine in engines.values():
        await engine.close()


async def print_lateness(engine: RayEngine, bench: Bench) -> None:
    """Print how late the steps arrived that the actor was reported."""
    (queue,) = engine._queues  # noqa: SLF001 (the actor is of interest only here)
    worker = next(iter(queue._replicas)).supervisor.worker  # noqa: SLF001
    process: Any = worker and worker.process
    stamps = await process._actor.stamps.remote()  # noqa: SLF001
    late = sorted(1000 * (bench.arrivals[key] - stamps[key]) for key in bench.arrivals.keys() & stamps.keys())
    p95 = late[int(0.95 * len(late))]
    print(f"ray: {len(late)} events, {statistics.median(late):.1f} ms late at the median, {p95:.1f} ms at p95")


if __name__ == "__main__":
    asyncio.run(main())
