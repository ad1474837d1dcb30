"""Dtypes on an accelerator: what `auto` finds there, casts and repeated decodes in every memory mode."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMPipeline, DDPMScheduler

import makers
import upscalers
from accelerator.tiny_models import DDPM, MEMORY_MODES, load_model, pixels, run_call
from ldm_layout import tiny_sd
from octabox.engine.worker.placement import dtype_failures
from octabox.media.audio import Audio
from pretended_accelerator import Control
from tiny import unet


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record dtype failures in a folder of the test; the catalog's cache is shared."""
    monkeypatch.setattr(dtype_failures, "cache_folder", lambda: tmp_path / "cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny model, one whose autoencoder overflows in float16, and one that makes arrays in its dtype."""
    folder = tmp_path_factory.mktemp("models")
    pipe = tiny_sd()
    pipe.save_pretrained(folder / "plain")
    pipe.save_pretrained(folder / "variant", variant="fp16")
    pipe.to(torch.float16).save_pretrained(folder / "half")
    pipe.to(torch.float32)
    with torch.no_grad():
        weight = pipe.vae.decoder.conv_in.weight
        weight.mul_(6e4 / weight.abs().max())
    pipe.save_pretrained(folder / "overflows")
    DDPMPipeline(unet(), DDPMScheduler(num_train_timesteps=10)).save_pretrained(folder / "arrays")
    return folder


@pytest.mark.parametrize(
    ("settings", "name", "expected"),
    [
        ({}, "plain", torch.bfloat16),
        ({}, "half", torch.float16),
        ({}, "variant", torch.bfloat16),
        ({"emulates": ["bfloat16"]}, "plain", torch.float16),
        ({"lacks": ["bfloat16"]}, "plain", torch.float16),
    ],
)
def test_auto_is_a_dtype_that_the_device_supports_dtype(
    settings: dict[str, Any], name: str, expected: torch.dtype, folder: Path, accelerator: Control
) -> None:
    """Emulated dtypes are not chosen, the dtype of stored weights is, and the model generates an image in it."""
    for setting, value in settings.items():
        setattr(accelerator.settings, setting, value)
    runner = load_model(folder, name)

    assert expected == runner.pipelines[0].dtype
    assert () == run_call(runner).warnings


def test_a_class_that_does_not_run_in_it_gets_another(folder: Path) -> None:
    """The first response has a warning; the next load starts with a dtype that works, without a warning."""
    params = {"num_inference_steps": 10}  # All that it has, since fewer are too few for its scheduler.
    first = load_model(folder, "arrays", DDPM)
    assert torch.bfloat16 == first.pipelines[0].dtype
    assert "computes in float16" in run_call(first, DDPM, params).warnings[0]

    again = load_model(folder, "arrays", DDPM)
    assert torch.float16 == again.pipelines[0].dtype
    assert () == run_call(again, DDPM, params).warnings


def test_a_model_that_is_loaded_again_is_there_once(folder: Path, accelerator: Control) -> None:
    """What was loaded first has left the device when the second is there: they have as many bytes."""
    runner = load_model(folder, "arrays", DDPM)
    before = accelerator.allocated()
    run_call(runner, DDPM, {"num_inference_steps": 10})

    assert before == accelerator.allocated()


@pytest.mark.parametrize("memory", MEMORY_MODES)
def test_a_component_in_float32_works_in_every_memory_mode(memory: str, folder: Path) -> None:
    """What is given to a component of another dtype is cast, wherever the component is in the meantime."""
    fields: dict[str, Any] = {"dtype": "bfloat16", "components": {"vae": {"dtype": "float32"}}}

    expected = pixels(run_call(load_model(folder, "plain", device="cpu", **fields)))
    assert 2 > np.abs(pixels(run_call(load_model(folder, "plain", memory=memory, **fields))) - expected).mean()


@pytest.mark.parametrize("memory", MEMORY_MODES)
def test_an_overflow_is_decoded_again_in_every_memory_mode(memory: str, folder: Path) -> None:
    """Decoding in float32 gives the image of float32, and the next call does so again."""
    expected = pixels(run_call(load_model(folder, "overflows", device="cpu", dtype="float32")))
    runner = load_model(folder, "overflows", dtype="float16", memory=memory)
    for _ in range(2):
        result = run_call(runner)

        assert "decoded again in float32" in result.warnings[0]
        assert 8 > np.abs(pixels(result) - expected).mean()


@pytest.mark.filterwarnings("ignore:.*weight_norm:FutureWarning")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_audio_is_given_where_the_model_is(dtype: str, tmp_path: Path) -> None:
    """Audio of a request reaches a model on the device, in its dtype."""
    name = "StableAudioPipeline"
    with warnings.catch_warnings():
        # What diffusers says to whoever makes and saves pipelines is no concern here.
        warnings.simplefilter("ignore")
        makers.pipelines()[name].make().save_pretrained(tmp_path / name)
    runner = load_model(tmp_path, name, name, dtype=dtype)
    sound = Audio(np.zeros((2, 1600), np.float32), 16000)
    params = {"prompt": "rain", "num_inference_steps": 2, "audio_end_in_s": 0.1}

    assert run_call(runner, name, params, initial_audio_waveforms=[sound]).outputs


def test_upscalers_compute_in_float16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` is float16 there, and bfloat16 for a network that does not compute rightly in it."""
    from octabox.engine.worker.upscaling.network import Upscaler  # noqa: PLC0415 (it needs spandrel)

    upscalers.save(upscalers.nearest(2), tmp_path / "2x.pth")
    name = "ImageUpscalingPipeline"
    assert torch.float16 == load_model(tmp_path, "2x.pth", name).pipelines[0].dtype

    monkeypatch.setattr(Upscaler, "supports_dtype", lambda self, dtype: dtype != torch.float16)
    runner = load_model(tmp_path, "2x.pth", name)
    assert torch.bfloat16 == runner.pipelines[0].dtype
