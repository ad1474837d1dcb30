"""Combined settings on an accelerator: memory modes with a change of dtype, storage, performance, upscalers."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDPMPipeline, DDPMScheduler
from PIL import Image

import makers
import upscalers
from accelerator.tiny_models import DDPM, MEMORY_MODES, load_model, pixels, run_call
from calling import call, run
from control import PARAMS as DRAWN
from control import PLAIN, embedded
from ldm_layout import tiny_sd
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker import trial
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.performance.attention import set_attention
from octabox.engine.worker.placement import dtype_failures
from octabox.engine.worker.placement.recovery import clean_up
from octabox.engine.worker.runner import Runner
from octabox.types import AdapterChoice
from pretended_accelerator import Control
from tiny import unet
from trained import HEARTS

UPSCALING = "ImageUpscalingPipeline"

#: Weights in eight bits.
SMALL = {"storage": "float8_e4m3fn"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Record dtype failures in a folder of the test; the catalog's cache is shared."""
    monkeypatch.setattr(dtype_failures, "cache_folder", lambda: tmp_path / "cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a tiny model, one whose autoencoder overflows in float16, and one that does not run in bfloat16."""
    folder = tmp_path_factory.mktemp("models")
    pipe = tiny_sd()
    pipe.save_pretrained(folder / "plain")
    with torch.no_grad():
        # A layer that is not kept in eight bits, which have no such numbers.
        pipe.vae.decoder.conv_norm_out.weight.fill_(6e4)
    pipe.save_pretrained(folder / "overflows")
    DDPMPipeline(unet(), DDPMScheduler(num_train_timesteps=10)).save_pretrained(folder / "arrays")
    return folder


def held(accelerator: Control) -> int:
    """Return the allocated bytes of the device."""
    gc.collect()
    return accelerator.allocated()


@pytest.mark.parametrize("memory", MEMORY_MODES)
def test_a_model_in_another_dtype_takes_the_place_of_the_first(memory: str, folder: Path, accelerator: Control) -> None:
    """The first model is freed, and the second gives the same results as one loaded in its dtype."""
    steps = {"num_inference_steps": 10}
    runner = load_model(folder, "arrays", DDPM, memory=memory)
    before = held(accelerator)
    first = run_call(runner, DDPM, steps)
    assert "computes in float16" in first.warnings[0]
    assert before == held(accelerator)
    again = run_call(runner, DDPM, steps)

    assert () == again.warnings
    assert before == held(accelerator)
    del runner
    at_once = run_call(load_model(folder, "arrays", DDPM, memory=memory, dtype="float16"), DDPM, steps)
    assert np.array_equal(pixels(at_once), pixels(first))
    assert np.array_equal(pixels(at_once), pixels(again))


@pytest.mark.parametrize("memory", MEMORY_MODES)
def test_a_model_that_cannot_be_loaded_again_is_as_before(
    memory: str, folder: Path, accelerator: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If memory runs out during the second load, the call fails, and the next call loads the model."""
    runner, steps = load_model(folder, "arrays", DDPM, memory=memory), {"num_inference_steps": 10}
    before = held(accelerator)

    def load_without_room(*args: Any) -> Any:
        if args[3].dtype != torch.bfloat16:
            accelerator.fail("out of memory", 10)
            # Without weights that move, a load needs the device as little as a processor's does.
            if memory != "full":
                torch.ones(20, device="fake").tolist()
                for _ in range(10):
                    torch.ones(1, device="fake").add_(1)
        return load(*args)

    monkeypatch.setattr(trial, "load", load_without_room)
    with pytest.raises(torch.OutOfMemoryError):
        run_call(runner, DDPM, steps)
    clean_up(runner.pipelines, runner.device, runner.state)

    assert torch.bfloat16 == runner.pipelines[0].dtype
    assert before == held(accelerator)
    monkeypatch.undo()
    assert "computes in float16" in run_call(runner, DDPM, steps).warnings[0]


@pytest.mark.parametrize("memory", MEMORY_MODES)
def test_a_call_that_is_repeated_begins_anew(memory: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failure in an upcast decode the autoencoder has its dtype again when casts are tried."""
    runner, decode = load_model(folder, "plain", dtype="float16", memory=memory), AutoencoderKL.decode
    seen: list[set[torch.dtype]] = []

    def upcast(vae: AutoencoderKL, *args: Any, **options: Any) -> Any:
        seen.append({weight.dtype for weight in vae.parameters()})
        if len(seen) > 1:
            return decode(vae, *args, **options)
        vae.to(dtype=torch.float32)
        raise RuntimeError("expected scalar type Half but found Float")

    monkeypatch.setattr(AutoencoderKL, "decode", upcast)

    assert "casts what its components are given" in run_call(runner).warnings[0]
    assert () == run_call(runner).warnings
    assert [{torch.float16}] * 3 == seen


@pytest.mark.parametrize("memory", MEMORY_MODES)
def test_weights_in_eight_bits_decode_again_in_float32(memory: str, folder: Path, accelerator: Control) -> None:
    """The image is that of float32, and the weights are stored in eight bits before and after."""
    fields: dict[str, Any] = {"components": {"vae": SMALL}}
    expected = pixels(run_call(load_model(folder, "overflows", device="cpu", dtype="float32", **fields)))
    runner = load_model(folder, "overflows", dtype="float16", memory=memory, **fields)
    dtypes = {name: weight.dtype for name, weight in runner.pipelines[0].vae.named_parameters()}
    before = held(accelerator)
    for _ in range(2):
        result = run_call(runner)

        assert "decoded again in float32" in " ".join(result.warnings)
        assert 8 > np.abs(pixels(result) - expected).mean()
        assert dtypes == {name: weight.dtype for name, weight in runner.pipelines[0].vae.named_parameters()}
        assert abs(held(accelerator) - before) < 4096


@pytest.mark.parametrize("memory", MEMORY_MODES)
def test_storage_casts_and_memory_modes_go_together(memory: str, folder: Path, accelerator: Control) -> None:
    """A denoiser stored in eight bits with a float32 autoencoder gives the result of the CPU, also after a failure."""
    fields: dict[str, Any] = {"dtype": "bfloat16", "components": {"unet": SMALL, "vae": {"dtype": "float32"}}}
    expected = pixels(run_call(load_model(folder, "plain", device="cpu", **fields)))
    runner = load_model(folder, "plain", memory=memory, **fields)
    dtypes = {name: weight.dtype for name, weight in runner.pipelines[0].unet.named_parameters()}
    first = pixels(run_call(runner))
    assert 2 > np.abs(first - expected).mean()
    for after in (5, 15):
        accelerator.fail("out of memory", after, "aten::convolution")
        with pytest.raises(torch.OutOfMemoryError):
            run_call(runner)
        clean_up(runner.pipelines, runner.device, runner.state)

        assert dtypes == {name: weight.dtype for name, weight in runner.pipelines[0].unet.named_parameters()}
        assert np.array_equal(first, pixels(run_call(runner)))


def drawn(runner: Runner, *adapters: AdapterChoice) -> tuple[Any, tuple[str, ...]]:
    """Return the image of a short call of the embedded model, and the warnings."""
    wanted = call(PLAIN, {**DRAWN, "num_inference_steps": 2})
    object.__setattr__(wanted.runs[0], "adapters", adapters)
    result = run(runner, wanted)
    return pixels(result), result.warnings


@pytest.mark.parametrize("memory", MEMORY_MODES)
def test_a_fast_profile_holds_in_every_memory_mode(memory: str, accelerator: Control) -> None:
    """Layout and fused projections are applied in each mode; the first LoRA undoes the fusion."""
    settings: dict[str, Any] = {"memory": memory, "device": "fake", "dtype": "float32"}
    exact = Runner(load(embedded(**settings), PLAIN, WorkerOptions()))
    plain, with_lora = drawn(exact)[0], drawn(exact, AdapterChoice(HEARTS))[0]
    del exact
    model = load(embedded(**settings, performance={"profile": "fast", "compile": "off"}), PLAIN, WorkerOptions())
    runner, denoiser = Runner(model), model.pipeline.unet
    assert {"channels_last", "fuse_qkv"} == set(model.performance.report.applied)
    image, said = drawn(runner)
    assert () == said
    assert 2 >= np.abs(plain - image).max()
    before = held(accelerator)
    image, said = drawn(runner)
    assert 2 >= np.abs(plain - image).max()
    assert abs(held(accelerator) - before) < 4096
    image, said = drawn(runner, AdapterChoice(HEARTS))

    assert ["LoRA" in each for each in said] == [True]
    assert 3 >= np.abs(with_lora - image).max()
    image, said = drawn(runner)
    assert () == said
    assert 2 >= np.abs(plain - image).max()
    assert held(accelerator) <= before + 4096
    assert all(
        denoiser.get_parameter(name).is_contiguous(memory_format=torch.channels_last) for name in ["conv_in.weight"]
    )


def test_an_attention_backend_is_tried_where_the_model_computes(accelerator: Control) -> None:
    """A backend is tried on the execution device, although the weights are on the host."""
    denoiser = makers.pipelines()["FluxPipeline"].make().transformer
    before = accelerator.operators_on[0]

    assert ["transformer"] == set_attention("_native_math", {"transformer": denoiser}, "m", "fake")
    assert accelerator.operators_on[0] > before


@pytest.mark.parametrize("memory", MEMORY_MODES)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_upscalers_work_in_every_memory_mode(memory: str, dtype: str, tmp_path: Path, accelerator: Control) -> None:
    """Tiled and untiled results are those of the CPU, also after memory ran out, and the device memory is as before."""
    upscalers.save(upscalers.esrgan(2), tmp_path / "2x.pth")
    image = Image.effect_noise((40, 24), 64).convert("RGB")
    tiled = {"tile": 16, "tile_overlap": 4}
    expected = load_model(tmp_path, "2x.pth", UPSCALING, device="cpu", dtype="float32")
    runner = load_model(tmp_path, "2x.pth", UPSCALING, memory=memory, dtype=dtype)
    before = held(accelerator)
    for params in (tiled, {"tile": 0}):
        wanted = pixels(run_call(expected, UPSCALING, params, image=[image]))
        result = run_call(runner, UPSCALING, params, image=[image])

        assert () == result.warnings
        assert 2 > np.abs(pixels(result) - wanted).mean()
        assert before == held(accelerator)
    accelerator.fail("out of memory", 4, "aten::convolution")
    with pytest.raises(torch.OutOfMemoryError):
        run_call(runner, UPSCALING, tiled, image=[image])
    clean_up(runner.pipelines, runner.device, runner.state)
    assert before == held(accelerator)
    assert run_call(runner, UPSCALING, tiled, image=[image]).outputs
