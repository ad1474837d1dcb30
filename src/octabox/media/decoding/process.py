"""The decoder process: it receives files one by one, and sends the decoded media or errors."""

from __future__ import annotations

import json
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

#: Maximum number of open files of a decoder.
MAX_FILES = 64


@dataclass(frozen=True)
class Order:
    """The request that precedes the bytes of a file.

    Args:
        kind: One of `DECODERS`.
        parameter: Name of the call parameter, for errors.
        limits: Limits of the input.
    """

    kind: str
    parameter: str
    limits: MediaLimits

    def as_json(self) -> bytes:
        """Serialize the request to JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, data: bytes) -> Order:
        """Parse a request from JSON."""
        fields = json.loads(data)
        return cls(**{**fields, "limits": MediaLimits(**fields["limits"])})


def serve(connection: Connection) -> None:
    """Decode files until the connection is closed."""
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
            hint = "Send a smaller file."
            why = f"The file for '{order.parameter}' exceeds the memory limit of decoders."
            _refuse(connection, MediaError(why, hint=hint, parameter=order.parameter))
        else:
            send(connection, medium)


def _refuse(connection: Connection, error: RequestError) -> None:
    problem: dict[str, Any] = {"type": "error", "message": error.message, "hint": error.hint}
    connection.send_bytes(json.dumps(problem).encode())


def limit_resources(memory: int) -> None:
    """Limit the additional memory of this process, and forbid it to write files.

    Args:
        memory: Additional address space in bytes.
    """
    limits = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0, resource.RLIMIT_NOFILE: MAX_FILES}
    statistics = Path("/proc/self/statm")
    if statistics.exists():  # only Linux enforces a limit on address space
        current = int(statistics.read_text("ascii").split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = current + memory
    for name, value in limits.items():
        _, maximum = resource.getrlimit(name)
        limit = value if maximum == resource.RLIM_INFINITY else min(value, maximum)
        resource.setrlimit(name, (limit, limit))


def main() -> None:
    """Serve the connection of the first argument (a descriptor), with the memory limit of the second argument."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which then closes the connection.
    limit_resources(int(sys.argv[2]))
    serve(Connection(int(sys.argv[1])))


if __name__ == "__main__":
    main()
