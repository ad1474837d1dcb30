"""Profiles of the embedded model, from the configuration to the response."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import makers
from embedded import Calls, finish
from octabox.config.model import ModelConfig
from octabox.config.performance import PerformanceConfig
from octabox.engine.local.engine import LocalEngine
from octabox.engine.messages import WorkerOptions
from octabox.engine.protocol import Call, Run
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.performance.optimizations import apply_performance
from octabox.engine.worker.performance.plan import plan_performance
from octabox.engine.worker.runner import Runner
from octabox.types import Artifact, Generation, Progress

pytestmark = pytest.mark.slow


def pixels(artifact: Artifact) -> Any:
    """Return an image's pixels."""
    return np.asarray(Image.open(io.BytesIO(artifact.content)), dtype=int)


async def made(engine: LocalEngine, call: Call, performance: Any) -> tuple[Generation, list[str]]:
    """Return the result of a call with performance settings, and the reported phases."""
    config = ModelConfig(name=call.model.name, model=call.model.model, performance=performance)
    phases, call = list[str](), replace(call, model=config)
    async for event in engine.generate(call):
        if isinstance(event, Generation):
            return event, list(dict.fromkeys(phases))
        assert isinstance(event, Progress)
        phases.append(event.phase)
    raise AssertionError("no result")


async def test_exact_is_what_nothing_is(engine: LocalEngine, calls: Calls) -> None:
    """The profile gives the same bytes as a configuration without one, and no metadata."""
    nothing, (exact, _) = await finish(engine, calls()), await made(engine, calls(), "exact")

    assert nothing.artifacts[0].content == exact.artifacts[0].content
    assert "performance" not in exact.artifacts[0].metadata


async def test_fast_without_compiling_gives_the_image_that_there_was(engine: LocalEngine, calls: Calls) -> None:
    """It differs by rounding only, the status reports it, and the metadata have the settings."""
    exact, (fast, phases) = (
        await finish(engine, calls()),
        await made(engine, calls(), {"profile": "fast", "compile": "off"}),
    )
    (status,) = [status for status in engine.status() if status.model == "demo"]

    assert 2 >= np.abs(pixels(exact.artifacts[0]) - pixels(fast.artifacts[0])).max()
    assert ((), False) == (fast.warnings, "compiling" in phases)
    assert {"profile": "fast", "compile": "off"} == fast.artifacts[0].metadata["performance"]
    assert status.performance is not None
    assert ("fast", False) == (status.performance.profile, status.performance.lossy)
    # Another test of this file may have had the batches of the model tried, which the status reports here too.
    assert {"channels_last", "fuse_qkv"} == set(status.performance.applied) - {"batching"}
    assert {"cudnn_benchmark", "tf32"} == set(status.performance.skipped) - {"batching"}


async def test_turbo_without_a_cache_says_that_it_is_none(engine: LocalEngine, calls: Calls) -> None:
    """A model without support for step caches has a warning in the response."""
    turbo, _ = await made(engine, calls(), {"profile": "turbo", "compile": "off"})

    assert ["no step cache" in each for each in turbo.warnings] == [True]


def test_turbo_says_that_it_is_lossy() -> None:
    """Every response has a warning, and the metadata name the profile."""
    name, config = (
        "FluxPipeline",
        ModelConfig(name="m", model="x", performance=PerformanceConfig(profile="turbo", compile="off")),
    )
    pipe = makers.pipelines()[name].make()
    pipe.set_progress_bar_config(disable=True)
    plan = plan_performance(config, WorkerOptions(), "cpu")
    performance = apply_performance(pipe, pipe.components, plan)
    runner = Runner(LoadedModel(pipe, "cpu", performance.warnings, performance=performance))
    params = {"prompt": "a star", "num_inference_steps": 2, "height": 32, "width": 32, "max_sequence_length": 16}
    call = Call("1", config, name, name, "text-to-image", (Run(params),))
    answers = [runner.run(call, lambda _: None, lambda: None).encode() for _ in range(2)]

    assert performance.report.lossy
    assert all(["lossy" in each for each in answer.warnings] == [True] for answer in answers)
    assert "turbo" == answers[0].artifacts[0].metadata["performance"]["profile"]
    assert answers[0].artifacts[0].content == answers[1].artifacts[0].content


@pytest.mark.timeout(900)
async def test_fast_gives_the_image_that_there_was(calls: Calls, tmp_path: Path) -> None:
    """It is compiled by inductor in the first call, with its own phase, and loaded from disk by the next worker."""
    engine = LocalEngine(WorkerOptions(threads=1, cache_dir=str(tmp_path)))
    short: dict[str, Any] = {"num_inference_steps": 2}
    await engine.start([])
    try:
        exact = await finish(engine, calls(**short))
        first, phases = await made(engine, calls(**short), "fast")
        files = {file for file in tmp_path.rglob("*.so") if file.is_file()}
        await engine.unload("demo")
        again, _ = await made(engine, calls(**short), "fast")
    finally:
        await engine.close()

    assert "compiling" in phases
    assert () == first.warnings
    assert 2 >= np.abs(pixels(exact.artifacts[0]) - pixels(first.artifacts[0])).max()
    assert first.artifacts[0].content == again.artifacts[0].content
    assert files
    assert files == {file for file in tmp_path.rglob("*.so") if file.is_file()}
