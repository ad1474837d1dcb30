"""Find quantized weights that a single file stores with a scale, by its tensor names and shapes.

ComfyUI and others store a weight in float8 divided by a number, and that number as a tensor next to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from safetensors import safe_open

from octabox.errors import IncompatibleWeightsError
from octabox.hub.checkpoints.tensors import Shapes, read_shapes

#: Ends of the names of the scale of a layer's weight.
SCALES = (".scale_weight", ".weight_scale")

#: Ends of the names of other tensors of the format, which a weight in full precision does not need.
_OTHERS = ("scaled_fp8", ".scale_input", ".input_scale", ".comfy_quant")

#: Dtypes of weights that are numbers themselves, in the names of safetensors.
_NUMBERS = frozenset({"F8_E4M3", "F8_E5M2", "BF16", "F16", "F32", "F64"})

_HINT = "Choose a file in float8 with one scale for each weight, in 16 bits, or in the format GGUF."


def weight_scales(names: Iterable[str]) -> dict[str, str]:
    """Return the name of the scale of each weight that has one."""
    names = frozenset(names)
    found = {}
    for name in names:
        end = next((each for each in SCALES if name.endswith(each)), None)
        if end and (weight := f"{name.removesuffix(end)}.weight") in names:
            found[weight] = name
    return found


def belongs_to_scales(name: str) -> bool:
    """Return whether a tensor of a file with scales describes the format, and is not a weight."""
    return name.endswith((*SCALES, *_OTHERS))


def unsupported_weight(shapes: Shapes, dtypes: Mapping[str, str]) -> str | None:
    """Return the first weight into which its scale cannot be multiplied; None if there is no such weight.

    Args:
        shapes: The shape of each tensor.
        dtypes: The dtype of each tensor in the spelling of safetensors, as far as they are known.
    """
    scales = sorted(weight_scales(shapes).items())
    blocks = (weight for weight, scale in scales if not _fits(shapes[weight], shapes[scale]))
    packed = (weight for weight, _ in scales if dtypes.get(weight, "F32") not in _NUMBERS)
    return next(blocks, None) or next(packed, None)


def find_quantization(file: Path) -> str | None:
    """Return how a .safetensors file is quantized, as a part of a sentence; None if its weights are numbers themselves.

    Raises:
        OSError: The file cannot be read.
        IncompatibleWeightsError: The file is damaged or truncated.
    """
    shapes = read_shapes(file)
    if weight_scales(shapes):
        return "is quantized with scales"
    dtypes = _read_dtypes(file, [name for name in shapes if name.endswith(".weight")])
    integers = next((name for name, dtype in sorted(dtypes.items()) if dtype not in _NUMBERS), None)
    return f"has weights of integers, such as {integers}," if integers else None


def check_scales(file: Path) -> None:
    """Check that the scales of a file, if it has any, can be multiplied into its weights.

    Raises:
        IncompatibleWeightsError: Some are for blocks of numbers, or the weights are packed.
    """
    shapes = read_shapes(file)
    weight = unsupported_weight(shapes, _read_dtypes(file, weight_scales(shapes)))
    if weight is not None:
        message = f"{file} is quantized in a format that is not supported: {weight} is packed, or has scales for blocks of it."
        raise IncompatibleWeightsError(message, hint=_HINT)


def _fits(weight: tuple[int, ...], scale: tuple[int, ...]) -> bool:
    """Return whether a scale is one number, or one for each row of a weight."""
    return all(size == 1 for size in scale) or (scale[:1] == weight[:1] and all(size == 1 for size in scale[1:]))


def _read_dtypes(file: Path, names: Collection[str]) -> dict[str, str]:
    """Return the dtypes of tensors of a .safetensors file; empty for files of other formats."""
    if not names or file.suffix.lower() != ".safetensors":
        return {}
    with safe_open(file, framework="np") as opened:
        return {name: opened.get_slice(name).get_dtype() for name in names}
