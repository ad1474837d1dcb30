"""Convolutions continue at the opposite edge within a call, and are as before after it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, DiTTransformer2DModel
from peft import LoraConfig, inject_adapter_in_model

from octabox.engine.worker.inputs.latents.seamless import FORWARD, seamless_convolutions
from tiny import unet


class Pipe:
    """What a pipeline is to the context: its components."""

    def __init__(self, **components: Any) -> None:
        self.components = components


def autoencoder(**options: Any) -> AutoencoderKL:
    """Return a tiny autoencoder with random weights."""
    return AutoencoderKL(
        block_out_channels=(8,), norm_num_groups=4, latent_channels=4, sample_size=16, **options
    ).eval()


def transformer() -> DiTTransformer2DModel:
    """Return a tiny denoiser without convolutions that pad."""
    return DiTTransformer2DModel(1, 8, 4, num_layers=1, sample_size=8, norm_num_groups=1)


def predicted(model: Any, sample: torch.Tensor) -> torch.Tensor:
    """Return what a denoiser predicts."""
    with torch.no_grad():
        found: torch.Tensor = model(sample, 10).sample
    return found


def replaced(*models: torch.nn.Module) -> list[torch.nn.Module]:
    """Return the layers whose method is replaced."""
    return [layer for model in models for layer in model.modules() if FORWARD in vars(layer)]


@pytest.mark.parametrize(("axes", "shift"), [("xy", (3, 5)), ("x", (0, 5)), ("y", (3, 0))])
def test_a_shifted_sample_is_predicted_shifted(axes: str, shift: tuple[int, int]) -> None:
    """No pixel is at an edge: where the sample begins does not matter along a closed axis, and it does along others."""
    model = unet().eval()
    sample = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    moved = sample.roll(shift, (2, 3))
    opened = predicted(model, sample).roll(shift, (2, 3)) - predicted(model, moved)
    with seamless_convolutions(Pipe(unet=model), axes) as warnings:
        closed = predicted(model, sample).roll(shift, (2, 3)) - predicted(model, moved)
        across = predicted(model, sample).roll(shift[::-1], (2, 3)) - predicted(model, sample.roll(shift[::-1], (2, 3)))

    assert closed.abs().max() < 1e-5
    assert opened.abs().max() > 1e-2
    assert (across.abs().max().item() < 1e-5) == (axes == "xy")
    assert [] == warnings
    assert [] == replaced(model)


def test_a_lora_of_convolutions_is_closed_too() -> None:
    """Its convolutions pad as those that it adapts do."""
    model = unet().eval()
    inject_adapter_in_model(LoraConfig(r=2, target_modules=["conv1", "conv_in"], init_lora_weights=False), model)
    sample = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    with seamless_convolutions(Pipe(unet=model), "xy"):
        closed = predicted(model, sample).roll((2, 3), (2, 3)) - predicted(model, sample.roll((2, 3), (2, 3)))

    assert closed.abs().max() < 1e-5
    assert [] == replaced(model)


def test_an_error_leaves_nothing() -> None:
    """A call that fails or is cancelled is as well the last one with closed axes."""
    model, vae = unet(), autoencoder()
    sample = torch.randn(1, 3, 8, 8)
    before = predicted(model.eval(), sample)
    seen: list[torch.nn.Module] = []

    def cancel() -> None:
        with seamless_convolutions(Pipe(unet=model, vae=vae), "xy"):
            seen.extend(replaced(model, vae))
            raise RuntimeError("cancelled")

    with pytest.raises(RuntimeError, match="cancelled"):
        cancel()

    assert set(seen) > set(model.modules()) & set(seen) > set()
    assert [] == replaced(model, vae)
    assert torch.equal(before, predicted(model, sample))


def test_what_has_no_such_convolutions_is_a_warning() -> None:
    """Nothing is closed, or only the decoder."""
    with seamless_convolutions(Pipe(transformer=transformer()), "xy") as nothing:
        pass
    with seamless_convolutions(Pipe(transformer=transformer(), vae=autoencoder()), "xy") as partly:
        pass
    with seamless_convolutions(Pipe(parts=[unet()], scheduler=object(), empty=None), "xy") as listed:
        pass

    assert ["'workflow.seamless' has no effect: Pipe has no convolutions with padding."] == nothing
    assert 1 == len(partly)
    assert partly[0].startswith("'workflow.seamless' affects only a part of Pipe: DiTTransformer2DModel has no")
    assert [] == listed


def test_tiles_are_not_closed() -> None:
    """Each tile would continue at its own other edge; the image is that without closed axes, with a warning."""
    vae = autoencoder()
    vae.enable_tiling()
    vae.tile_latent_min_size = 8
    vae.tile_sample_min_size = 8
    latents = torch.randn(1, 4, 12, 12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        plain = vae.decode(latents).sample
        with seamless_convolutions(Pipe(vae=vae), "xy") as warnings:
            tiled = vae.decode(latents).sample
            small = vae.decode(latents[..., :8, :8]).sample
            shifted = vae.decode(latents[..., :8, :8].roll(3, 3)).sample

    assert torch.equal(plain, tiled)
    assert (small.roll(3, 3) - shifted).abs().max() < 1e-4
    assert ["'workflow.seamless' has no effect on AutoencoderKL, which has split the image into tiles."] == warnings
    assert not [name for name in vars(vae) if name.startswith(("tiled", "_tiled"))]
