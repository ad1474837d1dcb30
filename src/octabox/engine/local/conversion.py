"""Write a model as a folder in diffusers' format, in a separate process."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from octabox.engine.conversions import Conversion, Converted
from octabox.engine.local.processes.forkserver import ProcessStarter
from octabox.engine.local.processes.starting import ProcessEndedError, ask_process
from octabox.engine.messages import BadFork
from octabox.engine.worker.entry import convert as work
from octabox.errors import ForbiddenPathError, OctaboxError, WorkerDiedError
from octabox.hub.folder import index_file
from octabox.security.filesystem import apply_umask

#: Seconds without CPU time after which a conversion is ended, as one that waits for a disk or a network that is gone.
SILENCE = 600.0


def convert(conversion: Conversion, *, force: bool = False) -> Converted:
    """Write a model to a folder, which appears once it is complete, or not at all.

    Args:
        conversion: What to write.
        force: Whether to replace a model that is in the folder.

    Raises:
        ForbiddenPathError: The folder cannot be made, or holds something else.
        LoadError: The model cannot be loaded or written.
        WorkerDiedError: The process ended before it was done.
    """
    with _partial_folder(conversion.out, force=force) as part:
        return _run(conversion, part)


def _run(conversion: Conversion, part: Path) -> Converted:
    """Let a process write to this folder: a forked one, or a spawned one where a fork cannot use the accelerators."""
    processes = ProcessStarter()
    try:
        answer = ask_process(processes.context, work, (conversion, part), silence=SILENCE)
        if isinstance(answer, BadFork):
            processes.use_spawn(answer)
            answer = ask_process(processes.context, work, (conversion, part), silence=SILENCE)
    except ProcessEndedError as error:
        how = str(error)
        if error.exit_code is None:
            how = f"used no CPU time for {SILENCE / 60:g} minutes, and was ended"
        elif error.exit_code == -signal.SIGKILL:
            how = "was ended by SIGKILL, which often means that the machine ran out of memory"
        name = conversion.model.name
        message = f"The process that converted '{name}' {how}."
        raise WorkerDiedError(message, hint="See the log for the cause.", model=name) from error
    if isinstance(answer, OctaboxError):
        raise answer
    assert isinstance(answer, Converted)  # noqa: S101 (the process sends nothing else)
    return answer


@contextmanager
def _partial_folder(out: Path, *, force: bool) -> Iterator[Path]:
    """Yield a new folder next to ``out``, which replaces it at the end, or is removed where the context raises."""
    _check_replaceable(out, force=force)
    part, old = (out.with_name(f".{out.name}.{os.getpid()}.{suffix}") for suffix in ("part", "old"))
    try:
        part.mkdir(parents=True)
    except OSError as error:
        message = f"No folder can be made next to '{out}': {error.strerror}."
        raise ForbiddenPathError(message, hint="Choose another path.") from error
    try:
        yield part
        _replace(out, part, old)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _replace(out: Path, part: Path, old: Path) -> None:
    """Rename ``part`` to ``out``; what was there is removed, or is there again where that fails."""
    apply_umask(part)
    if out.exists():
        out.rename(old)
    try:
        part.rename(out)
    except OSError:
        if old.exists():
            old.rename(out)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _check_replaceable(out: Path, *, force: bool) -> None:
    """Refuse a path with something that must not be lost."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ForbiddenPathError(f"'{out}' exists and is not a folder.", hint="Choose another path.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if index_file(out) is None:
        raise ForbiddenPathError(f"'{out}' is not empty and does not hold a model.", hint="Choose another path.")
    if not force:
        raise ForbiddenPathError(f"'{out}' holds a model.", hint="Choose another path, or --force to replace it.")
