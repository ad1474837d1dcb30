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
from calling import Watcher, call
from ldm_layout import tiny_sd
from octabox.config.model import ModelConfig
from octabox.engine.messages import Start, WorkerOptions
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.outputs.encoding import RawOutput
from octabox.engine.worker.trial import TrialRunner
from octabox.media.audio import Audio
from pretended_accelerator import Control
from tiny import unet

KIND, ARRAYS = "StableDiffusionPipeline", "DDPMPipeline"

#: Every memory mode.
MODES = ("full", "model_cpu_offload", "sequential_cpu_offload", "group_offload")

PARAMS = {"prompt": "a cat", "num_inference_steps": 2, "width": 16, "height": 16}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let verdicts lie in a folder of the test."""
    monkeypatch.setenv("OCTABOX_CACHE_DIR", str(tmp_path / "cache"))


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


def started(folder: Path, name: str, pipeline: str = KIND, device: str = "fake", **fields: Any) -> TrialRunner:
    """Return what makes calls of a model that is loaded onto the device."""
    config = ModelConfig.model_validate({"name": "x", "model": str(folder / name), **fields})
    start = Start(config, pipeline, WorkerOptions(device=device))
    return TrialRunner(load(config, pipeline, start.options), start)


def made(runner: TrialRunner, pipeline: str = KIND, params: Any = None, **inputs: Any) -> RawOutput:
    """Return what a call makes."""
    watcher = Watcher()
    return runner.run(call(pipeline, params or PARAMS, inputs=inputs), watcher.tell, watcher.check)


def pixels(unfinished: RawOutput) -> Any:
    """Return the pixels of an image."""
    return np.asarray(unfinished.outputs[0][0].value, np.float32)


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
def test_auto_is_a_dtype_that_the_device_computes_in(
    settings: dict[str, Any], name: str, expected: torch.dtype, folder: Path, accelerator: Control
) -> None:
    """An emulated half type is not taken, the dtype of stored weights is, and the model makes an image in it."""
    for setting, value in settings.items():
        setattr(accelerator.settings, setting, value)
    runner = started(folder, name)

    assert expected == runner.pipelines[0].dtype
    assert () == made(runner).warnings


def test_a_class_that_does_not_run_in_it_gets_another(folder: Path) -> None:
    """The answer to the first call has a warning; the next load begins with what works, and says nothing."""
    params = {"num_inference_steps": 2}
    first = started(folder, "arrays", ARRAYS)
    assert torch.bfloat16 == first.pipelines[0].dtype
    assert "computes in float16" in made(first, ARRAYS, params).warnings[0]

    again = started(folder, "arrays", ARRAYS)
    assert torch.float16 == again.pipelines[0].dtype
    assert () == made(again, ARRAYS, params).warnings


def test_a_model_that_is_loaded_again_is_there_once(folder: Path, accelerator: Control) -> None:
    """What was loaded first has left the device when the second is there: they have as many bytes."""
    runner = started(folder, "arrays", ARRAYS)
    before = accelerator.allocated()
    made(runner, ARRAYS, {"num_inference_steps": 2})

    assert before == accelerator.allocated()


@pytest.mark.parametrize("memory", MODES)
def test_a_component_in_float32_works_in_every_memory_mode(memory: str, folder: Path) -> None:
    """What is given to a component of another dtype is cast, wherever the component is in the meantime."""
    fields: dict[str, Any] = {"dtype": "bfloat16", "components": {"vae": {"dtype": "float32"}}}

    expected = pixels(made(started(folder, "plain", device="cpu", **fields)))
    assert 2 > np.abs(pixels(made(started(folder, "plain", memory=memory, **fields))) - expected).mean()


@pytest.mark.parametrize("memory", MODES)
def test_an_overflow_is_decoded_again_in_every_memory_mode(memory: str, folder: Path) -> None:
    """Decoding in float32 gives the image of float32, and the next call does so again."""
    expected = pixels(made(started(folder, "overflows", device="cpu", dtype="float32")))
    runner = started(folder, "overflows", dtype="float16", memory=memory)
    for _ in range(2):
        result = made(runner)

        assert "decoded once more in float32" in result.warnings[0]
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
    runner = started(tmp_path, name, name, dtype=dtype)
    sound = Audio(np.zeros((2, 1600), np.float32), 16000)
    params = {"prompt": "rain", "num_inference_steps": 2, "audio_end_in_s": 0.1}

    assert made(runner, name, params, initial_audio_waveforms=[sound]).outputs


def test_upscalers_compute_in_float16(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`auto` is float16 there, and bfloat16 for a network that does not compute rightly in it."""
    from octabox.engine.worker.upscaling.network import Upscaler  # noqa: PLC0415 (it needs spandrel)

    upscalers.save(upscalers.nearest(2), tmp_path / "2x.pth")
    name = "ImageUpscalingPipeline"
    assert torch.float16 == started(tmp_path, "2x.pth", name).pipelines[0].dtype

    monkeypatch.setattr(Upscaler, "supports_dtype", lambda self, dtype: dtype != torch.float16)
    runner = started(tmp_path, "2x.pth", name)
    assert torch.bfloat16 == runner.pipelines[0].dtype
