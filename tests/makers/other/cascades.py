"""Stable Cascade: a prior over a very small image."""

from __future__ import annotations

from typing import Any

import diffusers

from makers import Tiny
from makers.parts import encoders, tokenizers
from makers.parts.encoders import WIDTH
from makers.parts.making import maker


def prior() -> Any:
    """Return the UNet of the prior."""
    return diffusers.StableCascadeUNet(
        timestep_ratio_embedding_dim=16,
        conditioning_dim=16,
        block_out_channels=(16, 16),
        num_attention_heads=(2, 2),
        down_num_layers_per_block=(1, 1),
        up_num_layers_per_block=(1, 1),
        clip_text_in_channels=WIDTH,
        clip_text_pooled_in_channels=WIDTH,
        clip_image_in_channels=WIDTH,
        switch_level=(False,),
    )


PIPELINES = (
    Tiny(
        "StableCascadePriorPipeline",
        maker(
            {
                "tokenizer": tokenizers.clip,
                "text_encoder": encoders.clip_text_with_projection,
                "prior": prior,
                "scheduler": diffusers.DDPMWuerstchenScheduler,
                "feature_extractor": encoders.clip_images,
                "image_encoder": encoders.clip_vision_with_projection,
            }
        ),
        {"prompt": "a red star", "num_inference_steps": 2, "height": 128, "width": 128, "guidance_scale": 3.0},
    ),
)
