"""Compare the performance profiles with `exact`, call by call in turn, in one run on this machine.

The embedded model takes no step cache, so that its `turbo` is its `fast`; what a cache saves is to be measured elsewhere.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Mapping

from octabox import demo
from octabox.config.model import ModelConfig
from octabox.engine.local.engine import LocalEngine
from octabox.engine.messages import WorkerOptions
from octabox.engine.protocol import Call, Run
from octabox.types import Generation

#: Pairs of calls that are timed for each profile, and steps of each.
PAIRS, STEPS = 10, 20

#: Class of the embedded model.
PIPELINE = "StableDiffusionPipeline"

#: What is compared.
SETTINGS: Mapping[str, Mapping[str, object]] = {
    "channels_last": {"channels_last": True},
    "fuse_qkv": {"fuse_qkv": True},
    "fast, not compiled": {"profile": "fast", "compile": "off"},
    "fast": {"profile": "fast"},
    "turbo": {"profile": "turbo"},
}


def main() -> None:
    """Print the ratio of each profile's time to that of `exact`."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_compare(folder))


async def _compare(folder: str) -> None:
    engine = LocalEngine(WorkerOptions(threads=1, log_level="error", cache_dir=folder))
    await engine.start([])
    try:
        exact = _model("exact", {})
        await _seconds(engine, exact)
        for name, settings in SETTINGS.items():
            model = _model(name, settings)
            await _load(engine, model)
            first = await _wall(engine, model)
            pairs = [(await _seconds(engine, exact), await _seconds(engine, model)) for _ in range(PAIRS)]
            ratio = statistics.median(mine / plain for plain, mine in pairs)
            print(f"{name:20s} {ratio:5.2f} of exact's time; first call {first:6.1f} s", end="")
            await engine.unload(model.name)
            await _load(engine, model)
            again = await _wall(engine, model)
            print(f", in a second worker {again:6.1f} s ({again / first:.2f} of that)")
            await engine.unload(model.name)
    finally:
        await engine.close()


def _model(name: str, settings: Mapping[str, object]) -> ModelConfig:
    return ModelConfig.model_validate({"name": name, "model": str(demo.FOLDER), "performance": settings})


async def _load(engine: LocalEngine, model: ModelConfig) -> None:
    await engine.load(model, PIPELINE)


async def _wall(engine: LocalEngine, model: ModelConfig) -> float:
    """Return the seconds of a call, all included."""
    began = time.perf_counter()
    await _seconds(engine, model)
    return time.perf_counter() - began


async def _seconds(engine: LocalEngine, model: ModelConfig) -> float:
    """Return the seconds that a call took in the worker."""
    params = {"prompt": demo.PROMPT, "num_inference_steps": STEPS, "guidance_scale": 3.0}
    call = Call(str(time.perf_counter_ns()), model, PIPELINE, PIPELINE, "text-to-image", (Run(params, seed=1),))
    async for event in engine.generate(call):
        if isinstance(event, Generation):
            return event.timings["run"]
    raise SystemExit("the call had no result")


if __name__ == "__main__":
    main()
