"""Batches on the pretended device, where memory runs out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from calling import call
from control import PARAMS, PLAIN, embedded
from octabox.engine.messages import Start, WorkerOptions
from octabox.engine.protocol import Call
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.outputs.encoding import RawOutput
from octabox.engine.worker.trial import TrialRunner
from octabox.types import Progress
from pretended_accelerator import Control

#: Operators of a call that come before its first convolution of the denoiser.
EARLY = 40


class Events:
    """Cancels nothing."""

    def publish(self, call: Call, progress: Progress) -> None:
        """Ignore progress."""

    def is_cancelled(self, call: Call) -> bool:
        """Return False."""
        return False

    def drop(self, call: Call) -> None:
        """Be unused."""
        raise NotImplementedError


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, accelerator: Control) -> TrialRunner:
    """Return what runs the embedded model in batches, in the mode that it selects itself."""
    monkeypatch.setenv("OCTABOX_CACHE_DIR", str(tmp_path))
    config = embedded(device="fake", dtype="float32", batching="always")
    start = Start(config, PLAIN, WorkerOptions(device="cpu"))
    model = TrialRunner(load(config, PLAIN, start.options), start)
    model.note_state()
    return model


def request(count: int) -> Call:
    """Return a call with several runs."""
    made = call(PLAIN, {**PARAMS, "num_inference_steps": 1, "width": 64, "height": 64})
    runs = tuple(replace(made.runs[0], seed=seed, adapters=()) for seed in range(count))
    return replace(made, runs=runs, model=made.model.model_copy(update={"batching": "always"}))


def batch(model: TrialRunner, count: int) -> RawOutput:
    """Run the runs of a call together, and return its output."""
    (output,) = model.batches.run([request(count)], Events())
    return output


def sizes(output: RawOutput) -> list[int]:
    """Return with how many others each run was run."""
    return [metadata.get("batch", 1) for _, _, metadata in output.outputs]


def image(output: RawOutput, index: int) -> np.ndarray:
    """Return an image."""
    return np.asarray(output.outputs[index][0].value).astype(int)


def test_where_memory_runs_out_the_batch_is_halved_and_then_the_mode_is_changed(
    accelerator: Control, model: TrialRunner
) -> None:
    """No request fails, the images stay the same, and the smaller batch is kept for later calls."""
    first = batch(model, 4)
    assert ([4] * 4, "full") == (sizes(first), model.modes.memory().mode)
    accelerator.fail("out of memory", after=EARLY, operator="aten::convolution")
    halved = batch(model, 4)
    assert ([2] * 4, "full", 1) == (sizes(halved), model.modes.memory().mode, model.modes.out_of_memory)
    accelerator.fail("out of memory", after=EARLY, operator="aten::convolution")
    accelerator.fail("out of memory", after=2 * EARLY, operator="aten::convolution")
    lowered = batch(model, 2)

    assert ([1] * 2, "encoder_offload") == (sizes(lowered), model.modes.memory().mode)
    assert any("run again with `memory: encoder_offload`" in each for each in lowered.warnings)
    assert all(np.abs(image(first, index) - image(halved, index)).max() <= 1 for index in range(4))
    assert all(np.abs(image(first, index) - image(lowered, index)).max() <= 1 for index in range(2))


def test_a_batch_needs_no_slower_mode_than_a_single_run(accelerator: Control, model: TrialRunner) -> None:
    """Where memory is enough for the weights and two runs, no more run together, and the mode stays."""
    for count in (1, 4):
        batch(model, count)
    weights = sum(
        each.nbytes
        for part in ("unet", "vae", "text_encoder")
        for each in getattr(model.pipelines[0], part).parameters()
    )
    working = model.modes._working(2 * 64 * 64)
    accelerator.settings.memory = round((weights + working) / 0.9) + 2**16
    output = batch(model, 4)

    assert (True, "full") == (max(sizes(output)) < 4, model.modes.memory().mode)
