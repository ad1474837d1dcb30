"""Texts of a configuration that name files, folders or repositories."""

from __future__ import annotations

import os
from typing import Annotated

from pydantic import AfterValidator

#: Largest name of a file or a folder, and largest path that is read, in bytes; file systems refuse larger ones.
MAX_NAME_BYTES, MAX_PATH_BYTES = 255, 2048


def _check_path(text: str) -> str:
    """Refuse a text that no path can have, for which the system functions raise errors of several kinds."""
    try:
        path = os.fsencode(text)
    except UnicodeEncodeError as error:
        raise ValueError("must be valid Unicode text") from error
    if b"\0" in path:
        raise ValueError("must be a path, without a null character")
    if len(path) > MAX_PATH_BYTES or any(len(name) > MAX_NAME_BYTES for name in path.split(b"/")):
        raise ValueError("must be short enough for a path")
    return text


#: A path, or a part of one, or a Hub id.
PathText = Annotated[str, AfterValidator(_check_path)]
