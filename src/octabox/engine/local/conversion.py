"""Write a model out as a folder in diffusers' own format, by a process of its own."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from octabox.engine.local.forkserver import ProcessStarter
from octabox.engine.local.processes import ProcessEndedError, ask_process
from octabox.engine.messages import BadFork, Conversion, Converted
from octabox.engine.worker.entry import convert as work
from octabox.errors import ForbiddenPathError, OctaboxError, WorkerDiedError
from octabox.hub.folder import index_file


def convert(order: Conversion, *, force: bool = False) -> Converted:
    """Write a model out; the folder appears when it is whole, or not at all.

    Args:
        order: What is to be written.
        force: Whether to replace a model that is there already.

    Raises:
        ForbiddenPathError: The folder cannot be made, or something is there.
        LoadError: The model cannot be loaded or written.
        WorkerDiedError: The process ended in the middle.
    """
    with _place(order.out, force=force) as part:
        return _run(order, part)


def _run(order: Conversion, part: Path) -> Converted:
    """Let a process write to this folder: a forked one, or a spawned one where a fork cannot use the accelerators."""
    processes = ProcessStarter()
    try:
        answer = ask_process(processes.context, work, (order, part))
        if isinstance(answer, BadFork):
            processes.use_spawn(answer)
            answer = ask_process(processes.context, work, (order, part))
    except ProcessEndedError as error:
        how = str(error)
        if error.exit_code == -signal.SIGKILL:
            how = "was ended by SIGKILL, which often means that the machine ran out of memory"
        message = f"The process that converted '{order.model.name}' {how}."
        raise WorkerDiedError(message, hint="The log says more.", model=order.model.name) from error
    if isinstance(answer, OctaboxError):
        raise answer
    assert isinstance(answer, Converted)  # noqa: S101 (the process says nothing else)
    return answer


@contextmanager
def _place(out: Path, *, force: bool) -> Iterator[Path]:
    """Yield a new folder beside the wanted one, which takes its place in the end, or goes."""
    _check(out, force=force)
    part, old = out.with_name(f".{out.name}.{os.getpid()}.part"), out.with_name(f".{out.name}.{os.getpid()}.old")
    try:
        part.mkdir(parents=True)
    except OSError as error:
        message = f"No folder can be made beside '{out}': {error.strerror}."
        raise ForbiddenPathError(message, hint="Give another place.") from error
    try:
        yield part
        if out.exists():
            out.rename(old)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)


def _check(out: Path, *, force: bool) -> None:
    """Refuse a place where something is that must not be lost."""
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise ForbiddenPathError(f"'{out}' is there and is no folder.", hint="Give another place.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if index_file(out) is None:
        raise ForbiddenPathError(f"'{out}' is not empty and is no model.", hint="Give another place.")
    if not force:
        raise ForbiddenPathError(
            f"'{out}' holds a model already.", hint="Give another place, or --force to replace it."
        )
