"""What the terminal shows while a request runs, and where its results are written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from octabox.errors import ForbiddenPathError, GenerationError
from octabox.media.formats import format_of_suffix, suffix_of
from octabox.types import Event, Generation, OutputFormat


class Destination:
    """Where results are written.

    Args:
        out: A file, or a folder if it is one or ends in a slash; None is a new file in the working folder.
        count: How many results there will be.
    """

    def __init__(self, out: str | None, count: int) -> None:
        self._folder = out is not None and (out.endswith(("/", os.sep)) or Path(out).is_dir())
        self._path = Path(out) if out is not None else None
        self._count = count

    @property
    def format(self) -> OutputFormat:
        """The format that the file's suffix stands for; None leaves it open."""
        suffix = "" if self._path is None or self._folder else self._path.suffix.lstrip(".").lower()
        return OutputFormat(format_of_suffix(suffix) or suffix or None)

    def check(self) -> None:
        """Find out before the work begins that its result can be written.

        Raises:
            ForbiddenPathError: The folder is not there, or cannot be written to.
        """
        folder = Path() if self._path is None else self._path if self._folder else self._path.parent
        if self._folder:
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK) or (not self._folder and self._path and self._path.is_dir()):
            raise ForbiddenPathError(
                f"Nothing can be written to '{self._path or folder}'.", hint="Give another place with -o."
            )

    def write(self, generation: Generation) -> list[Path]:
        """Write all artifacts and return their paths."""
        paths = []
        for index, artifact in enumerate(generation.artifacts):
            path = self._place(generation, index, artifact.seed, suffix_of(artifact.media_type))
            _write_whole(path, artifact.content)
            paths.append(path)
        return paths

    def _place(self, generation: Generation, index: int, seed: int | None, suffix: str) -> Path:
        if self._path is None or self._folder:
            return _unused(self._path or Path(), f"{generation.model.replace('/', '-')}-{seed}", suffix)
        if len(generation.artifacts) == 1:
            return self._path
        return self._path.with_stem(f"{self._path.stem}-{index + 1}")


def _write_whole(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever sees half of it."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise GenerationError(f"'{path}' could not be written: {error.strerror}.", hint="Is the disk full?") from error


def _unused(folder: Path, stem: str, suffix: str) -> Path:
    """Return a path in ``folder`` that no file has yet."""
    path, number = folder / f"{stem}{suffix}", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{suffix}"
    return path


@contextlib.contextmanager
def waiting(words: str) -> Iterator[None]:
    """Show on a terminal that something is being done that takes a while the first time."""
    with Console(stderr=True).status(words):
        yield


async def watch(events: AsyncGenerator[Event, None]) -> Generation:
    """Follow a request with a progress bar on standard error, and return its result."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        shown = bar.add_task("starting", total=None)
        async with contextlib.aclosing(events):
            async for event in events:
                if isinstance(event, Generation):
                    return event
                bar.update(shown, description=event.phase, completed=event.step, total=event.steps or None)
    raise GenerationError("The request ended without a result.")
