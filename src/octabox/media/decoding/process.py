"""The process of a decoder: it takes files one after another, and answers with what they hold or with what is wrong."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from octabox.errors import MediaError, RequestError
from octabox.media.decoding.decoders import DECODERS
from octabox.media.decoding.transfer import send
from octabox.media.limits import MediaLimits

#: Files that a decoder may have open.
MAX_FILES = 64


@dataclass(frozen=True)
class Order:
    """What is sent before the bytes of a file.

    Args:
        kind: One of `DECODERS`.
        parameter: The parameter that the file is for.
        limits: How large it may be.
    """

    kind: str
    parameter: str
    limits: MediaLimits

    def as_json(self) -> bytes:
        """Return it as bytes."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Order:
        """Return what `as_json` wrote."""
        fields = json.loads(data)
        return cls(**{**fields, "limits": MediaLimits(**fields["limits"])})


def serve(connection: Connection) -> None:
    """Decode files until the other end of the connection is closed."""
    while True:
        try:
            order, data = Order.from_json(connection.recv_bytes()), connection.recv_bytes()
        except EOFError:
            return
        try:
            medium = DECODERS[order.kind](data, parameter=order.parameter, limits=order.limits)
        except RequestError as error:
            _refuse(connection, error)
        except MemoryError:
            hint = "Send a smaller one."
            why = f"The file for '{order.parameter}' needs more memory than a decoder may take."
            _refuse(connection, MediaError(why, hint=hint, parameter=order.parameter))
        else:
            send(connection, medium)


def _refuse(connection: Connection, error: RequestError) -> None:
    problem: dict[str, Any] = {"type": "error", "message": error.message, "hint": error.hint}
    connection.send_bytes(json.dumps(problem).encode())


def limit_resources(memory: int) -> None:
    """Let this process take no more than this memory beside what it has now, and write no file.

    Args:
        memory: Bytes of address space.
    """
    wanted = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_NOFILE: MAX_FILES}
    statistics = Path("/proc/self/statm")
    if statistics.exists():  # Only Linux keeps to a limit on address space.
        held = int(statistics.read_text("ascii").split()[0]) * resource.getpagesize()
        wanted[resource.RLIMIT_AS] = held + memory
    for name, value in wanted.items():
        _, most = resource.getrlimit(name)
        least = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(name, (least, least))


def main() -> None:
    """Serve the connection whose descriptor is the first argument, under the limit on memory that is the second."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then closes the connection.
    os.environ.pop("PYTHONPATH", None)
    limit_resources(int(sys.argv[2]))
    serve(Connection(int(sys.argv[1])))


if __name__ == "__main__":
    main()
