"""A pool of decoder processes."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any

from octabox.errors import MediaError
from octabox.media.decoding.decoders import Decoded
from octabox.media.decoding.process import Order
from octabox.media.decoding.transfer import receive
from octabox.media.limits import MediaLimits
from octabox.telemetry.signals import signal_name

logger = logging.getLogger("octabox.media")

#: Memory limit of a decoder in bytes per pixel of the largest video: RGB, decoded and in transfer.
BYTES_PER_PIXEL = 6

#: Additional memory limit of a decoder in bytes.
OVERHEAD = 1 << 30


class DecoderPool:
    """Decodes files in processes that are started on demand and replaced after a crash.

    Each process is used by one thread, and the threads are not those of the event loop, so that a slow file delays only files.

    Args:
        limits: Limits of the input.
        size: Maximum number of processes.
        timeout: Time limit for one file in seconds.
    """

    def __init__(self, limits: MediaLimits, *, size: int = 0, timeout: float = 60.0) -> None:
        self._limits, self._timeout = limits, timeout
        self._memory = OVERHEAD + BYTES_PER_PIXEL * limits.max_video_pixels
        self._threads = ThreadPoolExecutor(size or min(4, os.cpu_count() or 1), "decoder")
        self._of_thread = threading.local()
        self._decoders: list[_Decoder] = []
        weakref.finalize(self, _stop_all, self._decoders)

    async def decode(self, kind: str, data: bytes, *, parameter: str) -> Decoded:
        """Decode a file, as `Decoder.decode`.

        Raises:
            MediaError: The file cannot be decoded, exceeds a limit, or crashes its decoder.
        """
        self._limits.check_bytes(data, parameter)
        order = Order(kind, parameter, self._limits)
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._decode, order, data)

    def _decode(self, order: Order, data: bytes) -> Decoded:
        """Decode a file with the process of this thread."""
        decoder: _Decoder | None = getattr(self._of_thread, "decoder", None)
        if decoder is None or not decoder.alive:
            if decoder is not None:
                decoder.stop()
                self._decoders.remove(decoder)
            decoder = self._of_thread.decoder = _Decoder(self._memory)
            self._decoders.append(decoder)
        return decoder.decode(order, data, self._timeout)

    def close(self) -> None:
        """Stop all processes; files that wait or are being decoded fail."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        _stop_all(self._decoders)


class _Decoder:
    """A decoder process.

    Args:
        memory: Memory limit in bytes.
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
    def pid(self) -> int:
        """Id of the process."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    def decode(self, order: Order, data: bytes, timeout: float) -> Decoded:
        """Decode a file. After an error other than a refusal the process has ended.

        Raises:
            MediaError: As `DecoderPool.decode`.
        """
        # A process that does not answer may not read either, so the limit is for the whole exchange.
        watchdog, began = threading.Timer(timeout, self._process.kill), time.monotonic()
        watchdog.start()
        try:
            self._connection.send_bytes(order.as_json())
            self._connection.send_bytes(data)
            answer: dict[str, Any] = json.loads(self._connection.recv_bytes())
            if answer["type"] == "error":
                raise MediaError(answer["message"], hint=answer["hint"], parameter=order.parameter)
            return receive(self._connection, answer)
        except (EOFError, OSError, ValueError, KeyError) as error:
            self._process.kill()
            code = self._process.wait()
            if time.monotonic() - began >= timeout:
                raise _unreadable(order, f"takes longer than the {timeout:g} seconds that decoding may take") from error
            how = f"signal {signal_name(-code)}" if code < 0 else f"exit code {code}"
            logger.warning("A decoder ended (%s) over a file for '%s': %s", how, order.parameter, error)
            raise _unreadable(order, "cannot be decoded: it ends the process that reads it") from error
        finally:
            watchdog.cancel()

    def stop(self) -> None:
        """Kill the process, which has nothing to lose."""
        self._process.kill()
        self._process.wait()


def _stop_all(decoders: list[_Decoder]) -> None:
    for decoder in decoders:
        decoder.stop()


def _environment() -> dict[str, str]:
    """Return the environment of a decoder: the import path, one thread, and no secrets."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL", "TMPDIR", "HOME")}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}


def _unreadable(order: Order, why: str) -> MediaError:
    return MediaError(
        f"The file for '{order.parameter}' {why}.",
        hint="Send it in another format, or smaller.",
        parameter=order.parameter,
    )
