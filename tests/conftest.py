"""What all tests share: one engine, whose fork server is warm, and calls of the embedded model."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from typing import Any

import pytest

from octabox import demo
from octabox.config.model import ModelConfig
from octabox.engine.local import LocalEngine
from octabox.engine.messages import WorkerOptions
from octabox.engine.protocol import Call, Run
from octabox.types import Generation

os.environ["HF_HUB_OFFLINE"] = "1"

#: Steps of a call that is only to be over soon.
FEW = 4


@pytest.fixture(scope="session")
def embedded() -> ModelConfig:
    """Return the configuration of the embedded model."""
    return ModelConfig(name=demo.NAME, model=str(demo.FOLDER))


@pytest.fixture(scope="session")
async def engine(embedded: ModelConfig) -> AsyncIterator[LocalEngine]:
    """Return an engine that all tests share."""
    engine = LocalEngine(WorkerOptions(threads=1), queue_size=4)
    await engine.start([embedded])
    yield engine
    await engine.close()


class Calls:
    """Makes calls of one model."""

    def __init__(self, model: ModelConfig) -> None:
        self.model, self.count = model, 0

    def __call__(self, *, seeds: tuple[int, ...] = (0,), runs_as: str = "", inputs: Any = None, **options: Any) -> Call:
        """Return a call; options that are no fields of a call are parameters of its runs."""
        self.count += 1
        fields = {name: options.pop(name) for name in ("scheduler", "output", "partial_images") if name in options}
        params = {"prompt": "a red circle on a blue background", "num_inference_steps": FEW, "guidance_scale": 3.0, **options}
        return Call(
            id=f"call {self.count}",
            model=self.model,
            pipeline="StableDiffusionPipeline",
            runs_as=runs_as or "StableDiffusionPipeline",
            task="image-to-image" if inputs else "text-to-image",
            runs=tuple(Run(params, inputs or {}, seed) for seed in seeds),
            **fields,
        )


@pytest.fixture(scope="session")
def calls(embedded: ModelConfig) -> Calls:
    """Return a maker of calls of the embedded model."""
    return Calls(embedded)


async def finish(engine: LocalEngine, call: Call) -> Generation:
    """Run a call to its end."""
    async for event in engine.generate(call):
        if isinstance(event, Generation):
            return event
    raise AssertionError("no result")
