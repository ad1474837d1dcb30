"""Encode the outputs of calls in a thread, while the model runs the next ones."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

#: How many outputs may be encoded or wait for that: as many are in memory as they were returned.
MAX_OUTPUTS = 3


class Encoder:
    """Encodes outputs one after the other; a model that is faster than that waits.

    Args:
        limit: How many outputs may be encoded or wait for that.
    """

    def __init__(self, limit: int = MAX_OUTPUTS) -> None:
        self._places = threading.Semaphore(limit)
        self._executor = ThreadPoolExecutor(1, "encoder")

    def close(self) -> None:
        """Wait until all outputs are encoded."""
        self._executor.shutdown()

    def wait(self) -> None:
        """Wait until one more output may be encoded; `submit` must follow."""
        self._places.acquire()

    def submit(self, encode: Callable[..., None], *arguments: Any) -> None:
        """Encode an output after those before it.

        Args:
            encode: Encodes it, and sends it.
            arguments: The arguments of that.
        """
        self._executor.submit(encode, *arguments).add_done_callback(self._release)

    def _release(self, _: Future[None]) -> None:
        self._places.release()
