"""A program that runs an engine in a separate process, whose environment sets which accelerators there are.

It takes steps as JSON on its command line, and prints the result of each as a line of JSON; its log goes to standard error.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from embedded import Calls, finish
from octabox import demo
from octabox.config.model import ModelConfig
from octabox.engine.conversions import Conversion
from octabox.engine.local.conversion import convert
from octabox.engine.local.engine import LocalEngine
from octabox.engine.messages import WorkerOptions
from octabox.errors import OctaboxError

PIPELINE = "StableDiffusionPipeline"


@dataclass
class Outcome:
    """The output of the program.

    Args:
        results: The result of each step, in order.
        fork_server: Process id of the fork server; None without one.
        log: The lines of the log.
    """

    results: list[Any] = field(default_factory=list)
    fork_server: int | None = None
    log: list[str] = field(default_factory=list)


def run_engine(steps: list[dict[str, Any]], environment: dict[str, str], python: str = sys.executable) -> Outcome:
    """Run steps with an engine in a new process, and return the outcome.

    Args:
        steps: Each is ``{"load": [names], "device": ...}``, ``{"generate": name}``, ``{"convert": folder}``,
            ``{"callers": number, "replicas": ...}`` or ``{"status": None}``; before them, there may be ``{"limits": ...}``,
            the bytes that models may use by place.
        environment: The environment of the process.
        python: Its interpreter.
    """
    command = [python, str(Path(__file__)), json.dumps(steps)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert 0 == done.returncode, done.stderr
    *results, last = map(json.loads, done.stdout.splitlines())
    return Outcome(results, last["fork_server"], done.stderr.splitlines())


async def main(steps: list[dict[str, Any]]) -> None:
    """Run the steps one after the other."""
    model = ModelConfig(name="demo", model=str(demo.FOLDER), dtype="float32", memory="full")
    limits = steps.pop(0)["limits"] if "limits" in steps[0] else {}
    engine = LocalEngine(WorkerOptions(threads=1, max_memory=limits))
    await engine.start([model])
    try:
        for step in steps:
            _write(await _result(engine, model, step))
    finally:
        await engine.close()
    _write({"fork_server": forkserver._forkserver._forkserver_pid})  # type: ignore[attr-defined]


def _write(result: Any) -> None:
    """Write a line of JSON."""
    sys.stdout.write(json.dumps(result) + "\n")
    sys.stdout.flush()


async def _result(engine: LocalEngine, model: ModelConfig, step: dict[str, Any]) -> Any:
    """Return the result of one step."""
    if "status" in step:
        return [asdict(status) for status in engine.status()]
    if "generate" in step:
        generation = await finish(
            engine, Calls(model.model_copy(update={"name": step["generate"], "revision": step["generate"]}))(seeds=(7,))
        )
        return hashlib.sha256(generation.artifacts[0].content).hexdigest()
    if "callers" in step:
        return await _run_callers(
            engine, Calls(model.model_copy(update={"replicas": step["replicas"]})), step["callers"]
        )
    if "convert" in step:
        conversion = Conversion(model, PIPELINE, Path(step["convert"]), WorkerOptions(threads=1, log_level="warning"))
        return list((await asyncio.to_thread(convert, conversion)).warnings)
    fields = {name: step[name] for name in ("device",) if name in step}
    # By its revision, which a folder does not have, each has a process of its own.
    models = [model.model_copy(update={"name": name, "revision": name, **fields}) for name in step["load"]]
    loads = await asyncio.gather(*(engine.load(each, PIPELINE) for each in models), return_exceptions=True)
    return [_to_json(load) for load in loads]


async def _run_callers(engine: LocalEngine, calls: Calls, count: int) -> dict[str, Any]:
    """Run as many equal calls together, and return their digests, and on how many devices calls ran at the same time."""
    made = (calls(seeds=(7,), deterministic=True, num_inference_steps=4) for _ in range(count))
    tasks = [asyncio.create_task(finish(engine, call)) for call in made]
    busy = 0
    while not all(task.done() for task in tasks):
        await asyncio.sleep(0.02)
        replicas = [replica for status in engine.status() for replica in status.replicas]
        busy = max(busy, len({replica.device for replica in replicas if replica.state == "busy"}))
    return {"digests": [hashlib.sha256(task.result().artifacts[0].content).hexdigest() for task in tasks], "busy": busy}


def _to_json(load: Any) -> Any:
    """Return a status or an error in a form that JSON has."""
    if isinstance(load, OctaboxError):
        return {"error": type(load).__name__, "message": str(load), "choices": load.choices}
    if isinstance(load, BaseException):
        raise load
    return asdict(load)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    asyncio.run(main(json.loads(sys.argv[1])))
