"""The dtype that a model's weights are loaded in."""

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
from octabox.engine.worker.placement.dtype_failures import device_model, failed_dtypes
from octabox.hub.folder import CHECKPOINT_SUFFIXES
from octabox.hub.weights import only_variant, stored_dtype, weight_files

#: Half types, the one with the range of float32 first.
HALF_DTYPES = (torch.bfloat16, torch.float16)

#: Dtypes as .safetensors files and variants of weight files spell them.
DTYPES_BY_NAME = {"F16": torch.float16, "BF16": torch.bfloat16, "fp16": torch.float16, "bf16": torch.bfloat16}

#: What torch and numpy say where two tensors that meet are of two dtypes.
_MISMATCH = re.compile(
    r"same dtype|type \(.*\) should be the same|expected scalar type|dtypes? (?:to|must|should) match"
    r"|dtypes match|expected .* but (?:got|found) .*(?:Half|BFloat16|float16)",
    re.IGNORECASE,
)

#: What they say where an operator or a format has no such dtype.
_UNSUPPORTED = re.compile(
    r"unsupported ScalarType|unsupported dtype (?:Half|BFloat16)|not implemented for '(?:Half|BFloat16)'"
    r"|in half precision|low precision dtypes not supported"
    r"|(?:Half|BFloat16|float16)\b.* (?:is not supported|not implemented)"
    r"|(?:does not|doesn't|do not) support .*(?:Half|BFloat16|float16)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Precision:
    """A way to compute.

    Args:
        dtype: Dtype of the weights.
        casts: Whether what a component is given is cast to its own dtype.
    """

    dtype: torch.dtype
    casts: bool = False

    def __str__(self) -> str:
        return dtype_name(self.dtype) + (" with casts" if self.casts else "")


@dataclass(frozen=True)
class DtypeChoice:
    """What a model may compute in.

    Args:
        attempts: What is tried in turn; the first one is in use.
        automatic: Whether the choice is Octabox's, so that another dtype may be taken.
        key: What a verdict about them holds for.
    """

    attempts: tuple[Precision, ...]
    automatic: bool = False
    key: Mapping[str, str] = field(default_factory=dict)

    def after(self, attempt: Precision, *, mismatch: bool) -> Precision | None:
        """Return what to try after an attempt that failed; casts help only where two dtypes met. None where all are tried."""
        rest = self.attempts[self.attempts.index(attempt) + 1 :]
        return next((each for each in rest if mismatch or each.dtype != attempt.dtype), None)


def choose_dtypes(config: ModelConfig, default: str, device: str, kind: Any, parts: list[str] | None) -> DtypeChoice:
    """Return what a model may compute in.

    ``auto`` is float32 on a processor. On an accelerator it is a half type that the device computes in: the one that the
    weights are stored in, else bfloat16; then the other one, then float32, where an earlier call has shown that the class
    does not run in the first.

    Args:
        config: The model's configuration.
        default: Dtype where that says ``auto``.
        device: Device that the model is to run on.
        kind: Pipeline class; it may name the half types that it prefers as ``preferred_dtypes``.
        parts: Classes of the model's components; None where that is not known yet.
    """
    requested = default if config.dtype == "auto" else config.dtype
    key = {"pipeline": kind.__name__, "parts": ",".join(sorted(parts or ())), "device": device_model(device)}
    failed = failed_dtypes(key)
    if requested != "auto":
        attempts = _with_casts(parse_dtype(requested))
        return DtypeChoice(tuple(each for each in attempts if str(each) not in failed) or attempts[:1], key=key)
    if device == "cpu":
        return DtypeChoice((Precision(torch.float32),), automatic=True, key=key)
    halves = sorted(supported_half_dtypes(device), key=_preferred(config, kind).index)
    left = (attempt for half in halves for attempt in _with_casts(half) if str(attempt) not in failed)
    return DtypeChoice((*left, Precision(torch.float32)), automatic=True, key=key)


def parse_dtype(name: str) -> torch.dtype:
    """Return a dtype by its name in torch."""
    dtype = getattr(torch, name)
    assert isinstance(dtype, torch.dtype)  # noqa: S101 (the configuration takes these names alone)
    return dtype


def dtype_name(dtype: torch.dtype) -> str:
    """Return the name of a dtype, without torch's own."""
    return str(dtype).removeprefix("torch.")


def _with_casts(dtype: torch.dtype) -> tuple[Precision, ...]:
    """Return a dtype, first without casts and then with them; in float32 alone nothing is to be cast."""
    return (Precision(dtype),) if dtype == torch.float32 else (Precision(dtype), Precision(dtype, casts=True))


def _preferred(config: ModelConfig, kind: Any) -> list[torch.dtype]:
    """Return the half types in the order in which they suit a model."""
    own = [*getattr(kind, "preferred_dtypes", ()), *HALF_DTYPES]
    if stored := stored_half_dtype(config):
        own.insert(0, stored)
    return list(dict.fromkeys(each for each in own if each in HALF_DTYPES))


def supported_half_dtypes(device: str) -> tuple[torch.dtype, ...]:
    """Return the half types that a device computes in by its own circuits, and not by emulation."""
    module = torch.get_device_module(torch.device(device))
    with _current(torch.device(device)):
        return tuple(half for half in HALF_DTYPES if _offers(module, half) and _multiplies(device, half))


def _offers(module: Any, half: torch.dtype) -> bool:
    """Return whether a device's module says that the current device computes in a half type; it does where nothing is said."""
    if half == torch.bfloat16 and callable(ask := getattr(module, "is_bf16_supported", None)):
        takes = "including_emulation" in inspect.signature(ask).parameters
        return bool(ask(including_emulation=False) if takes else ask())
    offered = getattr(module, "get_amp_supported_dtype", None)
    return half in offered() if callable(offered) else True


def _multiplies(device: str, half: torch.dtype) -> bool:
    """Return whether a device multiplies matrices of a half type."""
    try:
        ones = torch.ones((2, 2), device=device, dtype=half)
        return bool((ones @ ones).cpu().float().sum() == 8)  # noqa: PLR2004 (four sums of two)
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError, NotImplementedError):
        return False


