"""The calls and the runs of a batch while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

from diffusers import DiffusionPipeline

from octabox.engine.protocol import Call, Run
from octabox.engine.worker.batches.outputs import divide_latents
from octabox.engine.worker.outputs.encoding import RawOutput, SeededOutput
from octabox.engine.worker.progress import OnSharedStep, ProgressReporter
from octabox.errors import GenerationCancelledError
from octabox.types import AdapterReport, Progress


class CallEvents(Protocol):
    """Where the events of the calls of a batch go."""

    def start(self, call: Call, members: int) -> None:
        """Report that a call, or a part of its runs, starts in a batch of so many members."""

    def publish(self, call: Call, progress: Progress) -> None:
        """Send the progress of a call."""

    def is_cancelled(self, call: Call) -> bool:
        """Return whether a call is to end."""

    def drop(self, call: Call) -> None:
        """Report that a call was cancelled: its outputs are not delivered."""


class CallRecord:
    """What was collected for one call of a batch.

    Args:
        call: The call.
        reporter: Reports its steps.
    """

    def __init__(self, call: Call, reporter: ProgressReporter) -> None:
        self.call, self.reporter = call, reporter
        self.cancelled = False
        self._began, self._left = time.perf_counter(), len(call.runs)
        self._outputs: list[SeededOutput] = []
        self._warnings: list[str] = []
        self._adapters: list[AdapterReport] = []

    @property
    def is_complete(self) -> bool:
        """Whether its last run is done, and it was not cancelled."""
        return not self._left and not self.cancelled

    def add(self, outputs: Iterable[SeededOutput], warnings: Iterable[str], adapters: Iterable[AdapterReport]) -> None:
        """Add what one of its runs returned."""
        self._left -= 1
        self._outputs += outputs
        self._warnings += warnings
        self._adapters += [each for each in adapters if each not in self._adapters]

    def output(self, warnings: Iterable[str]) -> RawOutput:
        """Return the outputs of all runs.

        Args:
            warnings: Warnings of the model.
        """
        found = dict.fromkeys([*self.call.warnings, *warnings, *self._warnings, *self.reporter.missing_images()])
        timings = {"run": time.perf_counter() - self._began}
        return RawOutput(self.call, tuple(self._outputs), tuple(found), timings, tuple(self._adapters))


@dataclass(frozen=True, eq=False)
class Member:
    """One run of a call, as a member of a batch.

    Args:
        record: The record of its call.
        index: Its index in the call.
        run: The run.
    """

    record: CallRecord
    index: int
    run: Run

    @property
    def call(self) -> Call:
        """The call."""
        return self.record.call


def drop_cancelled(members: Iterable[Member], events: CallEvents) -> list[Member]:
    """Return the members whose calls are not cancelled; those of the others are dropped, each once."""
    left = []
    for member in members:
        record = member.record
        if not record.cancelled and events.is_cancelled(record.call):
            record.cancelled = True
            events.drop(record.call)
        if not record.cancelled:
            left.append(member)
    return left


class SharedSteps:
    """Reports the steps of a batch to the calls of its members, and ends it once all of them are cancelled.

    Args:
        pipe: The pipeline that is called.
        members: The members.
        events: Receives the progress of each call.
    """

    def __init__(self, pipe: DiffusionPipeline, members: Sequence[Member], events: CallEvents) -> None:
        self._members, self._events, self.taken = members, events, 0
        self._reports: list[tuple[list[int], OnSharedStep]] = []
        places = enumerate(members)
        for record, group in groupby(places, key=lambda place: place[1].record):
            positions = list(group)
            report = record.reporter.for_runs(pipe, [each.index for _, each in positions], self._sender(record.call))
            self._reports.append(([position for position, _ in positions], report))

    def on_step(self, taken: int, total: int, tensors: Mapping[str, Any]) -> None:
        """Report one step."""
        self.taken = taken
        self.check()
        latents = divide_latents(tensors.get("latents"), len(self._members))
        for positions, report in self._reports:
            if not self._members[positions[0]].record.cancelled:
                report(taken, total, [latents[position] for position in positions])

    def check(self) -> None:
        """Drop the calls that were cancelled.

        Raises:
            GenerationCancelledError: All of them were.
        """
        if not drop_cancelled(self._members, self._events):
            raise GenerationCancelledError("All requests of this batch were cancelled.")

    def publish(self, progress: Progress) -> None:
        """Send progress that concerns all calls."""
        for call in dict.fromkeys(member.record for member in self._members):
            self._events.publish(call.call, progress)

    def _sender(self, call: Call) -> Callable[[Progress], None]:
        return lambda progress: self._events.publish(call, progress)
