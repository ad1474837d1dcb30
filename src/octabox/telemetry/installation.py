"""Describe this installation: the versions of packages, and the machine."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable
from typing import Any

#: Packages whose versions decide what a model generates.
PACKAGES = ("octabox", "torch", "diffusers", "transformers", "accelerate", "peft", "huggingface_hub", "safetensors")


def describe_versions() -> dict[str, str | None]:
    """Return the versions of Python and of the packages; None for those that are not installed."""
    return {"python": platform.python_version(), **{name: package_version(name) for name in PACKAGES}}


def installed_versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    return {name: found for name in packages if (found := package_version(name)) is not None}


def package_version(package: str) -> str | None:
    """Return the version of a package; None if it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def describe_machine() -> dict[str, Any]:
    """Return the system, the number of usable cores, and the memory in bytes where the system reports it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    names = getattr(os, "sysconf_names", {})
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if "SC_PHYS_PAGES" in names else None
    return {"system": platform.platform(), "cores": cores, "memory": memory}
