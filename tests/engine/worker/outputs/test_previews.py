"""Unfinished latents are decoded to images."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

import makers
from octabox.engine.worker.outputs.previews import preview


@pytest.fixture
def pipe() -> Any:
    """Return a tiny pipeline whose VAE is in float16 with `force_upcast`."""
    made = makers.pipelines()["StableDiffusionPipeline"].make()
    made.vae.to(torch.float16)
    made.vae.register_to_config(force_upcast=True)
    return made


def latents(pipe: Any, value: float = 0.5) -> torch.Tensor:
    """Return latents of one value."""
    return torch.full((2, pipe.vae.config.latent_channels, 4, 4), value, dtype=torch.float16)


def test_a_vae_that_needs_float32_decodes_in_it(pipe: Any) -> None:
    """Its dtype is restored, also after an error."""
    seen: list[torch.dtype] = []
    pipe.vae.decoder.register_forward_pre_hook(lambda module, _: seen.append(next(module.parameters()).dtype))

    assert isinstance(preview(pipe, latents(pipe)), Image.Image)
    pipe.image_processor.postprocess = None
    with pytest.raises(TypeError):
        preview(pipe, latents(pipe))
    assert [torch.float32] * 2 == seen
    assert torch.float16 == pipe.vae.dtype


def test_numbers_out_of_range_make_no_image(pipe: Any, recwarn: pytest.WarningsRecorder) -> None:
    """NaN in unfinished latents gives no image and no warning, since the final image may be valid."""
    assert preview(pipe, latents(pipe, float("nan"))) is None
    assert not recwarn.list


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("no room"), RuntimeError("MPS backend out of memory (MPS allocated: 5 GB)")]
)
def test_memory_that_runs_out_ends_no_call(pipe: Any, error: Exception) -> None:
    """There is no image, and the call continues; each device has its own exception."""

    def decode(*_: object, **__: object) -> None:
        raise error

    pipe.vae.decode = decode

    assert preview(pipe, latents(pipe)) is None


def test_a_vae_with_a_mean_and_a_deviation(pipe: Any) -> None:
    """Latents are scaled by both, as diffusers does before it decodes them."""
    pipe.vae.register_to_config(
        force_upcast=False, latents_mean=[1.0, -1.0, 0.5, 0.0], latents_std=[2.0, 4.0, 1.0, 3.0], scaling_factor=0.5
    )
    pipe.vae.to(torch.float32)
    seen: list[torch.Tensor] = []
    pipe.vae.post_quant_conv.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))

    assert isinstance(preview(pipe, latents(pipe)), Image.Image)
    assert [3.0, 3.0, 1.5, 3.0] == seen[0][0, :, 0, 0].tolist()
