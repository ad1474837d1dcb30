"""Check which weight files a model has."""

from __future__ import annotations

from pathlib import Path

from octabox.errors import LoadError

#: Patterns of a component's weight files: safetensors, and pickles.
SAFE, PICKLES = "*.safetensors", "*model*.bin"


def check_safe(folder: Path) -> None:
    """Raise an error if a component has only pickled weights.

    Raises:
        LoadError: It has.
    """
    for component in sorted(path for path in folder.glob("*/") if path.is_dir()):
        if any(component.glob(PICKLES)) and not any(component.glob(SAFE)):
            raise LoadError(
                f"{folder.name}/{component.name} has no safetensors weights.",
                hint="Convert its weights, or set SAFETENSORS=0 to load other files.",
            )
