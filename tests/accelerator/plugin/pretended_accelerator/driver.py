"""The state of the device in one process: initialization, faults and counts."""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch

from pretended_accelerator.memory import Memory
from pretended_accelerator.settings import Settings

#: What a use of CUDA raises in a fork of a process that has used it.
BAD_FORK = (
    "Cannot re-initialize CUDA in forked subprocess. "
    "To use CUDA with multiprocessing, you must use the 'spawn' start method"
)

_AcceleratorError: type[Exception] = getattr(torch, "AcceleratorError", RuntimeError)

_POISONED = (
    "CUDA error: {}\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might "
    "be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\nCompile with `TORCH_USE_CUDA_DSA` to enable "
    "device-side assertions.\n"
)

#: Faults with the messages of real devices: exception, message, and whether the device is unusable afterwards.
FAULTS: dict[str, tuple[type[Exception], str, bool]] = {
    "out of memory": (torch.OutOfMemoryError, "CUDA out of memory. Tried to allocate 2.00 GiB.", False),
    "driver out of memory": (_AcceleratorError, _POISONED.format("out of memory"), False),
    "mps out of memory": (
        RuntimeError,
        "MPS backend out of memory (MPS allocated: 9.00 GB, max allowed: 9.07 GB).",
        False,
    ),
    "cublas": (RuntimeError, "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`", False),
    "cudnn": (RuntimeError, "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR", False),
    "device-side assert": (_AcceleratorError, _POISONED.format("device-side assert triggered"), True),
    "illegal memory access": (_AcceleratorError, _POISONED.format("an illegal memory access was encountered"), True),
    "ecc": (_AcceleratorError, _POISONED.format("uncorrectable ECC error encountered"), True),
}


@dataclass
class Fault:
    """A fault that a later operator raises.

    Args:
        kind: One of `FAULTS`.
        after: Which of the operators to come raises it; 1 is the next.
        operator: The name of the operators that count, such as ``aten::convolution``; empty where all do.
    """

    kind: str
    after: int = 1
    operator: str = ""

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Return a fault from ``kind``, ``kind@after`` or ``kind@after:operator``."""
        kind, _, where = text.partition("@")
        after, _, operator = where.partition(":")
        return cls(kind, int(after or 1), operator)


class Driver:
    """The device of one process."""

    def __init__(self) -> None:
        self.settings = Settings.from_environment()
        self.memory = Memory(self.settings, self.use)
        self.faults: list[Fault] = []
        self.poison: Exception | None = None
        self.initializations, self.bad_fork, self.current = 0, False, 0
        self.forget_counts()
        os.register_at_fork(after_in_child=self._after_fork)

    def forget_counts(self) -> None:
        """Reset all counts except that of initializations."""
        self.operators: Counter[str] = Counter()
        self.operators_on: Counter[int] = Counter()
        self.bytes_to_device = self.bytes_to_host = 0

    def count_devices(self) -> int:
        """Return how many devices there are; as with CUDA that uses them, unless NVML is there and asked for."""
        if not self.settings.nvml or os.environ.get("PYTORCH_NVML_BASED_CUDA_CHECK") != "1":
            self.use()
        return self.settings.devices

    def use(self) -> None:
        """Initialize the device, unless this process has.

        Raises:
            RuntimeError: The process is a fork of one that has initialized it.
            AcceleratorError: Something went wrong that the device did not survive.
        """
        if self.bad_fork:
            raise RuntimeError(BAD_FORK)
        if self.poison is not None:
            raise type(self.poison)(*self.poison.args)
        if not self.initializations:
            self.initializations = 1
            self.settings.override()
            self.report("initialized")
            if self.settings.fail:
                self.faults.append(Fault.parse(self.settings.fail))

    def run(self, operator: str, index: int) -> None:
        """Count an operator that runs on a device, and raise a pending fault."""
        self.use()
        self.operators[operator] += 1
        self.operators_on[index] += 1
        for fault in self.faults:
            if fault.operator in ("", operator):
                fault.after -= 1
                if fault.after <= 0:
                    self.faults.remove(fault)
                    self._raise(fault.kind)

    def report(self, event: str) -> None:
        """Write an event of this process where others can read it."""
        if self.settings.folder:
            with (Path(self.settings.folder) / "events.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps({"pid": os.getpid(), "event": event}) + "\n")

    def _raise(self, kind: str) -> NoReturn:
        error, message, poisons = FAULTS[kind]
        exception = error(message)
        if poisons:
            self.poison = exception
        self.report(kind)
        raise exception

    def _after_fork(self) -> None:
        self.bad_fork = self.bad_fork or self.initializations > 0
        self.initializations = 0
        if self.bad_fork:
            self.report("bad fork")
        self.memory.forked()
