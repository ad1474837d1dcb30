"""Write networks of LyCORIS, and LoRAs whose names are of two minds, as the plain LoRAs that they are equal to.

A LoHa's change of a matrix is (A B) * (C D), taken element by element. Of two products of rank r that is one of rank r * r: its
columns are those of A times those of C, its rows those of B times those of D. A LoKr's is the Kronecker product of W and A B,
which is (W x A) (1 x B). Both are exact, so that nothing is lost but some memory.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from octabox.errors import IncompatibleAdapterError

#: Tensors by name.
Tensors = Mapping[str, torch.Tensor]

#: A factor of a network of LyCORIS, behind the name of the layer that it changes.
_FACTOR = re.compile(r"(?P<layer>.+)\.(?P<factor>(?:hada|lokr)_(?:w[12](?:_[ab])?|t[12])|alpha)")

#: Convolutions by their names in the original UNet, which are of three by three.
_CONVOLUTION = re.compile(r"_(in_layers_2|out_layers_3|op)$")

#: Names of matrices in diffusers' layout, and what PEFT calls them.
_RENAMED = {".lora.down.": ".lora_A.", ".lora.up.": ".lora_B."}


def kernel_sizes(pipe: Any) -> dict[str, tuple[int, ...]]:
    """Return the kernel's size of each convolution of a pipeline's UNet, by the layer's name in kohya's layout."""
    unet = getattr(pipe, "unet", None)
    layers = unet.named_modules() if isinstance(unet, torch.nn.Module) else ()
    return {
        f"lora_unet_{name.replace('.', '_').removesuffix('_base_layer')}": layer.kernel_size
        for name, layer in layers
        if isinstance(layer, torch.nn.Conv2d)
    }


def convert_to_lora(
    file: Path, kind: str, name: str, sizes: Mapping[str, tuple[int, ...]]
) -> dict[str, torch.Tensor] | None:
    """Return the weights of a file as a plain LoRA; None where they are one that diffusers reads as it is.

    Args:
        file: A LoRA's file.
        kind: Kind of its network.
        name: What the caller calls it.
        sizes: Sizes of the kernels of convolutions, by layer.

    Raises:
        IncompatibleAdapterError: It is of a form that no plain LoRA is equal to.
    """
    if file.suffix.lower() != ".safetensors":
        return None
    if kind in {"LoHa", "LoKr"}:
        return _rewritten(load_file(file), kind, name, sizes)
    tensors = load_file(file)
    # diffusers reads a file by the layout of its first name, and would not know the others.
    mixed = any(".lora_A." in each for each in tensors) and any(old in each for each in tensors for old in _RENAMED)
    return {_renamed(each): tensor for each, tensor in tensors.items()} if mixed else None


def _renamed(name: str) -> str:
    for old, new in _RENAMED.items():
        name = name.replace(old, new)
    return name


def _rewritten(tensors: Tensors, kind: str, name: str, sizes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Return a network of LyCORIS as a LoRA in kohya's layout."""
    layers: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for key, tensor in tensors.items():
        match = _FACTOR.fullmatch(key)
        if match is None:
            raise _cannot(name, kind, f"'{key}' is no part of one")
        layers[match["layer"]][match["factor"]] = tensor.float()
    written: dict[str, torch.Tensor] = {}
    for layer, factors in layers.items():
        try:
            up, down, scale = _loha(factors) if kind == "LoHa" else _lokr(factors)
            up, down = _for_layer(up, down, sizes.get(layer, (3, 3) if _CONVOLUTION.search(layer) else ()))
        except (KeyError, RuntimeError, ValueError) as error:
            raise _cannot(name, kind, f"{layer} has the factors {', '.join(sorted(factors))}") from error
        written[f"{layer}.lora_up.weight"] = up
        written[f"{layer}.lora_down.weight"] = down
        written[f"{layer}.alpha"] = torch.tensor(scale * down.shape[0])
    return written


def _cannot(name: str, kind: str, reason: str) -> IncompatibleAdapterError:
    message = f"LoRA '{name}' is a {kind} of a form that cannot be applied: {reason}."
    return IncompatibleAdapterError(message, hint="Plain matrices can; Tucker's form cannot.", parameter="adapters")


def _for_layer(up: torch.Tensor, down: torch.Tensor, size: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return two matrices in the form of the layer that they change: with the size of a convolution's kernel, if it is one."""
    if up.shape[1] != down.shape[0]:
        raise ValueError("factors that do not belong together")
    if not size:
        return up, down
    return up[..., None, None], down.reshape(len(down), -1, *size)


def _loha(factors: Tensors) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Return the two matrices of a LoRA that is equal to a LoHa, and its scale."""
    if "hada_t1" in factors:
        raise ValueError("Tucker's form")
    a, b, c, d = (factors[f"hada_{name}"] for name in ("w1_a", "w1_b", "w2_a", "w2_b"))
    rank = b.shape[0]
    up = (a[:, :, None] * c[:, None, :]).reshape(len(a), -1)
    down = (b[:, None, :] * d[None, :, :]).reshape(-1, b.shape[1])
    return up, down, _scale(factors, rank)


def _lokr(factors: Tensors) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Return the two matrices of a LoRA that is equal to a LoKr, and its scale."""
    if "lokr_t2" in factors:
        raise ValueError("Tucker's form")
    left = factors["lokr_w1"] if "lokr_w1" in factors else factors["lokr_w1_a"] @ factors["lokr_w1_b"]
    if "lokr_w2" in factors:
        right = factors["lokr_w2"]
        if right.ndim != 2:  # noqa: PLR2004 (a matrix)
            raise ValueError("a convolution")
        up, down = right, torch.eye(right.shape[1])
    else:
        up, down = factors["lokr_w2_a"], factors["lokr_w2_b"]
    ranks = [factors[name].shape[1] for name in ("lokr_w1_a", "lokr_w2_a") if name in factors]
    # Where both factors are whole there is nothing that the scale would balance.
    scale = _scale(factors, ranks[-1]) if ranks else 1.0
    return torch.kron(left, up), torch.kron(torch.eye(left.shape[1]), down), scale


def _scale(factors: Tensors, rank: int) -> float:
    return float(factors["alpha"]) / rank if "alpha" in factors else 1.0
