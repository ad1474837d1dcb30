"""Shap-E: things in three dimensions."""

from __future__ import annotations

from typing import Any

import diffusers
import torch

from makers import Tiny
from makers.parts import encoders, tokenizers
from makers.parts.encoders import WIDTH
from makers.parts.making import maker

#: Numbers of each hidden layer of the network that a thing is.
HIDDEN = 8

#: A call as small as it goes. Its grid has 128 points a side whatever is said, and images would take five times longer:
#: at least 20 frames of 32 x 32, since the renderer follows 4096 rays at once and the last of them must be full.
CALL = {"prompt": "a red star", "num_inference_steps": 2, "frame_size": 32, "output_type": "mesh"}


def prior(told: int = WIDTH, **settings: Any) -> Any:
    """Return a transformer that turns an embedding of ``told`` numbers into the weights of the network."""
    shape: dict[str, Any] = {
        "num_attention_heads": 2,
        "attention_head_dim": 8,
        "num_layers": 1,
        "embedding_dim": 16,
        "num_embeddings": 4 * HIDDEN,
        "additional_embeddings": 0,
        "time_embed_act_fn": "gelu",
        "norm_in_type": "layer",
        "embedding_proj_norm_type": None,
        "encoder_hid_proj_type": None,
        "added_emb_type": None,
        "time_embed_dim": 32,
        "embedding_proj_dim": told,
        "clip_embed_dim": 32,
    }
    return diffusers.PriorTransformer(**(shape | settings))


def renderer() -> Any:
    """Return what looks at a thing from twenty sides, or cuts its surface into triangles: eight, one at each corner."""
    from diffusers.pipelines.shap_e import ShapERenderer  # noqa: PLC0415

    seen = ShapERenderer(
        param_shapes=((HIDDEN, 93), (HIDDEN, HIDDEN), (HIDDEN, HIDDEN), (HIDDEN, HIDDEN)),
        d_latent=16,
        d_hidden=HIDDEN,
        n_output=12,
    )
    with torch.no_grad():
        # Every point of the grid is inside, so that only its border is cut.
        seen.mlp.mlp[-1].bias[0] = 10.0
        # Which edges of a small cube a triangle goes through is part of the weights; here only where one corner is inside.
        for corner in range(8):
            x, y, z = corner & 1, corner >> 1 & 1, corner >> 2
            seen.mesh_decoder.masks[1 << corner, 0] = True
            seen.mesh_decoder.cases[1 << corner, 0] = torch.tensor([y + 2 * z, 4 + x + 2 * z, 8 + x + 2 * y])
    return seen


def heun() -> Any:
    """Return the scheduler."""
    return diffusers.HeunDiscreteScheduler(
        beta_schedule="exp",
        num_train_timesteps=1024,
        prediction_type="sample",
        use_karras_sigmas=True,
        clip_sample=True,
    )


#: What both are made of.
PARTS: dict[str, Any] = {"prior": prior, "scheduler": heun, "shap_e_renderer": renderer}

PIPELINES = (
    Tiny(
        "ShapEPipeline",
        maker(PARTS, text_encoder=encoders.clip_text_with_projection, tokenizer=tokenizers.clip),
        CALL,
    ),
    Tiny(
        "ShapEImg2ImgPipeline",
        maker(
            PARTS,
            prior=lambda: prior(embedding_proj_norm_type="layer", clip_embed_dim=32),
            image_encoder=encoders.clip_vision,
            image_processor=encoders.clip_images,
        ),
        CALL,
    ),
)
