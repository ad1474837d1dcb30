"""LoRAs by their definition: the change that each makes to a layer, and files of them in every layout."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

Array = NDArray[np.float32]

#: Layers of three kinds, by component.
ATTENTION = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
OUTPUT = "unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_out.0"
CONVOLUTION = "unet.down_blocks.0.resnets.0.conv1"
TEXT = "text_encoder.encoder.layers.0.self_attn.q_proj"
LAYERS = (ATTENTION, OUTPUT, CONVOLUTION, TEXT)


@dataclass
class Change:
    """What a LoRA states: its matrices by layer, and what scales them."""

    matrices: dict[str, tuple[torch.Tensor, torch.Tensor]]
    alphas: dict[str, float] = field(default_factory=dict)
    magnitudes: dict[str, torch.Tensor] = field(default_factory=dict)
    rslora: bool = False

    def expected(self, layer: str, original: Array, weight: float = 1.0) -> Array:
        """Return a layer's weight with the LoRA, by the definitions of LoRA, rsLoRA and DoRA."""
        up, down = (each.numpy() for each in self.matrices[layer])
        rank = len(down)
        divisor = math.sqrt(rank) if self.rslora else rank
        scale = self.alphas[layer] / divisor if layer in self.alphas else 1.0
        flat = original.reshape(len(original), -1)
        changed: Array = flat + weight * scale * up.reshape(len(up), rank) @ down.reshape(rank, -1)
        if layer in self.magnitudes:
            changed = changed / np.linalg.norm(changed, axis=1, keepdims=True) * self.magnitudes[layer].numpy()[:, None]
        return changed.reshape(original.shape)


def change(pipe: Any, ranks: Mapping[str, int] | None = None, **stated: Any) -> Change:
    """Return matrices for the layers, of rank 4 where nothing else is stated."""
    generator = torch.Generator().manual_seed(0)
    matrices = {}
    for layer in LAYERS:
        shape, rank = weight_of(pipe, layer).shape, (ranks or {}).get(layer, 4)
        size = (1, 1) if len(shape) > 2 else ()
        up, down = (
            torch.randn(shape[0], rank, *size, generator=generator),
            torch.randn(rank, *shape[1:], generator=generator),
        )
        matrices[layer] = (up / 20, down / 20)
    return Change(matrices, **stated)


