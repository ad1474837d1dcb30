"""What programs call: ``torch.fake``, ``torch.accelerator`` and ``torch.Generator``, answered by the driver.

Torch lets a device of Python say little by itself; the rest is put in place of torch's own functions here.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch.overrides import handle_torch_function, has_torch_function_unary
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
from typing_extensions import Self

from pretended_accelerator.driver import Driver
from pretended_accelerator.generators import GENERATORS, generator_device, implementation
from pretended_accelerator.operators import NAME, Operators, is_ours

#: Torch without its types, of which several do not allow for what is put in place here.
_torch: Any = torch


def install(driver: Driver) -> None:
    """Give torch the device."""
    _setup_privateuseone_for_python_backend(NAME, backend_module=Module(driver), hook=_Hook())
    Operators(driver).register()
    _answer_for_accelerator(driver)
    _Generator.driver = driver
    _torch.Generator = _Generator
    _torch._has_compatible_shallow_copy_type = _can_exchange_data
    _torch.Tensor.data = property(_get_data, _set_data)
    _torch.UntypedStorage.clone = _clone_storage
    _torch.UntypedStorage.to = _move_storage


class Module:
    """``torch.fake``: the functions of ``torch.cuda`` that a device of any kind has."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def is_available(self) -> bool:
        """Return whether there is a device."""
        return self.device_count() > 0

    def is_initialized(self) -> bool:
        """Return whether this process has used the device."""
        return self._driver.initializations > 0 and not self._driver.bad_fork

    def device_count(self) -> int:
        """Return how many devices there are."""
        return self._driver.count_devices()

    def current_device(self) -> int:
        """Return the index of the default device."""
        self._driver.use()
        return self._driver.current

    def set_device(self, device: Any) -> None:
        """Set the default device."""
        self._driver.use()
        self._driver.current = self._index(device)

    def device(self, device: Any) -> AbstractContextManager[None]:
        """Set the default device within the context."""
        return torch.accelerator.device_index(self._index(device))

    def get_device_name(self, device: Any = None) -> str:
        """Return the name of a device."""
        return f"Pretended accelerator {self._index(device)}"

    def _is_in_bad_fork(self) -> bool:
        return self._driver.bad_fork

    def manual_seed(self, seed: int) -> None:
        """Seed the device; its numbers are drawn by the host's generator, which torch seeds as well."""

    manual_seed_all = manual_seed

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        """Return the state of the generator of random numbers."""
        return torch.get_rng_state()

    def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None:
        """Set the state of the generator of random numbers."""
        torch.set_rng_state(state)

    def synchronize(self, device: Any = None) -> None:
        """Wait for all operators."""
        self._driver.use()

    def ipc_collect(self) -> None:
        """Collect memory that other processes have given back."""

    def empty_cache(self) -> None:
        """Give back memory that is kept for reuse."""
        if self._driver.initializations:
            self._driver.use()
            self._driver.memory.empty_cache()

    def memory_allocated(self, device: Any = None) -> int:
        """Return the bytes that tensors of this process hold."""
        return self._driver.memory.allocated[self._index(device)]

    def memory_reserved(self, device: Any = None) -> int:
        """Return the bytes that tensors of this process hold, and those kept for reuse."""
        return self._driver.memory.reserved[self._index(device)]

    def max_memory_allocated(self, device: Any = None) -> int:
        """Return the most bytes that tensors of this process have held."""
        return self._driver.memory.peak[self._index(device)]

    def reset_peak_memory_stats(self, device: Any = None) -> None:
        """Begin the count of the most bytes anew."""
        index = self._index(device)
        self._driver.memory.peak[index] = self._driver.memory.allocated[index]

    def mem_get_info(self, device: Any = None) -> tuple[int, int]:
        """Return the free bytes of a device and all of them."""
        self._driver.use()
        return self._driver.memory.free(self._index(device)), self._driver.memory.total

    def is_bf16_supported(self, including_emulation: bool = True) -> bool:
        """Return whether the device computes in bfloat16."""
        settings = self._driver.settings
        emulated = "bfloat16" in settings.emulates
        return "bfloat16" not in settings.lacks and (including_emulation or not emulated)

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        """Return the dtypes that torch may choose by itself."""
        return [torch.float16, *([torch.bfloat16] if self.is_bf16_supported() else [])]

    def _index(self, device: Any) -> int:
        if isinstance(device, str):
            device = torch.device(device)
        index = device.index if isinstance(device, torch.device) else device
        index = self._driver.current if index is None else int(index)
        if index >= self._driver.settings.devices:
            raise RuntimeError("CUDA error: invalid device ordinal")
        return index


