"""Models that leave the pretended device for others: their weights stay on the host, and come back without the files."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from accelerator.engine_run import run_engine
from accelerator.test_forkserver import environment
from calling import call
from control import PARAMS, PLAIN, embedded
from octabox import demo
from octabox.engine.memory.estimate import weight_bytes
from octabox.engine.messages import Sleep, Start, WakeUp, WorkerOptions
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.trial import TrialRunner
from octabox.errors import LoadError
from octabox.types import AdapterChoice
from pretended_accelerator import Control
from trained import HEARTS

MODES = ("auto", "encoder_offload", "model_cpu_offload", "group_offload", "sequential_cpu_offload")

#: Bytes of the embedded model's weights.
WEIGHTS = sum((weight_bytes(embedded(dtype="float32"), "fake:0", "float32") or {}).values())


def loaded(folder: Path = demo.FOLDER, **fields: Any) -> TrialRunner:
    """Return what runs the embedded model, from a folder."""
    config = embedded(**{"device": "fake", "dtype": "float32", "model": str(folder), **fields})
    start = Start(config, PLAIN, WorkerOptions(device="cpu"))
    return TrialRunner(load(config, PLAIN, start.options), start)


def image_of(model: TrialRunner, *adapters: AdapterChoice) -> np.ndarray:
    """Return the image of a short call."""
    request = call(PLAIN, {**PARAMS, "num_inference_steps": 2, "width": 64, "height": 64})
    object.__setattr__(request.runs[0], "adapters", adapters)
    model.note_state()
    return np.asarray(model.run(request, lambda _: None, lambda: None).outputs[0][0].value).astype(int)


@pytest.mark.parametrize("memory", MODES)
def test_weights_leave_the_device_and_come_back(accelerator: Control, tmp_path: Path, memory: str) -> None:
    """No byte of them is left there, the files are not needed any more, and the image is the same."""
    folder = tmp_path / "model"
    shutil.copytree(demo.FOLDER, folder)
    others = accelerator.allocated()
    model = loaded(folder, memory=memory)
    first, before = image_of(model), model.modes.memory()
    model.move_weights(Sleep())
    gc.collect()
    asleep = model.modes.memory()
    shutil.rmtree(folder)

    assert others == accelerator.allocated()
    assert (others, others) == (asleep.bytes["fake:0"], asleep.allocated["fake:0"])
    assert "since another model needs the memory of fake:0" in asleep.reason

    accelerator.forget_counts()
    model.move_weights(WakeUp())
    awake = model.modes.memory()
    if memory == "auto":
        assert accelerator.bytes_to_device >= WEIGHTS
        assert "full" == awake.mode
        assert (
            abs(before.allocated["fake:0"] - awake.allocated["fake:0"]) < 1024
        )  # The last call has left its timesteps.
    assert np.abs(first - image_of(model)).max() <= 1


def test_merged_loras_sleep_too(accelerator: Control) -> None:
    """The copies of the layers that they were merged into go, and the next call has them again."""
    others = accelerator.allocated()
    model, lora = loaded(), AdapterChoice(HEARTS)
    plain, with_lora = image_of(model), image_of(model, lora)
    model.move_weights(Sleep())
    gc.collect()
    assert others == accelerator.allocated()
    model.move_weights(WakeUp())

    assert np.abs(with_lora - image_of(model, lora)).max() <= 1
    assert np.abs(plain - image_of(model)).max() <= 1


def test_a_model_wakes_up_in_the_mode_that_fits(accelerator: Control) -> None:
    """Where the other models leave less room, a part of the weights stays on the host."""
    model = loaded()
    first = image_of(model)
    model.move_weights(Sleep())
    accelerator.settings.memory = round(model.modes.predictor.weights("full") * 0.8)
    model.move_weights(WakeUp())

    assert "full" != model.modes.memory().mode
    assert np.abs(first - image_of(model)).max() <= 1


def test_weights_that_are_on_the_host_do_not_move() -> None:
    """A model on the processor frees nothing by sleeping."""
    with pytest.raises(LoadError, match="on the host already"):
        loaded(device="cpu").move_weights(Sleep())


@pytest.mark.slow
def test_two_models_take_turns_on_a_device(tmp_path: Path) -> None:
    """Where one needs the memory, the other one sleeps in its process, and its next request wakes it up."""
    steps: list[dict[str, Any]] = [{"limits": {"fake:0": WEIGHTS * 3 // 2}}]
    for name in ("one", "two", "one", "two"):
        steps += [{"generate": name}, {"status": None}]
    variables = {**environment(tmp_path / "device"), "OCTABOX_CACHE_DIR": str(tmp_path / "cache")}
    outcome = run_engine(steps, variables)
    images, states = outcome.results[0::2], [{each["model"]: each for each in found} for found in outcome.results[1::2]]

    assert images[:2] == images[2:]
    assert [("ready", None), ("sleeping", "ready"), ("ready", "sleeping"), ("sleeping", "ready")] == [
        (each["one"]["state"], each["two"]["state"] if "two" in each else None) for each in states
    ]
    assert {each["one"]["pid"] for each in states} == {states[0]["one"]["pid"]}
    assert states[1]["two"]["pid"] == states[3]["two"]["pid"]
    sleeping, awake = states[1]["one"], states[0]["one"]
    assert 0 == sleeping["memory"]["fake:0"] == sleeping["allocated"]["fake:0"]
    assert awake["allocated"]["fake:0"] >= WEIGHTS
    assert awake["allocated"] == states[2]["one"]["allocated"]
