"""Recognize exceptions of exhausted memory and failed devices, and parse the sizes in their messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

import torch

from octabox.errors import OctaboxError

#: Exceptions whose messages may quote the caller's input and are not matched: invalid arguments and our own errors.
QUOTING_EXCEPTIONS = (ValueError, TypeError, LookupError, OctaboxError)

#: Patterns of messages of exhausted memory, by library.
OUT_OF_MEMORY_PATTERNS = (
    # torch's allocators ("CUDA out of memory", "MPS backend out of memory"), CUDA, HIP, SYCL, Level Zero, Metal, XLA
    r"out[ _]of[ _](?:\w+[ _])?memory",
    r"OutOf(?:Device|Host)?Memory",
    r"OUT_OF_RESOURCES",
    r"Insufficient Memory",
    r"Invalid buffer size",  # torch.mps, above the largest buffer of Metal
    r"(?:cuda|hip|mu)ErrorMemoryAllocation",
    # cuBLAS, cuDNN, cuFFT, cuSPARSE, cuSOLVER and AMD's of the same names; MIOpen; rocBLAS
    r"[A-Z]_ALLOC_FAILED",
    r"StatusAllocFailed",
    r"rocblas_status_memory_error",
    # cuDNN, which has no algorithm left whose workspace fits; for a dtype that the device lacks, `dtype_failure` recognizes it
    r"unable to find an engine to execute",
    # The host
    r"(?:can't|cannot|unable to|failed to) allocate",
    r"not enough memory",
    r"unable to mmap",
    r"bad_alloc",
    # oneDNN, which has no memory for the code of a kernel or for its scratchpad
    r"could not create a (?:primitive|memory(?: object)?)$",
)

#: Patterns of messages of a failed device, driver or kernel.
DEVICE_PATTERNS = (
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

_OUT_OF_MEMORY = re.compile("|".join(OUT_OF_MEMORY_PATTERNS), re.IGNORECASE)

#: Requested and free bytes in the messages of allocators.
_REQUESTED = re.compile(
    r"(?:tried|trying|unable|failed) to (?:allocate|mmap) ([\d.]+) ?([kmgt]?i?b(?:ytes)?)?\b", re.IGNORECASE
)
_FREE = re.compile(
    r"of which ([\d.]+) ?([kmgt]?i?b(?:ytes)?) is free|([\d.]+) ?([kmgt]?i?b(?:ytes)?) free;", re.IGNORECASE
)

#: Factors of byte units by first letter.
_FACTORS = {"k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception and its chain of causes and contexts, the latest first, up to one that was raised from None."""
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        yield each
        each = each.__cause__ or (None if each.__suppress_context__ else each.__context__)


def hardware_cause(error: BaseException) -> tuple[Literal["memory", "device"], BaseException] | None:
    """Return whether memory ran out or a device failed, with the exception in the chain that shows it; None if neither."""
    for each in causes(error):
        if _is_out_of_memory(each):
            return "memory", each
        if _is_device_error(each):
            return "device", each
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, of any device: not all raise the class of torch for that, such as MPS."""
    found = hardware_cause(error)
    return found is not None and found[0] == "memory"


def bytes_requested(message: str) -> int | None:
    """Return the size of a failed allocation from its message; None if it is not given."""
    return _bytes(_REQUESTED.search(message))


def bytes_free(message: str) -> int | None:
    """Return the free bytes at a failed allocation from its message; None if they are not given."""
    return _bytes(_FREE.search(message))


def _is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return not isinstance(error, QUOTING_EXCEPTIONS) and _OUT_OF_MEMORY.search(str(error)) is not None


def _is_device_error(error: BaseException) -> bool:
    # torch has had this class since 2.8.
    if isinstance(error, getattr(torch, "AcceleratorError", ())):
        return True
    return not isinstance(error, QUOTING_EXCEPTIONS) and _device_pattern().search(str(error)) is not None


def _device_pattern() -> re.Pattern[str]:
    """Return the pattern of device errors, including the name of an out-of-tree device type."""
    backend = re.escape(torch._C._get_privateuse1_backend_name())  # noqa: SLF001 (torch has no public name for it)
    return re.compile("|".join(DEVICE_PATTERNS).replace("{backend}", backend), re.IGNORECASE)


def _bytes(found: re.Match[str] | None) -> int | None:
    if found is None:
        return None
    number, unit, *_ = [each for each in found.groups() if each] + [""]
    return int(float(number.rstrip(".")) * _FACTORS.get(unit[:1].lower(), 1))
