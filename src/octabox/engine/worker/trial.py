"""Find a dtype in which a model runs: repeat a call that fails because of its dtype in the next one."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from diffusers import DiffusionPipeline

from octabox.engine.messages import BatchReport, Loaded, Memory, Sleep, Start, WakeUp
from octabox.engine.protocol import Call
from octabox.engine.worker.batches.runner import BatchRunner
from octabox.engine.worker.loading.models import LoadedModel, load
from octabox.engine.worker.mode_selection.controller import ModeController
from octabox.engine.worker.outputs.encoding import RawOutput
from octabox.engine.worker.performance.optimizations import AppliedPerformance
from octabox.engine.worker.placement.casts import install_casts
from octabox.engine.worker.placement.device_errors import is_out_of_memory
from octabox.engine.worker.placement.dtype import Precision, dtype_failure, dtype_name, untried_dtypes
from octabox.engine.worker.placement.dtype_failures import record_failed_dtypes
from octabox.engine.worker.placement.recovery import ModelState, clean_up, clear_frames
from octabox.engine.worker.runner import Runner
from octabox.errors import GenerationError, OctaboxError
from octabox.types import Progress

logger = logging.getLogger("octabox.worker")


class TrialRunner:
    """Runs the calls of a model as `Runner` does, and changes its precision if a call fails because of the dtype.

    With the dtype ``auto`` the model is reloaded in the next candidate, the call is repeated, and the failure is recorded on
    disk for later loads. A requested dtype is kept: components are made to cast their inputs, and the call may still fail.

    Args:
        loaded: The model.
        start: The message that it was loaded for.
    """

    def __init__(self, loaded: LoadedModel, start: Start) -> None:
        self.start, self.device, self._choice = start, loaded.device, loaded.dtypes
        self._attempt, self._out_of_memory = loaded.dtypes.attempts[0] if loaded.dtypes else None, 0
        self._use(loaded)

    def _use(self, loaded: LoadedModel) -> None:
        """Run the following calls on a model."""
        self._runner, self._loaded = Runner(loaded), loaded
        self.modes = ModeController(loaded, self.start, self._out_of_memory)
        self.batches = BatchRunner(self._runner, loaded, self.modes, self.start.ceilings)
        self.batches.proof.expect(self.start.model, self.start.pipeline)

    @property
    def pipelines(self) -> list[DiffusionPipeline]:
        """All pipelines over the model's components."""
        return self._runner.pipelines

    @property
    def state(self) -> ModelState:
        """The state of the components before the last call."""
        return self._runner.state

    def note_state(self) -> None:
        """Record the state of the components that a call may change, and leave changed if it fails."""
        self._runner.note_state()

    def clear_prompt_cache(self) -> None:
        """Release the cached outputs of text encoders."""
        self._runner.clear_prompt_cache()

    def move_weights(self, message: Sleep | WakeUp) -> None:
        """Move the weights to the host, or back to the device."""
        self.start = self.modes.move_weights(self._runner, message)

    @property
    def steps_taken(self) -> int:
        """The number of steps that the last call has taken."""
        return self._runner.steps_taken

    def run(self, call: Call, on_progress: Callable[[Progress], None], check: Callable[[], None]) -> RawOutput:
        """Run a call, and repeat it in another precision if it fails because of the dtype.

        Args:
            call: The call.
            on_progress: Called with the progress after each step.
            check: Called between steps; raises if the call is to end.

        Raises:
            GenerationError: The call does not run in the requested dtype.
        """
        failed: dict[Precision, str] = {}
        while True:
            try:
                output = self.modes.run(self._runner, call, on_progress, check)
            except Exception as error:
                found = _find_dtype_failure(error, self._attempt, self.device)
                if found is None or self._choice is None or self._attempt is None:
                    raise
                following = self._choice.after(self._attempt, mismatch=found[1])
                failed[self._attempt] = found[0]
                if following is None:
                    self._raise_if_final(failed, call, error)
                    raise
                # Its frames hold tensors, and the model that is to be released.
                clear_frames(error)
            else:
                self.batches.add_single(call, self._runner.pipeline_seconds)
                return self._record_failures(output, failed) if failed else output
            logger.info("%s: %s does not run in %s: %s", call.model.name, call.runs_as, self._attempt, found[0])
            self._switch_to(following)

    def _record_failures(self, output: RawOutput, failed: dict[Precision, str]) -> RawOutput:
        """Record the precisions that failed for later loads, and return the output with a warning."""
        assert self._choice is not None and self._attempt is not None  # noqa: S101, PT018 (something has failed)
        attempts = self._choice.attempts
        index = attempts.index(self._attempt)
        self._choice = replace(self._choice, attempts=attempts[index:])
        first, reason = next(iter(failed.items()))
        # Precisions that were skipped are not to be tried by the next load either.
        record_failed_dtypes(self._choice.key, {str(each): failed.get(each, reason) for each in attempts[:index]})
        warning = _describe_switch(output.call, first, reason, self._attempt)
        return replace(output, warnings=(*output.warnings, warning))

    def _raise_if_final(self, failed: dict[Precision, str], call: Call, error: Exception) -> None:
        """Restore the first precision after all have failed.

        Raises:
            GenerationError: The dtype was requested, and another one may work.
        """
        assert self._choice is not None  # noqa: S101 (something has failed)
        first, reason = next(iter(failed.items()))
        automatic, dtype = self._choice.automatic, first.dtype
        if automatic and self._attempt != first:
            clear_frames(error)
            self._switch_to(first)
        others = [] if dtype == torch.float32 else untried_dtypes(dtype, self._choice)
        if automatic:
            # float32 fails too, so that the dtype is not the cause.
            self._choice = replace(self._choice, attempts=(first,))
        elif others:
            # A message that stands for the lack of memory too, elsewhere, must not be taken for that.
            raise _wrong_dtype(call, dtype, reason, others) from (None if is_out_of_memory(error) else error)

    def _switch_to(self, attempt: Precision) -> None:
        """Change the precision of the model, and reload it if the dtype differs.

        Raises:
            OctaboxError: It cannot be loaded in that dtype; the previous one is restored.
        """
        before, self._attempt = self._attempt, attempt
        if before is not None and before.dtype == attempt.dtype and attempt.casts:
            # The failed call may have left state behind.
            clean_up(self.pipelines, self.device, self.state)
            install_casts([*self._loaded.pipeline.components.values(), *self._loaded.extra_components.values()])
            return
        try:
            self._load(attempt)
        except Exception as failure:
            clear_frames(failure)
            logger.info("The model cannot be loaded in %s, and is reloaded in %s", attempt, before)
            self._attempt = before
            try:
                self._load(before)
            except Exception as error:
                # This process has no model any more; the next request starts another.
                logger.exception("The model cannot be reloaded in %s", before)
                raise SystemExit(1) from error
            raise

    def _load(self, attempt: Precision | None) -> None:
        """Reload the model after the previous one has been released."""
        module = torch.get_device_module(torch.device(self.device))
        if "modes" in vars(self):  # They are missing where the previous load has failed.
            self._out_of_memory = vars(self).pop("modes").out_of_memory
        for name in ("_runner", "_loaded", "batches"):
            vars(self).pop(name, None)
        gc.collect()
        if callable(empty_cache := getattr(module, "empty_cache", None)):
            empty_cache()
        self._use(load(self.start.model, self.start.pipeline, self.start.options, attempt, self.start.occupied))


