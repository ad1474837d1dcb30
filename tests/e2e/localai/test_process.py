"""The process of a backend as LocalAI's core starts, watches and ends it; no model is loaded."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from localai_backend import Client, failing, running, running_backend

RUN = Path(__file__).parents[3] / "backends" / "localai" / "run.sh"

#: A parent that starts a backend, tells its number, and waits to be killed.
PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-m", "octabox", "backend", "--addr", "127.0.0.1:0"], stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
time.sleep(600)
"""


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def gone(pid: int, seconds: float) -> bool:
    """Return whether a process ends in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            state = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.fixture(scope="module")
def guarded() -> Iterator[Client]:
    """Return a client of a backend that asks for a token."""
    with running_backend(environment={"LOCALAI_GRPC_AUTH_TOKEN": "secret"}) as client:
        yield client


@pytest.mark.parametrize("form", [["--addr", "127.0.0.1:{}"], ["--addr=127.0.0.1:{}"], ["--addr=localhost:{}"]])
def test_both_forms_of_the_address_are_taken(form: list[str]) -> None:
    """LocalAI's core writes the address behind the flag, its own tests write an equals sign."""
    port = free_port()
    with running_backend(*[part.format(port) for part in form]) as client:
        assert client.address.endswith(f":{port}")
        assert b"OK" == client.health()


@pytest.mark.slow
def test_the_script_starts_a_backend_from_its_own_folder() -> None:
    """The script takes LocalAI's arguments, runs from any folder, and ends in good order when it is told to."""
    command = [str(RUN), "--addr", "127.0.0.1:0"]
    with running(command, cwd=RUN.parent, env={"OCTABOX_PYTHON": sys.executable}) as client:
        assert b"OK" == client.health()
        client.process.send_signal(signal.SIGTERM)
        assert 0 == client.process.wait(20)


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:notaport", "TAKEN"])
def test_an_address_that_cannot_be_listened_on_is_an_error(address: str) -> None:
    """A wrong or taken address is named, with what to do."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = address.replace("TAKEN", f"127.0.0.1:{taken.getsockname()[1]}")
        command = [sys.executable, "-m", "octabox", "backend", "--addr", address]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    assert done.returncode not in (0, 1)
    assert address in done.stderr
    assert "Traceback" not in done.stderr


def test_a_wrong_variable_is_an_error() -> None:
    """A variable that cannot be is named before anything is listened on."""
    command = [sys.executable, "-m", "octabox", "backend", "--addr", "127.0.0.1:0"]
    env = {**os.environ, "FPS": "fast"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, env=env)

    assert 0 != done.returncode
    assert "FPS" in done.stderr


def test_an_unknown_variable_is_in_the_log(tmp_path: Path) -> None:
    """LocalAI shows the log of its backends, where a misspelled setting is found."""
    log = tmp_path / "log"
    command = [sys.executable, "-m", "octabox", "backend", "--addr", "nonsense", "--log-file", str(log)]
    subprocess.run(command, capture_output=True, timeout=240, check=False, env={**os.environ, "OCTABOX_PROT": "1"})

    assert "OCTABOX_PROT is not a setting; did you mean OCTABOX_PORT?" in log.read_text(encoding="utf-8")


@pytest.mark.parametrize("header", [None, "Bearer guess", "secret", "Basic secret", "Bearer "])
def test_a_wrong_token_opens_nothing(guarded: Client, header: str | None) -> None:
    """Without the token no method answers, Health as little as one that there is not."""
    metadata = (("authorization", header),) if header is not None else ()
    with failing() as told:
        guarded.health(metadata=metadata)
    assert [grpc.StatusCode.UNAUTHENTICATED, "invalid token"] == told
    with failing() as told:
        guarded.channel.unary_unary("/backend.Backend/Predict")(b"", timeout=10, metadata=metadata)
    assert grpc.StatusCode.UNAUTHENTICATED == told[0]


def test_the_token_opens_the_backend(guarded: Client) -> None:
    """With the token all is as ever."""
    assert b"OK" == guarded.health(metadata=(("authorization", "Bearer secret"),))


def test_a_method_that_is_not_served_says_so(guarded: Client) -> None:
    """What this backend is not for is unimplemented, which LocalAI's core knows how to take."""
    with failing() as told:
        guarded.channel.unary_unary("/backend.Backend/Predict")(
            b"", timeout=10, metadata=(("authorization", "Bearer secret"),)
        )

    assert grpc.StatusCode.UNIMPLEMENTED == told[0]


@pytest.mark.parametrize("watched", [True, False])
def test_a_backend_ends_with_its_parent(watched: bool) -> None:
    """When LocalAI's core is killed its backend ends by itself, unless the watch is switched off."""
    env = {"LOCALAI_BACKEND_PARENT_WATCH": str(watched), "LOCALAI_BACKEND_PARENT_WATCH_INTERVAL": "50ms"}
    with running([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, env=env) as client:
        assert client.process.stdout is not None
        backend = int(client.process.stdout.readline())
        assert b"OK" == client.health()
        client.process.kill()
        client.process.wait()
        try:
            assert watched is gone(backend, 15 if watched else 0.5)
            assert watched or b"OK" == client.health()
        finally:
            if not watched:
                os.kill(backend, signal.SIGTERM)
                assert gone(backend, 15)


def test_a_message_may_be_large(guarded: Client) -> None:
    """A message of nearly 50 MB is read; LocalAI's own limit is as large."""
    call = guarded.channel.unary_unary("/backend.Backend/Health")
    filler = bytes([15 << 3 | 2]) + b"\x80\x80\x80\x14" + bytes(20 * 1024 * 1024 * 2)

    assert b"\n\x02OK" == call(filler, timeout=30, metadata=(("authorization", "Bearer secret"),))
