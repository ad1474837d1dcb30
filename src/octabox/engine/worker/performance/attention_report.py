"""Describe which attention a loaded model computes with, whether a setting or a default of diffusers chose it."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import torch
from diffusers.models import attention_dispatch
from diffusers.models.attention_dispatch import AttentionBackendName

#: Attribute of processors whose attention is computed by a backend of diffusers; None is the default backend.
BACKEND = "_attention_backend"

#: What the source of a processor calls to compute attention, by the name of the backend that does the same.
CALLS = {
    "dispatch_attention_fn": "",
    "scaled_dot_product_attention": AttentionBackendName.NATIVE.value,
    "xformers.ops": AttentionBackendName.XFORMERS.value,
}

#: Attention as matrix products, with the complete matrix of weights in memory.
PLAIN = "matrix products"


class AttentionReport:
    """Describes how denoisers compute their attention.

    Their attention modules are found once, since there are thousands of other modules; the processors of these may change.

    Args:
        denoisers: The denoisers by name.
    """

    def __init__(self, denoisers: Mapping[str, torch.nn.Module]) -> None:
        self._modules = {name: list(filter(_has_processor, each.modules())) for name, each in denoisers.items()}

    def describe(self) -> dict[str, str]:
        """Return the attention of each denoiser now, by name, such as ``AttnProcessor2_0 (native)``.

        A denoiser whose attention modules have no processors is left out: what they call is not known.
        """
        return {name: _describe(modules) for name, modules in self._modules.items() if modules}


def default_backend() -> str:
    """Return the backend of diffusers for processors that set none, which `DIFFUSERS_ATTN_BACKEND` may change."""
    registry: Any = getattr(attention_dispatch, "_AttentionBackendRegistry", None)
    backend = registry.get_active_backend()[0] if registry is not None else AttentionBackendName.NATIVE
    return str(AttentionBackendName(backend).value)


def _has_processor(module: torch.nn.Module) -> bool:
    return callable(getattr(module, "processor", None))


def _describe(modules: Iterable[torch.nn.Module]) -> str:
    """Return the processors of modules with the backend of each, the most frequent first."""
    counts: dict[str, int] = {}
    for module in modules:
        text = f"{type(module.processor).__name__} ({_backend(module.processor)})"
        counts[text] = counts.get(text, 0) + 1
    return ", ".join(sorted(counts, key=lambda text: (-counts[text], text)))


def _backend(processor: Any) -> str:
    """Return the backend that a processor computes attention with."""
    cls: Any = type(processor)
    called = _called(cls)
    if called:
        return called
    backend = getattr(processor, BACKEND, None)
    return default_backend() if backend is None else str(AttentionBackendName(backend).value)


@cache
def _called(cls: Any) -> str:
    """Return the backend that the source of a class calls itself; empty if it leaves the choice to diffusers."""
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):
        return "unknown"
    return next((name for call, name in CALLS.items() if call in source), PLAIN)
