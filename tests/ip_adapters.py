"""IP-Adapters for the embedded model with random weights: they change images, and mean nothing."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import save_file
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from octabox import demo

#: Width of what the image encoder tells of an image, side of the images that it takes, words that an image becomes.
WIDTH, SIDE, WORDS = 16, 32, 4


def save_encoder(folder: Path, width: int = WIDTH) -> None:
    """Write an image encoder."""
    torch.manual_seed(0)
    shape = {"hidden_size": 24, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPVisionConfig(**shape, image_size=SIDE, patch_size=8, projection_dim=width)
    CLIPVisionModelWithProjection(config).save_pretrained(folder)


def save_ip_adapter(file: Path, seed: int = 1, layers: int | None = None, words_width: int | None = None) -> None:
    """Write an IP-Adapter.

    Args:
        file: Where to.
        seed: Seed of its weights.
        layers: How many attention layers it is for; as many as the embedded model has, if not given.
        words_width: Width of the words that it makes of an image; that of the embedded model's prompts, if not given.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    unet = UNet2DConditionModel.from_pretrained(demo.FOLDER / "unet")
    generator = torch.Generator().manual_seed(seed)
    width = words_width or unet.config.cross_attention_dim

    def drawn(*shape: int, size: float = 0.3) -> torch.Tensor:
        return torch.randn(shape, generator=generator) * size

    tensors = {
        "image_proj.proj.weight": drawn(WORDS * width, WIDTH, size=1),
        "image_proj.proj.bias": drawn(WORDS * width, size=1),
        "image_proj.norm.weight": torch.ones(width),
        "image_proj.norm.bias": torch.zeros(width),
    }
    # In the UNet's own order: the way down, the way up, the middle.
    places = [name.removesuffix(".processor") for name in unet.attn_processors if name.endswith("attn2.processor")]
    sizes = [unet.get_submodule(name).to_k.out_features for name in places]
    for place, size in enumerate((sizes * 4)[: layers or len(sizes)]):
        for part in ("to_k_ip", "to_v_ip"):
            tensors[f"ip_adapter.{2 * place + 1}.{part}.weight"] = drawn(size, width)
    save_file(tensors, file)


def save_all(folder: Path) -> Path:
    """Write two IP-Adapters and their image encoder as repositories have them, and return the folder."""
    save_ip_adapter(folder / "models" / "first.safetensors", seed=1)
    save_ip_adapter(folder / "models" / "second.safetensors", seed=2)
    save_encoder(folder / "models" / "image_encoder")
    return folder
