"""Multiply the scales of quantized weights into them as a single file is loaded; diffusers ignores scales."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders import single_file, single_file_model

from octabox.engine.replacement import replaced
from octabox.hub.checkpoints.weight_scales import belongs_to_scales, check_scales, weight_scales

#: Bytes of a number in float8.
_FLOAT8_BYTES = 1


@contextmanager
def scales_applied(file: str | Path, dtype: torch.dtype) -> Iterator[None]:
    """Within the context, let diffusers read the weights of a file with their scales.

    Args:
        file: The file.
        dtype: Dtype of the scaled weights.

    Raises:
        IncompatibleWeightsError: The file has scales of another kind than one number for each weight or row.
    """
    check_scales(Path(file))
    with ExitStack() as stack:
        for module in (single_file, single_file_model):
            load = module.load_single_file_checkpoint

            def load_scaled(*args: Any, _load: Any = load, **options: Any) -> dict[str, Any]:
                return apply_scales(_load(*args, **options), dtype)

            stack.enter_context(replaced(module, "load_single_file_checkpoint", load_scaled))
        yield


def apply_scales(tensors: dict[str, Any], dtype: torch.dtype) -> dict[str, Any]:
    """Return tensors whose scales are 1, without those that describe the format; others are returned as they are.

    The weights are replaced one by one, so that a file that is mapped into memory is never there twice.
    """
    scales = {
        weight: scale
        for weight, scale in weight_scales(tensors).items()
        if tensors[weight].is_floating_point() and tensors[weight].dtype.itemsize == _FLOAT8_BYTES
    }
    if not scales:
        return tensors
    for weight, name in scales.items():
        tensor, scale = tensors[weight], tensors[name].float()
        rows = scale.reshape(-1, *[1] * (tensor.ndim - 1)) if scale.numel() > 1 else scale.reshape(())
        tensors[weight] = (tensor.float() * rows).to(dtype)
    return {name: tensor for name, tensor in tensors.items() if not belongs_to_scales(name)}
