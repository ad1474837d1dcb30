"""Autoencoders that overflow in half precision, and decode again in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import torch

from calling import call, run
from ldm_layout import tiny_sd
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import LoadedModel, load
from octabox.engine.worker.outputs.encoding import RawOutput
from octabox.engine.worker.placement.decode_retry import is_finite, retry_decoding_in_float32
from octabox.engine.worker.runner import Runner

KIND = "StableDiffusionPipeline"

PARAMS = {"prompt": "a cat", "num_inference_steps": 2, "width": 16, "height": 16}

WARNING = "The output of 'vae' contained NaN or infinity in float16 and was decoded again in float32."


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a model whose autoencoder has weights within float16, and numbers beyond it while it decodes."""
    pipe = tiny_sd()
    with torch.no_grad():
        weight = pipe.vae.decoder.conv_in.weight
        weight.mul_(6e4 / weight.abs().max())
    folder = tmp_path_factory.mktemp("tiny")
    pipe.save_pretrained(folder)
    return folder


def loaded(folder: Path, dtype: Any) -> LoadedModel:
    """Return the model in a dtype."""
    return load(ModelConfig(name="x", model=str(folder), dtype=dtype), KIND, WorkerOptions(device="cpu"))


def made(model: LoadedModel) -> RawOutput:
    """Return what a model makes."""
    return run(Runner(model), call(KIND, PARAMS))


def pixels(unfinished: RawOutput) -> Any:
    """Return the pixels of an image."""
    return np.asarray(unfinished.outputs[0][0].value, np.float32)


def test_an_overflow_is_decoded_in_float32(folder: Path) -> None:
    """The image is that of float32 within rounding, with a warning, and the weights are unchanged to the bit."""
    model = loaded(folder, "float16")
    before = {name: tensor.clone() for name, tensor in model.pipeline.vae.state_dict().items()}
    result = made(model)
    after = model.pipeline.vae.state_dict()

    assert [WARNING] == [each.partition(" Set ")[0] for each in result.warnings]
    assert 8 > np.abs(pixels(result) - pixels(made(loaded(folder, "float32")))).mean()
    assert all(
        torch.equal(tensor, after[name]) and tensor.dtype == after[name].dtype for name, tensor in before.items()
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_is_finite_is_decoded_once(dtype: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an overflow the autoencoder decodes once, without a warning."""
    model = loaded(folder, dtype)
    decode = Mock(wraps=model.pipeline.vae.decode)
    monkeypatch.setattr(model.pipeline.vae, "decode", decode)

    assert () == made(model).warnings
    decode.assert_called_once()


def test_latents_that_are_none_are_not_decoded_again(folder: Path) -> None:
    """NaN in latents is not repeated, since another decode would not help."""
    model, said = loaded(folder, "float16"), list[str]()
    with retry_decoding_in_float32(model.pipeline, said):
        output = model.pipeline.vae.decode(torch.full((1, 4, 2, 2), torch.nan, dtype=torch.float16)).sample

    assert not is_finite(output)
    assert [] == said


def test_nothing_is_left_behind(folder: Path) -> None:
    """After the call the autoencoder has its original method, also after an error."""
    model = loaded(folder, "float16")
    with pytest.raises(ValueError, match="unpack"), retry_decoding_in_float32(model.pipeline, []):
        _, _ = model.pipeline.vae.decode(torch.zeros((1, 4, 2, 2), dtype=torch.float16), return_dict=False)

    assert "decode" not in vars(model.pipeline.vae)


def test_casts_stay_where_they_are(folder: Path) -> None:
    """An autoencoder with casts has them after the call."""
    config = {"name": "x", "model": str(folder), "dtype": "float16", "components": {"unet": {"dtype": "float32"}}}
    model = load(ModelConfig.model_validate(config), KIND, WorkerOptions(device="cpu"))
    casting = vars(model.pipeline.vae)["decode"]

    assert [WARNING] == [each.partition(" Set ")[0] for each in made(model).warnings]
    assert casting is vars(model.pipeline.vae)["decode"]


@pytest.mark.parametrize(
    "error", [RuntimeError("MPS backend out of memory"), RuntimeError("CUDA error: device-side assert triggered")]
)
def test_a_device_that_fails_in_the_second_decode_is_told(error: Exception) -> None:
    """The first output is not taken for the best there is."""
    part: Any = torch.nn.Linear(1, 1).half()
    outputs = [torch.full((1,), float("inf")), error]

    def decode(_: Any) -> Any:
        found = outputs.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    part.decode = decode
    pipe: Any = Mock(components={"vae": part})
    with retry_decoding_in_float32(pipe, []), pytest.raises(RuntimeError, match=str(error)[:20]):
        part.decode(torch.ones(1))
