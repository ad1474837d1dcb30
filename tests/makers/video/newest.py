"""The newest families: Cosmos 3 Omni with its audio, Kandinsky 5 and 6, Motif Video and SANA WM."""

from __future__ import annotations

from typing import Any

import diffusers
import transformers

from makers import Tiny
from makers.parts import encoders, for_video, language, tokenizers
from makers.video import ltx2

SMALL = {
    "prompt": "a red star moves",
    "height": 16,
    "width": 16,
    "num_frames": 5,
    "num_inference_steps": 2,
    "max_sequence_length": 16,
}


def cosmos() -> dict[str, Any]:
    """Return the parts of Cosmos 3 Omni, with what makes its audio."""
    transformer = diffusers.Cosmos3OmniTransformer(
        head_dim=16,
        hidden_size=32,
        intermediate_size=32,
        latent_channel=4,
        patch_latent_dim=16,
        num_attention_heads=2,
        num_hidden_layers=1,
        num_key_value_heads=1,
        rope_axes_dim=(4, 2, 2),
        sound_dim=4,
        sound_gen=True,
        sound_latent_fps=25.0,
        vocab_size=tokenizers.VOCABULARY,
    )
    # 320 samples for each latent: 25 of them a second at 8000 Hz.
    audio = diffusers.Cosmos3AVAEAudioTokenizer(
        sampling_rate=8000,
        vocoder_input_dim=4,
        dec_dim=4,
        dec_c_mults=(1, 1, 1),
        dec_strides=(5, 8, 8),
        enc_dim=8,
        enc_num_blocks=1,
        enc_latent_dim=8,
        enc_c_mults=(1, 1),
        enc_strides=(4, 5),
    )
    return {
        "transformer": transformer,
        "text_tokenizer": tokenizers.qwen2(),
        "vae": for_video.wan_vae(),
        "scheduler": diffusers.UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True),
        "sound_tokenizer": audio,
        "enable_safety_checker": False,
    }


def _motif(**settings: Any) -> dict[str, Any]:
    transformer = diffusers.MotifVideoTransformer3DModel(
        in_channels=9,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        num_single_layers=1,
        text_embed_dim=encoders.WIDTH,
        rope_axes_dim=(4, 4, 4),
        **settings,
    )
    shared = encoders.causal() | {"bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    shared |= {"dropout_rate": 0.0, "attention_dropout": 0.0}
    text = shared | {"head_dim": 8, "query_pre_attn_scalar": 8, "layer_types": ["full_attention"] * 2}
    vision = encoders.siglip_vision().config.to_dict()
    config = transformers.T5Gemma2EncoderConfig(text_config=text, vision_config=vision, mm_tokens_per_image=4)
    return {
        "scheduler": for_video.flow(),
        "vae": for_video.wan_vae(),
        "text_encoder": transformers.models.t5gemma2.modeling_t5gemma2.T5Gemma2Encoder(config),
        "tokenizer": tokenizers.gemma(),
        "transformer": transformer,
        "guider": diffusers.ClassifierFreeGuidance(guidance_scale=2.0),
    }


def _motif_from_image() -> dict[str, Any]:
    images = transformers.SiglipImageProcessorPil(size={"height": encoders.SIDE, "width": encoders.SIDE})
    return {**_motif(image_embed_dim=encoders.WIDTH), "feature_extractor": images}


def _worlds() -> dict[str, Any]:
    transformer = diffusers.SanaWMTransformer3DModel(
        in_channels=4,
        num_layers=2,
        hidden_size=32,
        num_attention_heads=2,
        softmax_every_n=2,
        linear_head_dim=16,
        caption_channels=encoders.WIDTH,
        chunk_plucker_channels=12,
        chunk_plucker_post_attn_blocks=2,
        image_size=32,
    )
    return {
        "tokenizer": tokenizers.gemma(),
        "text_encoder": encoders.gemma2(),
        "vae": ltx2.vae(),
        "transformer": transformer,
        "scheduler": for_video.flow(),
    }


def _kandinsky(**settings: Any) -> dict[str, Any]:
    transformer = diffusers.Kandinsky5Transformer3DModel(
        in_visual_dim=4,
        out_visual_dim=4,
        in_text_dim=encoders.WIDTH,
        in_text_dim2=encoders.WIDTH,
        time_dim=16,
        model_dim=32,
        ff_dim=32,
        num_text_blocks=1,
        num_visual_blocks=1,
        axes_dims=(4, 6, 6),
        **settings,
    )
    return {
        "transformer": transformer,
        "vae": for_video.hunyuan_vae(),
        "text_encoder": language.qwen2_5_vl(),
        # A real one has a processor that cannot be made without torchvision; only its tokenizer is called.
        "tokenizer": tokenizers.qwen2(),
        "text_encoder_2": encoders.clip_text(),
        "tokenizer_2": tokenizers.clip(),
        "scheduler": for_video.flow(),
    }


def _kandinsky_6() -> dict[str, Any]:
    transformer = diffusers.Kandinsky6Transformer3DModel(
        in_visual_dim=4,
        out_visual_dim=4,
        in_text_dim=encoders.WIDTH,
        in_text_dim2=encoders.WIDTH,
        time_dim=16,
        model_dim=32,
        ff_dim=32,
        num_text_blocks=1,
        num_visual_blocks=1,
        axes_dims=(4, 6, 6),
        visual_token_type_num_embeddings=2,
        in_audio_dim=4,
        out_audio_dim=4,
    )
    audio = diffusers.MMAudioVAE(
        mel_bins=16,
        latent_channels=4,
        hidden_channels=16,
        layers_per_block=1,
        sample_rate=16000,
        n_fft=256,
        hop_length=64,
    )
    vocoder = diffusers.MMAudioVocoder(
        num_mels=16,
        upsample_initial_channel=64,
        upsample_rates=(8, 8),
        upsample_kernel_sizes=(16, 16),
        resblock_kernel_sizes=(3,),
        resblock_dilation_sizes=((1, 3),),
    )
    return {**_kandinsky(), "transformer": transformer, "audio_vae": audio, "vocoder": vocoder}


# The first four latents are brought near to those that follow, so there must be more.
_LONGER = {**SMALL, "num_frames": 21, "max_sequence_length": 1024}

PIPELINES = (
    Tiny("Cosmos3OmniPipeline", cosmos, {**SMALL, "enable_sound": True}),
    Tiny("Kandinsky6TI2VAPipeline", _kandinsky_6, {**SMALL, "max_sequence_length": 1024}),
    Tiny("Kandinsky5T2VPipeline", _kandinsky, {**SMALL, "max_sequence_length": 1024}),
    Tiny("Kandinsky5I2VPipeline", lambda: _kandinsky(visual_cond=True), _LONGER),
    Tiny("MotifVideoPipeline", _motif, SMALL),
    Tiny("MotifVideoImage2VideoPipeline", _motif_from_image, SMALL),
    Tiny(
        "SanaWMPipeline",
        _worlds,
        {**SMALL, "height": 32, "width": 32, "action": "w-4", "intrinsics": [64.0, 64.0, 32.0, 32.0]},
    ),
)
