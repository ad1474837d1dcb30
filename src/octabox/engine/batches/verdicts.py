"""The verdicts of probes on disk: whether members of a batch get the outputs that they get alone."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octabox.catalog.cache import cache_folder
from octabox.security.json_files import write_json
from octabox.telemetry.installation import installed_versions

logger = logging.getLogger(__name__)

#: Packages whose versions are part of the key of a verdict.
PACKAGES = ("torch", "diffusers", "transformers", "octabox")

#: Folder of the verdicts, in the cache folder.
FOLDER = "batches"


def read_verdict(key: Mapping[str, Any]) -> str | None:
    """Return why a class runs singly, empty if its batches are proved; None if it was not probed yet."""
    stored = _read(_file(key))
    reason = stored.get("reason")
    return reason if isinstance(reason, str) else None


def write_verdict(key: Mapping[str, Any], reason: str, **details: str) -> None:
    """Store a verdict. A folder that is not writable is only logged.

    Args:
        key: The class, its component classes, and all else that the verdict depends on.
        reason: Why the class runs singly; empty if its batches are proved.
        details: What else the file states.
    """
    file = _file(key)
    content = {**installed_versions(PACKAGES), **key, **details, "reason": reason}
    try:
        write_json(file, content)
    except OSError as error:
        logger.debug("The verdict about batches cannot be written to %s: %s", file, error)


def find_verdict(pipeline: str, source: str) -> str | None:
    """Return the last verdict about a class for a model, as `read_verdict` does, without loading the model.

    Args:
        pipeline: The class.
        source: The source of the model.
    """
    with contextlib.suppress(OSError):
        files = sorted((cache_folder() / FOLDER).glob("*.json"), key=lambda file: file.stat().st_mtime, reverse=True)
        versions = installed_versions(PACKAGES)
        for stored in map(_read, files):
            expected = {**versions, "class": pipeline, "source": source}
            if all(stored.get(name) == value for name, value in expected.items()):
                return str(stored.get("reason", ""))
    return None


def _read(file: Path) -> dict[str, Any]:
    try:
        stored = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _file(key: Mapping[str, Any]) -> Path:
    text = json.dumps({**installed_versions(PACKAGES), **key}, sort_keys=True)
    return cache_folder() / FOLDER / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
