"""HunyuanVideo, its second version, and what others made of the first."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from makers import Tiny
from makers.parts import encoders, for_video, tokenizers

SMALL = {
    "prompt": "a red star moves",
    "height": 16,
    "width": 16,
    "num_frames": 5,
    "num_inference_steps": 2,
    "max_sequence_length": 16,
}
_MARKS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<image>")


def _transformer(kind: str = "HunyuanVideoTransformer3DModel", **settings: Any) -> Any:
    known: dict[str, Any] = {
        "in_channels": 4,
        "out_channels": 4,
        "num_attention_heads": 2,
        "attention_head_dim": 10,
        "num_layers": 1,
        "num_single_layers": 1,
        "num_refiner_layers": 1,
        "patch_size": 1,
        "patch_size_t": 1,
        "guidance_embeds": True,
        "text_embed_dim": encoders.WIDTH,
        "pooled_projection_dim": encoders.WIDTH,
        "rope_axes_dim": (2, 4, 4),
    }
    return getattr(diffusers, kind)(**{**known, **settings})


def _parts(**settings: Any) -> dict[str, Any]:
    return {
        "text_encoder": encoders.llama(),
        "tokenizer": tokenizers.llama(),
        "transformer": _transformer(**settings),
        "vae": for_video.hunyuan_vae(),
        "scheduler": for_video.flow(shift=7.0),
        "text_encoder_2": encoders.clip_text(),
        "tokenizer_2": tokenizers.clip(),
    }


def _packed() -> dict[str, Any]:
    transformer = {
        "kind": "HunyuanVideoFramepackTransformer3DModel",
        "has_image_proj": True,
        "image_proj_dim": encoders.WIDTH,
        "has_clean_x_embedder": True,
        "patch_size": 2,
    }
    return {
        **_parts(**transformer),
        "image_encoder": encoders.siglip_vision(),
        "feature_extractor": transformers.SiglipImageProcessorPil(size={"height": 32, "width": 32}),
    }


def _seeing() -> dict[str, Any]:
    """Return the parts of the one whose language model is shown the image: 576 tokens of it."""
    tokenizer = tokenizers.llama(length=2048, extra_special_tokens=list(_MARKS))
    text = encoders.causal() | {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "model_type": "llama"}
    vision = encoders.clip_vision_config(image_size=96, patch_size=4).to_dict()
    config = transformers.LlavaConfig(
        text_config=text, vision_config=vision, image_token_id=tokenizer.convert_tokens_to_ids("<image>")
    )
    config.pad_token_id = 0
    return {
        **_parts(in_channels=9, guidance_embeds=False, image_condition_type="latent_concat"),
        "text_encoder": transformers.LlavaForConditionalGeneration(config),
        "tokenizer": tokenizer,
        "image_processor": encoders.clip_images(96),
    }


def second(**settings: Any) -> dict[str, Any]:
    """Return the parts of HunyuanVideo 1.5."""
    text = encoders.causal() | {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2]}}
    transformer = diffusers.HunyuanVideo15Transformer3DModel(
        in_channels=9,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=16,
        num_layers=1,
        num_refiner_layers=1,
        text_embed_dim=encoders.WIDTH,
        text_embed_2_dim=encoders.WIDTH,
        image_embed_dim=encoders.WIDTH,
        rope_axes_dim=(2, 6, 8),
        target_size=16,
        **settings,
    )
    vae = diffusers.AutoencoderKLHunyuanVideo15(
        latent_channels=4,
        block_out_channels=(8, 8, 8, 8, 8),
        layers_per_block=1,
        spatial_compression_ratio=8,
        temporal_compression_ratio=4,
    )
    return {
        "text_encoder": transformers.Qwen2_5_VLTextModel(transformers.Qwen2_5_VLTextConfig(**text)),
        "tokenizer": tokenizers.qwen2(),
        "transformer": transformer,
        "vae": vae,
        "scheduler": for_video.flow(shift=7.0),
        "text_encoder_2": encoders.t5_encoder(),
        "tokenizer_2": transformers.ByT5Tokenizer(),
        "guider": diffusers.ClassifierFreeGuidance(guidance_scale=2.0),
    }


def _second_from_image() -> dict[str, Any]:
    # 729 patches of an image, as the class expects.
    return {
        **second(task_type="i2v"),
        "image_encoder": encoders.siglip_vision(image_size=54, patch_size=2),
        "feature_extractor": transformers.SiglipImageProcessorPil(size={"height": 54, "width": 54}),
    }


PIPELINES = (
    Tiny("HunyuanVideoPipeline", _parts, SMALL),
    Tiny("HunyuanSkyreelsImageToVideoPipeline", lambda: _parts(in_channels=8), {**SMALL, "true_cfg_scale": 2.0}),
    Tiny("HunyuanVideoImageToVideoPipeline", _seeing, {**SMALL, "num_frames": 9, "max_sequence_length": 640}),
    Tiny("HunyuanVideoFramepackPipeline", _packed, {**SMALL, "num_frames": 5, "latent_window_size": 3}),
    Tiny("HunyuanVideo15Pipeline", lambda: second(task_type="t2v"), SMALL),
    Tiny("HunyuanVideo15ImageToVideoPipeline", _second_from_image, SMALL),
)
