"""What follows words or an image as Stable Diffusion does, by an encoder that diffusers has for it alone."""

from __future__ import annotations

from functools import partial
from typing import Any

from makers.parts import encoders, tokenizers, unets
from makers.parts.encoders import WIDTH
from makers.unet.stable_diffusion import of


def of_many_languages() -> Any:
    """Return the text encoder of AltDiffusion."""
    from diffusers.pipelines.deprecated.alt_diffusion.modeling_roberta_series import (  # noqa: PLC0415
        RobertaSeriesConfig,
        RobertaSeriesModelWithTransformation,
    )

    config = RobertaSeriesConfig(
        vocab_size=tokenizers.VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=1,
        num_attention_heads=4,
        max_position_embeddings=100,
        project_dim=WIDTH,
    )
    return RobertaSeriesModelWithTransformation(config)


def of_examples() -> Any:
    """Return the image encoder of Paint by Example."""
    from diffusers.pipelines.deprecated.paint_by_example import PaintByExampleImageEncoder  # noqa: PLC0415

    return PaintByExampleImageEncoder(encoders.clip_vision_config(), proj_size=WIDTH)


PIPELINES = (
    of("AltDiffusionPipeline", text_encoder=of_many_languages, tokenizer=tokenizers.xlm_roberta),
    of("AltDiffusionImg2ImgPipeline", text_encoder=of_many_languages, tokenizer=tokenizers.xlm_roberta),
    of(
        "PaintByExamplePipeline",
        "text_encoder",
        "tokenizer",
        unet=partial(unets.conditional, 9),
        image_encoder=of_examples,
        feature_extractor=encoders.clip_images,
    ),
)
