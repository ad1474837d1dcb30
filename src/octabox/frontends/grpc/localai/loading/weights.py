"""Which weight files LocalAI's users let a model bring."""

from __future__ import annotations

from pathlib import Path

from octabox.errors import LoadError

#: Names of weight files of a component: safe ones, and pickles.
SAFE, PICKLES = "*.safetensors", "*model*.bin"


def check_safe(folder: Path) -> None:
    """Refuse a model that has a component whose weights are there as pickles alone.

    Raises:
        LoadError: It has.
    """
    for component in sorted(path for path in folder.glob("*/") if path.is_dir()):
        if any(component.glob(PICKLES)) and not any(component.glob(SAFE)):
            raise LoadError(
                f"The weights of {folder.name}/{component.name} are no safetensors files.",
                hint="Convert them, or set SAFETENSORS=0 to load them all the same.",
            )
