"""Copy offloaded weights to the device for operators that use them without calling their layer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

#: Names of functions that change their first argument, by torch's convention and by Python's operators.
INPLACE = re.compile(r"(?<!_)_$|^__(?:set|del)item__$|^__i\w+__$")

#: Names of methods by which hooks and pipelines move a whole module or change its dtype, which then keeps its own weights.
CONVERSIONS = frozenset({"to", "cpu", "type", "float", "double", "half", "bfloat16", "pin_memory", "__deepcopy__"})


class BorrowedWeights(TorchFunctionMode):
    """A mode in which operators on device tensors get device copies of the offloaded weights among their arguments.

    So do operators on several offloaded weights only, such as the concatenation of biases. Embedding tables that a pipeline
    reads directly, and weights that another layer multiplies with, are used without a call of their module that could load
    them. What an operator makes of one offloaded weight alone, such as its repetition, is moved to the device as well.

    Args:
        device: The execution device.
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
        name = getattr(function, "__name__", "_")
        if name == "__set__":
            return function(*args, **options)  # The hooks themselves give a weight what it has on another device.
        tensors = [each for each in tree_flatten((args, options))[0] if isinstance(each, torch.Tensor)]
        offloaded = [self._is_offloaded(each) for each in tensors]
        on_device = any(each.device == self._device for each in tensors)
        changed = args[:1] if INPLACE.search(name) else ()
        if len(tensors) > 1 and any(offloaded) and (on_device or (all(offloaded) and not changed)):
            # A copy of what the function changes would be lost.
            rest, options = tree_map(self._copy_to_device, (args[len(changed) :], options))
            args = (*changed, *rest)
        made = function(*args, **options)
        if len(tensors) == 1 and offloaded[0] and name not in CONVERSIONS and _is_copy(made, tensors[0]):
            return made.to(self._device)
        return made

    def _is_offloaded(self, tensor: torch.Tensor) -> bool:
        """Return whether a tensor is a weight on the host, or a view of one."""
        is_weight = isinstance(tensor, torch.nn.Parameter) or isinstance(tensor._base, torch.nn.Parameter)  # noqa: SLF001
        return is_weight and tensor.device.type == "cpu"

    def _copy_to_device(self, value: Any) -> Any:
        return value.to(self._device) if isinstance(value, torch.Tensor) and self._is_offloaded(value) else value


def _is_copy(made: object, weight: torch.Tensor) -> bool:
    """Return whether the result of an operator is a new tensor on the host, not the weight itself or a view of it."""
    if type(made) is not torch.Tensor or made.device.type != "cpu":
        return False
    return made.untyped_storage().data_ptr() != weight.untyped_storage().data_ptr()
