"""Take an encoder's output apart into its layers, put it together again, and note whether they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch

#: Fields of an encoder's output that hold something of each token; the others sum a prompt up.
LAST, HIDDEN = "last_hidden_state", "hidden_states"


def layers_of(output: Any, norm: Callable[[torch.Tensor], torch.Tensor] | None) -> list[torch.Tensor]:
    """Return the last output of an encoder, then that of each layer, then these as its last norm makes them."""
    hidden = list(output.get(HIDDEN) or ())
    return [output[LAST], *hidden, *([norm(each) for each in hidden] if norm else [])]


def with_layers(output: Any, layers: Sequence[torch.Tensor]) -> tuple[Any, tuple[torch.Tensor, ...]]:
    """Return an output with other layers, and those that its last norm made."""
    fields = {**output, LAST: layers[0]}
    if count := len(output.get(HIDDEN) or ()):
        fields[HIDDEN] = tuple(layers[1 : 1 + count])
    return type(output)(**fields), tuple(layers[1 + count :])


def stacked(outputs: Sequence[Any]) -> Any:
    """Return the outputs of several texts, fields or tuples of tensors of shape (1, ...), as one of shape (texts, ...)."""
    first = outputs[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(list(outputs))
    if isinstance(first, tuple):
        return tuple(stacked(each) for each in zip(*outputs, strict=True))
    if first is None or not hasattr(first, "items"):
        return first
    return type(first)(**{name: stacked([each[name] for each in outputs]) for name in first})


def track_access(output: Any, on_read: Callable[[], None]) -> Any:
    """Return an output that tells when one of its layers is read."""
    kind: Any = type(output)
    told = _noting(kind)(**output)
    object.__setattr__(told, "octabox_on_read", on_read)
    return told


@cache
def _noting(kind: Any) -> Any:
    """Return a class of output that tells when one of its layers is read, by field, by name or by number."""

    def by_field(self: Any, name: str) -> Any:
        if name in (LAST, HIDDEN):
            _tell(self)
        return kind.__getattribute__(self, name)

    def by_key(self: Any, key: Any) -> Any:
        if isinstance(key, str):
            names, found = [key], dict(self.items())[key]
        else:
            chosen = list(self.keys())[key]
            names = [chosen] if isinstance(chosen, str) else chosen
            found = tuple(self.values())[key]
        if {LAST, HIDDEN} & set(names):
            _tell(self)
        return found

    return type(kind.__name__, (kind,), {"__getattribute__": by_field, "__getitem__": by_key})


def _tell(output: Any) -> None:
    on_read = output.__dict__.get("octabox_on_read")
    if on_read:
        on_read()
