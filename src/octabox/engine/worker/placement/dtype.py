"""Choose the dtype that a model is loaded in."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from octabox.config.model import DTYPES, ModelConfig
from octabox.engine.worker.placement.device_errors import is_out_of_memory
from octabox.engine.worker.placement.dtype_failures import device_model, failed_dtypes
from octabox.hub.folder import CHECKPOINT_SUFFIXES
from octabox.hub.weights import only_variant, stored_dtype, weight_files

#: Half-precision dtypes; bfloat16, with the range of float32, first.
HALF_DTYPES = (torch.bfloat16, torch.float16)

#: Dtypes by their names in .safetensors files and in variants of weight files.
DTYPES_BY_NAME = {"F16": torch.float16, "BF16": torch.bfloat16, "fp16": torch.float16, "bf16": torch.bfloat16}

#: Messages of torch and numpy about tensors of different dtypes.
_MISMATCH = re.compile(
    r"same dtype|type \(.*\) should be the same|expected scalar type|dtypes? (?:to|must|should) match"
    r"|dtypes match|expected .* but (?:got|found) .*(?:Half|BFloat16|float16)",
    re.IGNORECASE,
)

#: Messages about an operator or a format that does not support a dtype.
_UNSUPPORTED = re.compile(
    r"unsupported ScalarType|unsupported dtype (?:Half|BFloat16)|not implemented for '(?:Half|BFloat16)'"
    r"|in half precision|low precision dtypes not supported"
    r"|(?:Half|BFloat16|float16)\b.* (?:is not supported|not implemented)"
    r"|(?:does not|doesn't|do not) support .*(?:Half|BFloat16|float16)",
    re.IGNORECASE,
)

#: Message of cuDNN that no algorithm is left: for a dtype that the device lacks, or else for lack of memory.
_NO_ENGINE = re.compile("unable to find an engine to execute", re.IGNORECASE)


@dataclass(frozen=True)
class Precision:
    """The dtype of a model's weights, and whether its components cast their inputs.

    Args:
        dtype: Dtype of the weights.
        casts: Whether the inputs of each component are cast to its dtype.
    """

    dtype: torch.dtype
    casts: bool = False

    def __str__(self) -> str:
        return dtype_name(self.dtype) + (" with casts" if self.casts else "")


@dataclass(frozen=True)
class DtypeChoice:
    """The precisions that a model may be loaded in.

    Args:
        attempts: Precisions to try in turn; the first one is in use.
        automatic: Whether the configuration leaves the dtype open.
        key: Cache key of recorded dtype failures.
    """

    attempts: tuple[Precision, ...]
    automatic: bool = False
    key: Mapping[str, str] = field(default_factory=dict)

    def after(self, attempt: Precision, *, mismatch: bool) -> Precision | None:
        """Return the next precision after a failed one, None after the last; casts are tried only on a dtype mismatch."""
        rest = self.attempts[self.attempts.index(attempt) + 1 :]
        return next((each for each in rest if mismatch or each.dtype != attempt.dtype), None)


def choose_dtypes(
    config: ModelConfig, default: str, device: str, pipeline_class: Any, class_names: list[str] | None
) -> DtypeChoice:
    """Return the precisions that a model may be loaded in.

    ``auto`` is float32 on the CPU. On an accelerator it is a half-precision dtype that the device supports: the one of the
    stored weights, else bfloat16. The other one and float32 follow, in case the class does not run in the first.

    Args:
        config: The model's configuration.
        default: Dtype to use for ``auto`` in the configuration.
        device: Device that the model runs on.
        pipeline_class: Pipeline class; its ``preferred_dtypes`` are preferred, if it has any.
        class_names: Classes of the model's components; None if they are not known yet.
    """
    requested = default if config.dtype == "auto" else config.dtype
    key = {
        "pipeline": pipeline_class.__name__,
        "parts": ",".join(sorted(class_names or ())),
        "device": device_model(device),
    }
    failed = failed_dtypes(key)
    if requested != "auto":
        attempts = _with_casts(parse_dtype(requested))
        return DtypeChoice(tuple(each for each in attempts if str(each) not in failed) or attempts[:1], key=key)
    if device == "cpu":
        return DtypeChoice((Precision(torch.float32),), automatic=True, key=key)
    halves = sorted(supported_half_dtypes(device), key=_preferred_half_dtypes(config, pipeline_class).index)
    attempts = tuple(attempt for half in halves for attempt in _with_casts(half) if str(attempt) not in failed)
    return DtypeChoice((*attempts, Precision(torch.float32)), automatic=True, key=key)


def parse_dtype(name: str) -> torch.dtype:
    """Return the dtype with a name in torch."""
    dtype = getattr(torch, name)
    assert isinstance(dtype, torch.dtype)  # noqa: S101 (checked by the configuration)
    return dtype


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype without the prefix ``torch.``."""
    return str(dtype).removeprefix("torch.")


