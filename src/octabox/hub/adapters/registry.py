"""Find the LoRAs and embeddings in their folders, and the one that a name means."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from octabox.errors import AdapterNotFoundError, ForbiddenPathError, nearest
from octabox.hub.adapters.adapter_file import SUFFIXES, AdapterFile, read_embedding, read_lora
from octabox.hub.folder import is_hub_id

#: Names of files that stand for the folder they are in, as diffusers and PEFT save them.
FOLDER_FILES = frozenset({"pytorch_lora_weights", "adapter_model"})


class AdapterRegistry:
    """The adapters of two folders as they are now; a file is read again only when it has changed. Safe for threads.

    Args:
        loras: Folder of LoRAs, searched with all folders in it.
        embeddings: Folder of embeddings, likewise.
        any_path: Whether a LoRA may be named by any path of this machine.
        any_hub: Whether it may be named by any id of the Hub.
    """

    def __init__(
        self, loras: Path | None, embeddings: Path | None, *, any_path: bool = False, any_hub: bool = False
    ) -> None:
        self._loras, self._embeddings = loras, embeddings
        self._any_path, self._any_hub = any_path, any_hub
        self._lock = threading.Lock()
        self._read: dict[Path, tuple[tuple[int, int], AdapterFile]] = {}

    def loras(self) -> list[AdapterFile]:
        """Return the LoRAs, by name."""
        return self._all(self._loras, read_lora)

    def embeddings(self) -> list[AdapterFile]:
        """Return the embeddings, by name."""
        return self._all(self._embeddings, read_embedding)

    def source(self, name: str) -> str:
        """Return the file or the Hub id that the name of a LoRA means.

        A name is its file's, with or without its ending and the folders it is in.

        Raises:
            AdapterNotFoundError: There is none of this name, or several.
            ForbiddenPathError: It is a path that leads out of the folder.
        """
        found = self._named(name)
        if len(found) == 1:
            return str(found[0])
        if found and self._loras:
            choices = sorted(_name(path, self._loras) for path in found)
            hint = "Say in which folder: " + " or ".join(choices)
            raise AdapterNotFoundError(f"Several LoRAs are called {name!r}.", hint=hint, parameter="adapters")
        path = Path(name).expanduser()
        if self._any_path and path.exists():
            return str(path.absolute())
        if is_hub_id(name) and self._any_hub:
            return name
        if path.is_absolute() or ".." in path.parts:
            raise ForbiddenPathError(
                f"A LoRA is named by its place in the folder of LoRAs, not by {name!r}.",
                hint="`octabox adapters` lists their names.",
                parameter="adapters",
            )
        raise self._not_found(name)

    def _not_found(self, name: str) -> AdapterNotFoundError:
        """Return the error for a name that means nothing, with the names most like it."""
        names = [_name(path, self._loras) for path in _files(self._loras)] if self._loras else []
        like = nearest(name, names)
        hint = f"Did you mean {' or '.join(like)}?" if like else f"`octabox adapters` lists those in {self._loras}."
        if is_hub_id(name) and not like:
            hint = "Start the server with --allow-hub to take LoRAs of the Hub by their id."
        return AdapterNotFoundError(f"There is no LoRA {name!r}.", hint=hint, parameter="adapters", choices=names)

    def _named(self, name: str) -> list[Path]:
        """Return the files that a name may mean: those of just this name, else those whose last part it is."""
        if self._loras is None:
            return []
        files = list(_files(self._loras))
        wanted = _without_suffix(name.replace("\\", "/"))
        exact = [path for path in files if _name(path, self._loras) == wanted]
        return exact or [path for path in files if _name(path, self._loras).rpartition("/")[2] == wanted]

    def _all(self, folder: Path | None, read: Callable[[Path, str], AdapterFile]) -> list[AdapterFile]:
        """Return what is known of each file of a folder."""
        if folder is None:
            return []
        found = []
        for path in _files(folder):
            try:
                stat = path.stat()
            except OSError:
                continue
            seen = (stat.st_mtime_ns, stat.st_size)
            with self._lock:
                known = self._read.get(path)
            if known is None or known[0] != seen:
                known = (seen, read(path, _name(path, folder)))
                with self._lock:
                    self._read[path] = known
            found.append(known[1])
        return sorted(found, key=lambda each: each.name.lower())


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder, and of those in it, that may hold an adapter; hidden ones are left out."""
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                yield Path(place) / name


def _name(path: Path, folder: Path) -> str:
    """Return what a file of a folder is called: its place in it, without its ending."""
    place = path.relative_to(folder).with_suffix("")
    whole = place.name in FOLDER_FILES and place.parent != Path()
    return (place.parent if whole else place).as_posix()


def _without_suffix(name: str) -> str:
    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in SUFFIXES else name
