"""Stable Diffusion XL in a single file: two text encoders, the second in the layout of OpenCLIP."""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from ldm_layout import LAYERS, tiny_vae, unet_name, vae_entry
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import load
from octabox.hub.checkpoints import bundles
from octabox.hub.checkpoints.families import detect_family

pytestmark = pytest.mark.slow

KIND = "StableDiffusionXLPipeline"

#: Names of a text encoder's parts in OpenCLIP; transformers' come first.
OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def tiny_sdxl() -> StableDiffusionXLPipeline:
    """Return a tiny pipeline whose numbers of channels fit what tells the family: 6 * 464 + 32 = 2816."""
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        layers_per_block=LAYERS,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=96,
        attention_head_dim=2,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=464,
        projection_class_embeddings_input_dim=2816,
    )
    sizes = {"intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "projection_dim": 32}
    with bundles.bundle_folder("sdxl", KIND) as folder:
        tokenizers = [CLIPTokenizer.from_pretrained(folder, subfolder=part) for part in ("tokenizer", "tokenizer_2")]
        scheduler = EulerDiscreteScheduler.from_pretrained(folder, subfolder="scheduler")
    return StableDiffusionXLPipeline(
        vae=tiny_vae(),
        text_encoder=CLIPTextModel(CLIPTextConfig(hidden_size=32, **sizes)),
        text_encoder_2=CLIPTextModelWithProjection(CLIPTextConfig(hidden_size=64, hidden_act="gelu", **sizes)),
        tokenizer=tokenizers[0],
        tokenizer_2=tokenizers[1],
        unet=unet,
        scheduler=scheduler,
        add_watermarker=False,
    )


def open_clip(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return a text encoder's weights as OpenCLIP has them: queries, keys and values in one tensor."""
    made = {
        "token_embedding.weight": weights["text_model.embeddings.token_embedding.weight"],
        "positional_embedding": weights["text_model.embeddings.position_embedding.weight"],
        "ln_final.weight": weights["text_model.final_layer_norm.weight"],
        "ln_final.bias": weights["text_model.final_layer_norm.bias"],
        "text_projection": weights["text_projection.weight"].T,
    }
    for name, part in weights.items():
        if not name.startswith("text_model.encoder.layers."):
            continue
        layer, _, rest = name.removeprefix("text_model.encoder.layers.").partition(".")
        if rest.startswith("self_attn.q_proj."):
            parts = [weights[name.replace("q_proj", f"{each}_proj")] for each in "qkv"]
            made[f"transformer.resblocks.{layer}.attn.in_proj_{rest.rpartition('.')[2]}"] = torch.cat(parts)
        for own, other in OPEN_CLIP.items():
            if rest.startswith(f"{own}."):
                made[f"transformer.resblocks.{layer}.{rest.replace(own, other)}"] = part
    return made


@pytest.fixture(scope="module")
def pipe() -> StableDiffusionXLPipeline:
    """Return the tiny pipeline."""
    made = tiny_sdxl()
    for part in (made.unet, made.vae, made.text_encoder, made.text_encoder_2):
        part.eval()
    return made


@pytest.fixture
def file(pipe: StableDiffusionXLPipeline, tmp_path: Path) -> Path:
    """Return its weights as one file in the layout that the authors published."""
    words = {name.removeprefix("text_model."): part for name, part in pipe.text_encoder.state_dict().items()}
    weights = {
        **{f"model.diffusion_model.{unet_name(name, 2)}": part for name, part in pipe.unet.state_dict().items()},
        **dict(vae_entry(name, part) for name, part in pipe.vae.state_dict().items()),
        **{f"conditioner.embedders.0.transformer.text_model.{name}": part for name, part in words.items()},
        **{
            f"conditioner.embedders.1.model.{n}": part
            for n, part in open_clip(pipe.text_encoder_2.state_dict()).items()
        },
    }
    place = tmp_path / "xl.safetensors"
    save_file({name: part.clone().contiguous() for name, part in weights.items()}, place)
    return place


@pytest.fixture
def tiny_bundle(pipe: StableDiffusionXLPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the family be as small as the file."""
    data: dict[str, Any] = copy.deepcopy(dict(bundles._bundles()))
    parts = {"unet-xl": "unet", "vae-xl": "vae", "clip-l": "text_encoder", "open-clip-g": "text_encoder_2"}
    for name, part in parts.items():
        config = pipe.components[part].config
        own: Mapping[str, Any] = config if isinstance(config, Mapping) else config.to_dict()
        data["components"][name]["files"]["config.json"] = {
            key: value for key, value in own.items() if key[0] != "_" and key != "dtype"
        }
    monkeypatch.setattr(bundles, "_bundles", lambda: data)


def image(pipe: StableDiffusionXLPipeline) -> Any:
    """Return what a pipeline makes of one seed."""
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    return pipe("a cat", num_inference_steps=2, width=16, height=16, generator=generator, output_type="np").images


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.usefixtures("tiny_bundle")
def test_a_file_with_two_encoders_makes_the_same_image(pipe: StableDiffusionXLPipeline, file: Path) -> None:
    """All from the file and from what we ship, without the network."""
    loaded = load(ModelConfig(name="x", model=str(file)), KIND, WorkerOptions(device="cpu")).pipeline

    assert "sdxl" == detect_family(file).name
    assert np.array_equal(image(pipe), image(loaded))
    assert loaded.config.force_zeros_for_empty_prompt
