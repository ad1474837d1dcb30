"""Upscaling models are loaded by their configurations."""

from pathlib import Path
from typing import Any

import pytest
import torch

import upscalers
from octabox.config.model import ModelConfig
from octabox.engine.conversions import Conversion
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.conversion import _convert
from octabox.engine.worker.loading.models import LoadedModel, load
from octabox.engine.worker.upscaling.network import Upscaler
from octabox.errors import IncompatibleWeightsError, LoadError

PIPELINE = "ImageUpscalingPipeline"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a file with a network."""
    return upscalers.save(upscalers.nearest(2), tmp_path / "2x.pth")


def loaded(file: Path, **fields: Any) -> LoadedModel:
    """Load a file."""
    return load(ModelConfig(name="x", model=str(file), **fields), PIPELINE, WorkerOptions(device="cpu"))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_dtypes(dtype: str, file: Path) -> None:
    """The network has the configured dtype, without a warning."""
    model = loaded(file, dtype=dtype)

    assert getattr(torch, dtype) == model.pipeline.dtype
    assert () == model.warnings


def test_networks_that_need_float32(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dtype that spandrel does not support is replaced by float32, with a warning."""
    monkeypatch.setattr(Upscaler, "supports_dtype", lambda self, dtype: False)
    model = loaded(file, dtype="float16")

    assert torch.float32 == model.pipeline.dtype
    assert ("The model computes in float32: its architecture does not compute correctly in float16.",) == model.warnings


@pytest.mark.parametrize("fields", [{"config": "some/model"}, {"components": {"upscaler": {"dtype": "float16"}}}])
def test_what_has_no_effect_is_refused(fields: dict[str, Any], file: Path) -> None:
    """The file is all that there is of such a model."""
    with pytest.raises(IncompatibleWeightsError, match=f"does not use `{next(iter(fields))}:`"):
        loaded(file, **fields)


def test_a_configured_pipeline(tmp_path: Path) -> None:
    """If the configuration names the pipeline, the file is loaded by spandrel."""
    weights = upscalers.esrgan(2).state_dict()
    torch.save({f"module.{name}": tensor for name, tensor in weights.items()}, tmp_path / "x.pth")

    assert 2 == loaded(tmp_path / "x.pth").pipeline.upscaler.scale


def test_conversion(file: Path, tmp_path: Path) -> None:
    """Conversion to diffusers' format is rejected."""
    config = ModelConfig(name="x", model=str(file))
    place = tmp_path / "out"
    order = Conversion(config, PIPELINE, place, WorkerOptions(device="cpu"))

    with pytest.raises(LoadError, match="no format for its upscaler"):
        _convert(order, place)
    assert not place.exists()
