"""What was made of Stable Diffusion and is now kept for old callers, and latent consistency models."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers
import transformers

from makers.parts import encoders, tokenizers, unets, vaes
from makers.parts.encoders import WIDTH
from makers.unet.stable_diffusion import SAFELESS, of


def consistent() -> Any:
    """Return a UNet that is told the guidance instead of running twice."""
    return unets.conditional(time_cond_proj_dim=16)


def lcm() -> Any:
    """Return the scheduler of a latent consistency model."""
    return diffusers.LCMScheduler(beta_start=0.00085, beta_end=0.012, clip_sample=False, set_alpha_to_one=True)


def upscaler() -> Any:
    """Return a UNet that doubles latents; it is told how noisy the small ones are."""
    return unets.conditional(
        8,
        out_channels=5,
        down_block_types=("KDownBlock2D", *["KCrossAttnDownBlock2D"] * 3),
        up_block_types=(*["KCrossAttnUpBlock2D"] * 3, "KUpBlock2D"),
        mid_block_type=None,
        block_out_channels=(32, 32, 64, 64),
        act_fn="gelu",
        norm_num_groups=None,
        conv_in_kernel=1,
        conv_out_kernel=1,
        time_embedding_type="fourier",
        timestep_post_act="gelu",
        time_cond_proj_dim=160,
        resnet_time_scale_shift="scale_shift",
    )


def grounded(kind: str) -> Any:
    """Return a UNet that is told what stands where: by words ("gated"), or by images too ("gated-text-image")."""
    return unets.conditional(attention_type=kind, cross_attention_dim=WIDTH)


def processor() -> Any:
    """Return what prepares both words and images."""
    return transformers.CLIPProcessor(encoders.clip_images(), tokenizers.clip())


def image_projection() -> Any:
    """Return what brings the embedding of an image to that of words."""
    return diffusers.CLIPImageProjection(hidden_size=WIDTH)


#: Words and the boxes in which they stand, from 0 to 1: left, top, right, bottom.
BOXES = {"gligen_phrases": ["a star"], "gligen_boxes": [[0.2, 0.2, 0.8, 0.8]]}

euler = partial(diffusers.EulerDiscreteScheduler, prediction_type="sample", beta_schedule="scaled_linear")

PIPELINES = (
    of("LatentConsistencyModelPipeline", unet=consistent, scheduler=lcm, params={"original_inference_steps": 4}),
    of("LatentConsistencyModelImg2ImgPipeline", unet=consistent, scheduler=lcm, params={"original_inference_steps": 4}),
    of(
        "StableDiffusionLatentUpscalePipeline",
        *SAFELESS,
        unet=upscaler,
        scheduler=euler,
        vae=partial(vaes.kl, halvings=3),
    ),
    of(
        "StableDiffusionLDM3DPipeline",
        vae=partial(vaes.kl, in_channels=6, out_channels=6),
        image_encoder=encoders.clip_vision_with_projection,
        feature_extractor=encoders.clip_images,
        # Its depth as an image of 16 bits fails with the Pillow of today: "Invalid mode for data type".
        params={"output_type": "np"},
    ),
    of("StableDiffusionPanoramaPipeline", params={"height": 128, "width": 256}, vae=partial(vaes.kl, halvings=3)),
    of("StableDiffusionSAGPipeline", params={"sag_scale": 0.7}),
    of("SemanticStableDiffusionPipeline", params={"editing_prompt": "a disk", "edit_warmup_steps": 1}),
    of("StableDiffusionAttendAndExcitePipeline", params={"token_indices": [2], "max_iter_to_alter": 1}),
    of("StableDiffusionPipelineSafe"),
    of("CycleDiffusionPipeline", params={"source_prompt": "a disk"}),
    of("StableDiffusionGLIGENPipeline", unet=partial(grounded, "gated"), params=BOXES),
    of(
        "StableDiffusionGLIGENTextImagePipeline",
        unet=partial(grounded, "gated-text-image"),
        processor=processor,
        image_encoder=encoders.clip_vision_with_projection,
        image_project=image_projection,
        params=BOXES | {"gligen_images": ["sample:image"]},
    ),
)
