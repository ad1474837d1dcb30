"""Serialize adapters to JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from octabox.hub.adapters.adapter_file import AdapterFile
from octabox.hub.adapters.compatibility import incompatibility
from octabox.hub.adapters.previews import has_preview


def adapter_to_json(found: AdapterFile, folder: Path | None = None) -> dict[str, Any]:
    """Return an adapter as a JSON object, without its path.

    Args:
        found: The adapter.
        folder: Folder of a model, to include the compatibility with it.
    """
    row: dict[str, Any] = {
        "name": found.name,
        "kind": found.kind,
        "network": found.network or None,
        "layout": found.layout or None,
        "base": found.base or None,
        "rank": found.rank if found.kind == "lora" else None,
        "vectors": found.rank if found.kind == "embedding" else None,
        "words": list(found.words),
        "parts": list(found.parts),
        "tensors": found.tensors,
        "size": found.size,
        "problem": found.problem or None,
        "preview": has_preview(found),
    }
    if folder is None:
        return row
    reason = incompatibility(found, folder)
    return {**row, "fits": None if reason is None else not reason, "reason": reason or None}
