"""Compute the bytes of a model's weights from the headers of its files, before it is loaded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from octabox.config.model import ComponentConfig, ModelConfig
from octabox.engine.memory.places import component_path, model_path
from octabox.engine.memory.single_files import single_file_elements
from octabox.hub.weights import component_elements, file_elements, is_float

#: Bytes of an element by dtype; ``auto`` is a half-precision dtype on an accelerator.
ITEM_SIZES = {"float32": 4, "float16": 2, "bfloat16": 2}

#: Bits of quantized weights in the settings of a quantization, as in ``load_in_4bit``, ``nf4`` or ``int8_weight_only``.
_BITS = re.compile(r"(?<!\d)([48])(?!\d)")


def weight_bytes(config: ModelConfig, device: str, default_dtype: str = "auto") -> Mapping[str, int] | None:
    """Return the bytes of a model's weights in memory, by component; None if its files are not on this machine.

    Args:
        config: The model's configuration.
        device: The device that it computes on, such as ``cpu`` or ``cuda:0``.
        default_dtype: Dtype of models that configure none.
    """
    path = model_path(config)
    if path is None:
        return None
    elements: Mapping[str, Mapping[str, int]] = (
        single_file_elements(config, path) if path.is_file() else component_elements(path, config.variant)
    )
    sizes = {
        name: _in_memory(counts, config, config.part(name), device, default_dtype)
        for name, counts in elements.items()
        if not _is_list(config, name)
    }
    sizes = {name: size for name, size in sizes.items() if not config.part(name).omit and not config.part(name).model}
    for index, (name, part) in enumerate(config.parts()):
        if part.model and (source := component_path(part.model)) is not None:
            folder = source / (part.subfolder or "") if source.is_dir() else source
            counts = file_elements(folder) if folder.is_file() else _sum_elements(folder, config.variant)
            sizes[f"{name}.{index}" if _is_list(config, name) else name] = _in_memory(
                counts, config, part, device, default_dtype
            )
    return {name: size for name, size in sizes.items() if size}


def _is_list(config: ModelConfig, name: str) -> bool:
    return isinstance(config.components.get(name), tuple)


def _sum_elements(folder: Path, variant: str | None) -> Mapping[str, int]:
    """Return the elements of all components in a folder by dtype."""
    total: dict[str, int] = {}
    for counts in component_elements(folder, variant).values():
        for dtype, count in counts.items():
            total[dtype] = total.get(dtype, 0) + count
    return total


def _in_memory(
    counts: Mapping[str, int], config: ModelConfig, part: ComponentConfig, device: str, default_dtype: str
) -> int:
    """Return the bytes of elements in memory: floating-point ones have the dtype that they are loaded in."""
    size = _item_size(config, part, device, default_dtype)
    return round(sum(count * (size if is_float(dtype) else _stored_size(dtype)) for dtype, count in counts.items()))


def _item_size(config: ModelConfig, part: ComponentConfig, device: str, default_dtype: str) -> float:
    if part.quantization:
        bits = [
            int(found) for found in _BITS.findall(" ".join(map(str, [*part.quantization, *part.quantization.values()])))
        ]
        return min(bits, default=8) / 8
    if part.storage:
        return 1
    named = [dtype for dtype in (part.dtype, config.dtype, default_dtype) if dtype in ITEM_SIZES]
    return ITEM_SIZES[named[0]] if named else 4 if device == "cpu" else 2


def _stored_size(dtype: str) -> float:
    """Return the bytes of an element in a file; of packed weights, an element is a byte."""
    digits = re.search(r"\d+", dtype)
    return int(digits[0]) / 8 if digits else 1
