"""Read the weights of a LoRA as matrices whose product is the change itself.

The scale of each layer is multiplied into its matrices, since the libraries lose scales that differ by layer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file

from octabox.engine.worker.conditions.lycoris import convert_lycoris, kernel_sizes
from octabox.engine.worker.conditions.traced_tensors import trace
from octabox.engine.worker.single_files.pickled_weights import load_pickled
from octabox.errors import IncompatibleAdapterError
from octabox.hub.adapters.lora_scales import PEFT_PREFIX, LoraScales
from octabox.hub.checkpoints.tensors import summarize_names

#: End of the name of a layer's alpha.
ALPHA = ".alpha"

#: The name of the second matrix of a layer, in any layout.
_UP = re.compile(r"(?P<layer>.+?)(?P<matrix>\.lora_up|\.lora\.up|_lora\.up|\.lora_linear_layer\.up|\.lora_B)\.weight")

#: The end of the name of either matrix.
_MATRIX = re.compile(r"(\.lora_(up|down)|[._]lora\.(up|down)|\.lora_linear_layer\.(up|down)|\.lora_[AB])\.weight$")

#: The part of the name of the first matrix, by that of the second one.
_DOWN = {"up": "down", "B": "A"}

#: PEFT's names of the matrices by those in diffusers' layout.
_PEFT_NAMES = {".lora.down.": ".lora_A.", ".lora.up.": ".lora_B."}

#: The name of a layer before that of its tensor, in PEFT's layout.
_PEFT_LAYER = re.compile(r"(?P<layer>.+?)\.lora_(A|B|magnitude_vector)\b")


def read_lora_weights(
    file: Path, name: str, kind: str, scales: LoraScales, components: Mapping[str, torch.nn.Module]
) -> dict[str, torch.Tensor]:
    """Return the weights of a LoRA by name, scaled; they record the names that they have in the file.

    Args:
        file: File of the LoRA.
        name: Name of the LoRA, for errors.
        kind: Type of its network.
        scales: Scales of its layers.
        components: Components of the model that support LoRAs.

    Raises:
        IncompatibleAdapterError: Its numbers are damaged, or the network has no equivalent LoRA.
    """
    tensors = _load(file)
    for key, tensor in tensors.items():
        _check_numbers(name, key, tensor)
    _check_pairs(name, tensors)
    tensors = trace(tensors)
    if kind in {"LoHa", "LoKr"}:
        tensors = convert_lycoris(tensors, kind, name, kernel_sizes(components.get("unet")))
    return _apply_scales(_rename(tensors, components), scales)


def changes_nothing(tensors: Mapping[str, torch.Tensor]) -> bool:
    """Return whether each product of two matrices is zero, and nothing else is in the file."""
    pairs = [(tensors[up], tensors[down]) for _, up, down in _pairs(tensors)]
    others = len(tensors) - 2 * len(pairs) - sum(name.endswith(ALPHA) for name in tensors)
    return not others and not any(bool(up.any()) and bool(down.any()) for up, down in pairs)


def _pairs(tensors: Mapping[str, torch.Tensor]) -> Iterator[tuple[str, str, str]]:
    """Yield the name of each layer, and those of its two matrices, the second one first."""
    for name in tensors:
        if match := _UP.fullmatch(name):
            matrix = match["matrix"]
            second = re.split(r"[._]", matrix)[-1]
            down = f"{match['layer']}{matrix.removesuffix(second)}{_DOWN[second]}.weight"
            if down in tensors:
                yield match["layer"], name, down


def _load(file: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of a file."""
    if file.suffix.lower() == ".safetensors":
        tensors: dict[str, torch.Tensor] = load_file(file)
        return tensors
    content = load_pickled(file)
    while isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    return {name: tensor for name, tensor in content.items() if isinstance(tensor, torch.Tensor)}


