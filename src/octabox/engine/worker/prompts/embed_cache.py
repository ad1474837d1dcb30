"""Cache the outputs of text encoders, so that a repeated prompt is not encoded again.

They are stored on the host, where they take no accelerator memory.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from transformers.cache_utils import Cache

from octabox.engine.worker.prompts.text_encoders import TextEncoder

#: Device of the stored tensors.
HOST = torch.device("cpu")

#: Default limits for one model: number of outputs, and their total size.
MAX_ENTRIES, MAX_BYTES = 64, 256 * 1024**2


@dataclass(frozen=True)
class _Entry:
    """A stored output.

    Args:
        output: The output, on the host.
        devices: The original device of each of its tensors.
        size: Its size in bytes.
        prompts: The prompts of the call that it was computed in.
    """

    output: Any
    devices: list[torch.device]
    size: int
    prompts: frozenset[str]


class PromptEmbedCache:
    """A least recently used cache of text encoder outputs.

    Args:
        max_entries: Maximum number of outputs.
        max_bytes: Maximum total size.
    """

    def __init__(self, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES) -> None:
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self.hits = self.misses = 0

    def find(self, key: Hashable) -> Any:
        """Return a copy of the output that is stored for a key, which the caller may modify; None if there is none."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        self._entries.move_to_end(key)
        self.hits += 1
        return clone_output(entry.output, entry.devices)

    def put(self, key: Hashable, output: Any, prompts: frozenset[str] = frozenset()) -> None:
        """Store a copy of an output that was not found, unless it is larger than the limit or has parts of an unknown type."""
        self.misses += 1
        if not is_storable(output):
            return
        size = sum(each.nbytes for each in iterate_tensors(output))
        if size > self._max_bytes:
            return
        devices = [each.device for each in iterate_tensors(output)]
        self._entries[key] = _Entry(clone_output(output, [HOST] * len(devices)), devices, size, prompts)
        while len(self._entries) > self._max_entries or self._size > self._max_bytes:
            self._entries.popitem(last=False)

    def has_any(self, prompts: frozenset[str]) -> bool:
        """Return whether an output is stored of a call with one of these prompts."""
        return any(not prompts.isdisjoint(each.prompts) for each in self._entries.values())

    def clear(self) -> None:
        """Remove all outputs."""
        self._entries.clear()

    @property
    def _size(self) -> int:
        return sum(each.size for each in self._entries.values())


@dataclass(frozen=True)
class CallCache:
    """The cache as one call uses it.

    Args:
        cache: The cache of the model.
        prompts: The prompts of the call.
        adapters: A key for the applied LoRAs.
    """

    cache: PromptEmbedCache
    prompts: frozenset[str]
    adapters: Hashable = ()

    def may_hit(self) -> bool:
        """Return whether an output may be stored for one of the prompts."""
        return self.cache.has_any(self.prompts)

    def key(self, encoder: TextEncoder, *arguments: Any, text: Hashable = None) -> Hashable:
        """Return the key of an encoder's output; None if an argument has none, or gradients are computed.

        Args:
            encoder: The encoder.
            arguments: What it is called with.
            text: The text to encode, if it is more than its tokens.
        """
        if torch.is_grad_enabled():
            return None
        try:
            return encoder.name, self.adapters, encoder_state(encoder.module), cache_key(arguments), text
        except TypeError:
            return None

    def find(self, key: Hashable) -> Any:
        """Return the stored output for a key; None if there is none."""
        return None if key is None else self.cache.find(key)

    def put(self, key: Hashable, output: Any) -> None:
        """Store an output, unless its key is None."""
        if key is not None:
            self.cache.put(key, output, self.prompts)


def cached_forward(encoder: TextEncoder, cache: CallCache) -> Callable[..., Any]:
    """Return a forward pass of an encoder that returns cached outputs."""
    original = encoder.module.forward

    @wraps(original)
    def forward(*args: Any, **options: Any) -> Any:
        key = cache.key(encoder, args, options)
        output = cache.find(key)
        if output is None:
            output = original(*args, **options)
            cache.put(key, output)
        return output

    return forward


def clone_output(output: Any, devices: Sequence[torch.device] = ()) -> Any:
    """Return a copy of an encoder's output, tensors included.

    Args:
        output: The output.
        devices: The devices of the copied tensors, in order; by default their current ones.
    """
    return _clone(output, iter(devices))


def is_storable(value: Any) -> bool:
    """Return whether an output has only parts that `clone_output` copies, and that `iterate_tensors` finds."""
    if isinstance(value, Mapping | tuple | list):
        return all(map(is_storable, value.values() if isinstance(value, Mapping) else value))
    return value is None or isinstance(value, torch.Tensor | Cache | bool | int | float | str)


def _clone(value: Any, devices: Iterator[torch.device]) -> Any:
    # The keys and values of the layers are only for tokens that a model generates next, and large.
    if isinstance(value, Cache):
        return None
    if isinstance(value, torch.Tensor):
        return value.to(next(devices, value.device), copy=True)
    if isinstance(value, Mapping):
        # A ModelOutput is a mapping of its fields, and is constructed from them.
        return type(value)(**{name: _clone(each, devices) for name, each in value.items()})
    return type(value)([_clone(each, devices) for each in value]) if isinstance(value, tuple | list) else value


def iterate_tensors(value: Any) -> Iterator[torch.Tensor]:
    """Yield all tensors of an encoder's output."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, Mapping | tuple | list):
        for each in value.values() if isinstance(value, Mapping) else value:
            yield from iterate_tensors(each)


def cache_key(value: Any) -> Hashable:
    """Return a hashable key for the arguments of an encoder.

    Raises:
        TypeError: An argument has no key.
    """
    if isinstance(value, torch.Tensor):
        content = value.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes()
        return tuple(value.shape), str(value.dtype), hashlib.sha256(content).digest()
    if isinstance(value, Mapping):
        return tuple(sorted((name, cache_key(each)) for name, each in value.items()))
    if isinstance(value, tuple | list):
        return tuple(map(cache_key, value))
    if value is None or isinstance(value, bool | int | float | str | torch.dtype | torch.device):
        return value
    raise TypeError(type(value).__name__)


def encoder_state(encoder: torch.nn.Module) -> Hashable:
    """Return a key for the state of an encoder: its dtype, the shapes of its embedding tables, and its scaled adapters.

    It holds no address of a weight, since weights move. Applied LoRAs are part of `Loras.state`.
    """
    tables = tuple(each.weight.shape for each in encoder.modules() if isinstance(each, torch.nn.Embedding))
    if not hasattr(encoder, "peft_config"):
        return tables, str(getattr(encoder, "dtype", ""))
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
    return tables, str(getattr(encoder, "dtype", "")), adapters