@contextmanager
def _current(device: torch.device) -> Iterator[None]:
    """Make a device the current one within the context: what modules say of dtypes is about that."""
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
    """Return the half type that most weights of a model's folder or file are stored in; None for another, or where unknown."""
    place = Path(config.model)
    if place.suffix.lower() in CHECKPOINT_SUFFIXES:
        return DTYPES_BY_NAME.get(stored_dtype([place]) or "")
    variant = config.variant or only_variant(place)
    own = {name for name, part in config.parts() if part.model}
    files = [file for file in weight_files(place) if file.component not in own]
    taken = [file for file in files if file.variant == variant] or files
    return DTYPES_BY_NAME.get(stored_dtype([file.path for file in taken]) or variant or "")


def choose_variant(variant: str | None, folder: str | Path, dtype: torch.dtype) -> str | None:
    """Return the variant of the weight files to take.

    Args:
        variant: The one that was asked for.
        folder: Folder of a model or of a component; a Hub id has none that can be looked into.
        dtype: Dtype that is asked for: files of its own variant are taken, although others are there too.

    Returns:
        The variant that was asked for; else the dtype's own, or the one without which the folder lacks weights; else None.
    """
    preferred = next((name for name, each in DTYPES_BY_NAME.items() if each == dtype and name.islower()), None)
    return variant or only_variant(Path(folder), preferred)


def dtype_failure(error: BaseException | None) -> tuple[str, bool] | None:
    """Return what torch says against a dtype in an error, and whether two dtypes met; None where it is about something else."""
    while error is not None:
        text = " ".join(str(error).split())
        if isinstance(error, (RuntimeError, TypeError, ValueError)):
            if _UNSUPPORTED.search(text):
                return text, False
            if _MISMATCH.search(text):
                return text, True
        error = error.__cause__ or error.__context__
    return None


def untried_dtypes(dtype: torch.dtype, choice: DtypeChoice) -> list[str]:
    """Return the names of the other dtypes that a model might run in: those that have not failed before."""
    failed = failed_dtypes(choice.key)
    return [name for name in DTYPES if name != dtype_name(dtype) and name not in failed]
