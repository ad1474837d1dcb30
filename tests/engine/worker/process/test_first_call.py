"""A model is compiled while it is loaded, by a backend that needs no C++ compiler."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch._dynamo

from embedded import Calls
from octabox.catalog.pipelines import load_catalog
from octabox.config.model import ModelConfig
from octabox.config.performance import PerformanceConfig
from octabox.engine.local.engine import LocalEngine
from octabox.engine.messages import Start, WorkerOptions
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.process.first_call import compile_by_call, short_params
from octabox.engine.worker.trial import ReportingRunner
from octabox.types import Generation, Progress

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")]

TRACED = {"compile": "whole", "compile_backend": "eager"}


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    """Let nothing that was compiled stay."""
    yield
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()


def loaded(embedded: ModelConfig, **performance: Any) -> ReportingRunner:
    """Return a loaded model."""
    config = ModelConfig(
        name="demo", model=embedded.model, dtype="float32", performance=PerformanceConfig(**performance)
    )
    start = Start(config, "StableDiffusionPipeline", WorkerOptions(threads=1, device="cpu"))
    return ReportingRunner(load(config, start.pipeline, start.options), start)


def phases_of(runner: ReportingRunner, calls: Calls, **params: Any) -> tuple[set[str], tuple[str, ...]]:
    """Return the phases of a call, and the warnings of its response."""
    phases: set[str] = set()
    output = runner.run(calls(**params), lambda progress: phases.add(progress.phase), lambda: None)
    return phases, output.warnings


def test_the_first_request_compiles_nothing(embedded: ModelConfig) -> None:
    """The load has, with its own phase; the image is that of a model that is compiled in its first request."""
    runner, told = loaded(embedded, **TRACED), list[Progress]()
    compile_by_call(runner, told.append)
    calls = Calls(runner.start.model)

    assert {"compiling"} == {each.phase for each in told}
    assert ({"running", "decoding"}, ()) == phases_of(runner, calls)
    first = runner.run(calls(), lambda _: None, lambda: None).encode()
    torch._dynamo.reset()
    lazy = loaded(embedded, **TRACED)
    assert "compiling" in phases_of(lazy, calls)[0]
    assert first.artifacts[0].content == lazy.run(calls(), lambda _: None, lambda: None).encode().artifacts[0].content


def test_nothing_runs_where_nothing_is_to_be_compiled(embedded: ModelConfig) -> None:
    """A load is as long as before."""
    runner, told = loaded(embedded), list[Progress]()
    compile_by_call(runner, told.append)

    assert [] == told


def test_a_failure_of_the_compiler_is_told(embedded: ModelConfig) -> None:
    """In the status from the start, and in the first response."""

    def unusable(*_: Any) -> Any:
        raise RuntimeError("no tools")

    torch._dynamo.register_backend(unusable, name="unusable")
    runner = loaded(embedded, **{**TRACED, "compile_backend": "unusable"})
    compile_by_call(runner, lambda _: None)
    calls = Calls(runner.start.model)

    assert "no tools" in runner.describe(1.0).performance.skipped["compile"]
    assert ["no tools" in each for each in phases_of(runner, calls)[1]] == [True]
    assert () == phases_of(runner, calls)[1]


def test_a_short_call_that_fails_is_no_failed_load(embedded: ModelConfig) -> None:
    """The model is compiled in its first request, whose response has a warning."""
    runner = loaded(embedded, **TRACED)
    pipe = runner.pipelines[0]
    with patch.object(type(pipe), "encode_prompt", side_effect=RuntimeError("it has failed")):
        compile_by_call(runner, lambda _: None)
    phases, warnings = phases_of(runner, Calls(runner.start.model))

    assert "compiling" in phases
    assert ["compiled in its first request" in each for each in warnings] == [True]


async def test_a_load_request_returns_a_compiled_model(embedded: ModelConfig) -> None:
    """The request that follows has no phase of compiling; one that waits for the load has."""
    engine, traced = LocalEngine(WorkerOptions(threads=1)), PerformanceConfig(compile="whole", compile_backend="eager")
    config = ModelConfig(name="demo", model=embedded.model, dtype="float32", performance=traced)
    await engine.start([])
    try:
        waiting = [each async for each in engine.generate(Calls(config)())]
        await engine.unload("demo")
        await engine.load(config, "StableDiffusionPipeline")
        following = [each async for each in engine.generate(Calls(config)())]
    finally:
        await engine.close()

    phases = [[each.phase for each in events if isinstance(each, Progress)] for events in (waiting, following)]
    assert ["loading", "compiling", "running"] == [each for each in dict.fromkeys(phases[0]) if each != "queued"][:3]
    assert "compiling" not in phases[1]
    images = [
        each.artifacts[0].content for events in (waiting, following) for each in events if isinstance(each, Generation)
    ]
    assert images[0] == images[1]


@pytest.mark.parametrize(
    ("name", "defaults", "expected"),
    [
        ("StableDiffusionPipeline", {"width": 96}, {"prompt", "width", "num_inference_steps"}),
        ("FluxPipeline", {"guidance_scale": 2.0}, {"prompt", "guidance_scale", "num_inference_steps"}),
        ("StableDiffusionImg2ImgPipeline", {}, None),
    ],
)
def test_the_short_call(name: str, defaults: dict[str, Any], expected: set[str] | None) -> None:
    """It has few steps, the size of the configuration or of the class, and no image."""
    params = short_params(defaults, load_catalog().pipeline(name))

    assert expected == (params if params is None else params.keys())
