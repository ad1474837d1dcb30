"""LoRAs in a model whose weights are stored in eight bits."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lora_changes import ATTENTION, CONVOLUTION, TEXT, kohya, peft, scaled, weight_of
from octabox import demo
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import LoadedModel, load
from octabox.types import AdapterChoice
from trained import FRAME, HEARTS, distance, image


def loaded(storage: str, **fields: Any) -> LoadedModel:
    """Return the embedded model, whose denoiser and encoder are stored in this dtype."""
    parts = {name: {"storage": storage} for name in ("unet", "text_encoder")}
    config = ModelConfig.model_validate({"name": "x", "model": str(demo.FOLDER), "components": parts, **fields})
    return load(config, "StableDiffusionPipeline", WorkerOptions(device="cpu"))


def adapters_of(model: LoadedModel) -> dict[str, torch.Tensor]:
    """Return the weights of the LoRAs in the denoiser, by name, without the names of the LoRAs."""
    weights = model.pipeline.unet.named_parameters()
    return {name.replace("octabox000001", "octabox000000"): each for name, each in weights if ".lora_" in name}


@pytest.mark.parametrize("storage", ["float8_e4m3fn", "float8_e5m2"])
def test_a_lora_of_a_request_is_that_of_a_configuration(storage: str) -> None:
    """It keeps its numbers whether it is loaded before the weights are stored in eight bits or afterwards."""
    requested, configured = loaded(storage), loaded(storage, adapters=[{"lora": HEARTS}])
    assert requested.loras is not None
    requested.loras.apply([AdapterChoice(HEARTS)])
    first, second = adapters_of(requested), adapters_of(configured)

    assert {torch.float32} == {weight.dtype for weight in first.values()}
    assert set(first) == set(second)
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())
    assert {getattr(torch, storage)} <= {weight.dtype for weight in requested.pipeline.unet.parameters()}
    assert image(requested.pipeline, steps=2).tobytes() == image(configured.pipeline, steps=2).tobytes()


def test_loras_change_between_calls_of_weights_in_eight_bits() -> None:
    """Each has its effect, a second one replaces the first, and without any the image is the plain one."""
    model = loaded("float8_e4m3fn")
    assert model.loras is not None
    images = []
    for files in ((), (HEARTS,), (FRAME,), ()):
        model.loras.apply([AdapterChoice(file) for file in files])
        images.append(image(model.pipeline, steps=2))

    assert images[0].tobytes() == images[3].tobytes()
    assert all(distance(one, other) > 1 for one, other in pairwise(images))


@pytest.mark.parametrize("kind", ["DoRA", "both patterns"])
@pytest.mark.parametrize("is_configured", [False, True])
@pytest.mark.parametrize("storage", ["float8_e4m3fn", "float8_e5m2"])
def test_a_dora_changes_weights_in_eight_bits_as_those_in_full(
    tmp_path: Path, storage: str, is_configured: bool, kind: str
) -> None:
    """Each layer acts as its stored numbers with the change that the file states, however the file is requested."""
    plain = loaded(storage)
    made = scaled(plain.pipeline, kind)
    file = str((peft if is_configured else kohya)(tmp_path, made))
    original = {layer: weight_of(plain.pipeline, layer) for layer in made.matrices}
    model = loaded(storage, adapters=[{"lora": file}]) if is_configured else plain
    assert model.loras is not None
    reports, warnings = model.loras.apply([AdapterChoice(file)])

    assert ([], reports[0].keys) == (warnings, reports[0].used)
    for layer in (ATTENTION, CONVOLUTION, TEXT):
        expected = made.expected(layer, original[layer])
        np.testing.assert_allclose(weight_of(model.pipeline, layer), expected, atol=2e-5, err_msg=layer)
    model.loras.apply([])
    assert all(np.array_equal(original[layer], weight_of(model.pipeline, layer)) for layer in made.matrices)
