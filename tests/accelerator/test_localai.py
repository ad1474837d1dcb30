"""LocalAI's options for device, dtype and memory, through the real backend."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import grpc
import pytest

from accelerator.environment import accelerator_environment
from localai_backend import failing, running_backend
from octabox import demo
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import load
from octabox.frontends.grpc.localai import contract
from octabox.frontends.grpc.localai.environment import Environment
from octabox.frontends.grpc.localai.loading.options import to_model
from pretended_accelerator import Control


def uses_device(folder: Path) -> bool:
    """Return whether a process has initialised the device, whose events are in a folder."""
    file = folder / "events.jsonl"
    return file.exists() and '"initialized"' in file.read_text(encoding="utf-8")


@pytest.mark.slow
def test_cuda_is_an_accelerator_of_any_type(tmp_path: Path) -> None:
    """With CUDA the model is on the accelerator, in half precision and offloaded on request; without it on the CPU."""
    with running_backend(environment=accelerator_environment(tmp_path / "device")) as backend:
        plain, on_cpu = backend.load(demo.FOLDER), not uses_device(tmp_path / "device")
        small = backend.load(demo.FOLDER, CUDA=True, F16Memory=True, LowVRAM=True)
        image = backend.image(tmp_path / "small.png")

    assert plain.success
    assert on_cpu
    assert small.success
    assert uses_device(tmp_path / "device")
    assert image.success
    assert (tmp_path / "small.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variables", "settings", "asked"),
    [({"XPU": "1"}, {}, "xpu"), ({}, {"devices": 0}, "accelerator")],
    ids=["XPU", "CUDA"],
)
def test_a_device_that_is_not_there_is_refused(
    tmp_path: Path, variables: dict[str, str], settings: dict[str, Any], asked: str
) -> None:
    """XPU without an Intel device, and CUDA without an accelerator, fail as with LocalAI; the error lists the devices."""
    environment = {**accelerator_environment(**settings), **variables}
    with running_backend(environment=environment) as backend, failing() as told:
        backend.load(demo.FOLDER, CUDA=True)

    assert grpc.StatusCode.FAILED_PRECONDITION == told[0]
    assert f"asks for device '{asked}'" in told[1]


@pytest.mark.parametrize(
    ("fields", "dtype", "rests"),
    [
        ({"CUDA": True}, "torch.float32", True),
        ({"CUDA": True, "F16Memory": True}, "torch.float16", True),
        ({"CUDA": True, "F16Memory": True, "LowVRAM": True}, "torch.float16", False),
    ],
    ids=["CUDA", "F16Memory", "LowVRAM"],
)
def test_fields_decide_what_the_device_holds(
    accelerator: Control, fields: dict[str, bool], dtype: str, rests: bool
) -> None:
    """F16Memory is float16 in memory, and LowVRAM leaves nothing on the device between calls."""
    before = accelerator.allocated()
    options = contract.ModelOptions(Model=demo.FOLDER.name, ModelFile=str(demo.FOLDER), **fields)
    loaded = load(to_model(options, Environment.load({})).config, "StableDiffusionPipeline", WorkerOptions())

    assert "fake:0" == loaded.device
    assert dtype == str(loaded.pipeline.unet.dtype)
    assert rests is (accelerator.allocated() > before)