def weight_of(pipe: Any, layer: str) -> Array:
    """Return the weight that a layer acts with: its answers to unit vectors, or to images of one pixel."""
    component, _, path = layer.partition(".")
    module = getattr(pipe, component).get_submodule(path)
    base = getattr(module, "base_layer", module)
    # A copy, since weights in eight bits change their dtype in a call.
    bias = 0 if base.bias is None else base.bias.detach().clone().float()
    with torch.no_grad():
        if base.weight.ndim == 2:
            weight: Array = (module(torch.eye(base.weight.shape[1])) - bias).T.numpy()
            return weight
        _, inputs, height, width = base.weight.shape
        units = torch.eye(inputs * height * width).reshape(-1, inputs, height, width)
        pixels: Array = (module(units)[:, :, height // 2, width // 2] - bias).T.numpy()
        kernel: Array = pixels.reshape(base.weight.shape)
        return kernel


def kohya(folder: Path, made: Change) -> Path:
    """Write a LoRA as kohya's trainer does: a tensor for each alpha."""
    tensors: dict[str, torch.Tensor] = {}
    for layer, (up, down) in made.matrices.items():
        name = layer.replace("text_encoder.", "lora_te_text_model.").replace("unet.", "lora_unet_").replace(".", "_")
        tensors |= {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down}
        if layer in made.alphas:
            tensors[f"{name}.alpha"] = torch.tensor(made.alphas[layer])
        if layer in made.magnitudes:
            tensors[f"{name}.dora_scale"] = made.magnitudes[layer].reshape(-1, *[1] * (up.ndim - 1))
    save_file(tensors, folder / "kohya.safetensors")
    return folder / "kohya.safetensors"


def kohya_pickle(folder: Path, made: Change) -> Path:
    """Write the same with torch."""
    torch.save({"state_dict": load_file(kohya(folder, made))}, folder / "kohya.pt")
    return folder / "kohya.pt"


def peft_tensors(made: Change, prefix: str = "", up: str = "lora_B", down: str = "lora_A") -> dict[str, torch.Tensor]:
    """Return the tensors of a LoRA in the layouts that separate names by dots."""
    tensors: dict[str, torch.Tensor] = {}
    for layer, matrices in made.matrices.items():
        tensors |= {f"{prefix}{layer}.{up}.weight": matrices[0], f"{prefix}{layer}.{down}.weight": matrices[1]}
        if layer in made.magnitudes:
            shape = (1, -1, 1, 1) if matrices[0].ndim > 2 else (-1,)
            tensors[f"{prefix}{layer}.lora_magnitude_vector"] = made.magnitudes[layer].reshape(shape)
    return tensors


def configuration(made: Change, component: str = "") -> dict[str, Any]:
    """Return the scales of a LoRA as PEFT configures them."""
    alphas = {
        layer.removeprefix(component): alpha for layer, alpha in made.alphas.items() if layer.startswith(component)
    }
    return {"r": 4, "lora_alpha": 4, "alpha_pattern": alphas, "use_rslora": made.rslora}


def peft(folder: Path, made: Change) -> Path:
    """Write a folder as PEFT does: a configuration next to the weights."""
    folder = folder / "peft"
    folder.mkdir()
    save_file(peft_tensors(made), folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps(configuration(made)))
    return folder


def peft_of_a_unet(folder: Path, made: Change) -> Path:
    """Write a folder as PEFT does for a wrapped UNet, whose names have no component."""
    del made.matrices[TEXT]
    found = peft(folder, made)
    tensors = {name.replace("unet.", "base_model.model.", 1): value for name, value in peft_tensors(made).items()}
    save_file(tensors, found / "adapter_model.safetensors")
    settings = configuration(made, "unet.")
    (found / "adapter_config.json").write_text(json.dumps(settings))
    return found


def diffusers(folder: Path, made: Change) -> Path:
    """Write a LoRA as diffusers does: the configuration of each component is in the metadata."""
    parts = ("unet", "text_encoder")
    flat = {f"{part}.{key}": value for part in parts for key, value in configuration(made, f"{part}.").items()}
    file = folder / "diffusers.safetensors"
    save_file(peft_tensors(made), file, {"format": "pt", "lora_adapter_metadata": json.dumps(flat)})
    return file


def older_diffusers(folder: Path, made: Change) -> Path:
    """Write a LoRA in diffusers' layout before PEFT's, with a configuration next to it."""
    found = peft(folder, made)
    tensors = peft_tensors(made, up="lora.up", down="lora.down")
    tensors = {
        name.replace(".lora.", ".lora_linear_layer.") if name.startswith("text_encoder") else name: value
        for name, value in tensors.items()
    }
    save_file(tensors, found / "adapter_model.safetensors")
    return found


LAYOUTS = (kohya, kohya_pickle, peft, peft_of_a_unet, diffusers, older_diffusers)

#: What may scale a LoRA.
RANKS, ALPHAS = {ATTENTION: 16, TEXT: 2, CONVOLUTION: 8}, {ATTENTION: 2.0, CONVOLUTION: 16.0, TEXT: 1.0}
EVERY_ALPHA = dict.fromkeys(LAYERS, 8.0)


def scaled(pipe: Any, kind: str) -> Change:
    """Return a LoRA that is scaled in one way."""
    magnitudes = {layer: torch.linspace(0.5, 2, len(weight_of(pipe, layer))) for layer in (ATTENTION, CONVOLUTION)}
    return {
        "plain": lambda: change(pipe, alphas=dict.fromkeys(LAYERS, 4.0)),
        "alpha": lambda: change(pipe, alphas=EVERY_ALPHA),
        "alpha pattern": lambda: change(pipe, alphas=EVERY_ALPHA | ALPHAS),
        "rank pattern": lambda: change(pipe, RANKS, alphas=EVERY_ALPHA),
        "both patterns": lambda: change(pipe, RANKS, alphas=EVERY_ALPHA | ALPHAS),
        "DoRA": lambda: change(pipe, RANKS, alphas=EVERY_ALPHA, magnitudes=magnitudes),
        "rsLoRA": lambda: change(pipe, RANKS, alphas=EVERY_ALPHA | ALPHAS, rslora=True),
    }[kind]()
