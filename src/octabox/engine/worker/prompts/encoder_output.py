"""Split an encoder's output into its layers, rebuild it from others, and track access to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

#: Fields of an encoder's output with an embedding of each token; other fields are pooled.
LAST, HIDDEN = "last_hidden_state", "hidden_states"


def split_layers(output: Any, norm: Callable[[torch.Tensor], torch.Tensor] | None) -> list[torch.Tensor]:
    """Return the last hidden state, each hidden state, and with a norm each normalized hidden state."""
    hidden = list(output.get(HIDDEN) or ())
    return [output[LAST], *hidden, *([norm(each) for each in hidden] if norm else [])]


def replace_layers(output: Any, layers: Sequence[torch.Tensor]) -> tuple[Any, tuple[torch.Tensor, ...]]:
    """Return an output with other layers, and its normalized hidden states, from what `split_layers` returns."""
    fields = {**output, LAST: layers[0]}
    if count := len(output.get(HIDDEN) or ()):
        fields[HIDDEN] = tuple(layers[1 : 1 + count])
    return type(output)(**fields), tuple(layers[1 + count :])


def stack_outputs(outputs: Sequence[Any]) -> Any:
    """Return the outputs of several texts, with tensors of shape (1, ...), as one with tensors of shape (texts, ...)."""
    first = outputs[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(list(outputs))
    if isinstance(first, tuple):
        return tuple(stack_outputs(each) for each in zip(*outputs, strict=True))
    if first is None or not hasattr(first, "items"):
        return first
    return type(first)(**{name: stack_outputs([each[name] for each in outputs]) for name in first})


def track_access(output: Any, on_read: Callable[[], None]) -> Any:
    """Return an output that calls ``on_read`` when one of its layers is read."""
    kind: Any = type(output)
    tracked = _tracking_class(kind)(**output)
    object.__setattr__(tracked, "octabox_on_read", on_read)
    return tracked


@cache
def _tracking_class(kind: Any) -> Any:
    """Return a subclass of an output class that reports reads of layers, by attribute, name or index."""

    def by_attribute(self: Any, name: str) -> Any:
        if name in (LAST, HIDDEN):
            _report_read(self)
        return kind.__getattribute__(self, name)

    def by_key(self: Any, key: Any) -> Any:
        if isinstance(key, str):
            names, found = [key], dict(self.items())[key]
        else:
            selected = list(self.keys())[key]
            names = [selected] if isinstance(selected, str) else selected
            found = tuple(self.values())[key]
        if {LAST, HIDDEN} & set(names):
            _report_read(self)
        return found

    return type(kind.__name__, (kind,), {"__getattribute__": by_attribute, "__getitem__": by_key})


def _report_read(output: Any) -> None:
    on_read = output.__dict__.get("octabox_on_read")
    if on_read:
        on_read()