class ReportingRunner(TrialRunner):
    """Runs the calls of a model as `TrialRunner` does; its reports are those of this process alone."""

    @property
    def broken(self) -> bool:
        """Whether this process cannot run another call, whatever its device is like."""
        return False

    @property
    def runner(self) -> Runner:
        """Runs the calls in the present precision."""
        return self._runner

    @property
    def performance(self) -> AppliedPerformance:
        """The performance settings in effect."""
        return self._loaded.performance

    def describe(self, seconds: float) -> Loaded:
        """Return the message that the model was loaded, in so many seconds."""
        loaded = self._loaded
        return Loaded(loaded.device, seconds, loaded.warnings, loaded.performance.report)

    def memory(self) -> Memory:
        """Return the memory that the model uses."""
        return self.modes.memory()

    def may_batch(self, calls: Sequence[Call]) -> bool:
        """Return whether the runs of calls may run together."""
        return self.batches.may_batch(calls)

    def take_report(self) -> BatchReport | None:
        """Return how many runs may run together, if that has changed."""
        return self.batches.take_report()


def _describe_switch(call: Call, first: Precision, reason: str, last: Precision) -> str:
    """Return the warning that a call was repeated in another precision."""
    casts = ", and casts what its components are given" if last.casts else ""
    return (
        f"{call.runs_as} does not run in {dtype_name(first.dtype)} as it is ({reason}): the request was repeated, "
        f"and from now on the model computes in {dtype_name(last.dtype)}{casts}."
    )


def _find_dtype_failure(error: Exception, attempt: Precision | None, device: str) -> tuple[str, bool] | None:
    """Return the message about the dtype in a library's error, and whether it is about a mismatch; None if there is none."""
    return None if isinstance(error, OctaboxError) else dtype_failure(error, attempt.dtype if attempt else None, device)


def _wrong_dtype(call: Call, dtype: torch.dtype, reason: str, others: list[str]) -> GenerationError:
    """Return the error of a call that does not run in the requested dtype."""
    return GenerationError(
        f"{call.runs_as} does not run in {dtype_name(dtype)}: {reason}",
        hint=f"Set `dtype` to {' or '.join(others)}, or to auto, which finds one that works.",
        model=call.model.name,
        parameter="dtype",
        choices=others,
    )
