"""Run the calls of a model that is split over several processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from octabox.engine.messages import BatchReport, Loaded, Memory, Sleep, Start, WakeUp
from octabox.engine.protocol import Call
from octabox.engine.worker.gang.leader import Gang
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.outputs.encoding import RawOutput
from octabox.engine.worker.performance.parallelism import has_sharded_weights
from octabox.engine.worker.trial import ReportingRunner
from octabox.errors import GenerationCancelledError, InvalidParameterError, LoadError, OctaboxError
from octabox.types import Progress


class GangRunner(ReportingRunner):
    """Runs the calls of a model in all processes of a gang, one call at a time.

    Args:
        loaded: The model of this process, which leads.
        start: The message that it was loaded for.
        gang: The other processes.
        fail: Reports in another thread the error of a call by its id, where this process waits for one that has failed.
    """

    def __init__(
        self, loaded: LoadedModel, start: Start, gang: Gang, fail: Callable[[str, OctaboxError], None]
    ) -> None:
        super().__init__(loaded, start)
        self._gang, self._fail = gang, fail
        self._takes_adapters = not has_sharded_weights({**loaded.pipeline.components, **loaded.extra_components})

    @property
    def broken(self) -> bool:
        """Whether another process has failed alone, so that this one must end."""
        return self._gang.broken

    def describe(self, seconds: float) -> Loaded:
        """Return the message that the model is loaded, with all devices."""
        loaded = super().describe(seconds)
        return Loaded(loaded.device, seconds, loaded.warnings, loaded.performance, self._gang.devices)

    def memory(self) -> Memory:
        """Return the memory of all processes."""
        return self._gang.memory(super().memory())

    def may_batch(self, calls: Sequence[Call]) -> bool:
        """Return that no runs share a call, since whether that is faster is measured in each process."""
        del calls
        return False

    def take_report(self) -> BatchReport | None:
        """Return None, likewise."""
        return None

    def move_weights(self, message: Sleep | WakeUp) -> None:
        """Refuse to move the weights to the host.

        Raises:
            LoadError: Always; the server unloads the model instead.
        """
        del message
        name = self.start.model.name
        raise LoadError(f"The weights of model '{name}' are those of several processes, and are not moved.", model=name)

    def run(self, call: Call, on_progress: Callable[[Progress], None], check: Callable[[], None]) -> RawOutput:
        """Run a call in all processes, which end it at the same step where it is cancelled.

        Raises:
            InvalidParameterError: It has LoRAs, and the weights are split.
        """
        if not self._takes_adapters and any(run.adapters for run in call.runs):
            message = f"Model '{call.model.name}' takes no LoRAs, since its weights are split over devices."
            hint = "Remove them, or set `parallel` to a kind that splits no weights, such as `ulysses_degree`."
            raise InvalidParameterError(message, hint=hint, model=call.model.name, parameter="adapters")

        def check_together() -> None:
            try:
                check()
            except GenerationCancelledError:
                self._gang.decide(cancelled=True)
                raise
            self._gang.decide(cancelled=False)

        run = partial(super().run, call, on_progress, check_together)
        return self._gang.run(call, run, partial(self._fail, call.id))
