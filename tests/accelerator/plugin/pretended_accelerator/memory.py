"""The device's memory: how tensors of the host become the device's without a copy and back, and who holds how many bytes.

DLPack describes a tensor by an address, sizes, strides and a device; only the device is overwritten here. Between the
memory and torch stands an array whose end is noticed.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from pretended_accelerator.settings import Settings

#: DLPack's numbers of the kinds of devices: the host, and one that torch does not know by itself.
_HOST, _EXTENSION = 1, 12

_MOST_DEVICES = 16

_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


def _at_device(tensor: torch.Tensor, kind: int, index: int) -> torch.Tensor:
    """Return a tensor over the same memory that reports another device."""
    capsule = torch._C._to_dlpack(tensor)
    # A ``DLTensor`` begins with an address; behind that stands the device.
    device = (ctypes.c_int32 * 2).from_address(_pointer_of(capsule, b"dltensor") + ctypes.sizeof(ctypes.c_void_p))
    device[0], device[1] = kind, index
    made: torch.Tensor = torch._C._from_dlpack(capsule)
    return made


class _Block(np.ndarray):
    """The bytes of a storage; it lives as long as torch uses them."""

    memory: Memory
    index: int

    def __del__(self) -> None:
        if "memory" in vars(self):
            self.memory.allocated[self.index] -= self.nbytes


class Memory:
    """Gives tensors of the host to devices, and counts their bytes until they are unused.

    Like torch's own allocators it keeps what was freed for reuse (reserved) until its cache is emptied.
    """

    def __init__(self, settings: Settings, use: Callable[[], None]) -> None:
        self._settings, self._use = settings, use
        self.allocated: Counter[int] = Counter()
        self.reserved: Counter[int] = Counter()
        self.peak: Counter[int] = Counter()
        self._shared: mmap.mmap | None = None

    def to_device(self, host: torch.Tensor, index: int) -> torch.Tensor:
        """Return a tensor of a device over the memory of one of the host, which belongs to nobody else.

        Raises:
            OutOfMemoryError: The device has less memory left.
            TypeError: The device lacks the dtype.
        """
        self._use()
        name = str(host.dtype).removeprefix("torch.")
        if name in self._settings.lacks:
            raise TypeError(f"{name} is not supported on fake:{index}")
        size = host.untyped_storage().nbytes()
        self._make_room(size, index)
        block = torch.empty(0, dtype=torch.uint8).set_(host.untyped_storage()).numpy().view(_Block)
        block.memory, block.index = self, index
        self._count(index, size)
        storage = torch.from_numpy(block).untyped_storage()
        counted = torch.empty(0, dtype=host.dtype).set_(storage, host.storage_offset(), host.size(), host.stride())
        return _at_device(counted, _EXTENSION, index)

    def to_host(self, tensor: torch.Tensor) -> torch.Tensor:
        """Return a tensor of the host over the memory of one of a device."""
        # DLPack has no word for numbers that are to be read as conjugate or negative.
        if tensor.is_conj():
            return self.to_host(tensor.conj()).conj()
        if tensor.is_neg():
            return torch._neg_view(self.to_host(torch._neg_view(tensor)))
        return _at_device(tensor.detach(), _HOST, 0)

    @property
    def total(self) -> int:
        """The bytes of each device."""
        return self._settings.memory or 1 << 40

    def free(self, index: int) -> int:
        """Return the bytes of a device that no process holds or keeps for reuse."""
        return max(0, self.total - self.reserved[index] - self._held_elsewhere(index))

    def empty_cache(self) -> None:
        """Release memory that is kept for reuse."""
        self.reserved = Counter(self.allocated)
        self._publish()

    def forked(self) -> None:
        """Forget what the process holds of which this one is a fork."""
        self._shared = None

    def _make_room(self, size: int, index: int) -> None:
        if not self._settings.memory:
            return
        left = self.total - self._held_elsewhere(index)
        if self.allocated[index] + size > left:
            raise torch.OutOfMemoryError(
                f"CUDA out of memory. Tried to allocate {size / 2**20:.2f} MiB. GPU {index} has a total capacity of "
                f"{self.total / 2**20:.2f} MiB of which {max(left - self.allocated[index], 0) / 2**20:.2f} MiB is free."
            )
        if self.reserved[index] + size > left:
            self.empty_cache()

    def _count(self, index: int, size: int) -> None:
        self.allocated[index] += size
        self.peak[index] = max(self.peak[index], self.allocated[index])
        if self.allocated[index] > self.reserved[index]:
            self.reserved[index] = self.allocated[index]
            self._publish()

    def _publish(self) -> None:
        """Write what this process holds where others can read it."""
        if not self._settings.folder:
            return
        if self._shared is None:
            folder = Path(self._settings.folder) / "held"
            folder.mkdir(exist_ok=True)
            self._file = (folder / str(os.getpid())).open("w+b")
            self._file.write(bytes(8 * _MOST_DEVICES))
            self._file.flush()
            # The lock ends with the process, however that ends. One that looks for it holds it for an instant too.
            fcntl.lockf(self._file, fcntl.LOCK_EX)
            self._shared = mmap.mmap(self._file.fileno(), 8 * _MOST_DEVICES)
        for index in range(self._settings.devices):
            self._shared[8 * index : 8 * index + 8] = self.reserved[index].to_bytes(8, "little")

    def _held_elsewhere(self, index: int) -> int:
        """Return the bytes of a device that other processes hold."""
        folder, held = Path(self._settings.folder) / "held", 0
        if not self._settings.folder or not folder.exists():
            return 0
        for path in folder.iterdir():
            if path.name == str(os.getpid()):
                continue
            with path.open("rb") as file:
                try:
                    # Shared: what has ended must not seem alive because a third process is looking at it too.
                    fcntl.lockf(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except OSError:
                    held += int.from_bytes(file.read()[8 * index : 8 * index + 8], "little")
        return held
