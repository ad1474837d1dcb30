"""Store images on the server, in folders and under names as the web UI has them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from octabox.media.formats import suffix_of
from octabox.security.filesystem import write_new_file

#: The number at the beginning of a name.
NUMBER = re.compile(r"(\d+)-")


def save_images(folder: Path | None, job: str, files: Sequence[tuple[bytes, str, int]]) -> list[str]:
    """Store images as ``JOB-images/DATE/NUMBER-SEED`` in a folder, and return a warning if one cannot be stored.

    Args:
        folder: The folder; None if the server has none.
        job: The kind of request, such as ``txt2img``.
        files: Content, media type and seed of each image.
    """
    if folder is None:
        return ["'save_images' has no effect: the server has no folder for images, its setting 'a1111_outputs'."]
    try:
        day = folder / f"{job}-images" / datetime.now(tz=timezone.utc).astimezone().date().isoformat()
        day.mkdir(parents=True, exist_ok=True)
        number = _next_number(day)
        for content, media_type, seed in files:
            name = f"{seed}{suffix_of(media_type)}"
            # Another request may take the number meanwhile.
            path = write_new_file((day / f"{each:05}-{name}" for each in itertools.count(number)), content)
            number = _number(path) + 1
    except OSError as error:
        return [
            f"'save_images' has no effect on all images: they cannot be stored on the server: {error.strerror or error}."
        ]
    return []


def _next_number(folder: Path) -> int:
    """Return the number after the largest one of the files in a folder; 0 is the first."""
    return max(map(_number, folder.iterdir()), default=-1) + 1


def _number(path: Path) -> int:
    """Return the number at the beginning of a file's name; -1 without one."""
    found = NUMBER.match(path.name)
    return int(found[1]) if found else -1
