"""More of what was made of Stable Diffusion: editing by inversion, by directions or of the model, and parallel sampling."""

from __future__ import annotations

from functools import partial

import diffusers

from makers import Tiny
from makers.parts import encoders, schedulers, unets, vaes
from makers.parts.making import maker
from makers.unet.stable_diffusion import CALL, of, safety_checker

#: A row of numbers for each of 77 tokens.
WORDS = [[0.1] * encoders.WIDTH] * 77

PIPELINES = (
    of(
        "StableDiffusionDiffEditPipeline",
        inverse_scheduler=diffusers.DDIMInverseScheduler,
        # Its method `invert` gives the latents of each step; here there is one step.
        params={"mask_image": "sample:mask:16x16", "image_latents": [[[[[0.1] * 16] * 16] * 4]]},
    ),
    of(
        "StableDiffusionPix2PixZeroPipeline",
        inverse_scheduler=diffusers.DDIMInverseScheduler,
        caption_generator=None,
        caption_processor=None,
        params={"source_embeds": [WORDS], "target_embeds": [[[0.2] * encoders.WIDTH] * 77]},
    ),
    of("StableDiffusionModelEditingPipeline"),
    of("StableDiffusionParadigmsPipeline", scheduler=partial(diffusers.DDIMParallelScheduler, **schedulers.LATENT)),
    of(
        "StableDiffusionInpaintPipelineLegacy",
        safety_checker=safety_checker,
        feature_extractor=encoders.clip_images,
        requires_safety_checker=True,
    ),
    Tiny(
        "VersatileDiffusionImageVariationPipeline",
        maker(
            {
                "image_feature_extractor": encoders.clip_images,
                "image_encoder": encoders.clip_vision_with_projection,
                "image_unet": unets.conditional,
                "vae": vaes.kl,
                "scheduler": schedulers.ddim,
            }
        ),
        CALL,
    ),
)
