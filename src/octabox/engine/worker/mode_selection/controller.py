"""Run calls in a memory mode that fits, change it where memory runs out, and learn what calls need."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from octabox.engine.memory.units import format_bytes
from octabox.engine.messages import Memory, Start
from octabox.engine.protocol import Call
from octabox.engine.worker.inputs.sizes import call_pixels
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.memory_modes.decision import MODES, TILING_SHARE, Decision, SizeHistory, decide
from octabox.engine.worker.memory_modes.measuring import available_memory, decode_estimate, module_sizes
from octabox.engine.worker.mode_selection.record import MemoryRecord
from octabox.engine.worker.outputs.encoding import RawOutput
from octabox.engine.worker.placement.device_errors import hardware_cause
from octabox.engine.worker.placement.process_memory import measure_memory, release_memory, reset_peak
from octabox.engine.worker.placement.recovery import ModelState, clean_up, clear_frames
from octabox.engine.worker.runner import Runner
from octabox.errors import GenerationCancelledError, OutOfMemoryError
from octabox.types import Progress

#: Factor by which the available memory must have grown before a mode is tried again in which it has run out.
RECOVERED = 1.1

logger = logging.getLogger("octabox.worker")


class ModeController:
    """Selects the memory mode of each call of a model whose mode is ``auto``, and measures all calls.

    The mode of a model with compiled code is not changed after the load, since that code depends on where weights are.

    Args:
        loaded: The model.
        start: The message that it was loaded for.
        out_of_memory: How often memory has run out before.
    """

    def __init__(self, loaded: LoadedModel, start: Start, out_of_memory: int = 0) -> None:
        self._loaded, self._start, self.device = loaded, start, loaded.device
        self._placement, self._on_host = loaded.placement, loaded.device == "cpu"
        self._components = {**loaded.pipeline.components, **loaded.extra_components}
        self._is_automatic = start.model.memory == "auto" and not self._on_host and not loaded.performance.compiles
        self._record, self._history = MemoryRecord(start, self.device), SizeHistory()
        self._sizes = module_sizes(self._components)
        self._decode, self._decoder = decode_estimate(self._components)
        self._tiled = False
        self.out_of_memory = out_of_memory
        self._failures: dict[str, tuple[int, int]] = {}  # Size of the call and available memory, by mode.
        self._record.add_weights(self._placement.mode)

    def memory(self) -> Memory:
        """Return the memory of this process, and the mode."""
        measured = measure_memory(self.device)
        return replace(
            measured, mode=self._placement.mode, reason=self._placement.reason, out_of_memory=self.out_of_memory
        )

    def run(
        self, runner: Runner, call: Call, on_progress: Callable[[Progress], None], check: Callable[[], None]
    ) -> RawOutput:
        """Run a call; where memory runs out in the mode ``auto``, run it again, once, in the next mode that needs less.

        Raises:
            OutOfMemoryError: Calls that were measured show that it fits in no mode.
        """
        if self._on_host:
            return runner.run(call, on_progress, check)
        size = _largest_run(runner, call)
        warnings = self._select(runner, size, call.model.name)
        try:
            output = self._run_measured(runner, call, size, on_progress, check)
        except Exception as error:
            if not _has_run_out(error):
                raise
            following = self._after_failure(size)
            if following is None:
                raise
            clear_frames(error)
        else:
            return replace(output, warnings=(*output.warnings, *warnings))
        # Only here, after the exception is deleted, nothing references the tensors of the failed call.
        before = self._placement.mode
        runner.clear_prompt_cache()
        clean_up(runner.pipelines, self.device, runner.state)
        self._change(runner, following, f"Memory ran out in the mode {before}.")
        output = self._run_measured(runner, call, size, on_progress, check)
        warning = f"Memory ran out with `memory: {before}`: the request was run again with `memory: {following}`."
        return replace(output, warnings=(*output.warnings, *warnings, warning))

    def _select(self, runner: Runner, size: int, model: str) -> list[str]:
        """Change to the mode that fits a call, and return what it warns about.

        Raises:
            OutOfMemoryError: It fits in none.
        """
        available = available_memory(self.device, self._start.options, self._start.occupied)
        if not self._is_automatic or available is None:
            return []
        largest = self._history.largest(size)
        warnings = self._tile(largest, available)
        decision = self._decide(largest, available)
        if largest != size and not decision.fits:
            decision = self._decide(size, available)
        if not decision.fits and self._record.learned.working:
            raise _too_large(decision, model, self.device)
        if decision.mode != self._placement.mode:
            self._change(runner, decision.mode, " ".join(filter(None, [decision.reason, decision.advice])))
        return warnings

    def _decide(self, size: int, available: int) -> Decision:
        """Return the mode that fits a call, without those in which memory has run out with as little."""
        failed = {
            mode
            for mode, (failed_size, before) in self._failures.items()
            if size >= failed_size and available <= before * RECOVERED
        }
        return decide(self._sizes, self._working(size), available, self.device, failed)

    def _working(self, size: int) -> int:
        """Return the bytes that a call of a size needs in addition to the weights, as far as that is known."""
        learned = self._record.learned.working_bytes(size)
        return self._decode.working_bytes(size, tiled=self._tiled) if learned is None else learned

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

    def _run_measured(
        self, runner: Runner, call: Call, size: int, on_progress: Callable[[Progress], None], check: Callable[[], None]
    ) -> RawOutput:
        """Run a call, and learn what it needed."""
        reset_peak(self.device)
        output = runner.run(call, on_progress, check)
        self._learn(size)
        return output

    def _after_failure(self, size: int) -> str | None:
        """Note that memory has run out in a call; return the mode to run it again in, if there is one."""
        self.out_of_memory += 1
        mode = self._placement.mode
        available = available_memory(self.device, self._start.options, self._start.occupied)
        if not self._is_automatic or mode not in MODES:
            return None
        self._failures[mode] = (size, available or 0)
        self._learn(size)  # It needs at least what it had.
        needs = {each: self._sizes.needed(each, self._working(size)) for each in MODES}
        later = MODES[MODES.index(mode) + 1 :]
        return next((each for each in later if needs[each] < needs[mode]), None)

    def _change(self, runner: Runner, mode: str, reason: str) -> None:
        """Move the weights as another mode places them."""
        logger.info("%s: `memory: %s` is used. %s", self._start.model.name, mode, reason)
        if self._loaded.loras is not None:
            self._loaded.loras.attach()
        self._placement.change_mode(mode, reason)
        release_memory(self.device)
        runner.state = ModelState(runner.pipelines)
        runner.note_state()

    def _learn(self, size: int) -> None:
        """Keep what the last call used in addition to the weights."""
        if self._placement.mode in MODES:
            self._record.add_call(size, self._sizes.needed(self._placement.mode, 0))


def _has_run_out(error: Exception) -> bool:
    """Return whether a call has failed for lack of memory."""
    if isinstance(error, GenerationCancelledError):
        return False
    found = hardware_cause(error)
    return isinstance(error, OutOfMemoryError) or (found is not None and found[0] == "memory")


def _largest_run(runner: Runner, call: Call) -> int:
    """Return the pixels of the largest run of a call, times its frames and outputs."""
    target = runner.targets[call.runs_as]
    return max((call_pixels(target.pipe, target.entry, run.params, run.inputs) for run in call.runs), default=1)


def _too_large(decision: Decision, model: str, device: str) -> OutOfMemoryError:
    return OutOfMemoryError(
        f"The request needs {format_bytes(decision.needed)} of memory on {device} for '{model}' even in the mode "
        f"{decision.mode}, and {format_bytes(decision.available or 0)} are there.",
        hint=" ".join(filter(None, ["Request a smaller size.", decision.advice])),
        model=model,
        requested=decision.needed,
        free=decision.available,
    )
