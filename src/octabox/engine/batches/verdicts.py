"""The verdicts of probes on disk: whether members of a batch get the outputs that they get alone."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from octabox.catalog.cache import cache_folder
from octabox.config.model import ModelConfig
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


def write_verdict(key: Mapping[str, Any], reason: str, **details: Any) -> None:
    """Store a verdict. A folder that is not writable is only logged.

    Args:
        key: The class, its component classes, and all else that the verdict depends on.
        reason: Why the class runs singly; empty if its batches are proved.
        details: What else the file states, for `find_verdict`: the model's ``source``, and in ``names`` what may distinguish
            the kind of calls.
    """
    file = _file(key)
    content = {**installed_versions(PACKAGES), **key, **details, "reason": reason}
    try:
        write_json(file, content)
    except OSError as error:
        logger.debug("The verdict about batches cannot be written to %s: %s", file, error)


def find_verdict(
    pipeline: str, config: ModelConfig, components: Mapping[str, str] | None = None
) -> dict[str, str] | None:
    """Return why calls of a class run singly, as `join_reasons` does, without loading the model; None if none was tried.

    Args:
        pipeline: The class.
        config: The configuration of the model.
        components: Its component classes by name, by which the verdicts about other models hold for it; None if not known.
    """
    known: dict[tuple[str, ...], str] = {}
    versions, performance = installed_versions(PACKAGES), config.performance.model_dump_json()
    for stored in _all_stored():
        is_of_class = all(stored.get(name) == value for name, value in {**versions, "class": pipeline}.items())
        if not is_of_class or stored.get("performance", performance) != performance:
            continue
        if stored.get("source") == config.model or _has_components(stored, components):
            known[tuple(stored.get("names", ()))] = str(stored.get("reason", ""))
    return join_reasons({pipeline: known}) if known else None


def join_reasons(known: Mapping[str, Mapping[tuple[str, ...], str]]) -> dict[str, str]:
    """Return why calls run singly: by class, if one reason holds for all that is known of it; else by what distinguishes them.

    Args:
        known: The reasons, empty where batches are proved, by class and by the names of what may distinguish a kind of calls.
    """
    reasons: dict[str, str] = {}
    for class_name, kinds in known.items():
        if len({*kinds.values()}) == 1:
            found = {class_name: next(iter(kinds.values()))}
        else:
            # What all of them have in common distinguishes none.
            common = frozenset[str].intersection(*map(frozenset, kinds))
            found = {_label(class_name, names, common): reason for names, reason in kinds.items()}
        reasons |= {label: reason for label, reason in found.items() if reason}
    return reasons


def _label(class_name: str, names: Sequence[str], common: Collection[str]) -> str:
    """Return a class, and what distinguishes a kind of its calls from others."""
    own = ", ".join(name for name in names if name not in common)
    return f"{class_name} with {own}" if own else class_name


def _has_components(stored: Mapping[str, Any], components: Mapping[str, str] | None) -> bool:
    """Return whether a stored verdict is about a model of the same component classes, as far as they are known."""
    others = stored.get("components")
    return bool(components) and isinstance(others, dict) and {**others, **(components or {})} == others


def _all_stored() -> list[dict[str, Any]]:
    """Return what all files state, the last one written last."""
    try:
        files = sorted((cache_folder() / FOLDER).glob("*.json"), key=lambda file: file.stat().st_mtime)
    except OSError:
        return []
    return [_read(file) for file in files]


def _read(file: Path) -> dict[str, Any]:
    try:
        stored = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return stored if isinstance(stored, dict) else {}


def _file(key: Mapping[str, Any]) -> Path:
    text = json.dumps({**installed_versions(PACKAGES), **key}, sort_keys=True)
    return cache_folder() / FOLDER / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
