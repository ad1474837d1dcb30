"""Find the server in the background of this user, or start it."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from octabox.cli.resident.connection import ask, is_alive
from octabox.cli.resident.runtime import other_sockets, runtime_folder, socket_path
from octabox.errors import OctaboxError

#: Seconds between two attempts to connect.
INTERVAL = 0.02

#: Seconds in which a server listens; importing may take long on a busy machine.
START_TIMEOUT = 120.0

#: Bytes of a log that are shown if a server does not start.
LOG_BYTES = 2000

#: What happened, and what does without a server.
NOT_STARTED, LOCAL = "No server could be started in the background", "`octabox run --local` needs none."


class StartError(OctaboxError):
    """The server could not be started."""


def find_server(models: Path | None) -> Path | None:
    """Return the socket of the running server that does what this process would do; None if there is none.

    Args:
        models: The folder of models, if it is an option.
    """
    folder = runtime_folder()
    path = folder and socket_path(folder, models)
    return path if path and is_alive(path) else None


def start_server(models: Path | None, owner: int | None = None) -> Path:
    """Start a server in the background and return its socket, when it listens.

    Servers of other settings that are idle are ended first, since their models may take the memory.

    Args:
        models: The folder of models, if it is an option.
        owner: Process without which the server ends; it has a separate socket. None is a server for all.

    Raises:
        StartError: There is no private folder for the socket, or the server has ended.
    """
    folder = runtime_folder()
    if folder is None:
        raise StartError(f"{NOT_STARTED}: there is no private folder for its socket.", hint=LOCAL)
    path = socket_path(folder, models)
    path = path if owner is None else path.with_stem(f"{path.stem}-{owner}")
    with _locked(path):
        if is_alive(path):
            return path
        path.unlink(missing_ok=True)  # Left by a server that was killed.
        end_servers(folder, path)
        _launch(path, models, owner)
    return path


def end_servers(folder: Path, kept: Path | None = None, *, only_idle: bool = True) -> list[int]:
    """End servers of this user, and remove the sockets of those that were killed.

    Args:
        folder: The runtime folder.
        kept: The socket of a server that is kept.
        only_idle: Whether those that run a request are kept.

    Returns:
        The process ids of those that end.
    """
    ended = []
    for other in other_sockets(folder, kept):
        answer = ask(other, "POST", "/stop?only_idle=1" if only_idle else "/stop")
        if answer is None and not is_alive(other):
            other.unlink(missing_ok=True)
        elif answer and answer.get("stopping"):
            ended.append(int(answer["pid"]))
    return ended


def unload_model(folder: Path, model: str) -> bool:
    """Unload a model from all servers of this user, each after the call that it runs; return whether one had it in memory.

    Args:
        folder: The runtime folder.
        model: Name of the model, as `octabox ps` shows it.
    """
    route = f"/v1/models/{quote(model)}/unload"
    answers = [ask(each, "POST", route, timeout=None) for each in other_sockets(folder, None)]
    return any(answer["unloaded"] for answer in answers if answer)


def _launch(path: Path, models: Path | None, owner: int | None) -> None:
    """Start a server, and wait until it listens."""
    command = [sys.executable, "-m", "octabox.cli.resident", str(path)]
    command += [] if models is None else ["--models", str(models)]
    command += [] if owner is None else ["--owner", str(owner)]
    log = path.with_suffix(".log")
    with log.open("wb") as file:
        log.chmod(0o600)
        # In its own session, so that Ctrl-C in the terminal does not reach it.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True, close_fds=True
        )
    end = time.monotonic() + START_TIMEOUT
    while not is_alive(path):
        if process.poll() is not None or time.monotonic() > end:
            raise StartError(f"{NOT_STARTED}: {_failure(process, log)}.", hint=f"Its log is {log}. {LOCAL}")
        time.sleep(INTERVAL)
    # It outlives this process, which would be warned of a child that was not waited for.
    process.returncode = 0


def _failure(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return why a server does not listen, and end it if it still starts."""
    text = log.read_bytes()[-LOG_BYTES:].decode(errors="replace").strip()
    last = f"; the last line of its log is {text.splitlines()[-1]!r}" if text else ""
    if process.poll() is not None:
        return f"it ended with exit code {process.returncode}{last}"
    process.kill()
    process.wait()
    return f"it did not listen within {START_TIMEOUT:g} s{last}"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time start a server within the context."""
    import fcntl

    with path.with_suffix(".lock").open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
