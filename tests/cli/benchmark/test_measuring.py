"""Measuring a model by batch size and memory mode, with an engine that computes nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.cli.benchmark.measuring import MODES, Benchmark, Measurement, ModeResult, parse_batches
from octabox.config.model import ModelConfig
from octabox.engine.protocol import Call, Run
from octabox.errors import OctaboxError, OutOfMemoryError
from octabox.types import Event, Generation, ModelStatus, Progress

PIPELINE = "StableDiffusionPipeline"


class FakeEngine:
    """An engine whose calls take a second for each mode, and run out of memory above a batch size."""

    def __init__(self, device: str, limit: int = 100) -> None:
        self.device, self.limit = device, limit
        self.calls: list[tuple[str, int]] = []
        self.unloaded = 0

    async def generate(self, call: Call) -> AsyncGenerator[Event, None]:
        """Run a call."""
        batch = call.runs[0].params["num_images_per_prompt"]
        self.calls.append((call.model.memory, batch))
        if batch > self.limit:
            raise OutOfMemoryError("Memory ran out.")
        yield Progress("running", step=5, steps=5)
        yield Generation(call.id, "x", PIPELINE, "t", (), timings={"run": 2.0})

    def status(self) -> list[ModelStatus]:
        """Return what the model holds."""
        places = {"host": 3} | ({} if self.device == "cpu" else {self.device: 9})
        return [
            ModelStatus(
                "x", "ready", device=self.device, memory=places, peak={self.device: 20} if len(places) > 1 else {}
            )
        ]

    async def unload(self, name: str) -> bool:
        """Unload it."""
        self.unloaded += 1
        return name == "x"


async def measured(engine: Any, modes: tuple[str, ...], batches: tuple[int, ...]) -> list[ModeResult]:
    """Return the results of a benchmark."""
    call = Call("c", ModelConfig(name="x", model="x"), PIPELINE, PIPELINE, "t", (Run({"prompt": "a"}),))
    ignore: Callable[[str, int], None] = lambda _mode, _batch: None  # noqa: E731
    return [
        each async for each in Benchmark(engine, call, load_catalog().pipeline(PIPELINE), ignore).run(modes, batches)
    ]


async def test_each_mode_is_measured_on_an_accelerator() -> None:
    """A call that is not measured precedes those of each mode; steps of all results count."""
    engine = FakeEngine("cuda:0")
    results = await measured(engine, (), (1, 4))

    assert [*MODES] == [each.mode for each in results]
    assert (Measurement(1, 2.0, 2.5), Measurement(4, 2.0, 10.0)) == results[0].batches
    assert {"host": 3, "cuda:0": 20} == results[0].memory
    assert [("full", 1), ("full", 1), ("full", 4)] == engine.calls[:3]
    assert len(MODES) == engine.unloaded


async def test_the_cpu_has_one_mode() -> None:
    """Weights are not moved there."""
    assert ["full"] == [each.mode for each in await measured(FakeEngine("cpu"), (), (1,))]


async def test_a_batch_that_fails_is_part_of_the_result() -> None:
    """The other sizes are measured; requested modes are."""
    (result,) = await measured(FakeEngine("cuda:0", limit=2), ("group_offload",), (1, 4))

    assert "group_offload" == result.mode
    assert (None, None, "Memory ran out.") == (
        result.batches[1].seconds,
        result.batches[1].iterations_per_second,
        result.batches[1].error,
    )


@pytest.mark.parametrize("text", ["", "1,,2", "0", "a", "1;2", "-1"])
def test_batch_sizes_are_numbers(text: str) -> None:
    """The error states how to write them; a size that is repeated counts once."""
    with pytest.raises(OctaboxError, match="whole numbers from 1"):
        parse_batches(text)
    assert (1, 4) == parse_batches("1, 4,1")
