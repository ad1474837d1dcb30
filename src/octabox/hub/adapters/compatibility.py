"""Tell from files alone whether an adapter fits a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from octabox.hub.adapters.adapter_file import AdapterFile

#: Kind of text encoders that are taught words, as their configuration names it.
TAUGHT = "clip"


def incompatibility(found: AdapterFile, folder: Path) -> str | None:
    """Return why an adapter does not fit the model of a folder: empty where it does, None where nothing tells.

    Args:
        found: The adapter.
        folder: The model in diffusers' format; any other is unknown.
    """
    if found.problem:
        return found.problem
    if not found.widths:
        return None
    if found.kind == "embedding":
        return _misfit_of_vectors(found.widths, folder)
    own = _setting(folder / "unet", "cross_attention_dim")
    if own is None:
        return "It is for a UNet, which the model has not." if (folder / "transformer").is_dir() else None
    if own in found.widths:
        return ""
    return f"It was trained with text features {found.widths[0]} wide, and the model's are {own}."


def _misfit_of_vectors(widths: tuple[int, ...], folder: Path) -> str | None:
    """Return why an embedding's vectors do not fit a model's text encoders, in the words of `incompatibility`."""
    encoders = [part for part in sorted(folder.glob("text_encoder*")) if part.is_dir()]
    kinds = [str(_setting(part, "model_type") or "") for part in encoders]
    taught = [part for part, kind in zip(encoders, kinds, strict=True) if kind.startswith(TAUGHT)]
    own = [_setting(part, "hidden_size") for part in taught]
    if not encoders or None in own:
        return None
    if not own:
        return "The model has no text encoder that can be taught words."
    if set(own) == set(widths):
        return ""
    told = " and ".join(map(str, widths))
    return f"Its vectors are {told} wide, and the model's {' and '.join(map(str, own))}."


def _setting(part: Path, name: str) -> Any:
    """Return a value of a component's configuration; None where there is none."""
    try:
        return json.loads((part / "config.json").read_bytes()).get(name)
    except (OSError, ValueError, AttributeError):
        return None
