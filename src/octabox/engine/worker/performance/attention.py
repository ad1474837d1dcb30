"""Attention backends by diffusers' names: which are installed, and which of a model's denoisers take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models import attention_dispatch
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn

from octabox.engine.worker.placement.casts import find_compute_dtype
from octabox.errors import LoadError, MissingDependencyError, nearest

#: The backend that all attention of diffusers has without being told.
NATIVE = AttentionBackendName.NATIVE.value

#: What a module has that computes attention by xFormers in place of a backend.
XFORMERS, SWITCH_XFORMERS = AttentionBackendName.XFORMERS.value, "enable_xformers_memory_efficient_attention"

#: What names of backends hold that compute with fewer bits than the model, so that results differ visibly.
LOSSY_BACKENDS = ("sage", "int8", "fp8")


def is_lossy(name: str | None) -> bool:
    """Return whether a backend computes with fewer bits than the model."""
    return name is not None and any(part in name for part in LOSSY_BACKENDS)


def missing_package(name: str) -> str:
    """Return what diffusers says that a backend lacks here; nothing where it can be used."""
    check = getattr(attention_dispatch, "_check_attention_backend_requirements", None)
    if check is None:
        return ""
    try:
        check(AttentionBackendName(name))
    except (RuntimeError, ImportError) as error:
        return str(error)
    return ""


def available_backends() -> list[str]:
    """Return the backends that this machine's packages allow."""
    return [each.value for each in AttentionBackendName if not missing_package(each.value)]


def check_attention(name: str, model: str) -> None:
    """Make sure that there is an attention backend of this name.

    Raises:
        LoadError: There is no such backend.
        MissingDependencyError: It needs a package that is not installed.
    """
    known = [each.value for each in AttentionBackendName]
    if name not in known:
        likely = nearest(name, known, count=1)
        message = f"Model '{model}': there is no attention backend '{name}'."
        hint = (
            f"Did you mean '{likely[0]}'?" if likely else f"These can be used here: {', '.join(available_backends())}."
        )
        raise LoadError(
            message, hint=hint, model=model, parameter="performance.attention", choices=available_backends()
        )
    if reason := missing_package(name):
        raise MissingDependencyError(
            f"Model '{model}' asks for the attention backend '{name}', which cannot be used here.",
            hint=reason,
            model=model,
            parameter="performance.attention",
            choices=available_backends(),
        )


def set_attention(name: str, denoisers: Mapping[str, torch.nn.Module], model: str, device: str) -> list[str]:
    """Let denoisers compute attention by a backend.

    Args:
        name: Name of the backend, which is known and installed.
        denoisers: The denoisers by name.
        model: Name of the model, for errors.
        device: Where they compute, wherever their weights wait meanwhile.

    Returns:
        The names of those that do so now.

    Raises:
        LoadError: None of them takes it, or it cannot compute on this device in this dtype.
    """
    took = []
    for component, module in denoisers.items():
        if any(hasattr(getattr(each, "processor", None), "_attention_backend") for each in module.modules()):
            _try_backend(name, module, model, device)
            _call(module, "set_attention_backend", name, model)
            took.append(component)
        elif name == XFORMERS and hasattr(module, SWITCH_XFORMERS):
            _call(module, SWITCH_XFORMERS, None, model)
            took.append(component)
        elif name == NATIVE:
            took.append(component)
    if not took:
        choices = [each for each in (NATIVE, XFORMERS) if not missing_package(each)]
        raise LoadError(
            f"Model '{model}': {', '.join(denoisers) or 'nothing in it'} takes no attention backend '{name}'.",
            hint=f"Of this class these are possible: {', '.join(choices)}.",
            model=model,
            parameter="performance.attention",
            choices=choices,
        )
    return took


def _try_backend(name: str, module: torch.nn.Module, model: str, device: str) -> None:
    """Compute a small attention by a backend on a device, in the dtype that a module computes in."""
    dtype = find_compute_dtype(module) or torch.float32
    states = torch.zeros(1, 8, 2, 64, dtype=dtype, device=device)
    try:
        dispatch_attention_fn(states, states, states, backend=AttentionBackendName(name))
    except Exception as error:
        works = [each for each in available_backends() if each != name and _works(each, states)]
        raise LoadError(
            f"Model '{model}': the attention backend '{name}' cannot compute {dtype} on {device}: {error}",
            hint=f"These can: {', '.join(works)}.",
            model=model,
            parameter="performance.attention",
            choices=works,
        ) from error


def _works(name: str, states: torch.Tensor) -> bool:
    """Return whether a backend that needs no download can compute this."""
    if name.endswith("_hub"):
        return False
    try:
        dispatch_attention_fn(states, states, states, backend=AttentionBackendName(name))
    except Exception:  # noqa: BLE001 (backends fail in any way)
        return False
    return True


def _call(module: Any, method: str, argument: str | None, model: str) -> None:
    """Call a method of diffusers that may refuse."""
    try:
        getattr(module, method)(*([] if argument is None else [argument]))
    except (ImportError, RuntimeError, ValueError) as error:
        raise LoadError(
            f"Model '{model}': attention cannot be computed so: {error}",
            hint="Leave out `performance.attention`.",
            model=model,
            parameter="performance.attention",
        ) from error
