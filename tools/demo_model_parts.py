"""The untrained parts of the embedded model: tokenizer, text encoder, autoencoder, UNet and scheduler."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from demo_pictures import COLOURS, SHAPES, SIZES

#: Longest prompt in tokens, the two marks at its ends included.
TOKENS = 24

#: Channels of the latents.
LATENTS = 4

#: Width of a token's embedding.
HIDDEN = 64

#: Words that are one token each; any other word is read letter by letter.
WORDS = ["a", "an", "the", "of", "on", "with", "in", "and", "picture", "background", "shape", "colour", "color"]


def make_tokenizer(folder: Path) -> CLIPTokenizer:
    """Write a CLIP byte-pair vocabulary that knows our words to ``folder`` and return its tokenizer."""
    characters = string.ascii_lowercase + string.digits + string.punctuation
    symbols = [*characters, *(f"{character}</w>" for character in characters)]
    merges: list[tuple[str, str]] = []
    # A merge ranks by its place: longer words first, so that no shorter word's merge breaks one apart.
    for word in sorted([*WORDS, *COLOURS, *SHAPES, *filter(None, SIZES)], key=len, reverse=True):
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        while len(pieces) > 1:
            merges.append((pieces[0], pieces[1]))
            pieces[:2] = [pieces[0] + pieces[1]]
    # The same pair may begin several words; a merge is listed once.
    merges = list(dict.fromkeys(merges))
    symbols += [left + right for left, right in merges] + ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {symbol: index for index, symbol in enumerate(dict.fromkeys(symbols))}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(" ".join(pair) for pair in merges) + "\n")
    return CLIPTokenizer.from_pretrained(folder, model_max_length=TOKENS)


def make_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Return a text encoder of two layers for this vocabulary."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=HIDDEN,
            intermediate_size=HIDDEN * 4,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def make_vae() -> AutoencoderKL:
    """Return an autoencoder that turns 128x128 pixels into 16x16 latents of 4 channels.

    One group to normalise, and no attention: with eight groups a plain colour, which is what our pictures are made of, is
    normalised away, and training takes four times as long. The latents' deviation begins small, or their noise drowns them.
    """
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=LATENTS,
        block_out_channels=(16, 32, 64, 64),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=1,
        mid_block_add_attention=False,
        sample_size=128,
    )
    with torch.no_grad():
        vae.quant_conv.weight[LATENTS:] = 0
        vae.quant_conv.bias[LATENTS:] = -6
    return vae


def make_unet() -> UNet2DConditionModel:
    """Return a UNet over 16x16 latents that reads the prompt at 8x8."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=LATENTS,
        out_channels=LATENTS,
        block_out_channels=(48, 96),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=HIDDEN,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def make_scheduler() -> DDIMScheduler:
    """Return the scheduler of training, which is the model's own for pictures too."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )
