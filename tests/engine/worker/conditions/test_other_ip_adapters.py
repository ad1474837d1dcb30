"""IP-Adapters of other families, whose classes load, scale and place them in their own ways; with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.attention_processor import SD3IPAdapterJointAttnProcessor2_0
from diffusers.models.embeddings import IPAdapterTimeImageProjection
from safetensors.torch import save_file

import makers
from calling import call, run
from ip_adapters import WIDTH, WORDS, save_encoder
from makers.parts import encoders
from makers.samples import sample_image
from octabox.config.model import ModelConfig
from octabox.engine.messages import WorkerOptions
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.runner import Runner

# Of the scheduler of Stable Diffusion XL.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")]

PARAMS = {"prompt": "a red star", "num_inference_steps": 2, "height": 32, "width": 32}


def drawn(*shape: int) -> torch.Tensor:
    """Return random numbers."""
    return torch.randn(shape) / 2


def projected(width: int) -> dict[str, torch.Tensor]:
    """Return what makes words of this width out of an image."""
    norm = {"image_proj.norm.weight": torch.ones(width), "image_proj.norm.bias": torch.zeros(width)}
    return {"image_proj.proj.weight": drawn(WORDS * width, WIDTH), "image_proj.proj.bias": drawn(WORDS * width), **norm}


def of_unet(pipe: Any) -> dict[str, torch.Tensor]:
    """Return an IP-Adapter for a UNet."""
    width = pipe.unet.config.cross_attention_dim
    tensors = projected(width)
    places = [name.removesuffix(".processor") for name in pipe.unet.attn_processors if "attn2" in name]
    for place, name in enumerate(places):
        size = pipe.unet.get_submodule(name).to_k.out_features
        tensors |= {f"ip_adapter.{2 * place + 1}.{each}.weight": drawn(size, width) for each in ("to_k_ip", "to_v_ip")}
    return tensors


def of_flux(pipe: Any) -> dict[str, torch.Tensor]:
    """Return an IP-Adapter for Flux's blocks of two streams."""
    model = pipe.transformer
    width, inner = model.config.joint_attention_dim, model.inner_dim
    tensors = projected(width)
    for place in range(model.config.num_layers):
        for name in (f"ip_adapter.{place}.to_k_ip", f"ip_adapter.{place}.to_v_ip"):
            tensors |= {f"{name}.weight": drawn(inner, width), f"{name}.bias": drawn(inner)}
    return tensors


def of_sd3(pipe: Any) -> dict[str, torch.Tensor]:
    """Return an IP-Adapter for Stable Diffusion 3, which looks at the time too."""
    config = pipe.transformer.config
    inner = config.attention_head_dim * config.num_attention_heads
    looks = IPAdapterTimeImageProjection(
        embed_dim=encoders.WIDTH,
        output_dim=inner,
        hidden_dim=64,
        heads=1,
        num_queries=WORDS,
        timestep_in_dim=32,
    )
    tensors = {f"image_proj.{name}": value for name, value in looks.state_dict().items()}
    for place in range(config.num_layers):
        part = SD3IPAdapterJointAttnProcessor2_0(inner, inner, config.attention_head_dim, timesteps_emb_dim=64)
        tensors |= {f"ip_adapter.{place}.{name}": value for name, value in part.state_dict().items()}
    return tensors


@pytest.mark.parametrize(
    ("name", "made_for"),
    [("StableDiffusionXLPipeline", of_unet), ("FluxPipeline", of_flux), ("StableDiffusion3Pipeline", of_sd3)],
)
def test_it_works_in_calls_with_images_alone(name: str, made_for: Any, tmp_path: Path) -> None:
    """The strength says how much; other calls are those of the model without it."""
    torch.manual_seed(0)
    pipe: Any = makers.pipelines()[name].make()
    pipe.save_pretrained(tmp_path / "model")
    save_file(made_for(pipe), tmp_path / "adapter.safetensors")
    if made_for is of_sd3:
        encoders.siglip_vision().save_pretrained(tmp_path / "encoder")
    else:
        save_encoder(tmp_path / "encoder")
    config = {
        "name": "tiny",
        "model": str(tmp_path / "model"),
        "ip_adapters": {"model": str(tmp_path / "adapter.safetensors")},
        "components": {"image_encoder": {"model": str(tmp_path / "encoder")}},
    }
    runner = Runner(load(ModelConfig.model_validate(config), name, WorkerOptions(device="cpu")))
    alone = Runner(load(ModelConfig(name="tiny", model=str(tmp_path / "model")), name, WorkerOptions(device="cpu")))

    def pixels(model: Runner, scale: float | None = None, shift: int = 0) -> np.ndarray:
        inputs = {} if scale is None else {"ip_adapter_image": (sample_image(32, 32, shift=shift),)}
        params = PARAMS if scale is None else {**PARAMS, "ip_adapter_scale": scale}
        return np.asarray(run(model, call(name, params, inputs=inputs)).outputs[0][0].value)

    before = pixels(runner)
    with_it = pixels(runner, 1)

    assert np.array_equal(before, pixels(alone))
    assert not np.array_equal(before, with_it)
    assert not np.array_equal(with_it, pixels(runner, 1, shift=8))
    assert np.array_equal(before, pixels(runner, 0))
    assert np.array_equal(before, pixels(runner))
    assert np.array_equal(with_it, pixels(runner, 1))
