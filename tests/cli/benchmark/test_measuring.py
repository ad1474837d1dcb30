"""Measuring a model by batch size and memory mode, with an engine that computes nothing."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping
from typing import Any

import pytest

from octabox.catalog.pipelines import load_catalog
from octabox.cli.benchmark.measuring import MODES, Benchmark, Measurement, ModeResult, parse_batches
from octabox.config.model import ModelConfig
from octabox.engine.protocol import Call, Run
from octabox.errors import CapacityError, InvalidParameterError, OutOfMemoryError
from octabox.types import Artifact, Event, Generation, ModelStatus, Progress

PIPELINE = "StableDiffusionPipeline"


class FakeEngine:
    """An engine whose calls take two seconds, and run out of memory above a batch size, or in some memory modes."""

    def __init__(self, device: str, limit: int = 100, too_large: Collection[str] = ()) -> None:
        self.device, self.limit, self.too_large = device, limit, too_large
        self.calls: list[tuple[str, int]] = []
        self.is_loaded, self.unloaded = False, 0

    async def generate(self, call: Call) -> AsyncGenerator[Event, None]:
        """Run a call."""
        params = call.runs[0].params
        prompts = params["prompt"] if isinstance(params.get("prompt"), list) else [None]
        batch = params.get("num_images_per_prompt") or params.get("batch_size") or len(prompts)
        self.calls.append((call.model.memory, batch))
        if call.model.memory in self.too_large:
            raise CapacityError(f"The model does not fit on {self.device}.")
        self.is_loaded = True
        if batch > self.limit:
            raise OutOfMemoryError("Memory ran out.")
        yield Progress("running", step=5, steps=5)
        yield Generation(call.id, "x", PIPELINE, "t", self.make(batch), timings={"run": 2.0})

    def make(self, batch: int) -> tuple[Artifact, ...]:
        """Return the outputs of a call: an image and a map of it for each result."""
        names = ("", "depth") * batch
        return tuple(Artifact("image", "image/png", b"", name=name) for name in names)

    def status(self) -> list[ModelStatus]:
        """Return what the model holds; nothing before it is loaded."""
        if not self.is_loaded:
            return []
        places = {"host": 3} | ({} if self.device == "cpu" else {self.device: 9})
        return [
            ModelStatus(
                "x", "ready", device=self.device, memory=places, peak={self.device: 20} if len(places) > 1 else {}
            )
        ]

    async def unload(self, name: str) -> bool:
        """Unload it."""
        self.is_loaded = False
        self.unloaded += 1
        return name == "x"


def benchmark(engine: Any, pipeline: str = PIPELINE, params: Mapping[str, Any] | None = None) -> Benchmark:
    """Return a benchmark of a call."""
    run = Run({"prompt": "a"} if params is None else params)
    call = Call("c", ModelConfig(name="x", model="x"), pipeline, pipeline, "t", (run,))
    return Benchmark(engine, call, load_catalog().pipeline(pipeline), lambda _mode, _batch: None)


async def measured(engine: Any, modes: tuple[str, ...], batches: tuple[int, ...], *args: Any) -> list[ModeResult]:
    """Return the results of a benchmark."""
    found = benchmark(engine, *args)
    await found.run(modes, batches)
    return found.results


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


async def test_a_model_that_does_not_fit_is_measured_in_the_other_modes() -> None:
    """Where no call has run, it is not known that the weights stay on the host."""
    results = await measured(FakeEngine("cuda:0", too_large=("full", "encoder_offload")), (), (1, 2))

    assert [*MODES] == [each.mode for each in results]
    assert [[True, True], [True, True], [False, False], [False, False]] == [
        [each.seconds is None for each in result.batches] for result in results
    ]
    assert {"The model does not fit on cuda:0."} == {each.error for each in results[0].batches}


async def test_a_processor_without_room_has_one_mode() -> None:
    """A call that fails where the model is loaded shows that there is no accelerator."""
    assert ["full"] == [each.mode for each in await measured(FakeEngine("cpu", limit=0), (), (1, 2))]


async def test_the_device_of_a_model_that_is_unloaded_is_known() -> None:
    """Each mode ends by unloading it."""
    found = benchmark(FakeEngine("cuda:0"))
    await found.run((), (1,))
    assert "cuda:0" == found.device


@pytest.mark.parametrize(
    ("pipeline", "params", "made"),
    [
        # No parameter for the number of results, and no prompt.
        ("ImageUpscalingPipeline", {"image": object()}, [1]),
        ("RePaintPipeline", {"image": object()}, [1]),
        ("DDPMPipeline", {}, [1, 4]),
        # A prompt, which a pipeline may have several of.
        ("LDMTextToImagePipeline", {"prompt": "a"}, [1, 4]),
        ("StableDiffusionLatentUpscalePipeline", {"prompt": "a"}, [1, 4]),
    ],
)
async def test_a_pipeline_without_batches_is_measured_singly(
    pipeline: str, params: dict[str, Any], made: list[int]
) -> None:
    """One result is not counted as several; the reason is that of the measurement."""
    engine = FakeEngine("cpu")
    (result,) = await measured(engine, (), (1, 4), pipeline, params)

    assert made == [batch for _, batch in engine.calls[1:]]
    single, several = result.batches
    assert 2.5 == single.iterations_per_second
    if len(made) > 1:
        assert 10.0 == several.iterations_per_second
    else:
        assert (None, None) == (several.seconds, several.iterations_per_second)
        assert f"{pipeline} makes one result in each call" in several.error


async def test_results_that_are_not_made_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipeline that ignores the size of the batch has no speed of it; the outputs of one result count once."""
    make = FakeEngine.make
    monkeypatch.setattr(FakeEngine, "make", lambda self, _batch: make(self, 1))
    (result,) = await measured(FakeEngine("cpu"), (), (1, 2))

    assert [2.5, None] == [each.iterations_per_second for each in result.batches]
    assert f"{PIPELINE} has made 1 of 2 results in one call." == result.batches[1].error


async def test_what_is_measured_before_an_interruption_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the mode that is measured, too."""
    make = FakeEngine.make

    def interrupted(self: FakeEngine, batch: int) -> tuple[Artifact, ...]:
        if batch > 1:
            raise KeyboardInterrupt
        return make(self, batch)

    monkeypatch.setattr(FakeEngine, "make", interrupted)
    found = benchmark(FakeEngine("cuda:0"))
    with pytest.raises(KeyboardInterrupt):
        await found.run((), (1, 2, 4))

    assert [("full", (Measurement(1, 2.0, 2.5),))] == [(each.mode, each.batches) for each in found.results]


@pytest.mark.parametrize("text", ["", "1,,2", "0", "a", "1;2", "-1"])
def test_batch_sizes_are_numbers(text: str) -> None:
    """The error states how to write them; a size that is repeated counts once."""
    with pytest.raises(InvalidParameterError, match="whole numbers from 1"):
        parse_batches(text)
    assert (1, 4) == parse_batches("1, 4,1")
