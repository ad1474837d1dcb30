"""Models that do not run in the first dtype are reloaded in another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler, PNDMPipeline, PNDMScheduler

from calling import Watcher, call
from octabox.config.model import ModelConfig
from octabox.engine.messages import Start, WorkerOptions
from octabox.engine.worker import trial
from octabox.engine.worker.failures import to_generation_error
from octabox.engine.worker.loading import models
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.placement import dtype
from octabox.engine.worker.placement.dtype import HALF_DTYPES, DtypeChoice, Precision
from octabox.engine.worker.placement.dtype_failures import failed_dtypes
from octabox.engine.worker.trial import TrialRunner
from octabox.errors import GenerationError, OutOfMemoryError
from tiny import unet

pytestmark = pytest.mark.slow

#: A class that converts images to numpy in its dtype, and one that passes float32 to its UNet in any dtype.
ARRAYS, FEEDS = "DDPMPipeline", "PNDMPipeline"

#: All steps that the models are trained with, since their solvers are not accurate with fewer.
STEPS = 10

KEY = {"pipeline": "a key of this test"}

#: What `auto` tries on an accelerator; here the processor computes it.
ATTEMPTS = (*(Precision(half, casts) for half in HALF_DTYPES for casts in (False, True)), Precision(torch.float32))


@pytest.fixture(autouse=True)
def choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[DtypeChoice], None]:
    """Return a function that sets the candidates; failures are recorded in a folder of the test."""
    monkeypatch.setenv("OCTABOX_CACHE_DIR", str(tmp_path / "cache"))

    def choose(dtypes: DtypeChoice) -> None:
        monkeypatch.setattr(models, "choose_dtypes", lambda *_: dtypes)

    choose(DtypeChoice(ATTEMPTS, automatic=True, key=KEY))
    return choose


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a tiny model of each of the two classes."""
    DDPMPipeline(unet(), DDPMScheduler(num_train_timesteps=STEPS)).save_pretrained(tmp_path / ARRAYS)
    PNDMPipeline(unet(), PNDMScheduler(num_train_timesteps=STEPS, skip_prk_steps=True)).save_pretrained(
        tmp_path / FEEDS
    )
    return tmp_path


def runner(folder: Path, name: str) -> TrialRunner:
    """Return the runner of a model."""
    start = Start(ModelConfig(name="x", model=str(folder / name)), name, WorkerOptions(device="cpu"))
    return TrialRunner(load(start.model, start.pipeline, start.options), start)


def run(calls: TrialRunner, name: str, **params: Any) -> tuple[str, ...]:
    """Run a call and return its warnings."""
    watcher = Watcher()
    made = calls.run(call(name, {"num_inference_steps": STEPS, **params}), watcher.tell, watcher.check)
    assert made.outputs
    return made.warnings


def test_the_next_dtype(folder: Path) -> None:
    """The call is repeated in the other half precision dtype with a warning, and the next call has none."""
    calls = runner(folder, ARRAYS)
    warnings = run(calls, ARRAYS)

    assert 1 == len(warnings)
    assert "does not run in bfloat16" in warnings[0]
    assert "computes in float16." in warnings[0]
    assert () == run(calls, ARRAYS)
    assert torch.float16 == calls.pipelines[0].dtype


def test_failures_are_recorded(folder: Path) -> None:
    """A failure is recorded on disk with its reason for the next load."""
    run(runner(folder, ARRAYS), ARRAYS)

    reason = "Got unsupported ScalarType BFloat16"
    assert {"bfloat16": reason, "bfloat16 with casts": reason} == failed_dtypes(KEY)


def test_casts_are_tried_before_another_dtype(folder: Path) -> None:
    """A mismatch of dtypes is fixed by casts without a reload."""
    calls = runner(folder, FEEDS)
    loaded = calls.pipelines[0]

    assert "computes in bfloat16, and casts" in run(calls, FEEDS)[0]
    assert loaded is calls.pipelines[0]
    assert () == run(calls, FEEDS)


def test_a_requested_dtype_is_kept(folder: Path, choice: Callable[[DtypeChoice], None]) -> None:
    """The call fails with an error that names the setting and its alternatives, without a reload."""
    choice(DtypeChoice(ATTEMPTS[:2], key=KEY))
    calls = runner(folder, ARRAYS)
    loaded = calls.pipelines[0]

    with pytest.raises(GenerationError, match="does not run in bfloat16") as caught:
        run(calls, ARRAYS)

    assert ("dtype", ("float32", "float16")) == (caught.value.parameter, caught.value.choices)
    assert loaded is calls.pipelines[0]


def test_a_kernel_that_is_missing_is_not_a_lack_of_memory(
    folder: Path, choice: Callable[[DtypeChoice], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have the same message: on a device that lacks the requested dtype, the error names that setting."""
    choice(DtypeChoice(ATTEMPTS[:2], key=KEY))
    calls = runner(folder, ARRAYS)

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("GET was unable to find an engine to execute this computation")

    monkeypatch.setattr(diffusers.UNet2DModel, "forward", fail)
    monkeypatch.setattr(dtype, "supported_half_dtypes", lambda _: HALF_DTYPES)
    with pytest.raises(RuntimeError, match="GET was unable") as exhausted:
        run(calls, ARRAYS)
    assert isinstance(to_generation_error(exhausted.value, call(ARRAYS, {}), 0), OutOfMemoryError)

    monkeypatch.setattr(dtype, "supported_half_dtypes", lambda _: (torch.float16,))
    with pytest.raises(GenerationError, match="does not run in bfloat16") as caught:
        run(calls, ARRAYS)
    assert caught.value is to_generation_error(caught.value, call(ARRAYS, {}), 0)


def test_casts_in_a_requested_dtype(folder: Path, choice: Callable[[DtypeChoice], None]) -> None:
    """Casts do not change the dtype of weights, and are used there too."""
    choice(DtypeChoice(ATTEMPTS[:2], key=KEY))
    calls = runner(folder, FEEDS)

    assert "casts" in run(calls, FEEDS)[0]
    assert torch.bfloat16 == calls.pipelines[0].dtype


def test_a_failure_in_all_dtypes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that also occurs in float32 is raised, nothing is recorded, and the first dtype is restored and kept."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("expected scalar type Half but found Float")

    monkeypatch.setattr(diffusers.DDPMPipeline, "__call__", fail)
    calls = runner(folder, ARRAYS)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="expected scalar type"):
            calls.run(call(ARRAYS, {}), Watcher().tell, Watcher().check)

        assert torch.bfloat16 == calls.pipelines[0].dtype
    assert {} == failed_dtypes(KEY)


def test_a_reload_may_fail(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exhausted memory during a reload is the error of the call, and the model is restored."""
    calls = runner(folder, ARRAYS)

    def fail_in_float16(*args: Any) -> Any:
        if args[3].dtype == torch.float16:
            raise OutOfMemoryError("full")
        return load(*args)

    monkeypatch.setattr(trial, "load", fail_in_float16)
    with pytest.raises(OutOfMemoryError):
        run(calls, ARRAYS)

    assert torch.bfloat16 == calls.pipelines[0].dtype


def test_other_errors(folder: Path) -> None:
    """An error that is not about dtypes is raised without a reload."""
    calls = runner(folder, ARRAYS)
    with pytest.raises(Exception, match="num_inference_steps"):
        run(calls, ARRAYS, num_inference_steps=100)

    assert torch.bfloat16 == calls.pipelines[0].dtype
