"""Run calls in a memory mode that fits, change it where memory runs out, and learn what calls need."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from octabox.engine.messages import Memory, Sleep, Start, WakeUp
from octabox.engine.protocol import Call
from octabox.engine.worker.inputs.sizes import call_pixels
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.memory_modes.decision import MODES
from octabox.engine.worker.memory_modes.measuring import available_memory
from octabox.engine.worker.mode_selection.moves import change_mode, move_to_host
from octabox.engine.worker.mode_selection.prediction import MemoryPredictor
from octabox.engine.worker.mode_selection.record import MemoryRecord
from octabox.engine.worker.outputs.encoding import RawOutput
from octabox.engine.worker.placement.device_errors import is_out_of_memory
from octabox.engine.worker.placement.dtype import dtype_failure
from octabox.engine.worker.placement.process_memory import measure_memory, reset_peak
from octabox.engine.worker.placement.recovery import clean_up, clear_frames
from octabox.engine.worker.runner import Runner
from octabox.errors import GenerationCancelledError, OutOfMemoryError
from octabox.types import Progress

#: Message of a change of the mode.
CHANGED = "%s: `memory: %s` is used. %s"

logger = logging.getLogger("octabox.worker")

#: What a call of a pipeline returns.
Result = TypeVar("Result")


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
        self._is_automatic = start.model.memory == "auto" and not self._on_host and not loaded.performance.compiles
        self._record, self.out_of_memory = MemoryRecord(start, self.device), out_of_memory
        components = {**loaded.pipeline.components, **loaded.extra_components}
        self.predictor = MemoryPredictor(components, self._record, self.device)
        for mode in loaded.failed_modes:  # Nor has it room for a call of any size.
            self.predictor.add_failure(mode, 0, self._available() or 0)
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
        """Run a call in a mode that fits; see `run_in_memory`."""
        if self._on_host:
            return runner.run(call, on_progress, check)
        run = partial(runner.run, call, on_progress, check)
        output, warnings = self.run_in_memory(runner, call.model.name, _largest_run(runner, call), run)
        return replace(output, warnings=(*output.warnings, *warnings))

    def run_in_memory(
        self, runner: Runner, model: str, size: int, run: Callable[[], Result], members: int = 1
    ) -> tuple[Result, list[str]]:
        """Run a call of a pipeline in a mode that fits its size.

        Where memory runs out in the mode ``auto``, it is run again, once, in the next mode that needs less. A batch is not:
        its members are to run singly, in the mode that fits one.

        Args:
            runner: Runs the calls of the model.
            model: Name of the model.
            size: Pixels of the call, times its frames and outputs; of one member, if it is a batch.
            run: Calls the pipeline.
            members: How many runs it is for.

        Returns:
            What ``run`` returns, and warnings.

        Raises:
            OutOfMemoryError: Calls that were measured show that it fits in no mode.
        """
        if self._on_host:
            return run(), []
        warnings = self._select(runner, size, model)
        try:
            return self._run_measured(run, size * members), warnings
        except Exception as error:
            if not _has_run_out(error, self._loaded):
                raise
            following = self._after_failure(size * members)
            if following is None or members > 1:
                raise
            clear_frames(error)
        # Only here, after the exception is deleted, nothing references the tensors of the failed call.
        before = self._placement.mode
        runner.clear_prompt_cache()
        clean_up(runner.pipelines, self.device, runner.state)
        logger.info(CHANGED, self._start.model.name, following, reason := f"Memory ran out in the mode {before}.")
        change_mode(self._loaded, runner, following, reason)
        result = self._run_measured(run, size)
        warning = f"Memory ran out with `memory: {before}`: the request was run again with `memory: {following}`."
        return result, [*warnings, warning]

    def members_in_memory(self, size: int, limit: int) -> int:
        """Return how many runs of a size may share a call in the mode that fits one of them.

        Args:
            size: Pixels of one, times its frames and outputs.
            limit: The most that may.
        """
        available = self._available()
        if self._on_host or available is None:
            return limit
        mode = self.predictor.decide(size, available).mode if self._is_automatic else self._placement.mode
        return self.predictor.members(mode, size, available, limit)

    def move_weights(self, runner: Runner, message: Sleep | WakeUp) -> Start:
        """Move the weights to the host, or back as the mode that fits places them; return what they were loaded for."""
        if isinstance(message, Sleep):
            move_to_host(self._loaded, runner)
            return self._start
        self._start, mode, reason = replace(self._start, occupied=message.occupied), self._placement.mode, ""
        available = self._available()
        if self._is_automatic and available is not None:
            decision = self.predictor.decide(0, available)
            mode, reason = decision.mode, decision.reason
        change_mode(self._loaded, runner, mode, reason)
        return self._start

    def _select(self, runner: Runner, size: int, model: str) -> list[str]:
        """Change to the mode that fits a call, and return what it warns about.

        Raises:
            OutOfMemoryError: It fits in none.
        """
        available = self._available()
        if not self._is_automatic or available is None:
            return []
        decision, warnings = self.predictor.select(size, available, model)
        if decision.mode != self._placement.mode:
            reason = " ".join(filter(None, [decision.reason, decision.advice]))
            logger.info(CHANGED, self._start.model.name, decision.mode, reason)
            change_mode(self._loaded, runner, decision.mode, reason)
        return warnings

    def _run_measured(self, run: Callable[[], Result], size: int) -> Result:
        """Call a pipeline, and learn what it needed."""
        reset_peak(self.device)
        result = run()
        self._learn(size)
        return result

    def _after_failure(self, size: int) -> str | None:
        """Note that memory has run out in a call; return the mode to run it again in, if there is one."""
        self.out_of_memory += 1
        mode = self._placement.mode
        if not self._is_automatic or mode not in MODES:
            return None
        self.predictor.add_failure(mode, size, self._available() or 0)
        self._learn(size)  # It needs at least what it had.
        return self.predictor.next_mode(mode, size)

    def _available(self) -> int | None:
        """Return the bytes that the model may use on its device; None if they are not known."""
        return available_memory(self.device, self._start.options, self._start.occupied)

    def _learn(self, size: int) -> None:
        """Keep what the last call used in addition to the weights."""
        peak = self._record.peak() if self._placement.mode in MODES else None
        if peak and (used := self.predictor.used(self._placement.mode, peak)) is not None:
            self._record.add_call(size, used)


def _has_run_out(error: Exception, model: LoadedModel) -> bool:
    """Return whether a call has failed for lack of memory."""
    if isinstance(error, GenerationCancelledError):
        return False
    lacks_dtype = model.dtypes and dtype_failure(error, model.dtypes.attempts[0].dtype, model.device)
    return isinstance(error, OutOfMemoryError) or (is_out_of_memory(error) and not lacks_dtype)


def _largest_run(runner: Runner, call: Call) -> int:
    """Return the pixels of the largest run of a call, times its frames and outputs."""
    target = runner.targets[call.runs_as]
    return max((call_pixels(target.pipe, target.entry, run.params, run.inputs) for run in call.runs), default=1)
