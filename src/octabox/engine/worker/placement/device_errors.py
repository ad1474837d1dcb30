"""Which exceptions of libraries mean that memory ran out or that a device failed, and the numbers in their messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import torch

from octabox.errors import OctaboxError

#: Exceptions whose messages may quote the caller, so that their words mean nothing here: refused arguments, and our own.
QUOTING = (ValueError, TypeError, LookupError, OctaboxError)

#: Words of exceptions that mean that memory ran out, by where they come from.
OUT_OF_MEMORY_WORDS = (
    # torch's allocators ("CUDA out of memory", "MPS backend out of memory"), CUDA, HIP, SYCL, Level Zero, Metal, XLA
    r"out[ _]of[ _](?:\w+[ _])?memory",
    r"OutOf(?:Device|Host)?Memory",
    r"OUT_OF_RESOURCES",
    r"Insufficient Memory",
    r"Invalid buffer size",  # torch.mps, beyond what Metal allocates at once
    r"(?:cuda|hip|mu)ErrorMemoryAllocation",
    # cuBLAS, cuDNN, cuFFT, cuSPARSE, cuSOLVER and AMD's of the same names; MIOpen; rocBLAS
    r"[A-Z]_ALLOC_FAILED",
    r"StatusAllocFailed",
    r"rocblas_status_memory_error",
    # The host
    r"(?:can't|cannot|unable to|failed to) allocate",
    r"not enough memory",
    r"unable to mmap",
    r"bad_alloc",
)

#: Words of exceptions that mean that a device, its driver or a kernel failed.
DEVICE_WORDS = (
    r"device-side assert",
    # As in the messages "CUDA error: ...", "CUDA driver error", "HIP runtime error", "Triton Error [CUDA]" and the like
    r"\b(?:CUDA|HIP|ROCm|XPU|SYCL|MPS|Metal|NPU|ACL|MUSA|MLU|CNRT|HPU|MTIA|Triton|NCCL|RCCL|{backend})(?: \w+)? error\b",
    r"\b(?:cu|hip|roc|mu)(?:DNN|BLAS(?:Lt)?|FFT|SPARSE(?:Lt)?|SOLVER|RAND) error\b",
    r"\bMIOpen error\b",
    r"\b(?:CU|HIP|ROC|MI|MU)[A-Z]+_STATUS_(?!SUCCESS)[A-Z_]+",
    r"\b(?:CU|HIP)FFT_(?!SUCCESS)[A-Z_]+",
    r"\b(?:cuda|hip|mu)Error[A-Z]\w+",
    r"\bmiopenStatus(?!Success)\w+",
    r"\brocblas_status_(?!success)\w+",
    r"\bHSA_STATUS_ERROR\w*",
    r"\b(?:UR_RESULT|PI|ZE_RESULT)_ERROR_\w+",
    r"level_zero backend failed",
    r"Native API (?:failed|returns)",
    r"kIOGPUCommandBuffer\w*Error",
    r"\bECC error",
    r"illegal memory access",
    r"illegal instruction was encountered",
    r"unspecified launch failure",
    r"misaligned address",
    r"no kernel image is available",
    r"(?:GPU|device) (?:is|was|has been) (?:lost|removed|hung)",
    r"fallen off the bus",
    r"NVML_SUCCESS ==",
    r"(?:CUDA|HIP|MUSA|NVIDIA) driver",
    r"No (?:CUDA|HIP|XPU|MUSA) GPUs are available",
    r"Cannot re-initialize \w+ in forked subprocess",
)

_OUT_OF_MEMORY = re.compile("|".join(OUT_OF_MEMORY_WORDS), re.IGNORECASE)

#: What an allocation was to have, and what was free, as the allocators write it; GPU 0 may have been asked for by others too.
_REQUESTED = re.compile(
    r"(?:tried|trying|unable|failed) to (?:allocate|mmap) ([\d.]+) ?([kmgt]?i?b(?:ytes)?)?\b", re.IGNORECASE
)
_FREE = re.compile(
    r"of which ([\d.]+) ?([kmgt]?i?b(?:ytes)?) is free|([\d.]+) ?([kmgt]?i?b(?:ytes)?) free;", re.IGNORECASE
)

#: Factors of units by their first letters.
_FACTORS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and those that it was raised from or over, the last first."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or each.__context__


def hardware_cause(error: BaseException) -> tuple[Literal["memory", "device"], BaseException] | None:
    """Return whether memory ran out or a device failed, and the exception behind an error that says so; None if none does."""
    for each in causes(error):
        if _is_out_of_memory(each):
            return "memory", each
        if _is_of_device(each):
            return "device", each
    return None


def bytes_requested(message: str) -> int | None:
    """Return how many bytes an allocation that failed was to have, by its message; None where it does not say."""
    return _bytes(_REQUESTED.search(message))


def bytes_free(message: str) -> int | None:
    """Return how many bytes were free when an allocation failed, by its message; None where it does not say."""
    return _bytes(_FREE.search(message))


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return not isinstance(error, QUOTING) and _OUT_OF_MEMORY.search(str(error)) is not None


def _is_of_device(error: BaseException) -> bool:
    # torch has had this class since 2.8.
    if isinstance(error, getattr(torch, "AcceleratorError", ())):
        return True
    return not isinstance(error, QUOTING) and _device_pattern().search(str(error)) is not None


def _device_pattern() -> re.Pattern[str]:
    """Return the words of failing devices, the name of an out-of-tree device's type among them."""
    backend = re.escape(torch._C._get_privateuse1_backend_name())  # noqa: SLF001 (torch has no public name for it)
    return re.compile("|".join(DEVICE_WORDS).replace("{backend}", backend), re.IGNORECASE)


def _bytes(found: re.Match[str] | None) -> int | None:
    if found is None:
        return None
    number, unit, *_ = [each for each in found.groups() if each] + [""]
    return int(float(number.rstrip(".")) * _FACTORS.get(unit[:1].lower(), 1))
