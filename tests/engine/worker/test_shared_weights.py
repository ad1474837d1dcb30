"""All pipelines over a model share its weights, so that the memory of the process does not grow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

import makers
import octabox
import weighing
from makers.parts import unets

pytestmark = pytest.mark.slow

#: Channels of a UNet of more than 100 MB, of which 1 % is more than the noise of the measurement.
WIDE: dict[str, Any] = {"block_out_channels": (256, 512)}

LARGE = 100_000_000

PLAIN = ("StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline")
GUIDED = (
    "StableDiffusionControlNetPipeline",
    "StableDiffusionControlNetImg2ImgPipeline",
    "StableDiffusionControlNetInpaintPipeline",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a large model and a large ControlNet."""
    folder = tmp_path_factory.mktemp("models")
    pipe = makers.pipelines()["StableDiffusionImg2ImgPipeline"].make()
    torch.manual_seed(0)
    pipe.register_modules(unet=unets.conditional(**WIDE).eval())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.save_pretrained(folder / "large")
        unets.controlnet(**WIDE).save_pretrained(folder / "net")
    return folder


def measure(*arguments: str) -> dict[str, Any]:
    """Return the memory that a process has measured."""
    paths = [str(Path(weighing.__file__).parent), str(Path(octabox.__file__).parents[1])]
    done = subprocess.run(
        [sys.executable, "-m", "weighing", *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert 0 == done.returncode, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize(("net", "siblings"), [("-", PLAIN), ("net", GUIDED)], ids=["plain", "controlnet"])
def test_pipelines_share_memory(folder: Path, net: str, siblings: tuple[str, ...]) -> None:
    """After a call of each pipeline, the tensors and the process have grown by at most 1 %."""
    found = measure(str(folder / "large"), net if net == "-" else str(folder / net), *siblings)
    (tensors, tensors_after), (resident, resident_after) = found["tensors"], found["resident"]

    assert 1 + len(siblings) == found["made"]
    assert LARGE < tensors < resident
    assert tensors_after <= 1.01 * tensors
    assert resident_after <= 1.01 * resident, f"{resident} bytes became {resident_after}"
