"""What calls need is predicted by what earlier ones used, and a request that was served is not refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from octabox.config.model import ModelConfig
from octabox.engine.messages import Start, WorkerOptions
from octabox.engine.worker.memory_modes.decision import MODES, WeightSizes
from octabox.engine.worker.mode_selection.prediction import MemoryPredictor
from octabox.engine.worker.mode_selection.record import MemoryRecord
from octabox.errors import OutOfMemoryError

GB = 10**9

#: FLUX in half precision: its denoiser, its encoder, its autoencoder, and the layers in use with group offloading.
FLUX = WeightSizes(
    {"transformer": 24 * GB, "text_encoder": round(9.5 * GB), "vae": 0},
    frozenset({"text_encoder"}),
    frozenset({"transformer"}),
    GB,
)

#: Pixels of a call.
SIZE = 1024 * 1024


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MemoryRecord:
    """Return the record of a model that was not measured."""
    monkeypatch.setenv("OCTABOX_CACHE_DIR", str(tmp_path))
    start = Start(ModelConfig(name="flux", model="flux"), "FluxPipeline", WorkerOptions())
    return MemoryRecord(start, "cuda:0")


def predictor(record: MemoryRecord, sizes: WeightSizes = FLUX) -> MemoryPredictor:
    """Return the predictor of a model of these sizes."""
    made = MemoryPredictor({"layer": torch.nn.Linear(1, 1)}, record, "cuda:0")
    made._sizes = sizes
    return made


@pytest.mark.parametrize("available", [9.1, 10.0, 20.0])
def test_a_request_that_was_served_is_served_again(record: MemoryRecord, available: float) -> None:
    """A margin selects the mode, and refuses nothing that is known to fit; a larger request is refused."""
    known = predictor(record)
    record.add_call(SIZE, 8 * GB)  # Beside the layers in use, a peak of 9 GB.

    decision, _ = known.select(SIZE, round(available * GB), "flux")

    assert "group_offload" == decision.mode
    with pytest.raises(OutOfMemoryError, match="even in the mode group_offload"):
        known.select(4 * SIZE, round(available * GB), "flux")


def test_a_request_that_has_run_out_of_memory_is_refused(record: MemoryRecord) -> None:
    """In the last mode, as long as the device has no more; its peak was what there was, and says nothing."""
    known = predictor(record)
    known.select(SIZE, 10 * GB, "flux")
    known.add_failure("group_offload", SIZE, 10 * GB)
    record.add_call(SIZE, round(8.7 * GB))

    with pytest.raises(OutOfMemoryError, match="even in the mode group_offload") as raised:
        known.select(SIZE, 10 * GB, "flux")
    assert (raised.value.requested or 0) > (raised.value.free or 0)
    assert "group_offload" == known.select(SIZE, 12 * GB, "flux")[0].mode


@pytest.mark.parametrize(
    ("mode", "peak", "used"),
    [
        ("full", 35.8, 2.3),
        ("encoder_offload", 33.6, None),
        ("encoder_offload", 38.0, 14.0),
        ("model_cpu_offload", 26.3, 2.3),
        ("group_offload", 3.3, 2.3),
        ("group_offload", 0.9, 0.0),
    ],
)
def test_what_a_peak_shows(record: MemoryRecord, mode: str, peak: float, used: float | None) -> None:
    """A peak of about the encoders, which leave before the first step, says nothing about the steps."""
    found: Any = predictor(record).used(mode, round(peak * GB))

    assert found == (None if used is None else pytest.approx(used * GB, abs=1e7))


def test_an_encoder_that_is_the_largest(record: MemoryRecord) -> None:
    """With whole components offloaded its size hides what the steps use, too."""
    sizes = WeightSizes(
        {"transformer": 4 * GB, "text_encoder": 9 * GB}, frozenset({"text_encoder"}), frozenset({"transformer"})
    )
    known = predictor(record, sizes)

    assert known.used("model_cpu_offload", round(9.2 * GB)) is None
    assert 7 * GB == known.used("model_cpu_offload", 11 * GB)
    assert {mode: known.weights(mode) for mode in MODES} == {
        "full": 13 * GB,
        "encoder_offload": 13 * GB,
        "model_cpu_offload": 9 * GB,
        "group_offload": 0,
    }
