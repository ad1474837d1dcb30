"""A tiny Stable Diffusion model, and its weights under the names that its authors first published it with."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from octabox import demo
from octabox.hub.checkpoints import bundles

#: Residual blocks in each block of the UNet.
LAYERS = 1

#: Names of a residual block's parts; diffusers' come first.
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
OUTSIDE = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def tiny_sd(*, clip: bool = False) -> StableDiffusionPipeline:
    """Return a tiny Stable Diffusion pipeline with random weights.

    Args:
        clip: Whether it has CLIP's own tokenizer, as weights in a single file imply. That takes a second to be read; the one
            of the embedded model takes none.
    """
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=LAYERS,
        norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=2,
    )
    tokenizer = clip_tokenizer() if clip else CLIPTokenizer.from_pretrained(demo.FOLDER / "tokenizer")
    words = CLIPTextConfig(
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
    )
    pipe = StableDiffusionPipeline(
        vae=tiny_vae(),
        text_encoder=CLIPTextModel(words),
        tokenizer=tokenizer,
        unet=unet,
        scheduler=DDIMScheduler(clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    for part in (unet, pipe.vae, pipe.text_encoder):
        part.eval()
    return pipe


def clip_tokenizer() -> CLIPTokenizer:
    """Return CLIP's own tokenizer."""
    with bundles.bundle_folder("sd1", "StableDiffusionPipeline") as folder:
        return CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer")


def tiny_vae() -> AutoencoderKL:
    """Return a tiny autoencoder with random weights."""
    return AutoencoderKL(
        block_out_channels=(8, 16),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        sample_size=16,
    )


def save_single_file(pipe: StableDiffusionPipeline, file: Path, *, without: tuple[str, ...] = ()) -> None:
    """Write a pipeline's weights as one file in the original layout.

    Args:
        pipe: The pipeline.
        file: A .safetensors file, or one that torch pickles.
        without: Components to leave out.
    """
    made = {
        "unet": {f"model.diffusion_model.{unet_name(name)}": part for name, part in pipe.unet.state_dict().items()},
        "vae": dict(vae_entry(name, part) for name, part in pipe.vae.state_dict().items()),
        "text_encoder": {
            f"cond_stage_model.transformer.text_model.{name.removeprefix('text_model.')}": part
            for name, part in pipe.text_encoder.state_dict().items()
        },
    }
    weights = {
        name: part.contiguous() for key, parts in made.items() if key not in without for name, part in parts.items()
    }
    if file.suffix == ".safetensors":
        save_file(weights, file)
    else:
        torch.save({"state_dict": weights, "global_step": 1}, file)


def unet_name(name: str, upsampler: int = 1) -> str:
    """Return a tensor's original name; its upsampler comes second in a block, or third after an attention."""
    for own, other in OUTSIDE.items():
        if name.startswith(f"{own}."):
            return name.replace(own, other, 1)
    side, block, kind, layer, rest = _split(name)
    column, width = {"resnets": 0, "attentions": 1}.get(kind, 0), LAYERS + 1
    if kind == "resnets":
        rest = _replace(rest, RESNET)
    if side == "mid":
        return f"middle_block.{1 if kind == 'attentions' else 2 * layer}.{rest}"
    if side == "down":
        if kind == "downsamplers":
            return f"input_blocks.{(block + 1) * width}.0.op.{rest.removeprefix('conv.')}"
        return f"input_blocks.{block * width + layer + 1}.{column}.{rest}"
    if kind == "upsamplers":
        return f"output_blocks.{block * width + LAYERS}.{upsampler}.{rest}"
    return f"output_blocks.{block * width + layer}.{column}.{rest}"


def _split(name: str) -> tuple[str, int, str, int, str]:
    """Return the side, block, kind, layer and rest of a name like ``down_blocks.0.resnets.1.conv1.weight``."""
    found = re.fullmatch(r"(\w+)_blocks?\.(?:(\d+)\.)?(\w+)\.(\d+)\.(.*)", name)
    assert found, name
    side, block, kind, layer, rest = found.groups()
    return side, int(block or 0), kind, int(layer), rest


def vae_entry(name: str, part: torch.Tensor) -> tuple[str, torch.Tensor]:
    """Return a name and a tensor of the autoencoder as the original has them."""
    end, _, inner = name.partition(".")
    if "_block" in inner:
        side, block, kind, layer, rest = _split(inner)
        rest = rest.replace("conv_shortcut", "nin_shortcut")
        if side == "mid":
            if kind == "attentions":
                rest = _replace(rest, ATTENTION)
                part = part[:, :, None, None] if part.ndim == 2 else part
            inner = f"mid.{'attn_1' if kind == 'attentions' else f'block_{layer + 1}'}.{rest}"
        else:
            block = block if side == "down" else 1 - block
            place = {"resnets": f"block.{layer}", "downsamplers": "downsample", "upsamplers": "upsample"}[kind]
            inner = f"{side}.{block}.{place}.{rest}"
    inner = inner.replace("conv_norm_out", "norm_out")
    return f"first_stage_model.{end}.{inner}", part


def _replace(rest: str, names: dict[str, str]) -> str:
    return next((rest.replace(own, other, 1) for own, other in names.items() if rest.startswith(f"{own}.")), rest)
