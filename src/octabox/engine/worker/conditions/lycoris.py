"""Convert LyCORIS networks to equivalent plain LoRAs.

A LoHa changes a matrix by the element-wise product (A B) * (C D). For two factors of rank r this is a product of rank r * r,
whose columns are products of those of A and C, and whose rows are products of those of B and D. A LoKr changes it by the
Kronecker product of W and A B, which is (W x A) (1 x B). Both conversions are exact and only use more memory.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

import torch

from octabox.errors import IncompatibleAdapterError

#: Tensors by name.
Tensors = Mapping[str, torch.Tensor]

#: The layer and factor in the name of a LyCORIS tensor.
_FACTOR = re.compile(r"(?P<layer>.+)\.(?P<factor>(?:hada|lokr)_(?:w[12](?:_[ab])?|t[12])|alpha)")

#: Part of the tensor names of a layer that has a plain LoRA, in kohya's layout.
_PLAIN = ".lora_"

#: Names of 3x3 convolutions in the original UNet.
_CONVOLUTION = re.compile(r"_(in_layers_2|out_layers_3|op)$")


def kernel_sizes(unet: object) -> dict[str, tuple[int, ...]]:
    """Return the kernel size of each convolution of a UNet, by the layer's name in kohya's layout."""
    layers = unet.named_modules() if isinstance(unet, torch.nn.Module) else ()
    return {
        f"lora_unet_{name.replace('.', '_').removesuffix('_base_layer')}": layer.kernel_size
        for name, layer in layers
        if isinstance(layer, torch.nn.Conv2d)
    }


def convert_lycoris(
    tensors: Tensors, kind: str, name: str, sizes: Mapping[str, tuple[int, ...]]
) -> dict[str, torch.Tensor]:
    """Convert a LyCORIS network to a LoRA in kohya's layout.

    Args:
        tensors: Tensors of the network.
        kind: Type of the network.
        name: Name of the LoRA, for errors.
        sizes: Kernel sizes of convolutions by layer.

    Raises:
        IncompatibleAdapterError: The network has no equivalent plain LoRA.
    """
    plain = {key.partition(_PLAIN)[0] for key in tensors if _PLAIN in key}
    converted = {key: tensor for key, tensor in tensors.items() if key.rpartition(".")[0].partition(_PLAIN)[0] in plain}
    layers: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for key in tensors.keys() - converted.keys():
        match = _FACTOR.fullmatch(key)
        if match is None:
            raise _unsupported_error(name, kind, f"'{key}' is not a tensor of a {kind}")
        layers[match["layer"]][match["factor"]] = tensors[key].float()
    for layer, factors in sorted(layers.items()):
        try:
            up, down, scale = _loha(factors) if kind == "LoHa" else _lokr(factors)
            up, down = _reshape_for_layer(up, down, sizes.get(layer, (3, 3) if _CONVOLUTION.search(layer) else ()))
        except (KeyError, RuntimeError, ValueError) as error:
            raise _unsupported_error(name, kind, f"{layer} has the factors {', '.join(sorted(factors))}") from error
        converted[f"{layer}.lora_up.weight"] = up
        converted[f"{layer}.lora_down.weight"] = down
        converted[f"{layer}.alpha"] = torch.tensor(scale * down.shape[0])
    return converted


def _unsupported_error(name: str, kind: str, reason: str) -> IncompatibleAdapterError:
    message = f"LoRA '{name}' is a {kind} of a form that is not supported: {reason}."
    hint = "Matrix factors are supported; Tucker decompositions are not."
    return IncompatibleAdapterError(message, hint=hint, parameter="adapters")


def _reshape_for_layer(
    up: torch.Tensor, down: torch.Tensor, size: tuple[int, ...]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Reshape two matrices for the layer that they change, with the kernel size if it is a convolution."""
    if up.shape[1] != down.shape[0]:
        raise ValueError("incompatible factors")
    if not size:
        return up, down
    return up[..., None, None], down.reshape(len(down), -1, *size)


def _loha(factors: Tensors) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Return the two matrices and the scale of the LoRA that is equivalent to a LoHa."""
    if "hada_t1" in factors:
        raise ValueError("a Tucker decomposition")
    a, b, c, d = (factors[f"hada_{name}"] for name in ("w1_a", "w1_b", "w2_a", "w2_b"))
    rank = b.shape[0]
    up = (a[:, :, None] * c[:, None, :]).reshape(len(a), -1)
    down = (b[:, None, :] * d[None, :, :]).reshape(-1, b.shape[1])
    return up, down, _scale(factors, rank)


def _lokr(factors: Tensors) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Return the two matrices and the scale of the LoRA that is equivalent to a LoKr."""
    if "lokr_t2" in factors:
        raise ValueError("a Tucker decomposition")
    left = factors["lokr_w1"] if "lokr_w1" in factors else factors["lokr_w1_a"] @ factors["lokr_w1_b"]
    if "lokr_w2" in factors:
        right = factors["lokr_w2"]
        if right.ndim != 2:  # noqa: PLR2004 (a matrix)
            raise ValueError("a convolution")
        up, down = right, torch.eye(right.shape[1])
    else:
        up, down = factors["lokr_w2_a"], factors["lokr_w2_b"]
    ranks = [factors[name].shape[1] for name in ("lokr_w1_a", "lokr_w2_a") if name in factors]
    # Without a decomposed factor there is no rank to scale by.
    scale = _scale(factors, ranks[-1]) if ranks else 1.0
    return torch.kron(left, up), torch.kron(torch.eye(left.shape[1]), down), scale


def _scale(factors: Tensors, rank: int) -> float:
    return float(factors["alpha"]) / rank if "alpha" in factors else 1.0
