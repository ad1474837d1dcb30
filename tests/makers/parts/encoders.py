"""Text, image and audio encoders with random weights: one or two layers of 16 to 64 numbers.

Every function takes further settings of the configuration by name; they win over those that stand here.
"""

from __future__ import annotations

from typing import Any

import transformers

from makers.parts.tokenizers import VOCABULARY

#: Numbers that stand for a token.
WIDTH = 32

#: Side of the images that vision encoders see, and of the patches they cut them into.
SIDE, PATCH = 32, 8

#: Ids that the CLIP tokenizer marks the start and the end with.
CLIP_MARKS = {"bos_token_id": 517, "eos_token_id": 518, "pad_token_id": 518}


def clip_text_config(width: int = WIDTH, **settings: Any) -> Any:
    """Return the configuration of a CLIP text encoder."""
    return transformers.CLIPTextConfig(**(_layers(width) | CLIP_MARKS | {"projection_dim": width} | settings))


def clip_text(width: int = WIDTH, **settings: Any) -> Any:
    """Return a CLIP text encoder."""
    return transformers.CLIPTextModel(clip_text_config(width, **settings))


def clip_text_with_projection(width: int = WIDTH, **settings: Any) -> Any:
    """Return a CLIP text encoder whose pooled embedding is projected, as SDXL's second is."""
    return transformers.CLIPTextModelWithProjection(clip_text_config(width, **settings))


def clip_vision_config(width: int = WIDTH, **settings: Any) -> Any:
    """Return the configuration of a CLIP vision encoder."""
    shape = {"image_size": SIDE, "patch_size": PATCH, "projection_dim": width}
    return transformers.CLIPVisionConfig(**(_layers(width) | shape | settings))


def clip_vision(width: int = WIDTH, **settings: Any) -> Any:
    """Return a CLIP vision encoder."""
    return transformers.CLIPVisionModel(clip_vision_config(width, **settings))


def clip_vision_with_projection(width: int = WIDTH, **settings: Any) -> Any:
    """Return a CLIP vision encoder whose embedding is projected."""
    return transformers.CLIPVisionModelWithProjection(clip_vision_config(width, **settings))


def clip_config(width: int = WIDTH, **settings: Any) -> Any:
    """Return the configuration of a whole CLIP model."""
    text, vision = clip_text_config(width), clip_vision_config(width)
    shape: dict[str, Any] = {"projection_dim": width} | settings
    return transformers.CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), **shape)


def clip(width: int = WIDTH, **settings: Any) -> Any:
    """Return a whole CLIP model, of text and of images."""
    return transformers.CLIPModel(clip_config(width, **settings))


def clip_images(side: int = SIDE, **settings: Any) -> Any:
    """Return what brings images to the size that a vision encoder sees; it needs no torchvision."""
    return transformers.CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}, **settings
    )


def siglip_vision(width: int = WIDTH, **settings: Any) -> Any:
    """Return a SigLIP vision encoder."""
    shape = {"image_size": SIDE, "patch_size": PATCH}
    return transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**(_layers(width) | shape | settings)))


def t5_config(width: int = WIDTH, **settings: Any) -> dict[str, Any]:
    """Return the settings of a T5 encoder."""
    return {
        "vocab_size": VOCABULARY,
        "d_model": width,
        "d_kv": 8,
        "d_ff": 2 * width,
        "num_layers": 1,
        "num_heads": 4,
        "relative_attention_num_buckets": 8,
        "feed_forward_proj": "gated-gelu",
    } | settings


def t5_encoder(width: int = WIDTH, **settings: Any) -> Any:
    """Return a T5 encoder."""
    return transformers.T5EncoderModel(transformers.T5Config(**t5_config(width, **settings)))


def mt5_encoder(width: int = WIDTH, **settings: Any) -> Any:
    """Return an mT5 encoder."""
    return transformers.MT5EncoderModel(transformers.MT5Config(**t5_config(width, **settings)))


def umt5_encoder(width: int = WIDTH, **settings: Any) -> Any:
    """Return a UMT5 encoder."""
    return transformers.UMT5EncoderModel(transformers.UMT5Config(**t5_config(width, **settings)))


