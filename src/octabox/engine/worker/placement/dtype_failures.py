"""Dtypes that a class has failed in, kept on disk so that its next load begins with one that it runs in."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from octabox.catalog.cache import cache_folder

logger = logging.getLogger(__name__)

#: Packages whose other version may run what this one does not.
PACKAGES = ("torch", "diffusers", "transformers")


def device_model(device: str) -> str:
    """Return what devices of one kind have in common: the type, and the name where the device has one."""
    place = torch.device(device)
    name = ""
    with contextlib.suppress(AttributeError, RuntimeError, AssertionError):
        name = str(torch.get_device_module(place).get_device_name(place.index or 0))
    return f"{place.type} {name}".strip()


def failed_dtypes(key: Mapping[str, str]) -> Mapping[str, str]:
    """Return the reasons by the dtypes that failed before."""
    try:
        stored = json.loads(_file(key).read_bytes())
        return {str(name): str(reason) for name, reason in stored["failed"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def record_failed_dtypes(key: Mapping[str, str], failed: Mapping[str, str]) -> None:
    """Keep the reasons by the dtypes that failed, in addition to those of earlier calls.

    A folder that cannot be written to is logged, and no error: the next load tries again.
    """
    file = _file(key)
    content = {**_versions(), **key, "failed": {**failed_dtypes(key), **failed}}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        written = file.with_suffix(".new")
        written.write_text(json.dumps(content, indent=1), encoding="utf-8")
        written.replace(file)
    except OSError as error:
        logger.debug("What does not run in which dtype cannot be kept in %s: %s", file, error)


def _file(key: Mapping[str, str]) -> Path:
    """Return the file of a verdict: it holds for one class with its components, on one kind of device, by these versions."""
    text = json.dumps({**_versions(), **key}, sort_keys=True)
    return cache_folder() / "dtypes" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"


def _versions() -> dict[str, str]:
    """Return the versions of the packages that compute."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
