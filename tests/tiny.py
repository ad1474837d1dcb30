"""Tiny models with random weights, for tests that ask nothing of an image but that it is there."""

from __future__ import annotations

from diffusers import UNet2DModel


def unet() -> UNet2DModel:
    """Return a tiny UNet over images of 8x8."""
    return UNet2DModel(
        sample_size=8,
        block_out_channels=(8,),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        add_attention=False,
    )
