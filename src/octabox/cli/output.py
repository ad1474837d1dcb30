"""Progress of a request on the terminal, and the files of its results."""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octabox.errors import ForbiddenPathError, GenerationError, InvalidParameterError
from octabox.media.formats import format_of_suffix, suffix_of
from octabox.security.filesystem import write_file, write_new_file
from octabox.types import Artifact, Generation, OutputFormat

if TYPE_CHECKING:
    from rich.status import Status

#: The name of standard output.
STDOUT = "-"

#: The status line that is shown, if any.
_shown: list[Status] = []


class Destination:
    """The file or folder that results are written to.

    Args:
        out: A file, or a folder if it exists or ends in a slash; ``-`` is standard output, and None a new file in the working
            directory.
        as_json: Whether each result is printed as JSON.

    Raises:
        InvalidParameterError: JSON and the result itself cannot both be on standard output.
    """

    def __init__(self, out: str | None, *, as_json: bool = False) -> None:
        self.to_stdout, self.as_json = out == STDOUT, as_json
        if self.to_stdout and as_json:
            raise InvalidParameterError("-o - and --json both write to standard output.", hint="Omit one of them.")
        out = None if self.to_stdout else out
        self._folder = out is not None and (out.endswith(("/", os.sep)) or _is_folder(out))
        self._path = Path(out) if out is not None else None
        self._counts: Counter[str] = Counter()

    @property
    def prints_paths(self) -> bool:
        """Whether the paths of results are printed on standard output."""
        return not (self.to_stdout or self.as_json)

    @property
    def format(self) -> OutputFormat:
        """The format of the file's suffix; None selects the default format."""
        suffix = "" if self._path is None or self._folder else self._path.suffix
        return OutputFormat((format_of_suffix(suffix) or suffix.lstrip(".").lower()) or None)

    def check(self, count: int = 1) -> None:
        """Check before the generation that results can be written.

        Args:
            count: Number of results.

        Raises:
            ForbiddenPathError: The folder does not exist or is not writable, or no file can have the name.
            InvalidParameterError: Standard output is a terminal, or cannot have that many results.
        """
        if self.to_stdout:
            _check_stdout(count)
            return
        _check_name(self._path)
        folder = Path() if self._path is None else self._path if self._folder else self._path.parent
        if self._folder:
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
        if not folder.exists() and not self._folder:
            hint = "Create it, or choose another file or folder with -o."
            raise ForbiddenPathError(f"There is no folder '{folder}' for '{self._path}'.", hint=hint)
        if self._path is not None and self._path.exists() and not (self._path.is_file() or self._path.is_dir()):
            raise ForbiddenPathError(
                f"'{self._path}' is not a file.", hint="Choose a file or folder with -o; `-o -` is standard output."
            )
        if not _is_writable(folder) or (not self._folder and self._path and self._path.is_dir()):
            raise ForbiddenPathError(
                f"'{self._path or folder}' is not writable.", hint="Choose another file or folder with -o."
            )

    def write(self, generation: Generation, *, several: bool = False) -> list[Path]:
        """Write all artifacts and return their paths.

        Args:
            generation: A result.
            several: Whether it is one of several, whose files are numbered.
        """
        if self.to_stdout:
            _write_to_stdout(generation)
            return []
        paths = []
        types = Counter(artifact.media_type for artifact in generation.artifacts)
        for artifact in generation.artifacts:
            self._counts[artifact.media_type] += 1
            numbered = several or types[artifact.media_type] > 1
            paths.append(self._write(generation, artifact, self._counts[artifact.media_type] if numbered else None))
        return paths

    def _write(self, generation: Generation, artifact: Artifact, number: int | None) -> Path:
        """Write an artifact and return its path; one of another format has the same name with its own suffix."""
        suffix = suffix_of(artifact.media_type)
        if self._path is None or self._folder:
            seed = "" if artifact.seed is None else f"-{artifact.seed}"
            folder, stem = self._path or Path(), f"{generation.model.replace('/', '-')}{seed}"
            with _hinting_space(folder / f"{stem}{suffix}"):
                return write_new_file(_numbered_paths(folder, stem, suffix), artifact.content)
        requested = format_of_suffix(self._path.suffix)
        path = self._path if requested == format_of_suffix(suffix) else self._path.with_suffix(suffix)
        path = path if number is None else path.with_stem(f"{path.stem}-{number}")
        with _hinting_space(path):
            write_file(path, artifact.content)
        return path


