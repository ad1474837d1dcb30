"""Find by its calls the dtype that a model runs in: one that fails for its dtype is made again in the next."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from dataclasses import replace

import torch
from diffusers import DiffusionPipeline

from octabox.engine.messages import Start
from octabox.engine.protocol import Call
from octabox.engine.worker.loading.models import LoadedModel, load
from octabox.engine.worker.placement.casts import install_casts
from octabox.engine.worker.placement.dtype import Precision, dtype_failure, dtype_name, untried_dtypes
from octabox.engine.worker.placement.dtype_failures import record_failed_dtypes
from octabox.engine.worker.placement.recovery import ModelState, clean_up, clear_frames
from octabox.engine.worker.runner import RawOutput, Runner
from octabox.errors import GenerationError, OctaboxError
from octabox.types import Progress

logger = logging.getLogger("octabox.worker")


class TrialRunner:
    """Makes the calls of a model as `Runner` does, and changes its precision where a call fails for its dtype.

    Where the dtype is ``auto``, the model is loaded again in the next one that it may compute in, the call is made again, and
    what failed is kept on disk for later loads. A dtype that was asked for stays: there components are made to cast what they
    are given, and where that does not help the call fails.

    Args:
        loaded: The model.
        start: What it was loaded from.
    """

    def __init__(self, loaded: LoadedModel, start: Start) -> None:
        self._start, self.device = start, loaded.device
        self._choice = loaded.dtypes
        self._attempt = loaded.dtypes.attempts[0] if loaded.dtypes else None
        self._runner = Runner(loaded)
        self._loaded = loaded

    @property
    def pipelines(self) -> list[DiffusionPipeline]:
        """All pipelines over the model's components."""
        return self._runner.pipelines

    @property
    def state(self) -> ModelState:
        """What the last call may have changed of the components, as it was before."""
        return self._runner.state

    def note_state(self) -> None:
        """Note what a call may change of the components and, if it fails, leave changed."""
        self._runner.note_state()

    def clear_prompt_cache(self) -> None:
        """Release the encoded prompts that are kept for later calls."""
        self._runner.clear_prompt_cache()

    @property
    def steps_taken(self) -> int:
        """Steps that the last call took."""
        return self._runner.steps_taken

    def run(self, call: Call, tell: Callable[[Progress], None], check: Callable[[], None]) -> RawOutput:
        """Make a call, again in another precision where it fails for the dtype.

        Args:
            call: What to run.
            tell: Told how far it is, after each step.
            check: Called between steps; raises where the call is to end.

        Raises:
            GenerationError: It does not run in the dtype that was asked for.
        """
        failed: dict[Precision, str] = {}
        while True:
            try:
                done = self._runner.run(call, tell, check)
            except Exception as error:
                found = None if isinstance(error, OctaboxError) else dtype_failure(error)
                if found is None or self._choice is None or self._attempt is None:
                    raise
                following = self._choice.after(self._attempt, mismatch=found[1])
                failed[self._attempt] = found[0]
                if following is None:
                    self._give_up(failed, call, error)
                    raise
                # Its frames hold tensors and, by them, the model that is to leave memory.
                clear_frames(error)
            else:
                return self._noted(done, failed) if failed else done
            logger.info("%s: %s does not run in %s: %s", call.model.name, call.runs_as, self._attempt, found[0])
            self._change_to(following)

    def _noted(self, done: RawOutput, failed: dict[Precision, str]) -> RawOutput:
        """Keep what failed for later loads, and return the result with a warning of it."""
        assert self._choice is not None  # noqa: S101 (something has failed)
        assert self._attempt is not None  # noqa: S101 (likewise)
        attempts = self._choice.attempts
        place = attempts.index(self._attempt)
        self._choice = replace(self._choice, attempts=attempts[place:])
        first, reason = next(iter(failed.items()))
        # What was passed over, since it could not help, is not to be tried by the next load either.
        record_failed_dtypes(self._choice.key, {str(each): failed.get(each, reason) for each in attempts[:place]})
        casts = ", and casts what its components are given" if self._attempt.casts else ""
        warning = (
            f"{done.call.runs_as} does not run in {dtype_name(first.dtype)} as it is ({reason}): the request was repeated, "
            f"and from now on the model computes in {dtype_name(self._attempt.dtype)}{casts}."
        )
        return replace(done, warnings=(*done.warnings, warning))

    def _give_up(self, failed: dict[Precision, str], call: Call, error: Exception) -> None:
        """Go back to what was there before, and try no more: nothing helps.

        Raises:
            GenerationError: The dtype was asked for, and another may do.
        """
        assert self._choice is not None  # noqa: S101 (something has failed)
        first, reason = next(iter(failed.items()))
        automatic, dtype = self._choice.automatic, first.dtype
        if automatic and self._attempt != first:
            clear_frames(error)
            self._change_to(first)
        others = [] if dtype == torch.float32 else untried_dtypes(dtype, self._choice)
        if automatic:
            # Not even float32 helps, so that it is the request, or the class.
            self._choice = replace(self._choice, attempts=(first,))
        elif others:
            raise GenerationError(
                f"{call.runs_as} does not run in {dtype_name(dtype)}: {reason}",
                hint=f"Set `dtype` to {' or '.join(others)}, or to auto, which finds one that works.",
                model=call.model.name,
                parameter="dtype",
                choices=others,
            ) from error

    def _change_to(self, attempt: Precision) -> None:
        """Let the model compute in another precision; it is loaded again where that is another dtype.

        Raises:
            OctaboxError: It cannot be loaded so; it is as it was before.
        """
        before, self._attempt = self._attempt, attempt
        if before is not None and before.dtype == attempt.dtype and attempt.casts:
            # What the call that failed left behind would be there in the next one.
            clean_up(self.pipelines, self.device, self.state)
            install_casts([*self._loaded.pipeline.components.values(), *self._loaded.extra_components.values()])
            return
        try:
            self._load(attempt)
        except Exception as failure:
            clear_frames(failure)
            logger.info("It cannot be loaded in %s; it is loaded in %s again", attempt, before)
            self._attempt = before
            try:
                self._load(before)
            except Exception as error:
                # Without a model there is nothing that this process could do; the next request starts another.
                logger.exception("It cannot be loaded in %s either", before)
                raise SystemExit(1) from error
            raise

    def _load(self, attempt: Precision | None) -> None:
        """Load the model again, when what was loaded before has left memory."""
        module = torch.get_device_module(torch.device(self.device))
        for name in ("_runner", "_loaded"):
            vars(self).pop(name, None)
        gc.collect()
        if callable(empty_cache := getattr(module, "empty_cache", None)):
            empty_cache()
        self._loaded = load(self._start.model, self._start.pipeline, self._start.options, attempt)
        self._runner = Runner(self._loaded)
