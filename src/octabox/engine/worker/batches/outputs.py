"""Divide the output of a batch among its members, and compare the outputs of two calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from PIL.Image import Image

#: The largest byte of an image.
MAX_BYTE = 255


class DivisionError(Exception):
    """The output of a batch cannot be divided among its members."""


def divide_output(fields: Mapping[str, Any], members: int) -> list[dict[str, Any]]:
    """Return the fields of a batch's output for each member, in order.

    Args:
        fields: The fields by name.
        members: How many members there are.

    Raises:
        DivisionError: A field has not the same number of items for each member.
    """
    divided: list[dict[str, Any]] = [{} for _ in range(members)]
    for name, value in fields.items():
        for index, own in enumerate(divided):
            own[name] = _own_part(name, value, index, members)
    return divided


def _own_part(name: str, value: Any, index: int, members: int) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value  # Such as a sampling rate, which is that of all.
    is_tensor = isinstance(value, torch.Tensor | np.ndarray)
    if not is_tensor and not isinstance(value, list | tuple):
        raise DivisionError(f"'{name}' of its output is a {type(value).__name__}")
    if is_tensor and value.ndim == 0:
        return value
    count = len(value)
    if count == 0 or count % members:
        raise DivisionError(f"'{name}' of its output has {count} items for {members} members")
    own = count // members
    return value[index * own : (index + 1) * own]


def divide_latents(latents: Any, members: int) -> list[Any]:
    """Return the latents of each member; None where they cannot be divided."""
    if not isinstance(latents, torch.Tensor) or latents.ndim == 0 or len(latents) % members:
        return [None] * members
    return list(latents.chunk(members))


def find_difference(one: Any, other: Any, tolerance: float | None) -> str:
    """Return how the outputs of two calls differ; empty if they do not.

    Args:
        one: The fields of an output.
        other: Those that they are compared with.
        tolerance: The largest difference of two numbers that counts as equal, for outputs of about 1; None compares the root
            mean square of the differences, since kernels of half precision depend on the batch.
    """
    left, right = list(_arrays(one)), list(_arrays(other))
    shapes = [array.shape for array in left], [array.shape for array in right]
    if shapes[0] != shapes[1]:
        return f"has the shapes {shapes[0]} instead of {shapes[1]}"
    for first, second in zip(left, right, strict=True):
        if not second.size:
            continue
        scale = max(1.0, float(np.abs(second).max()))
        distance = np.abs(first - second) / scale
        error = float(np.sqrt(np.mean(distance**2)) if tolerance is None else distance.max())
        if not error <= (MAX_HALF_ERROR if tolerance is None else tolerance):
            return f"differs by {error:.2g}"
    return ""


#: Root mean square of differences that half precision may cause: 30 dB below the largest number.
MAX_HALF_ERROR = 10 ** (-30 / 20)


def is_finite(fields: Any) -> bool:
    """Return whether all numbers of an output are finite."""
    return all(bool(np.isfinite(array).all()) for array in _arrays(fields))


def _arrays(value: Any) -> Iterator[np.ndarray]:
    """Yield all numbers of an output as arrays, those of images in [0, 1]."""
    if isinstance(value, Image):
        yield np.asarray(value, np.float64) / MAX_BYTE
    elif isinstance(value, torch.Tensor):
        yield value.detach().cpu().double().numpy()
    elif isinstance(value, np.ndarray):
        yield value.astype(np.float64)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _arrays(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _arrays(each)
    elif isinstance(value, bool | int | float):
        yield np.asarray(value, np.float64)
