"""What is under a mask is replaced in the latents of an image, for one call."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from PIL import Image

from octabox.engine.worker.inputs.latents.fill import ENCODE, filled_latents
from octabox.noise import LatentFill

#: The masked part of the image, 32 pixels wide, and of its latents.
BOX, LATENT = (slice(8, 24), slice(16, 32)), (..., slice(4, 12), slice(8, 16))

#: Both contents.
BLANK, NOISE = (LatentFill(content, "image", "mask_image") for content in ("blank", "noise"))


class Pipe:
    """What a pipeline is to the context: its components."""

    def __init__(self, vae: Any) -> None:
        self.components = {"vae": vae, "scheduler": object()}


def autoencoder(**options: Any) -> AutoencoderKL:
    """Return a tiny autoencoder with random weights, which halves each side."""
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    return AutoencoderKL(
        block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4, sample_size=32, **blocks, **options
    ).eval()


def mask() -> Image.Image:
    """Return a mask that is white in the box."""
    pixels = np.zeros((32, 32), np.uint8)
    pixels[BOX] = 255
    return Image.fromarray(pixels)


def source(seed: int = 1) -> Image.Image:
    """Return an image of random colours."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), np.uint8))


def tensor(image: Image.Image) -> torch.Tensor:
    """Return an image as pipelines encode it, in [-1, 1]."""
    return torch.from_numpy(np.asarray(image, np.float32)).permute(2, 0, 1)[None] / 127.5 - 1


def picture() -> torch.Tensor:
    """Return the image of the call."""
    return tensor(source())


def encoded(vae: Any, fill: LatentFill | None, image: torch.Tensor, seed: int = 0) -> tuple[torch.Tensor, list[str]]:
    """Return a sample of the latents of an image, scaled as pipelines do, and the warnings."""
    warnings: list[str] = []
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        if fill is None:
            found = vae.encode(image)
        else:
            with filled_latents(Pipe(vae), {"image": [source()], "mask_image": mask()}, fill, seed) as warnings:
                found = vae.encode(image)
    latents = found.latent_dist.sample(generator) if hasattr(found, "latent_dist") else found.latents
    shift = getattr(vae.config, "shift_factor", None) or 0.0
    return (latents - shift) * vae.config.scaling_factor, warnings


@pytest.mark.parametrize("shift", [None, 0.25])
def test_nothing(shift: float | None) -> None:
    """The masked latents are zero once the pipeline has scaled them; the others are those of the image, to the last bit."""
    vae = autoencoder(shift_factor=shift)
    plain, _ = encoded(vae, None, picture())
    filled, warnings = encoded(vae, BLANK, picture())
    outside = torch.ones_like(plain, dtype=torch.bool)
    outside[LATENT] = False

    assert filled[LATENT].abs().max() < 1e-6 < plain[LATENT].abs().max()
    assert torch.equal(plain[outside], filled[outside])
    assert [] == warnings
    assert ENCODE not in vars(vae)


def test_noise() -> None:
    """It is normal once it is scaled, that of the seed, and not the noise that the call begins with."""
    vae, fill = autoencoder(), NOISE
    first, again, other = (encoded(vae, fill, picture(), seed)[0][LATENT] for seed in (1, 1, 2))
    initial = torch.randn((1, 4, 16, 16), generator=torch.Generator().manual_seed(1))[LATENT]

    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.allclose(first, initial)
    assert 0.8 < first.std() < 1.2


def test_an_empty_image_is_left() -> None:
    """Some denoisers take the image without its masked part in addition; it is encoded as it is."""
    vae, image = autoencoder(), picture()
    image[..., BOX[0], BOX[1]] = 0
    plain, _ = encoded(vae, None, image)
    filled, warnings = encoded(vae, NOISE, image)

    assert torch.equal(plain, filled)
    assert ["'workflow.inpaint.fill' has no effect"] == [each.partition(":")[0] for each in warnings]


def test_another_image_is_left() -> None:
    """Such as a control image, which is encoded as well."""
    vae, image = autoencoder(), tensor(source(2))

    assert torch.equal(encoded(vae, None, image)[0], encoded(vae, NOISE, image)[0])


def test_latents_without_a_distribution() -> None:
    """Such as those of a tiny autoencoder."""
    vae = AutoencoderTiny(
        *(3, 3),
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
        latent_channels=4,
    ).eval()
    plain, _ = encoded(vae, None, picture())
    filled, warnings = encoded(vae, BLANK, picture())

    assert not filled[LATENT].any()
    assert torch.equal(plain[..., :4, :], filled[..., :4, :])
    assert [] == warnings


def test_without_a_mask() -> None:
    """It is a warning."""
    with filled_latents(Pipe(autoencoder()), {}, BLANK, 0) as warnings:
        pass

    assert 1 == len(warnings)
