"""What an encoder made of a prompt is remembered, so that the next request with the same prompt need not wait for it.

It is kept on the host, where it takes no memory that a call needs.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import torch

#: Where it is remembered.
HOST = torch.device("cpu")

#: What may be remembered of one model: encoded prompts, and their bytes in all.
MOST, MAX_BYTES = 64, 256 * 1024**2


class PromptEmbedCache:
    """Encoded prompts, those that were used last.

    Args:
        most: How many.
        most_bytes: How much memory they may take.
    """

    def __init__(self, most: int = MOST, most_bytes: int = MAX_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._kept: OrderedDict[Hashable, tuple[Any, list[torch.device], int]] = OrderedDict()
        self.hits = self.misses = 0

    def get(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """Return what is kept under a key, or make and keep it; never the tensors themselves, which the caller may write to."""
        if key in self._kept:
            self._kept.move_to_end(key)
            self.hits += 1
            kept, devices, _ = self._kept[key]
            return copied(kept, devices)
        self.misses += 1
        made = make()
        size = sum(each.nbytes for each in tensors(made))
        if size <= self._most_bytes:
            devices = [each.device for each in tensors(made)]
            self._kept[key] = (copied(made, [HOST] * len(devices)), devices, size)
            while len(self._kept) > self._most or sum(size for *_, size in self._kept.values()) > self._most_bytes:
                self._kept.popitem(last=False)
        return made

    def forget(self) -> None:
        """Forget everything, since the encoders have changed."""
        self._kept.clear()


def copied(value: Any, devices: Sequence[torch.device] = ()) -> Any:
    """Return a copy of an encoder's output, its tensors included.

    Args:
        value: The output.
        devices: Where its tensors are to be, in their order; without any, where they are.
    """
    return _copied(value, iter(devices))


def _copied(value: Any, devices: Iterator[torch.device]) -> Any:
    if isinstance(value, torch.Tensor):
        return value.to(next(devices, value.device), copy=True)
    if isinstance(value, Mapping):
        # A model's output is a mapping of its fields, and is made from them.
        return type(value)(**{name: _copied(each, devices) for name, each in value.items()})
    return type(value)([_copied(each, devices) for each in value]) if isinstance(value, tuple | list) else value


def tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yield all tensors of an encoder's output."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping | tuple | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from tensors(each)


def key_of(value: Any) -> Hashable:
    """Return what tells one argument of an encoder from another.

    Raises:
        TypeError: It cannot be told.
    """
    if isinstance(value, torch.Tensor):
        content = value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
        return tuple(value.shape), str(value.dtype), hashlib.sha256(content).digest()
    if isinstance(value, Mapping):
        return tuple(sorted((name, key_of(each)) for name, each in value.items()))
    if isinstance(value, tuple | list):
        return tuple(map(key_of, value))
    if value is None or isinstance(value, bool | int | float | str | torch.dtype | torch.device):
        return value
    raise TypeError(type(value).__name__)


def state_of(encoder: torch.nn.Module) -> Hashable:
    """Return what changes within a call when a pipeline scales adapters, and when new words come: sizes of its tables of words.

    It holds no address of a weight, since weights move. What a LoRA changes is told by `Loras.state`.
    """
    words = tuple(each.weight.shape for each in encoder.modules() if isinstance(each, torch.nn.Embedding))
    if not hasattr(encoder, "peft_config"):
        return words, str(getattr(encoder, "dtype", ""))
    layers: Iterator[Any] = (
        each for each in encoder.modules() if hasattr(each, "scaling") and hasattr(each, "active_adapters")
    )
    adapters = tuple(
        (
            tuple(layer.active_adapters),
            tuple(sorted(layer.scaling.items())),
            tuple(getattr(layer, "merged_adapters", ())),
            bool(getattr(layer, "disable_adapters", False)),
        )
        for layer in layers
    )
    return words, str(getattr(encoder, "dtype", "")), adapters
