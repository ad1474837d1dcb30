"""Stable Diffusion with a second network that looks at an image."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

from makers.parts import schedulers, unets
from makers.unet.stable_diffusion import of


def controlnet_xs(**settings: Any) -> Any:
    """Return a ControlNet-XS for a UNet of this size."""
    shape: dict[str, Any] = {
        "conditioning_embedding_out_channels": (4, 8),
        "num_attention_heads": 2,
        "max_norm_num_groups": 2,
        "down_block_types": unets.SHAPE["down_block_types"],
        "block_out_channels": (4, 8),
        "base_block_out_channels": unets.LEVELS,
        "cross_attention_dim": unets.SHAPE["cross_attention_dim"],
    }
    return diffusers.ControlNetXSAdapter(**(shape | settings))


def adapter(**settings: Any) -> Any:
    """Return a T2I-Adapter: its features are halved as often as a latent and as the levels of the UNet."""
    shape: dict[str, Any] = {
        "channels": list(unets.LEVELS),
        "num_res_blocks": 1,
        "downscale_factor": 2,
        "adapter_type": "full_adapter",
    }
    return diffusers.T2IAdapter(**(shape | settings))


PIPELINES = (
    of("StableDiffusionControlNetPipeline", controlnet=unets.controlnet),
    of("StableDiffusionControlNetImg2ImgPipeline", controlnet=unets.controlnet),
    of("StableDiffusionControlNetInpaintPipeline", controlnet=unets.controlnet),
    of("StableDiffusionControlNetPAGPipeline", controlnet=unets.controlnet),
    of("StableDiffusionControlNetPAGInpaintPipeline", controlnet=unets.controlnet),
    of(
        "StableDiffusionControlNetXSPipeline",
        controlnet=controlnet_xs,
        unet=partial(unets.conditional, attention_head_dim=4, layers_per_block=2, use_linear_projection=True),
        scheduler=schedulers.pndm,
    ),
    of("StableDiffusionAdapterPipeline", adapter=adapter),
)
