"""List the LoRAs and embeddings in their folders, and resolve their names."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from octabox.errors import AdapterNotFoundError, ForbiddenPathError, nearest
from octabox.hub.adapters.adapter_file import SUFFIXES, AdapterFile, read_embedding, read_lora
from octabox.hub.folder import is_hub_id
from octabox.security.filesystem import existing_path, walk_files

#: File names that diffusers and PEFT use; such a file is named after its folder.
FOLDER_FILES = frozenset({"pytorch_lora_weights", "adapter_model", "learned_embeds"})


class AdapterRegistry:
    """The current adapters of two folders; a file is read again only if it has changed. Thread-safe.

    Args:
        loras: Folder of LoRAs, searched recursively.
        embeddings: Folder of embeddings, searched recursively.
        any_path: Whether a LoRA may be any path of this machine.
        any_hub: Whether a LoRA may be any Hub id.
    """

    def __init__(
        self, loras: Path | None, embeddings: Path | None, *, any_path: bool = False, any_hub: bool = False
    ) -> None:
        self._loras, self._embeddings = loras, embeddings
        self._any_path, self._any_hub = any_path, any_hub
        self._lock = threading.Lock()
        self._read: dict[Path, tuple[tuple[int, int], AdapterFile]] = {}

    def loras(self) -> list[AdapterFile]:
        """Return the LoRAs, sorted by name."""
        return self._all(self._loras, read_lora)

    def embeddings(self) -> list[AdapterFile]:
        """Return the embeddings, sorted by name, each with its words: no two have one in common."""
        found = self._all(self._embeddings, read_embedding)
        return _with_words(found, self._embeddings) if self._embeddings else found

    def source(self, name: str) -> str:
        """Return the file or the Hub id of a LoRA by name.

        A name is a file name, with or without the suffix and the parent folders.

        Raises:
            AdapterNotFoundError: No LoRA has this name, or several have.
            ForbiddenPathError: The name is a path outside of the folder.
        """
        found = self._find(name)
        if len(found) == 1:
            return str(found[0])
        if found and self._loras:
            choices = sorted(_name(path, self._loras) for path in found)
            hint = "Specify the folder: " + " or ".join(choices)
            raise AdapterNotFoundError(f"Several LoRAs have the name {name!r}.", hint=hint, parameter="adapters")
        if self._any_path and (path := existing_path(name)):
            return str(path)
        if is_hub_id(name) and self._any_hub:
            return name
        if name.startswith("~") or Path(name).is_absolute() or ".." in Path(name).parts:
            raise ForbiddenPathError(
                f"A LoRA must be specified by its path in the folder of LoRAs, not by {name!r}.",
                hint="`octabox adapters` lists their names.",
                parameter="adapters",
            )
        raise self._not_found(name)

    def _not_found(self, name: str) -> AdapterNotFoundError:
        """Return the error for an unknown name, with similar names."""
        files = walk_files(self._loras, SUFFIXES).files if self._loras else ()
        names = [_name(path, self._loras) for path in files if self._loras]
        like = nearest(name, names)
        hint = f"Did you mean {' or '.join(like)}?" if like else f"`octabox adapters` lists those in {self._loras}."
        if is_hub_id(name) and not like:
            hint = "Start the server with --allow-hub to load LoRAs from the Hub."
        return AdapterNotFoundError(f"There is no LoRA {name!r}.", hint=hint, parameter="adapters", choices=names)

    def _find(self, name: str) -> list[Path]:
        """Return the files with this path or, if there are none, with this file name."""
        if self._loras is None:
            return []
        files = walk_files(self._loras, SUFFIXES).files
        requested = _without_suffix(name.replace("\\", "/"))
        exact = [path for path in files if _name(path, self._loras) == requested]
        return exact or [path for path in files if _name(path, self._loras).rpartition("/")[2] == requested]

    def _all(self, folder: Path | None, read: Callable[[Path, str], AdapterFile]) -> list[AdapterFile]:
        """Return the metadata of each file in a folder; what cannot be read has a `problem`."""
        if folder is None:
            return []
        found, content = [], walk_files(folder, SUFFIXES)
        for path in (*content.files, *(path for path in content.faults if path != folder)):
            try:
                stat = path.lstat()
            except OSError:
                continue
            stamp = (stat.st_mtime_ns, stat.st_size)
            with self._lock:
                known = self._read.get(path)
            if known is None or known[0] != stamp:
                known = (stamp, read(path, _name(path, folder)))
                with self._lock:
                    self._read[path] = known
            found.append(known[1])
        return sorted(found, key=lambda each: each.name.lower())


def _with_words(found: list[AdapterFile], folder: Path) -> list[AdapterFile]:
    """Return embeddings with their words: the token in the file, the name of the file, and that of a folder for it alone.

    A word of several files belongs to the first one.
    """
    counts = Counter(each.file.parent for each in found)
    taken: set[str] = set()
    named = []
    for each in found:
        parent = each.file.parent
        names = each.words
        # The name of a file with several tokens would be none of them.
        if len(names) < 2:  # noqa: PLR2004 (tokens)
            names = (*names, each.name.rpartition("/")[2], each.file.stem)
            names = (*names, parent.name) if parent != folder and counts[parent] == 1 else names
        words = dict.fromkeys(name for name in names if name not in taken)
        shadowed = dict.fromkeys(name for name in names if name in taken)
        # A file that cannot be used keeps no word from others.
        taken.update(() if each.problem else words)
        named.append(replace(each, words=tuple(words), shadowed=tuple(shadowed)))
    return named


def _name(path: Path, folder: Path) -> str:
    """Return the name of an adapter file: its path in the folder, without the suffix."""
    relative = path.relative_to(folder).with_suffix("")
    is_folder = relative.name in FOLDER_FILES and relative.parent != Path()
    return (relative.parent if is_folder else relative).as_posix()


def _without_suffix(name: str) -> str:
    return name[: -len(Path(name).suffix)] if Path(name).suffix.lower() in SUFFIXES else name