def describe_result(generation: Generation, paths: list[Path]) -> dict[str, Any]:
    """Return a result as JSON data.

    Args:
        generation: The result.
        paths: The files of its artifacts.
    """
    pairs = zip(generation.artifacts, paths, strict=True)
    return {
        "model": generation.model,
        "pipeline": generation.pipeline,
        "task": generation.task,
        "files": [{"path": str(path), "media_type": each.media_type, "seed": each.seed} for each, path in pairs],
        "warnings": list(generation.warnings),
        "timings": dict(generation.timings),
        "adapters": [asdict(each) for each in generation.adapters],
    }


def _check_stdout(count: int) -> None:
    """Check that standard output can have the one file of a request."""
    if count > 1:
        message = f"Standard output can have one result, not {count}."
        raise InvalidParameterError(message, hint="Write them into a folder: -o FOLDER/")
    if sys.stdout.isatty():
        message = "A file is not written to a terminal."
        raise InvalidParameterError(message, hint="Redirect it: -o - > FILE, or name the file: -o FILE")


def _write_to_stdout(generation: Generation) -> None:
    """Write the only artifact of a result to standard output."""
    if len(generation.artifacts) != 1:
        message = f"Standard output can have one file, and the result has {len(generation.artifacts)}."
        raise GenerationError(message, hint="Write them into a folder: -o FOLDER/")
    try:
        sys.stdout.buffer.write(generation.artifacts[0].content)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise GenerationError(f"Standard output could not be written: {error.strerror}.") from error


def _is_folder(path: str) -> bool:
    """Return whether a path is that of a folder; one that no file can have is not."""
    return os.path.isdir(path)  # noqa: PTH112 (pathlib raises on odd paths)


def _check_name(path: Path | None) -> None:
    """Check that a file can have a path.

    Raises:
        ForbiddenPathError: It cannot, such as one that is too long.
    """
    try:
        if path is not None:
            path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        hint = "Choose another file or folder with -o."
        raise ForbiddenPathError(f"'{path}' cannot be a file: {reason}.", hint=hint) from error


def _is_writable(folder: Path) -> bool:
    """Return whether a file can be created in a folder, by creating a temporary one; permissions alone do not suffice."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


@contextlib.contextmanager
def _hinting_space(path: Path) -> Iterator[None]:
    """Report an error of a file that is written within the context."""
    try:
        yield
    except OSError as error:
        raise GenerationError(f"'{path}' could not be written: {error.strerror}.", hint="Is the disk full?") from error


def _numbered_paths(folder: Path, stem: str, suffix: str) -> Iterator[Path]:
    """Yield the paths of a name in a folder: without a number, and with each one from 2."""
    yield folder / f"{stem}{suffix}"
    yield from (folder / f"{stem}-{number}{suffix}" for number in itertools.count(2))


@contextlib.contextmanager
def show_status(text: str) -> Iterator[None]:
    """Show a status line with a spinner on a terminal within the context; within another one, it has the text meanwhile."""
    if not sys.stderr.isatty():
        yield
        return
    if _shown:  # Two spinners would overwrite each other.
        status, before = _shown[-1], _shown[-1].status
        status.update(text)
        try:
            yield
        finally:
            status.update(before)
        return
    from rich.console import Console

    with Console(stderr=True).status(text) as status:
        _shown.append(status)
        try:
            yield
        finally:
            _shown.pop()