def _with_casts(dtype: torch.dtype) -> tuple[Precision, ...]:
    """Return a dtype first without and then with casts; float32 only without."""
    return (Precision(dtype),) if dtype == torch.float32 else (Precision(dtype), Precision(dtype, casts=True))


def _preferred_half_dtypes(config: ModelConfig, pipeline_class: Any) -> list[torch.dtype]:
    """Return the half-precision dtypes in order of preference for a model."""
    dtypes = [*getattr(pipeline_class, "preferred_dtypes", ()), *HALF_DTYPES]
    if stored := stored_half_dtype(config):
        dtypes.insert(0, stored)
    return list(dict.fromkeys(each for each in dtypes if each in HALF_DTYPES))


def supported_half_dtypes(device: str) -> tuple[torch.dtype, ...]:
    """Return the half-precision dtypes that a device supports without emulation."""
    module = torch.get_device_module(torch.device(device))
    with _current_device(torch.device(device)):
        return tuple(half for half in HALF_DTYPES if _reports_support(module, half) and _can_multiply(device, half))


def _reports_support(module: Any, half: torch.dtype) -> bool:
    """Return whether a device module reports support of a dtype on the current device; True if it has no such function."""
    if half == torch.bfloat16 and callable(is_supported := getattr(module, "is_bf16_supported", None)):
        has_emulation = "including_emulation" in inspect.signature(is_supported).parameters
        return bool(is_supported(including_emulation=False) if has_emulation else is_supported())
    amp_dtypes = getattr(module, "get_amp_supported_dtype", None)
    return half in amp_dtypes() if callable(amp_dtypes) else True


def _can_multiply(device: str, half: torch.dtype) -> bool:
    """Return whether a device can multiply matrices of a dtype."""
    try:
        ones = torch.ones((2, 2), device=device, dtype=half)
        return bool((ones @ ones).cpu().float().sum() == 8)  # noqa: PLR2004 (four sums of two)
    except (RuntimeError, TypeError, NotImplementedError) as error:
        if is_out_of_memory(error):
            raise
        return False


@contextmanager
def _current_device(device: torch.device) -> Iterator[None]:
    """Make a device the current one within the context, since device modules report the dtypes of that one."""
    if device.index is None:
        yield
        return
    before = torch.accelerator.current_device_index()
    torch.accelerator.set_device_index(device.index)
    try:
        yield
    finally:
        torch.accelerator.set_device_index(before)


def stored_half_dtype(config: ModelConfig) -> torch.dtype | None:
    """Return the half-precision dtype of most weights of a local model; None if it is another one or unknown."""
    source = Path(config.model)
    if source.suffix.lower() in CHECKPOINT_SUFFIXES:
        return DTYPES_BY_NAME.get(stored_dtype([source]) or "")
    variant = config.variant or only_variant(source)
    configured_adapters = {name for name, part in config.parts() if part.model}
    files = [file for file in weight_files(source) if file.component not in configured_adapters]
    selected = [file for file in files if file.variant == variant] or files
    return DTYPES_BY_NAME.get(stored_dtype([file.path for file in selected]) or variant or "")


def choose_variant(variant: str | None, folder: str | Path, dtype: torch.dtype) -> str | None:
    """Return the variant of the weight files to load.

    Args:
        variant: The configured variant.
        folder: Folder of a model or component; a Hub id is not inspected.
        dtype: Dtype to load in, whose variant is preferred.

    Returns:
        The configured variant, else that of the dtype, else the only one in the folder, else None.
    """
    preferred = next((name for name, each in DTYPES_BY_NAME.items() if each == dtype and name.islower()), None)
    return variant or only_variant(Path(folder), preferred)


def dtype_failure(
    error: BaseException | None, dtype: torch.dtype | None = None, device: str = "cpu"
) -> tuple[str, bool] | None:
    """Return the message about a dtype in an error's chain, and whether it is about a mismatch; None if there is none.

    Args:
        error: The error.
        dtype: The dtype that the model computes in, if it is known.
        device: Device that it computes on.
    """
    while error is not None:
        text = " ".join(str(error).split())
        if isinstance(error, (RuntimeError, TypeError, ValueError)):
            if _UNSUPPORTED.search(text):
                return text, False
            if _MISMATCH.search(text):
                return text, True
            if _NO_ENGINE.search(text) and dtype in HALF_DTYPES and dtype not in supported_half_dtypes(device):
                return text, False
        error = error.__cause__ or error.__context__
    return None


def untried_dtypes(dtype: torch.dtype, choice: DtypeChoice) -> list[str]:
    """Return the names of the other dtypes that have not failed for this model before."""
    failed = failed_dtypes(choice.key)
    return [name for name in DTYPES if name != dtype_name(dtype) and name not in failed]
