"""Predict what calls of a model need, and in which memory mode they fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import takewhile
from typing import Any

from octabox.engine.memory.units import format_bytes
from octabox.engine.worker.memory_modes.decision import (
    ENCODERS_LEAVE,
    MODES,
    TILING_SHARE,
    Decision,
    SizeHistory,
    decide,
)
from octabox.engine.worker.memory_modes.measuring import decode_estimate, module_sizes
from octabox.engine.worker.mode_selection.record import MemoryRecord
from octabox.errors import OutOfMemoryError

#: Factor of the weights while encoders are on the device up to which a peak may be that of encoding.
ENCODING = 1.1

#: Factor by which the available memory must have grown before a mode is tried again in which it has run out.
RECOVERED = 1.1


class MemoryPredictor:
    """Predicts the memory that calls need, by what was measured of earlier ones.

    Args:
        components: The model's components.
        record: What was measured.
        device: Device that it computes on.
    """

    def __init__(self, components: Mapping[str, Any], record: MemoryRecord, device: str) -> None:
        self._record, self._device = record, device
        self._sizes, self._history = module_sizes(components, device), SizeHistory()
        self._decode, self._decoder = decode_estimate(components)
        self._tiled = False
        self._failures: dict[str, tuple[int, int]] = {}  # Size of the call and available memory, by mode.

    def weights(self, mode: str) -> int:
        """Return the largest number of bytes of weights that are on the device in a mode."""
        return self._sizes.needed(mode, 0)

    def used(self, mode: str, peak: int) -> int | None:
        """Return the bytes that a call has used in addition to the weights; None if its peak does not show that.

        Where encoders leave the device before the first step, a peak of about their size was reached while they encoded.

        Args:
            mode: The memory mode.
            peak: Largest number of bytes of tensors in the call.
        """
        if mode not in ENCODERS_LEAVE:
            return max(0, peak - self.weights(mode))
        encoding, denoising = self.weights(mode), self._sizes.without_encoders().needed(mode, 0)
        return None if denoising < encoding and peak <= ENCODING * encoding else max(0, peak - denoising)

    def working(self, size: int) -> int:
        """Return the bytes that a call of a size needs in addition to the weights, as far as that is known."""
        learned = self._record.learned.working_bytes(size)
        return self._decode.working_bytes(size, tiled=self._tiled) if learned is None else learned

    def decide(self, size: int, available: int) -> Decision:
        """Return the mode that fits a call, without those in which memory has run out with as little."""
        return decide(self._sizes, self.working(size), available, self._device, self._failed(size, available))

    def _failed(self, size: int, available: int) -> set[str]:
        """Return the modes in which memory has run out for a call of this size or a smaller one, with as little."""
        return {
            mode
            for mode, (failed_size, before) in self._failures.items()
            if size >= failed_size and available <= before * RECOVERED
        }

    def select(self, size: int, available: int, model: str) -> tuple[Decision, list[str]]:
        """Return the mode for the next call, and warnings: it fits the last calls too, unless none does.

        Args:
            size: Size of the call.
            available: Bytes that the device has.
            model: Name of the model.

        Raises:
            OutOfMemoryError: Calls that were measured show that it fits in none.
        """
        largest = self._history.largest(size)
        warnings = self._tile(largest, available)
        decision = self.decide(largest, available)
        if largest != size and not decision.fits:
            decision = self.decide(size, available)
        if not decision.fits and self._record.learned.working:
            if decision.mode in self._failed(size, available):
                raise _too_large(decision, model, self._device)
            needed = self._sizes.needed(decision.mode, self._record.learned.least_bytes(size))
            if needed > available:
                raise _too_large(replace(decision, needed=needed), model, self._device)
        return decision, warnings

    def members(self, mode: str, size: int, available: int, limit: int) -> int:
        """Return how many runs of a size fit in one call.

        Args:
            mode: The memory mode.
            size: Size of one run.
            available: Bytes that the device has.
            limit: The most that may share a call.
        """
        if mode not in MODES:
            return limit
        needs = (self._sizes.needed(mode, self.working(size * members)) for members in range(2, limit + 1))
        return 1 + sum(1 for _ in takewhile(lambda needed: needed <= available, needs))

    def add_failure(self, mode: str, size: int, available: int) -> None:
        """Note that memory has run out in a mode; a smaller call that has failed with as much excludes more."""
        failed_size, before = self._failures.get(mode, (size, 0))
        if size <= failed_size or available > before * RECOVERED:
            self._failures[mode] = (size, available)

    def next_mode(self, mode: str, size: int) -> str | None:
        """Return the next mode that needs less than another one; None if there is none."""
        needs = {each: self._sizes.needed(each, self.working(size)) for each in MODES}
        later = MODES[MODES.index(mode) + 1 :]
        return next((each for each in later if needs[each] < needs[mode]), None)

    def _tile(self, size: int, available: int) -> list[str]:
        """Decode in tiles where decoding takes a large part of the device's memory; return a warning then."""
        needed = self._decode.working_bytes(size, tiled=False)
        tiled = bool(self._decode.tile_pixels) and needed > TILING_SHARE * available
        if tiled != self._tiled:
            for name in ("tiling", "slicing"):
                switch = getattr(self._decoder, f"{'enable' if tiled else 'disable'}_{name}", None)
                if callable(switch):
                    switch()
            self._tiled = tiled
        return (
            [f"The result is decoded in tiles, since decoding needs {format_bytes(needed)} otherwise."] if tiled else []
        )


def _too_large(decision: Decision, model: str, device: str) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"The request needs {format_bytes(decision.needed)} of memory on {device} for '{model}' even in the mode "
        f"{decision.mode}, and {format_bytes(decision.available or 0)} are there.",
        hint=" ".join(filter(None, ["Request a smaller size.", decision.advice])),
        model=model,
        requested=decision.needed,
        free=decision.available,
    )