def bert(width: int = WIDTH, **settings: Any) -> Any:
    """Return a BERT encoder."""
    return transformers.BertModel(transformers.BertConfig(**(_layers(width) | settings)))


def gpt2(width: int = WIDTH, **settings: Any) -> Any:
    """Return a GPT-2 language model without the head that chooses words."""
    return transformers.GPT2Model(gpt2_config(width, **settings))


def gpt2_config(width: int = WIDTH, **settings: Any) -> Any:
    """Return the configuration of a GPT-2 language model."""
    marks = {"bos_token_id": 256, "eos_token_id": 256}
    shape = {"vocab_size": VOCABULARY, "n_embd": width, "n_layer": 1, "n_head": 2, "n_positions": 512}
    return transformers.GPT2Config(**(shape | marks | settings))


def qwen2(width: int = WIDTH, **settings: Any) -> Any:
    """Return a Qwen2 language model with the head that chooses words."""
    return transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**(causal(width) | settings)))


def qwen3(width: int = WIDTH, **settings: Any) -> Any:
    """Return a Qwen3 language model with the head that chooses words."""
    config = transformers.Qwen3Config(**(causal(width) | {"head_dim": width // 4} | settings))
    return transformers.Qwen3ForCausalLM(config)


def llama(width: int = WIDTH, **settings: Any) -> Any:
    """Return a Llama language model without its head."""
    return transformers.LlamaModel(transformers.LlamaConfig(**(causal(width) | settings)))


def gemma2(width: int = WIDTH, **settings: Any) -> Any:
    """Return a Gemma 2 language model without its head."""
    return transformers.Gemma2Model(transformers.Gemma2Config(**(causal(width) | {"head_dim": width // 4} | settings)))


def causal(width: int = WIDTH) -> dict[str, Any]:
    """Return the settings that language models share; marks are those of the Qwen2 tokenizer."""
    return _layers(width) | {
        "num_key_value_heads": 2,
        "bos_token_id": 256,
        "eos_token_id": 256,
        "pad_token_id": 256,
        "max_position_embeddings": 4096,
    }


def clap_text_config(width: int = WIDTH, **settings: Any) -> Any:
    """Return the configuration of the text part of a CLAP model, for the RoBERTa tokenizer."""
    marks = {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1}
    return transformers.ClapTextConfig(**(_layers(width) | marks | {"projection_dim": width} | settings))


def clap_text_with_projection(width: int = WIDTH, **settings: Any) -> Any:
    """Return the text part of a CLAP model."""
    return transformers.ClapTextModelWithProjection(clap_text_config(width, **settings))


def clap(width: int = WIDTH, **settings: Any) -> Any:
    """Return a whole CLAP model, of text and of audio."""
    audio = transformers.ClapAudioConfig(
        spec_size=64,
        window_size=4,
        num_mel_bins=64,
        depths=[1, 1],
        num_attention_heads=[1, 1],
        num_hidden_layers=2,
        hidden_size=2 * width,
        projection_dim=width,
        patch_size=2,
        patch_stride=2,
        patch_embed_input_channels=4,
        patch_embeds_hidden_size=width,
        enable_fusion=False,
    )
    shape: dict[str, Any] = {"projection_dim": width} | settings
    return transformers.ClapModel(
        transformers.ClapConfig(text_config=clap_text_config(width).to_dict(), audio_config=audio.to_dict(), **shape)
    )


def speecht5_vocoder(mels: int = 8, rate: int = 16000, **settings: Any) -> Any:
    """Return a vocoder: from ``mels`` bands to audio, 8 samples for each column."""
    shape = {
        "model_in_dim": mels,
        "sampling_rate": rate,
        "upsample_initial_channel": 16,
        "upsample_rates": [2, 2, 2],
        "upsample_kernel_sizes": [4, 4, 4],
        "resblock_kernel_sizes": [3],
        "resblock_dilation_sizes": [[1, 3]],
        "normalize_before": False,
    }
    return transformers.SpeechT5HifiGan(transformers.SpeechT5HifiGanConfig(**(shape | settings)))


def _layers(width: int) -> dict[str, Any]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 514,
    }
