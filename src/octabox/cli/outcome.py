"""What the terminal shows while a request runs, and where its results are written."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from octabox.errors import ForbiddenPathError, GenerationError
from octabox.media.formats import format_of_suffix, suffix_of
from octabox.types import Artifact, Event, Generation, OutputFormat


class Destination:
    """Where results are written.

    Args:
        out: A file, or a folder if it is one or ends in a slash; None is a new file in the working folder.
    """

    def __init__(self, out: str | None) -> None:
        self._folder = out is not None and (out.endswith(("/", os.sep)) or Path(out).is_dir())
        self._path = Path(out) if out is not None else None

    @property
    def format(self) -> OutputFormat:
        """The format that the file's suffix stands for; None leaves it open."""
        suffix = "" if self._path is None or self._folder else self._path.suffix
        return OutputFormat((format_of_suffix(suffix) or suffix.lstrip(".").lower()) or None)

    def check(self) -> None:
        """Find out before the work begins that its result can be written.

        Raises:
            ForbiddenPathError: The folder is not there, or cannot be written to.
        """
        folder = Path() if self._path is None else self._path if self._folder else self._path.parent
        if self._folder:
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
        if not _takes_files(folder) or (not self._folder and self._path and self._path.is_dir()):
            raise ForbiddenPathError(
                f"Nothing can be written to '{self._path or folder}'.", hint="Give another place with -o."
            )

    def write(self, generation: Generation) -> list[Path]:
        """Write all artifacts and return their paths."""
        paths = []
        for artifact in generation.artifacts:
            path = self._place(generation, artifact)
            _write_whole(path, artifact.content)
            paths.append(path)
        return paths

    def _place(self, generation: Generation, artifact: Artifact) -> Path:
        """Return where an artifact goes; one of another format than the others keeps the name and gets its own suffix."""
        suffix = suffix_of(artifact.media_type)
        if self._path is None or self._folder:
            seed = "" if artifact.seed is None else f"-{artifact.seed}"
            return _unused(self._path or Path(), f"{generation.model.replace('/', '-')}{seed}", suffix)
        wanted = format_of_suffix(self._path.suffix)
        path = self._path if wanted == format_of_suffix(suffix) else self._path.with_suffix(suffix)
        alike = [each for each in generation.artifacts if each.media_type == artifact.media_type]
        if len(alike) == 1:
            return path
        number = next(index for index, each in enumerate(alike, 1) if each is artifact)
        return path.with_stem(f"{path.stem}-{number}")


def _takes_files(folder: Path) -> bool:
    """Return whether a file can be made in a folder, by making one that has no name; rights alone do not tell."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


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
                part = f" ({event.part} of {event.parts})" if event.parts > 1 else ""
                bar.update(shown, description=f"{event.phase}{part}", completed=event.step, total=event.steps or None)
    raise GenerationError("The request ended without a result.")
