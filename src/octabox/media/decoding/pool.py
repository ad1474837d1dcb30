"""Decoders that wait for files, each in a process of its own."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import weakref
from multiprocessing.connection import Connection
from queue import Empty, LifoQueue
from typing import Any

from octabox.errors import MediaError
from octabox.media.decoding.decoders import Decoded
from octabox.media.decoding.process import Order
from octabox.media.decoding.transfer import receive
from octabox.media.limits import MediaLimits

logger = logging.getLogger("octabox.media")

#: Bytes of memory that a decoder may take for each pixel of the largest video: RGB, once decoded and once as it is sent.
BYTES_PER_PIXEL = 6

#: Bytes of memory that a decoder may take besides.
OVERHEAD = 1 << 30

#: Seconds that a decoder has to end once its connection is closed.
SHUTDOWN_TIMEOUT = 2.0


class DecoderPool:
    """Decodes files in processes that are started when they are needed, and replaced when they die.

    Args:
        limits: How large a file, and what it holds, may be.
        size: Most processes at a time.
        timeout: Seconds that one file may take.
    """

    def __init__(self, limits: MediaLimits, *, size: int = 0, timeout: float = 60.0) -> None:
        self.limits, self._timeout = limits, timeout
        self._memory = OVERHEAD + BYTES_PER_PIXEL * limits.max_video_pixels
        self._free = threading.Semaphore(size or min(4, os.cpu_count() or 1))
        self._idle: LifoQueue[_Decoder] = LifoQueue()
        self._closed = False
        weakref.finalize(self, _close_all, self._idle)

    def decode(self, kind: str, data: bytes, *, parameter: str) -> Decoded:
        """Return what a file holds; the calling thread waits.

        Args:
            kind: One of `decoders.DECODERS`.
            data: The file.
            parameter: The parameter that it is for.

        Raises:
            MediaError: The file cannot be decoded, is too large, takes too long, or ends its decoder.
        """
        self.limits.check_bytes(data, parameter)
        with self._free:
            decoder = self._take()
            try:
                medium = decoder.decode(Order(kind, parameter, self.limits), data, self._timeout)
            except BaseException as error:
                self._give_back(decoder, usable=isinstance(error, MediaError) and decoder.alive)
                raise
            self._give_back(decoder, usable=True)
            return medium

    def _take(self) -> _Decoder:
        while True:
            try:
                decoder = self._idle.get_nowait()
            except Empty:
                return _Decoder(self._memory)
            if decoder.alive:
                return decoder
            decoder.close()

    def _give_back(self, decoder: _Decoder, *, usable: bool) -> None:
        if usable and not self._closed:
            self._idle.put(decoder)
        else:
            decoder.close()

    def close(self) -> None:
        """End all processes; one that is at work ends when its file is done."""
        self._closed = True
        _close_all(self._idle)


class _Decoder:
    """A process that decodes files.

    Args:
        memory: Bytes that it may take.
    """

    def __init__(self, memory: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "octabox.media.decoding.process", str(theirs.fileno()), str(memory)]
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, env=_environment()
            )
        self._connection = Connection(ours.detach())

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def decode(self, order: Order, data: bytes, timeout: float) -> Decoded:
        """Return what a file holds.

        Raises:
            MediaError: As `DecoderPool.decode`.
        """
        try:
            self._connection.send_bytes(order.as_json())
            self._connection.send_bytes(data)
            if not self._connection.poll(timeout):
                self._end()
                raise _unreadable(order, f"takes longer than the {timeout:g} seconds that decoding may take")
            answer: dict[str, Any] = json.loads(self._connection.recv_bytes())
            if answer["type"] == "error":
                raise MediaError(answer["message"], hint=answer["hint"], parameter=order.parameter)
            return receive(self._connection, answer)
        except (EOFError, OSError, ValueError, KeyError) as error:
            code = self._end()
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            logger.warning("A decoder ended (%s) over a file for '%s': %s", how, order.parameter, error)
            raise _unreadable(order, "cannot be decoded: it ends the process that reads it") from error

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        try:
            self._process.wait(SHUTDOWN_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._end()

    def _end(self) -> int:
        """Kill the process, and return its exit code once it is gone."""
        self._process.kill()
        return self._process.wait()


def _close_all(idle: LifoQueue[_Decoder]) -> None:
    while True:
        try:
            idle.get_nowait().close()
        except Empty:
            return


def _environment() -> dict[str, str]:
    """Return the environment of a decoder: it finds this package, computes on one core, and knows no secrets."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL", "TMPDIR", "HOME")}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}


def _unreadable(order: Order, why: str) -> MediaError:
    return MediaError(
        f"The file for '{order.parameter}' {why}.",
        hint="Send it in another format, or smaller.",
        parameter=order.parameter,
    )
