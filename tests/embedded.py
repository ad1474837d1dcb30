"""Calls of the embedded model, for tests of every room."""

from __future__ import annotations

from typing import Any

from octabox.config.model import ModelConfig
from octabox.engine.protocol import Call, Engine, Run
from octabox.types import Generation

#: Steps of a call that is only to be over soon.
FEW = 4


#: Fields of a call that tests set.
FIELDS = ("scheduler", "output", "partial_images", "deterministic", "background")


class Calls:
    """Builds calls of one model."""

    def __init__(self, model: ModelConfig) -> None:
        self.model, self.count = model, 0

    def __call__(self, *, seeds: tuple[int, ...] = (0,), runs_as: str = "", inputs: Any = None, **options: Any) -> Call:
        """Return a call; options that are not fields of a call are parameters of its runs."""
        self.count += 1
        fields = {name: options.pop(name) for name in FIELDS if name in options}
        params = {
            "prompt": "a red circle on a blue background",
            "num_inference_steps": FEW,
            "guidance_scale": 3.0,
            **options,
        }
        return Call(
            id=f"call {self.count}",
            model=self.model,
            pipeline="StableDiffusionPipeline",
            runs_as=runs_as or "StableDiffusionPipeline",
            task="image-to-image" if inputs else "text-to-image",
            runs=tuple(Run(params, inputs or {}, seed) for seed in seeds),
            **fields,
        )


async def finish(engine: Engine, call: Call) -> Generation:
    """Run a call to its end."""
    async for event in engine.generate(call):
        if isinstance(event, Generation):
            return event
    raise AssertionError("no result")
