"""Kandinsky 2.1, 2.2 and 3: priors that turn a text into the embedding of an image, and UNets that turn that into one."""

from __future__ import annotations

from functools import partial
from typing import Any

import diffusers

from makers import Tiny
from makers.parts import encoders, tokenizers, unets, vaes
from makers.parts.encoders import WIDTH
from makers.parts.making import maker

#: A call that is over at once.
CALL = {"num_inference_steps": 2, "height": 32, "width": 32, "guidance_scale": 4.0}

#: The same with a text.
TOLD = CALL | {"prompt": "a red star", "prior_num_inference_steps": 2}

#: What a prior gives: the embedding of an image, and that of none.
EMBEDDED = {"image_embeds": [[0.1] * WIDTH], "negative_image_embeds": [[0.0] * WIDTH]}

#: What a ControlNet is shown: a gray depth.
HINT = {"hint": [[[[0.5] * 64] * 64] * 3], "height": 64, "width": 64}


def unet(channels: int = 4, kind: str = "image", **settings: Any) -> Any:
    """Return a UNet that follows the embedding of an image; it foretells a noise and its variance."""
    shape: dict[str, Any] = {
        "out_channels": 8,
        "down_block_types": ("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        "up_block_types": ("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
        "addition_embed_type": kind,
        "encoder_hid_dim_type": f"{kind.removesuffix('_hint')}_proj",
        "encoder_hid_dim": WIDTH,
        "resnet_time_scale_shift": "scale_shift",
    }
    return unets.conditional(channels, **(shape | settings))


def unet3() -> Any:
    """Return the UNet of Kandinsky 3."""
    return diffusers.Kandinsky3UNet(
        time_embedding_dim=16,
        groups=4,
        attention_head_dim=8,
        layers_per_block=3,
        block_out_channels=(16, 16),
        cross_attention_dim=16,
        encoder_hid_dim=WIDTH,
    )


def movq(halvings: int = 1) -> Any:
    """Return the autoencoder of Kandinsky."""
    return vaes.vq(4, halvings, width=32, norm_type="spatial", norm_num_groups=32, num_vq_embeddings=16, vq_embed_dim=4)


def noise() -> Any:
    """Return the scheduler of a UNet."""
    return diffusers.DDPMScheduler(
        beta_start=0.00085, beta_end=0.012, variance_type="learned_range", thresholding=True, clip_sample=False
    )


def text_encoder() -> Any:
    """Return the text encoder of Kandinsky 2.1."""
    from diffusers.pipelines.kandinsky.text_encoder import MCLIPConfig, MultilingualCLIP  # noqa: PLC0415

    config = MCLIPConfig(
        transformerDimSize=WIDTH,
        imageDimSize=WIDTH,
        vocab_size=tokenizers.VOCABULARY,
        hidden_size=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=4,
    )
    return MultilingualCLIP(config)


def prior(**settings: Any) -> Any:
    """Return the transformer of a prior."""
    shape: dict[str, Any] = {
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "num_layers": 1,
        "embedding_dim": WIDTH,
    }
    return diffusers.PriorTransformer(**(shape | settings))


#: What a prior is made of.
PRIOR: dict[str, Any] = {
    "prior": prior,
    "image_encoder": encoders.clip_vision_with_projection,
    "text_encoder": encoders.clip_text_with_projection,
    "tokenizer": tokenizers.clip,
    "scheduler": partial(diffusers.UnCLIPScheduler, prediction_type="sample", clip_sample_range=5.0),
    "image_processor": encoders.clip_images,
}

#: What a decoder of Kandinsky 2.2 is made of.
PARTS: dict[str, Any] = {"unet": unet, "scheduler": noise, "movq": movq}

#: The same of Kandinsky 2.1.
OLD = PARTS | {
    "unet": partial(unet, kind="text_image"),
    "text_encoder": text_encoder,
    "tokenizer": tokenizers.xlm_roberta,
}

#: The same of Kandinsky 3.
THIRD: dict[str, Any] = {
    "tokenizer": partial(tokenizers.t5, 128),
    "text_encoder": encoders.t5_encoder,
    "unet": unet3,
    "scheduler": partial(diffusers.DDPMScheduler, beta_schedule="squaredcos_cap_v2"),
    "movq": partial(movq, 3),
}

#: A prior inside a whole.
WITH_PRIOR = {f"prior_{name}": part for name, part in PRIOR.items()}

HINTED = {"unet": partial(unet, 8, "image_hint"), "movq": partial(movq, 3)}
FILLING = {"unet": partial(unet, 9)}

PIPELINES = (
    Tiny("KandinskyV22PriorPipeline", maker(PRIOR), TOLD),
    Tiny("KandinskyV22PriorEmb2EmbPipeline", maker(PRIOR), TOLD | {"strength": 0.8}),
    Tiny("KandinskyV22Pipeline", maker(PARTS), CALL | EMBEDDED),
    Tiny("KandinskyV22Img2ImgPipeline", maker(PARTS), CALL | EMBEDDED | {"strength": 0.8}),
    Tiny("KandinskyV22InpaintPipeline", maker(PARTS, **FILLING), CALL | EMBEDDED),
    Tiny("KandinskyV22ControlnetPipeline", maker(PARTS, **HINTED), CALL | EMBEDDED | HINT),
    Tiny("KandinskyV22ControlnetImg2ImgPipeline", maker(PARTS, **HINTED), CALL | EMBEDDED | HINT | {"strength": 0.8}),
    Tiny("KandinskyV22CombinedPipeline", maker(PARTS | WITH_PRIOR), TOLD),
    Tiny("KandinskyV22Img2ImgCombinedPipeline", maker(PARTS | WITH_PRIOR), TOLD | {"strength": 0.8}),
    Tiny("KandinskyV22InpaintCombinedPipeline", maker(PARTS | WITH_PRIOR, **FILLING), TOLD),
    Tiny("KandinskyPriorPipeline", maker(PRIOR), TOLD),
    Tiny("KandinskyPipeline", maker(OLD), TOLD | EMBEDDED),
    Tiny("KandinskyImg2ImgPipeline", maker(OLD), TOLD | EMBEDDED | {"strength": 0.8}),
    Tiny("KandinskyInpaintPipeline", maker(OLD, unet=partial(unet, 9, "text_image")), TOLD | EMBEDDED),
    Tiny("KandinskyCombinedPipeline", maker(OLD | WITH_PRIOR), TOLD),
    Tiny("KandinskyImg2ImgCombinedPipeline", maker(OLD | WITH_PRIOR), TOLD | {"strength": 0.8}),
    Tiny("KandinskyInpaintCombinedPipeline", maker(OLD | WITH_PRIOR, unet=partial(unet, 9, "text_image")), TOLD),
    Tiny("Kandinsky3Pipeline", maker(THIRD), TOLD | {"height": 64, "width": 64}),
    Tiny("Kandinsky3Img2ImgPipeline", maker(THIRD), TOLD | {"strength": 0.8}),
)
