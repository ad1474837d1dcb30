"""Leave the folders of this machine out of what clients read: an error names a file by its place in the server's folders.

The complete paths are in the log.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextvars import ContextVar
from pathlib import Path

#: The folders of the server of this request, the innermost first.
_FOLDERS: ContextVar[tuple[str, ...]] = ContextVar("folders", default=())


def private_folders(folders: Iterable[Path]) -> tuple[str, ...]:
    """Return the absolute paths of folders, also without links, in the order in which `use_folders` needs them."""
    paths = {path for folder in folders for path in (str(folder.absolute()), os.path.realpath(folder))}
    return tuple(sorted(paths - {os.sep}, key=len, reverse=True))


def use_folders(folders: tuple[str, ...]) -> None:
    """Leave folders that `private_folders` returned out of the texts of this context."""
    _FOLDERS.set(folders)


def hide_folders(text: str) -> str:
    """Return a text in which paths in the server's folders are relative to these."""
    for folder in _FOLDERS.get():
        if folder in text:
            text = text.replace(f"{folder}{os.sep}", "").replace(folder, Path(folder).name)
    return text
