"""Check from files alone whether an adapter is compatible with a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from octabox.hub.adapters.adapter_file import AdapterFile
from octabox.security.json_files import read_json

#: Model type of the text encoders that support textual inversion.
EMBEDDING_ENCODER = "clip"


def incompatibility(found: AdapterFile, folder: Path) -> str | None:
    """Return why an adapter is not compatible with a model: empty if it is, None if that is unknown.

    Args:
        found: The adapter.
        folder: Folder of the model in the format of diffusers.
    """
    if found.problem:
        return found.problem
    if not found.widths:
        return None
    if found.kind == "embedding":
        return _embedding_incompatibility(found.widths, folder)
    width = _setting(folder / "unet", "cross_attention_dim")
    if width is None:
        return "It is for a UNet, which the model does not have." if (folder / "transformer").is_dir() else None
    if width in found.widths:
        return ""
    return f"It was trained with text features of width {found.widths[0]}, but the width of the model is {width}."


def _embedding_incompatibility(widths: tuple[int, ...], folder: Path) -> str | None:
    """Return why the vectors of an embedding do not fit the text encoders of a model; as `incompatibility` does."""
    encoders = [part for part in sorted(folder.glob("text_encoder*")) if part.is_dir()]
    kinds = [str(_setting(part, "model_type") or "") for part in encoders]
    supported = [part for part, kind in zip(encoders, kinds, strict=True) if kind.startswith(EMBEDDING_ENCODER)]
    sizes = [_setting(part, "hidden_size") for part in supported]
    if not encoders or None in sizes:
        return None
    if not sizes:
        return "The model has no text encoder that supports embeddings."
    if set(sizes) == set(widths):
        return ""
    actual, expected = (" and ".join(map(str, each)) for each in (widths, sizes))
    return f"Its vectors have width {actual}, but those of the model have {expected}."


def _setting(part: Path, name: str) -> Any:
    """Return a setting of a component configuration; None if it is missing."""
    try:
        return read_json(part / "config.json").get(name)
    except (OSError, ValueError, AttributeError):
        return None