def _check_numbers(name: str, key: str, tensor: torch.Tensor) -> None:
    """Check that a tensor has finite numbers.

    Raises:
        IncompatibleAdapterError: It has others.
    """
    hint = "The file is damaged, or was saved from a failed training; choose another one."
    is_alpha = key.endswith(ALPHA)
    if is_alpha and tensor.numel() != 1:
        message = f"LoRA '{name}' has an alpha of {tensor.numel()} numbers instead of one: {key}."
        raise IncompatibleAdapterError(message, hint=hint, parameter="adapters")
    if not tensor.is_floating_point() and not is_alpha:
        dtype = str(tensor.dtype).removeprefix("torch.")
        message = f"LoRA '{name}' has weights of dtype {dtype}, which are not floating-point numbers: {key}."
        raise IncompatibleAdapterError(message, hint="Choose a file that is not quantized.", parameter="adapters")
    numbers = tensor if tensor.dtype.itemsize > 1 else tensor.float()
    if not bool(torch.isfinite(numbers).all()):
        message = f"LoRA '{name}' contains NaN or infinite numbers in {key}."
        raise IncompatibleAdapterError(message, hint=hint, parameter="adapters")


def _check_pairs(name: str, tensors: Mapping[str, torch.Tensor]) -> None:
    """Check that each matrix of a layer has its other one; the libraries would set it to zeros, or at random.

    Raises:
        IncompatibleAdapterError: One has not.
    """
    paired = {each for _, *pair in _pairs(tensors) for each in pair}
    alone = [each for each in tensors if _MATRIX.search(each) and each not in paired]
    if alone:
        message = f"LoRA '{name}' lacks the other matrix of {summarize_names(dict.fromkeys(alone), 2)}."
        hint = "The file is incomplete; download it again."
        raise IncompatibleAdapterError(message, hint=hint, parameter="adapters")


def _rename(tensors: dict[str, torch.Tensor], components: Mapping[str, torch.nn.Module]) -> dict[str, torch.Tensor]:
    """Return tensors with all names in one layout, since the libraries ignore names in a second one."""
    if any(".lora_A." in each for each in tensors):
        tensors = {_to_peft_name(each): tensor for each, tensor in tensors.items()}
    if not all(each.startswith(PEFT_PREFIX) for each in tensors):
        return tensors
    names = [each.removeprefix(PEFT_PREFIX) for each in tensors]
    prefix = _component_prefix(names, components)
    return tensors if prefix is None else dict(zip((prefix + each for each in names), tensors.values(), strict=True))


def _to_peft_name(name: str) -> str:
    for old, new in _PEFT_NAMES.items():
        name = name.replace(old, new)
    return name


def _component_prefix(names: Iterable[str], components: Mapping[str, torch.nn.Module]) -> str | None:
    """Return the prefix for the component that has all layers of these names; None if there is none."""
    layers = {match["layer"] for name in names if (match := _PEFT_LAYER.match(name))}
    if layers and all(layer.partition(".")[0] in components for layer in layers):
        return ""
    for component, module in components.items():
        if layers and all(_has_layer(module, layer) for layer in layers):
            return f"{component}."
    return None


def _has_layer(module: torch.nn.Module, layer: str) -> bool:
    try:
        module.get_submodule(layer)
    except AttributeError:
        return False
    return True


def _apply_scales(tensors: dict[str, torch.Tensor], scales: LoraScales) -> dict[str, torch.Tensor]:
    """Return tensors whose scales are 1.

    A file that has an alpha keeps it in the layout of kohya, whose converters may require it, and is equal to the rank.
    """
    scaled = dict(tensors)
    for layer, up, down in _pairs(tensors):
        rank, key = len(tensors[down]), f"{layer}{ALPHA}"
        alpha = tensors.get(key)
        scale = scales.scale(layer, rank, None if alpha is None else float(alpha))
        if scale != 1:
            scaled[up] = tensors[up].float() * scale
        if alpha is None:
            continue
        if ".lora_down." in down:
            scaled[key] = torch.tensor(float(rank))
        else:
            del scaled[key]
    return scaled
