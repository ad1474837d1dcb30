"""Let an operator have weights that wait on the host, where a pipeline uses them without calling their layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map


class BorrowedWeights(TorchFunctionMode):
    """While it is entered, an operator over tensors of the device gets copies of the weights among them that are on the host.

    So does one over nothing but several such weights, since what it makes of them is for the device: biases that are
    concatenated. A table of embeddings that a pipeline reads itself, or a weight that another layer multiplies with, has no
    call of its own module that could bring it to the device.

    Args:
        device: The device.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self._device = device

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        options = dict(kwargs or {})
        found = [each for each in tree_flatten((args, options))[0] if isinstance(each, torch.Tensor)]
        waiting = [self._waits(each) for each in found]
        here = any(each.device == self._device for each in found)
        if len(found) > 1 and any(waiting) and (here or (all(waiting) and not _writes(function))):
            args, options = tree_map(self._borrowed, (args, options))
        return function(*args, **options)

    def _waits(self, tensor: torch.Tensor) -> bool:
        """Return whether a tensor is a weight on the host, or a view of one."""
        is_weight = isinstance(tensor, torch.nn.Parameter) or isinstance(tensor._base, torch.nn.Parameter)  # noqa: SLF001
        return is_weight and tensor.device.type == "cpu"

    def _borrowed(self, value: Any) -> Any:
        return value.to(self._device) if isinstance(value, torch.Tensor) and self._waits(value) else value


def _writes(function: Callable[..., Any]) -> bool:
    """Return whether a function changes a tensor that it is given, as those do whose names end so."""
    return getattr(function, "__name__", "_").endswith("_")
