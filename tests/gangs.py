"""Models that are split over processes of the CPU, for tests of the processes that run them together."""

from __future__ import annotations

import io
import os
from contextlib import aclosing
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from embedded import finish
from makers import pipelines
from octabox.config.model import ModelConfig
from octabox.engine.protocol import Call, Engine, Run
from octabox.errors import OctaboxError
from octabox.types import Generation, Progress

#: A class that diffusers has plans for, with which tiny models of it compute as much in two processes as in one.
SPLIT = "FluxPipeline"

#: Steps of a call that is still running when something happens to it.
MANY = 200


def save(name: str, folder: Path) -> Path:
    """Write the tiny pipeline of a class into a folder."""
    pipelines()[name].make().save_pretrained(folder)
    return folder


def call_of(model: ModelConfig, name: str, runs_as: str = "", inputs: Any = None, **params: Any) -> Call:
    """Return a call of a model of a class."""
    given = {**pipelines()[name].params, **params}
    known = {key: value for key, value in given.items() if not str(value).startswith("sample:") and key != "strength"}
    known |= {"strength": given["strength"]} if inputs else {}
    run = Run(known, inputs or {}, seed=5)
    return Call("call", model, name, runs_as or name, "text-to-image", (run,))


def children(pid: int | None) -> set[int]:
    """Return the processes that a process has started and that run."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.add(int(entry.name))
    return found - {os.getpid()}


def model_of(folder: Path, parallel: Any = 2, **fields: Any) -> ModelConfig:
    """Return a model of the CPU that is split."""
    name = f"{folder.parent.name} {parallel}"
    return ModelConfig(name=name, model=str(folder), device="cpu", parallel=parallel, **fields)


async def image_of(engine: Engine, model: ModelConfig, **params: Any) -> np.ndarray[Any, Any]:
    """Return the image of a call."""
    return pixels(await finish(engine, call_of(model, SPLIT, **params)))


def pixels(result: Generation) -> np.ndarray[Any, Any]:
    """Return the image of a result."""
    return np.asarray(Image.open(io.BytesIO(result.artifacts[0].content)).convert("RGB")).astype(int)


def leader_of(engine: Engine, model: ModelConfig) -> int:
    """Return the process of a model that the server knows."""
    (pid,) = [status.pid for status in engine.status() if status.model == model.name]
    assert pid is not None
    return pid


async def run_until(engine: Engine, model: ModelConfig, act: Any, step: int = 5) -> Exception | None:
    """Run a call of many steps, and act at one of them; return the error, if it ends with one."""
    try:
        async with aclosing(engine.generate(call_of(model, SPLIT, num_inference_steps=MANY))) as events:
            async for event in events:
                if isinstance(event, Progress) and event.step >= step and event.phase == "running" and act() is False:
                    break
    except OctaboxError as error:
        return error
    return None
