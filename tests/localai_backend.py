"""A real backend in a process of its own, and a client that knows nothing but LocalAI's contract."""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import grpc
from grpc_tools import protoc

from compile_proto import SOURCE

#: A message of the contract, or the module that holds their classes.
Message: TypeAlias = Any


@cache
def _generated() -> tuple[Message, Message]:
    """Return the modules that protoc makes of the contract: the messages, and the stub."""
    with tempfile.TemporaryDirectory() as folder:
        options = [f"--proto_path={SOURCE.parent}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
        assert 0 == protoc.main(["protoc", *options, SOURCE.name])
        sys.path.insert(0, folder)
        try:
            return importlib.import_module("backend_pb2"), importlib.import_module("backend_pb2_grpc")
        finally:
            sys.path.remove(folder)


#: The classes of messages.
messages: Message = _generated()[0]


class Client:
    """Calls a backend.

    Args:
        address: ``host:port`` of the backend.
        process: Its process.
    """

    def __init__(self, address: str, process: subprocess.Popen[str]) -> None:
        self.address, self.process = address, process
        limits = [(f"grpc.max_{way}_message_length", 50 * 1024 * 1024) for way in ("send", "receive")]
        self.channel = grpc.insecure_channel(address, options=[*limits, ("grpc.enable_http_proxy", 0)])
        self.stub: Message = _generated()[1].BackendStub(self.channel)

    def load(self, model: Path | str, **fields: Any) -> Message:
        """Load a model by its folder; fields are those of ModelOptions."""
        fields = {"Model": Path(model).name, "ModelFile": str(model), **fields}
        return self.stub.LoadModel(messages.ModelOptions(**fields), timeout=240)

    def image(self, dst: Path | str, prompt: str = "a red circle on a blue background", **fields: Any) -> Message:
        """Make an image; fields are those of GenerateImageRequest."""
        fields = {"step": 2, "seed": 1, **fields}
        request = messages.GenerateImageRequest(positive_prompt=prompt, dst=str(dst), **fields)
        return self.stub.GenerateImage(request, timeout=240)

    def health(self, **options: Any) -> bytes:
        """Return what the backend says of its health."""
        reply: bytes = self.stub.Health(messages.HealthMessage(), timeout=10, **options).message
        return reply

    def status(self) -> Message:
        """Return what the backend does, and its memory."""
        return self.stub.Status(messages.HealthMessage(), timeout=10)

    def free(self) -> Message:
        """Take the model out of memory."""
        return self.stub.Free(messages.HealthMessage(), timeout=240)


def command(*arguments: str) -> list[str]:
    """Return the command line of a backend on a free port, unless the arguments name one."""
    address = [] if any(each.startswith("--addr") for each in arguments) else ["--addr", "127.0.0.1:0"]
    return [sys.executable, "-m", "octabox", "backend", *address, "--threads", "1", *arguments]


@contextlib.contextmanager
def running(arguments: list[str], **options: Any) -> Iterator[Client]:
    """Run a command that starts a backend until the end of the block, and yield a client of the backend.

    Args:
        arguments: The command.
        **options: Options of the process; ``env`` are variables beside those of this process.
    """
    env = {**os.environ, "HF_HUB_OFFLINE": "1", **options.pop("env", {})}
    # A file, not a pipe: what the backend leaves behind for a moment would hold a pipe open.
    with (
        tempfile.NamedTemporaryFile("w+", suffix=".log") as log,
        subprocess.Popen(arguments, stderr=log, text=True, env=env, **options) as process,
    ):
        try:
            client = Client(_listened(process, Path(log.name)), process)
            yield client
            client.channel.close()
        finally:
            process.terminate()
            process.wait(60)


def running_backend(
    *arguments: str, environment: Mapping[str, str] = MappingProxyType({})
) -> AbstractContextManager[Client]:
    """Run ``octabox backend`` until the end of the block, and yield a client of it."""
    return running(command(*arguments), env=environment)


def _listened(process: subprocess.Popen[str], log: Path) -> str:
    """Return the address that a backend says it listens on."""
    end = time.monotonic() + 240
    while time.monotonic() < end:
        text = log.read_text(encoding="utf-8")
        if found := re.search(r"serves LocalAI at (\S+)\n", text):
            return found[1]
        assert process.poll() is None, text
        time.sleep(0.02)
    raise AssertionError("the backend did not listen")


@contextlib.contextmanager
def failing() -> Iterator[list[Any]]:
    """Yield a list that holds, behind the block, the status of the call that failed in it and its details."""
    told: list[Any] = []
    try:
        yield told
    except grpc.RpcError as error:
        told += [error.code(), error.details()]
    else:
        raise AssertionError("the call did not fail")
