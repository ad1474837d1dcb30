"""Resolve the source of a LoRA on this machine to its file."""

from __future__ import annotations

from pathlib import Path

from octabox.errors import AdapterNotFoundError
from octabox.hub.adapters.selection import LORA_SUFFIX, select_adapter


def resolve_lora_file(source: str) -> Path:
    """Return the file of a LoRA.

    Args:
        source: A file or a folder.

    Raises:
        AdapterNotFoundError: The source does not exist, or has no such file, or several.
    """
    path = Path(source)
    if path.is_dir():
        return path / select_adapter("lora", source, (each.name for each in path.glob(f"*{LORA_SUFFIX}")))
    if not path.is_file():
        hint = "Set it to a file, a folder or a Hub id."
        raise AdapterNotFoundError(f"The LoRA {source} is missing.", hint=hint, parameter="adapters")
    return path
