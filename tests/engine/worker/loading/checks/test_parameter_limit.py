"""A configuration with far more layers than the weights have does not keep a process busy."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest
import torch

from octabox import demo
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.checks.parameter_limit import MIN_LIMIT, limit_parameters
from octabox.engine.worker.loading.models import load
from octabox.errors import IncompatibleWeightsError


def test_a_number_of_layers_that_is_damaged(tmp_path: Path) -> None:
    """The error names the component, long before all its layers are built."""
    folder = tmp_path / "model"
    shutil.copytree(demo.FOLDER, folder)
    file = folder / "text_encoder/config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "num_hidden_layers": 10**7}))
    begun = time.monotonic()

    with pytest.raises(IncompatibleWeightsError, match=r"text_encoder in .* states more than"):
        load(ModelConfig(name="m", model=str(folder)), "StableDiffusionPipeline", WorkerOptions(device="cpu"))
    assert time.monotonic() - begun < 100


def test_the_limit_ends_with_the_component(tmp_path: Path) -> None:
    """Each component may have as many parameters as the limit; later ones are not counted."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    with limit_parameters("m", "unet", tmp_path):
        module = torch.nn.ParameterList([parameter] * MIN_LIMIT)
    module.extend([parameter])

    assert MIN_LIMIT + 1 == len(module)
