"""Serve every diffusers pipeline from one program."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from octabox.catalog.loading import (
        discover_diffusers_classes,
        get_available_classes,
        get_available_pipelines,
        get_available_tasks,
        load_diffusers_pipeline,
        resolve_pipeline_class,
    )

__all__ = [
    "discover_diffusers_classes",
    "get_available_classes",
    "get_available_pipelines",
    "get_available_tasks",
    "load_diffusers_pipeline",
    "resolve_pipeline_class",
]


def __getattr__(name: str) -> Any:
    """Load a public function on first access, so that ``import octabox`` is fast."""
    if name in __all__:
        return getattr(importlib.import_module("octabox.catalog.loading"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
