"""A cache on disk of the dtypes that a pipeline class failed in, so that its next load starts with one that works."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path

import torch

from octabox.catalog.cache import cache_folder
from octabox.security.json_files import write_json
from octabox.telemetry.installation import installed_versions

logger = logging.getLogger(__name__)

#: Packages whose versions are part of the cache key.
PACKAGES = ("torch", "diffusers", "transformers")


def device_model(device: str) -> str:
    """Return a device's type and, if it has one, the name of its hardware model."""
    torch_device = torch.device(device)
    name = ""
    with contextlib.suppress(AttributeError, RuntimeError, AssertionError):
        name = str(torch.get_device_module(torch_device).get_device_name(torch_device.index or 0))
    return f"{torch_device.type} {name}".strip()


def failed_dtypes(key: Mapping[str, str]) -> Mapping[str, str]:
    """Return the recorded failure reasons by dtype."""
    try:
        stored = json.loads(_file(key).read_bytes())
        return {str(name): str(reason) for name, reason in stored["failed"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def record_failed_dtypes(key: Mapping[str, str], failed: Mapping[str, str]) -> None:
    """Add failure reasons by dtype to those recorded before. A folder that is not writable is only logged."""
    file = _file(key)
    content = {**installed_versions(PACKAGES), **key, "failed": {**failed_dtypes(key), **failed}}
    try:
        write_json(file, content)
    except OSError as error:
        logger.debug("Dtype failures cannot be written to %s: %s", file, error)


def _file(key: Mapping[str, str]) -> Path:
    """Return the cache file for a pipeline class and its components, on a device model, with these package versions."""
    text = json.dumps({**installed_versions(PACKAGES), **key}, sort_keys=True)
    return cache_folder() / "dtypes" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
