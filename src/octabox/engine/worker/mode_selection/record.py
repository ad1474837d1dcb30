"""Measure what a loaded model and its calls take, and keep it on disk."""

from __future__ import annotations

from octabox.engine.memory.identity import loading_key
from octabox.engine.memory.learned import LearnedMemory, read_learned, write_learned
from octabox.engine.messages import Start
from octabox.engine.worker.placement.process_memory import measure_memory


class MemoryRecord:
    """What was measured of a model, in this process and in earlier ones.

    Args:
        start: The message that the model was loaded for.
        device: Device that it computes on.
    """

    def __init__(self, start: Start, device: str) -> None:
        self._device, self._on_host = device, device == "cpu"
        self._key = loading_key(start.model, start.pipeline, device.partition(":")[0], start.options.dtype)
        self.learned: LearnedMemory = read_learned(self._key)

    def add_weights(self, mode: str) -> None:
        """Keep what the loaded model takes in a memory mode."""
        measured = measure_memory(self._device)
        held = {"host": measured.bytes["host"]}
        held |= {} if self._on_host else {"device": measured.allocated.get(self._device, 0)}
        self._keep(self.learned.with_weights("full" if self._on_host else mode, held))

    def peak(self) -> int:
        """Return the largest number of bytes of tensors in the last call; 0 if the device does not report it."""
        return measure_memory(self._device).peak.get(self._device, 0)

    def add_call(self, size: int, used: int) -> None:
        """Keep what a call of a size has used in addition to the weights, in bytes."""
        self._keep(self.learned.with_call(size, used))

    def _keep(self, learned: LearnedMemory) -> None:
        if learned != self.learned:
            self.learned = learned
            write_learned(self._key, learned)
