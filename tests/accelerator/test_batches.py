"""Batches on the pretended device: the memory mode that they run in, and what happens where memory runs out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from calling import call
from control import PARAMS, PLAIN, embedded
from octabox.engine.messages import BatchReport, Failed, Finished, RunFinished, Start, WorkerOptions
from octabox.engine.protocol import Call
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.process import serving
from octabox.engine.worker.process.encoder import Encoder
from octabox.engine.worker.trial import ReportingRunner
from octabox.errors import OutOfMemoryError
from octabox.types import Generation, OutputFormat
from pretended_accelerator import Control

SIZE = f"{PLAIN} 64x64"


class KeptPipe:
    """A pipe that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.cancelled: set[str] = set()

    def send(self, message: object) -> None:
        """Keep a message."""
        self.sent.append(message)

    def forget(self, call_id: str) -> None:
        """Keep no cancellation of a call."""
        self.cancelled.discard(call_id)

    def fail(self, call_id: str, error: Exception) -> None:
        """Keep an error."""
        self.sent.append(Failed(call_id, error))  # type: ignore[arg-type]

    @property
    def generations(self) -> dict[str, Generation]:
        """The results by call."""
        return {each.id: each.generation for each in self.sent if isinstance(each, Finished)}

    @property
    def errors(self) -> dict[str, Exception]:
        """The errors by call."""
        return {each.id: each.error for each in self.sent if isinstance(each, Failed)}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the verdicts of each test apart."""
    monkeypatch.setenv("OCTABOX_CACHE_DIR", str(tmp_path))


def controlled(**fields: Any) -> ReportingRunner:
    """Return what runs the embedded model in the mode that it selects itself."""
    config = embedded(device="fake", dtype="float32", batching="always", **fields)
    start = Start(config, PLAIN, WorkerOptions(device="cpu"))
    return ReportingRunner(load(config, PLAIN, start.options), start)


def calls(model: ReportingRunner, count: int, **params: Any) -> list[Call]:
    """Return calls that differ in their seeds."""
    params = {**PARAMS, "num_inference_steps": 2, "width": 64, "height": 64, **params}
    config = model.start.model
    return [
        replace(call(PLAIN, params, seeds=(seed,), output=OutputFormat("png")), id=str(seed), model=config)
        for seed in range(count)
    ]


def serve(model: ReportingRunner, requests: Sequence[Call]) -> KeptPipe:
    """Run calls as a worker does, and return what it sends."""
    pipe = KeptPipe()
    with closing(Encoder()) as encoder:
        assert serving._run_calls(requests, model, pipe, encoder)  # type: ignore[arg-type]
    return pipe


def image(generation: Generation) -> np.ndarray:
    """Return the pixels of a result."""
    return np.asarray(Image.open(BytesIO(generation.artifacts[0].content)).convert("RGB")).astype(int)


def sizes(pipe: KeptPipe) -> list[int]:
    """Return how many runs shared the call of each result."""
    return [each.artifacts[0].metadata.get("batch", 1) for each in pipe.generations.values()]


def test_a_batch_runs_in_the_mode_that_fits(accelerator: Control) -> None:
    """With less memory, its weights leave the device too, and the images are the same."""
    model = controlled()
    requests = calls(model, 2)
    before = serve(model, requests)
    assert [2, 2] == sizes(before)
    assert "full" == model.modes.memory().mode
    weights = model.modes.predictor.weights("full")
    accelerator.settings.memory = round((weights * 0.9 + model.modes.predictor.working(64 * 64)) / 0.9)
    after = serve(model, requests)

    assert "full" != model.modes.memory().mode
    assert {} == after.errors
    for each in requests:
        assert np.abs(image(before.generations[each.id]) - image(after.generations[each.id])).max() <= 1


def test_members_run_singly_where_memory_runs_out(accelerator: Control) -> None:
    """No request fails, the mode of a single call is kept, and half as many share the next batch."""
    model = controlled()
    requests = calls(model, 4)
    serve(model, requests[:1])
    accelerator.fail("out of memory", after=40, operator="aten::convolution")
    pipe = serve(model, requests)

    assert {} == pipe.errors
    assert [1, 1, 1, 1] == sizes(pipe)
    assert 4 == sum(isinstance(each, RunFinished) for each in pipe.sent)
    assert (1, "full") == (model.modes.memory().out_of_memory, model.modes.memory().mode)
    reports = [each for each in pipe.sent if isinstance(each, BatchReport)]
    assert reports[-1].limits.get(SIZE, 1) <= 2  # A limit of 1 is not reported.


def test_a_run_of_a_request_is_run_again_in_another_mode(accelerator: Control) -> None:
    """Of two runs that cannot share a call, the one in which memory runs out is repeated, with a warning."""
    model = controlled()
    (single,) = calls(model, 1, prompt="a (red:1.2) shape")
    two = replace(single, prompt_syntax="a1111", runs=(single.runs[0], replace(single.runs[0], seed=5)))
    assert model.batches.may_batch([two])
    serve(model, [two])
    accelerator.fail("out of memory", after=40, operator="aten::convolution")
    pipe = serve(model, [two])

    assert {} == pipe.errors
    warning = "Memory ran out with `memory: full`: the request was run again with `memory: encoder_offload`."
    assert warning in pipe.generations["0"].warnings


def test_a_run_that_fits_in_no_mode_fails_alone(accelerator: Control) -> None:
    """It was run twice, and is not run a third time; the call behind it is served."""
    model = controlled()
    (single, other) = calls(model, 2, prompt="a (red:1.2) shape")
    requests = [replace(each, prompt_syntax="a1111") for each in (single, other)]
    accelerator.fail("out of memory", after=10, operator="aten::convolution")
    accelerator.fail("out of memory", after=20, operator="aten::convolution")
    pipe = serve(model, requests)

    assert ["0"] == [*pipe.errors]
    assert isinstance(pipe.errors["0"], OutOfMemoryError)
    assert ["1"] == [*pipe.generations]


def test_a_batch_has_as_many_members_as_fit(accelerator: Control) -> None:
    """More would need a slower mode."""
    model = controlled()
    serve(model, calls(model, 1))
    predictor = model.modes.predictor
    room = predictor.weights("full") + predictor.working(3 * 64 * 64)
    accelerator.settings.memory = round(room / 0.9) + 2**12
    members = model.modes.members_in_memory(64 * 64, 8)
    pipe = serve(model, calls(model, 4))

    assert 3 == members
    assert [3, 3, 3, 1] == sizes(pipe)
    assert "full" == model.modes.memory().mode
