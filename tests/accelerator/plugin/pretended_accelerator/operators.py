"""How operators run on the device: on the host's kernels, after what CUDA refuses has been refused.

One fallback serves every operator that torch does not compose of others by itself. The few kernels beside it are what torch
asks of each device: memory, copies, and the names by which it calls a device's own convolution and attention.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any

import torch

from pretended_accelerator.driver import Driver
from pretended_accelerator.generators import generator_device

NAME = "fake"
aten = torch.ops.aten
_CPU = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)

#: Operators of CUDA that take tensors of the host beside the device's own: as what is copied, or as indices.
COPIES = {"aten::copy_", "aten::_copy_from", "aten::_foreach_copy_"}
INDEXES = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_", "aten::_unsafe_index"}

#: What a kernel of the host says of dtypes that it lacks and CUDA's has.
_LACKING = re.compile(r"not implemented for '?(Half|BFloat16)|unsupported ScalarType (Half|BFloat16)")


class Operators:
    """Runs operators for a driver."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        library: Any = torch.library.Library
        self._libraries = [library("_", "IMPL"), library("aten", "IMPL")]

    def register(self) -> None:
        """Let torch run the device's operators here."""
        fallback, own = self._libraries
        fallback.fallback(self.run, "PrivateUse1")
        kernels: dict[str, Callable[..., Any]] = {
            "empty.memory_format": self._empty,
            "empty_strided": self._empty_strided,
            "resize_": self._resize,
            "_copy_from": self._copy,
            "convolution_overrideable": lambda *args: self.run(aten.convolution.default, *args),
            "convolution_backward_overrideable": self._convolution_backward,
            "native_group_norm": lambda *args: self.run(aten.native_group_norm.default, *args),
            "_fused_sdp_choice": lambda *_, **__: 0,
        }
        for name, kernel in kernels.items():
            own.impl(name, kernel, "PrivateUse1")
        for key in ("Conjugate", "Negative"):
            # By itself torch would copy what is to be copied first, and so on for ever.
            own.impl("_copy_from", torch.library.fallthrough_kernel, key)

    def run(self, operator: Any, *args: Any, **kwargs: Any) -> Any:
        """Run an operator on the host, and return what it returns as tensors of the device."""
        name, values = name_of(operator), list(leaves((*args, *kwargs.values())))
        index = device_index(values, self._driver.current)
        self._driver.run(name, index)
        check(name, values, index)
        if is_view(operator):
            # Sizes and strides are all that these look at; the storage stays what it is.
            return operator.redispatch(_CPU, *args, **kwargs)
        memory, lent = self._driver.memory, dict[int, torch.Tensor]()
        empty = {id(each) for each in written(operator, args, kwargs) if each.shape == (0,)}

        def lend(value: Any) -> Any:
            if isinstance(value, torch.device) and value.type == NAME:
                return torch.device("cpu")
            if not is_ours(value):
                return value
            # An output that was given without a size gets memory of its own.
            made = torch.empty(0, dtype=value.dtype) if id(value) in empty else memory.to_host(value)
            lent[id(made)] = value
            return made

        def take(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            owner = lent.get(id(value))
            if owner is None:
                return memory.to_device(value, index)
            if owner.shape != value.shape:
                replace_storage(owner, memory.to_device(value, index))
            elif owner.stride() != value.stride():
                # Kernels may lay their output out as the input is, in the memory that they were given.
                set_layout(owner, owner.untyped_storage(), owner.storage_offset(), value)
            return owner

        args = tuple(replaced(value, lend) for value in args)
        kwargs = {key: replaced(value, lend) for key, value in kwargs.items()}
        return replaced(on_host(operator, args, kwargs), take)

    def _empty(self, size: list[int], **options: Any) -> torch.Tensor:
        form = options.get("memory_format") or torch.contiguous_format
        dtype = options.get("dtype") or torch.get_default_dtype()
        return self._new(torch.empty(size, dtype=dtype, memory_format=form), options)

    def _empty_strided(self, size: list[int], stride: list[int], **options: Any) -> torch.Tensor:
        dtype = options.get("dtype") or torch.get_default_dtype()
        return self._new(torch.empty_strided(size, stride, dtype=dtype), options)

    def _new(self, host: torch.Tensor, options: dict[str, Any]) -> torch.Tensor:
        device = options.get("device")
        index = self._driver.current if device is None or device.index is None else device.index
        if index >= self._driver.settings.devices:
            raise RuntimeError("CUDA error: invalid device ordinal")
        return self._driver.memory.to_device(host, index)

    def _resize(self, tensor: torch.Tensor, size: list[int], *, memory_format: Any = None) -> torch.Tensor:
        host = self._driver.memory.to_host(tensor).clone().resize_(size)
        replace_storage(tensor, self._driver.memory.to_device(host, tensor.device.index))
        return tensor

    def _copy(self, source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
        index = device_index([source, target], 0)
        self._driver.run("aten::copy_", index)
        if not is_ours(source):
            self._driver.bytes_to_device += source.nbytes
        if not is_ours(target):
            self._driver.bytes_to_host += source.nbytes
        memory = self._driver.memory
        host = memory.to_host(target) if is_ours(target) else target
        host.copy_(memory.to_host(source) if is_ours(source) else source)
        return target

    def _convolution_backward(self, grad: torch.Tensor, *args: Any) -> Any:
        *rest, mask = args
        return self.run(aten.convolution_backward.default, grad, rest[0], rest[1], None, *rest[2:], mask)


def is_ours(value: object) -> bool:
    """Return whether a value is a tensor of the device."""
    return isinstance(value, torch.Tensor) and value.device.type == NAME


def device_index(values: list[Any], current: int) -> int:
    """Return the index of the device that an operator with these values runs on."""
    return next((int(value.device.index) for value in values if is_ours(value)), current)


def check(name: str, values: list[Any], index: int) -> None:
    """Refuse what CUDA refuses.

    Raises:
        RuntimeError: There are tensors of two devices, or a generator is of another.
    """
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    here = torch.device(NAME, index)
    strange = [each for each in tensors if each.device != here and (each.ndim or is_ours(each))]
    if name in INDEXES and tensors and is_ours(tensors[0]):
        strange = [each for each in strange if is_ours(each)]
    if strange and name not in COPIES:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {here} and "
            f"{strange[0].device}! (when checking arguments of {name})"
        )
    for value in values:
        if isinstance(value, torch.Generator) and generator_device(value) != here:
            raise RuntimeError(f"Expected a '{here}' generator device but found '{generator_device(value)}'")


@cache
def is_view(operator: Any) -> bool:
    """Return whether an operator only returns a view of its input."""
    returned = [each.alias_info for each in operator._schema.returns]
    return operator.name().startswith("aten::set_.") or any(alias and not alias.is_write for alias in returned)


def written(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[torch.Tensor]:
    """Yield the tensors that an operator writes into."""
    for place, name in _places_written(operator):
        value = args[place] if place < len(args) else kwargs.get(name)
        if isinstance(value, torch.Tensor):
            yield value


@cache
def _places_written(operator: Any) -> list[tuple[int, str]]:
    arguments = enumerate(operator._schema.arguments)
    return [(place, each.name) for place, each in arguments if each.alias_info and each.alias_info.is_write]


@cache
def name_of(operator: Any) -> str:
    """Return an operator's name without that of its overload."""
    return str(operator.name()).partition(".")[0]


def leaves(values: Iterable[Any]) -> Iterator[Any]:
    """Yield values, and those in lists among them."""
    for value in values:
        if isinstance(value, (list, tuple)):
            yield from leaves(value)
        else:
            yield value


def replaced(value: Any, function: Callable[[Any], Any]) -> Any:
    """Return what a function makes of a value, or of each in a list."""
    if isinstance(value, (list, tuple)):
        return type(value)([replaced(each, function) for each in value])
    return function(value)


def replace_storage(tensor: torch.Tensor, new: torch.Tensor) -> None:
    """Let a tensor have the memory and sizes of another."""
    set_layout(tensor, new.untyped_storage(), new.storage_offset(), new)


def set_layout(tensor: torch.Tensor, storage: torch.UntypedStorage, offset: Any, like: torch.Tensor) -> None:
    """Let a tensor look at a storage from an offset on, with the sizes and strides of another."""
    aten.set_.source_Storage_storage_offset.redispatch(_CPU, tensor, storage, offset, like.size(), like.stride())


def on_host(operator: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run an operator on the host; in float32 where the host has no kernel for half precision."""
    try:
        return operator(*args, **kwargs)
    except RuntimeError as error:
        if "Expected a value of type 'Tensor" in str(error):
            # A number that torch had made a tensor of, and gives to a fallback as a number.
            return operator.overloadpacket(*args, **kwargs)
        if not _LACKING.search(str(error)):
            raise
    halves = {value.dtype for value in leaves((*args, *kwargs.values())) if isinstance(value, torch.Tensor)}
    half = next(dtype for dtype in (torch.float16, torch.bfloat16) if dtype in halves)
    wide = [replaced(each, lambda value: _cast(value, half, torch.float32)) for each in (args, tuple(kwargs.values()))]
    named = dict(zip(kwargs, wide[1], strict=True))
    outputs = dict(zip(map(id, written(operator, wide[0], named)), written(operator, args, kwargs), strict=True))
    results = operator(*wide[0], **named)
    for made, output in zip(written(operator, wide[0], named), outputs.values(), strict=True):
        if output.shape != made.shape:
            output.resize_(made.shape)
        output.copy_(made)
    return replaced(results, lambda value: outputs.get(id(value), _cast(value, torch.float32, half)))


def _cast(value: Any, one: torch.dtype, other: torch.dtype) -> Any:
    return value.to(other) if isinstance(value, torch.Tensor) and value.dtype == one else value
