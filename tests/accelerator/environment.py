"""What a process needs in its environment to have the pretended accelerator."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pretended_accelerator import Settings

#: The folder from which torch loads the device by itself, where it is on the path.
PLUGIN = Path(__file__).parent / "plugin"


def accelerator_environment(folder: Path | None = None, **settings: Any) -> dict[str, str]:
    """Return the environment variables that give a process, and all that it starts, the pretended accelerator.

    Args:
        folder: Shared by those processes, so that each sees how much memory is left by the others; ``events.jsonl`` in it tells
            what has happened in which, and ``settings.json`` may change settings of those that have yet to use the device.
        **settings: Fields of `pretended_accelerator.Settings`.
    """
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    path = [str(PLUGIN), *filter(None, [os.environ.get("PYTHONPATH")])]
    made = Settings(folder=str(folder or ""), **settings)
    return {**made.to_environment(), "PYTHONPATH": os.pathsep.join(path)}
