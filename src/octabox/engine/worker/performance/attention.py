"""Check and set attention backends, by diffusers' names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers.models import attention_dispatch
from diffusers.models.attention_dispatch import AttentionBackendName, dispatch_attention_fn

from octabox.engine.worker.placement.casts import find_compute_dtype
from octabox.errors import LoadError, MissingDependencyError, nearest

#: Diffusers' default backend.
NATIVE = AttentionBackendName.NATIVE.value

#: xFormers, and the method by which modules without support for backends enable it.
XFORMERS, ENABLE_XFORMERS = AttentionBackendName.XFORMERS.value, "enable_xformers_memory_efficient_attention"

#: Substrings of the names of quantized backends, whose results differ visibly.
LOSSY_BACKENDS = ("sage", "int8", "fp8")


def is_lossy(name: str | None) -> bool:
    """Return whether a backend is quantized, so that results differ visibly."""
    return name is not None and any(part in name for part in LOSSY_BACKENDS)


def missing_package(name: str) -> str:
    """Return diffusers' message about the package that a backend lacks; empty if it can be used."""
    check = getattr(attention_dispatch, "_check_attention_backend_requirements", None)
    if check is None:
        return ""
    try:
        check(AttentionBackendName(name))
    except (RuntimeError, ImportError) as error:
        return str(error)
    return ""


def available_backends() -> list[str]:
    """Return the backends whose packages are installed."""
    return [each.value for each in AttentionBackendName if not missing_package(each.value)]


def check_attention(name: str, model: str) -> None:
    """Check that an attention backend exists and its package is installed.

    Raises:
        LoadError: There is no such backend.
        MissingDependencyError: It needs a package that is not installed.
    """
    known = [each.value for each in AttentionBackendName]
    if name not in known:
        similar = nearest(name, known, count=1)
        message = f"Model '{model}': there is no attention backend '{name}'."
        hint = f"Did you mean '{similar[0]}'?" if similar else f"Available backends: {', '.join(available_backends())}."
        raise LoadError(
            message, hint=hint, model=model, parameter="performance.attention", choices=available_backends()
        )
    if reason := missing_package(name):
        raise MissingDependencyError(
            f"Model '{model}': the attention backend '{name}' cannot be used, since its package is not installed.",
            hint=reason,
            model=model,
            parameter="performance.attention",
            choices=available_backends(),
        )


def set_attention(name: str, denoisers: Mapping[str, torch.nn.Module], model: str, device: str) -> list[str]:
    """Set the attention backend of denoisers.

    Args:
        name: Name of an installed backend.
        denoisers: The denoisers by name.
        model: Name of the model, for errors.
        device: Execution device of the denoisers, whose weights may be offloaded.

    Returns:
        The names of the denoisers that use the backend.

    Raises:
        LoadError: No denoiser supports the backend, or it cannot compute on this device in this dtype.
    """
    names = []
    for component, module in denoisers.items():
        if any(hasattr(getattr(each, "processor", None), "_attention_backend") for each in module.modules()):
            _try_backend(name, module, model, device)
            _call(module, "set_attention_backend", name, model)
            names.append(component)
        elif name == XFORMERS and hasattr(module, ENABLE_XFORMERS):
            _call(module, ENABLE_XFORMERS, None, model)
            names.append(component)
        elif name == NATIVE:
            names.append(component)
    if not names:
        choices = [each for each in (NATIVE, XFORMERS) if not missing_package(each)]
        raise LoadError(
            f"Model '{model}': {', '.join(denoisers) or 'the model'} does not support the attention backend '{name}'.",
            hint=f"Supported for this class: {', '.join(choices)}.",
            model=model,
            parameter="performance.attention",
            choices=choices,
        )
    return names


def _try_backend(name: str, module: torch.nn.Module, model: str, device: str) -> None:
    """Run a small attention by a backend on a device, in a module's dtype."""
    dtype = find_compute_dtype(module) or torch.float32
    states = torch.zeros(1, 8, 2, 64, dtype=dtype, device=device)
    try:
        dispatch_attention_fn(states, states, states, backend=AttentionBackendName(name))
    except Exception as error:
        works = [each for each in available_backends() if each != name and _works(each, states)]
        raise LoadError(
            f"Model '{model}': the attention backend '{name}' cannot compute {dtype} on {device}: {error}",
            hint=f"Backends that can: {', '.join(works)}.",
            model=model,
            parameter="performance.attention",
            choices=works,
        ) from error


def _works(name: str, states: torch.Tensor) -> bool:
    """Return whether a backend that needs no download can compute attention over these states."""
    if name.endswith("_hub"):
        return False
    try:
        dispatch_attention_fn(states, states, states, backend=AttentionBackendName(name))
    except Exception:  # noqa: BLE001 (backends raise any exception)
        return False
    return True


def _call(module: Any, method: str, argument: str | None, model: str) -> None:
    """Call a method of a module and raise its errors as `LoadError`."""
    try:
        getattr(module, method)(*([] if argument is None else [argument]))
    except (ImportError, RuntimeError, ValueError) as error:
        raise LoadError(
            f"Model '{model}': the attention backend cannot be set: {error}",
            hint="Leave out `performance.attention`.",
            model=model,
            parameter="performance.attention",
        ) from error
