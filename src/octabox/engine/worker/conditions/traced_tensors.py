"""Tensors that record which tensors of a file they were computed from, through any operation of torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch


class TracedTensor(torch.Tensor):
    """A tensor with the names of the tensors that it was computed from."""

    sources: frozenset[str] = frozenset()

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call an operation, and record the sources of all its arguments in its results."""
        call: Callable[..., Any] = super().__torch_function__
        result = call(func, tuple(types), args, dict(kwargs or {}))
        sources = frozenset[str]().union(*(each.sources for each in _traced((args, kwargs or {}))))
        changed = args[0] if func is torch.Tensor.__setitem__ else result
        for each in _traced(changed):
            each.sources |= sources
        return result


def trace(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return tensors that record their names in all that is computed from them."""
    traced = {}
    for name, tensor in tensors.items():
        traced[name] = tensor.as_subclass(TracedTensor)
        traced[name].sources = frozenset({name})
    return dict(traced)


def untrace(tensor: torch.Tensor) -> tuple[torch.Tensor, frozenset[str]]:
    """Return a tensor without its record, and the record."""
    if not isinstance(tensor, TracedTensor):
        return tensor, frozenset()
    return tensor.as_subclass(torch.Tensor), tensor.sources


def _traced(value: object) -> Iterator[TracedTensor]:
    """Yield the traced tensors in arguments or results."""
    if isinstance(value, TracedTensor):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _traced(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _traced(each)
