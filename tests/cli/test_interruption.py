"""Ctrl-C in every phase of a command."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

#: A command whose work is in its place; `main` runs it as it runs all others.
PROGRAM = """
import asyncio, sys, time, click
from pathlib import Path
from octabox.cli import interruption, main

async def close_slowly():
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(60)

async def fail_when_cancelled():
    async def work():
        try:
            await asyncio.sleep(60)
        finally:
            raise ValueError("a traceback")
    await asyncio.gather(work(), work())

def write():
    for name in ("a.png", "b.png"):
        interruption.note_written(Path(name))
    time.sleep(60)

@click.command()
def command():
    print("ready", flush=True)
    BODY

main.LazyGroup.get_command = lambda self, context, name: command
sys.argv = ["octabox", "wait"]
main.main()
"""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("time.sleep(60)", "Interrupted.\n"),
        ("asyncio.run(asyncio.sleep(60))", "Interrupted.\n"),
        ("asyncio.run(asyncio.to_thread(time.sleep, 60))", "Interrupted.\n"),
        ("asyncio.run(close_slowly())", "Interrupted.\n"),
        ("asyncio.run(fail_when_cancelled())", "Interrupted.\n"),
        ("write()", "Interrupted. Written: a.png, b.png.\n"),
    ],
)
def test_a_command_ends_in_time(body: str, words: str) -> None:
    """With one line and its exit code, whether it sleeps, waits for a thread, or does not close."""
    command = [sys.executable, "-c", PROGRAM.replace("BODY", body)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, errors = process.communicate(timeout=30)

    assert (130, words) == (process.returncode, errors)
    assert time.monotonic() - began < 5  # A busy machine may be slow.


@pytest.mark.slow
def test_ctrl_c_while_a_model_loads(tmp_path: Path) -> None:
    """The worker and the fork server end as well, though they import torch at that time."""
    command = [sys.executable, "-m", "octabox", "run", "demo", "a star", "-n", "10"]
    # Not a pipe: a worker that is being forked keeps it open for a moment.
    errors = tmp_path / "errors.txt"
    with errors.open("w") as file, subprocess.Popen(command, stderr=file, cwd=tmp_path) as process:
        program, end = psutil.Process(process.pid), time.monotonic() + 60
        while not (children := [child for child in program.children(recursive=True) if is_fork_server(child)]):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        process.wait(30)

    # The end of the progress bar is an empty line where there is no terminal.
    assert (130, "Interrupted.") == (process.returncode, errors.read_text().strip())
    assert time.monotonic() - began < 5
    _, alive = psutil.wait_procs(children, timeout=30)
    assert [] == alive


def is_fork_server(process: psutil.Process) -> bool:
    """Return whether a process is a fork server, or one that it has forked."""
    try:
        return "multiprocessing.forkserver" in " ".join(process.cmdline())
    except psutil.Error:
        return False