class _Hook(torch._C._acc.PrivateUse1Hooks):
    def is_available(self) -> bool:
        return True

    def has_primary_context(self, device_index: int) -> bool:
        return True

    def is_built(self) -> bool:
        return True


def _answer_for_accelerator(driver: Driver) -> None:
    """Replace the C++ functions that ``torch.accelerator`` calls."""
    module = torch.get_device_module(NAME)

    def exchange(index: int) -> int:
        before, driver.current = driver.current, index if index >= 0 else driver.current
        return before

    def statistics(index: int) -> dict[str, Any]:
        memory = driver.memory
        allocated = {"current": memory.allocated[index], "peak": memory.peak[index]}
        reserved = {"current": memory.reserved[index], "peak": memory.reserved[index]}
        return {"allocated_bytes": {"all": allocated}, "reserved_bytes": {"all": reserved}}

    answers = {
        "getDeviceIndex": module.current_device,
        "setDeviceIndex": module.set_device,
        "exchangeDevice": exchange,
        "maybeExchangeDevice": exchange,
        "synchronizeDevice": module.synchronize,
        "isAllocatorInitialized": module.is_initialized,
        "emptyCache": module.empty_cache,
        "emptyHostCache": lambda: None,
        "getDeviceStats": statistics,
        "resetPeakStats": module.reset_peak_memory_stats,
        "resetAccumulatedStats": lambda index: None,
        "getMemoryInfo": module.mem_get_info,
    }
    for name, answer in answers.items():
        setattr(torch._C, f"_accelerator_{name}", answer)


class _AnyGenerator(type(torch._C.Generator)):  # type: ignore[misc]
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, torch._C.Generator)


class _Generator(torch._C.Generator, metaclass=_AnyGenerator):
    """A generator that reports a device of its own; numbers are drawn on the host."""

    driver: Driver

    def __new__(cls, device: Any = "cpu") -> Self:
        asked = torch.device(device)
        made: Self = torch._C.Generator.__new__(cls, "cpu" if asked.type == NAME else asked)  # type: ignore[call-arg]
        if asked.type == NAME:
            cls.driver.use()
            GENERATORS[implementation(made)] = torch.device(
                NAME, cls.driver.current if asked.index is None else asked.index
            )
        return made

    def __del__(self) -> None:
        GENERATORS.pop(implementation(self), None)

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """Set the default device within the context."""
        return generator_device(self)


_data: Any = torch._C.TensorBase.data
_compatible = torch._has_compatible_shallow_copy_type


def _can_exchange_data(input: torch.Tensor, from_: torch.Tensor) -> bool:  # noqa: A002 (torch's own names)
    return is_ours(input) or is_ours(from_) or _compatible(input, from_)


# Dynamo compares signatures with the types themselves.
_can_exchange_data.__annotations__ = {"input": torch.Tensor, "from_": torch.Tensor, "return": bool}


def _get_data(tensor: torch.Tensor) -> Any:
    return _data.__get__(tensor)


def _set_data(tensor: torch.Tensor, value: torch.Tensor) -> None:
    """Give a tensor the numbers of one of another device, as torch allows between the host and CUDA.

    A mode for functions sees it, as it sees torch's own setter.
    """
    if has_torch_function_unary(tensor):
        handle_torch_function(_torch.Tensor.data.__set__, (tensor,), tensor, value)
        return
    if is_ours(tensor) == is_ours(value):
        _data.__set__(tensor, value)
        return
    new = value.detach()
    if isinstance(tensor, torch.nn.Parameter):
        new = torch.nn.Parameter(new, requires_grad=tensor.requires_grad)
    _torch.utils.swap_tensors(tensor, new)


_clone, _move = _torch.UntypedStorage.clone, _torch.UntypedStorage.to


def _clone_storage(storage: torch.UntypedStorage) -> Any:
    """Copy a storage; torch would call the device's allocator, which does not exist."""
    if storage.device.type != NAME:
        return _clone(storage)
    return _bytes_of(storage).clone().untyped_storage()


def _move_storage(storage: torch.UntypedStorage, *, device: Any, non_blocking: bool = False) -> Any:
    """Copy a storage to a device, likewise."""
    if NAME not in (storage.device.type, torch.device(device).type):
        return _move(storage, device=device, non_blocking=non_blocking)
    return _bytes_of(storage).to(device).untyped_storage()


def _bytes_of(storage: torch.UntypedStorage) -> torch.Tensor:
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
