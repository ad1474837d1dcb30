"""Run calls that wait together: several runs in one call of the pipeline, where that gives the same outputs faster."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from octabox.catalog.pipelines import load_catalog
from octabox.engine.batches.keys import PROBED, batch_key, batch_limit, size_key
from octabox.engine.messages import BatchReport
from octabox.engine.protocol import Call, Run
from octabox.engine.worker.batches.joined import JoinedRunner, complete_run
from octabox.engine.worker.batches.limits import BatchLimits, Sample
from octabox.engine.worker.batches.measuring import free_host_bytes, measured
from octabox.engine.worker.batches.members import CallEvents, CallRecord, Member, SharedSteps, drop_cancelled
from octabox.engine.worker.batches.proof import BatchProof
from octabox.engine.worker.inputs.sizes import call_pixels
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.mode_selection.controller import ModeController
from octabox.engine.worker.outputs.encoding import RawOutput
from octabox.engine.worker.progress import ProgressReporter
from octabox.engine.worker.runner import Runner, parse_output
from octabox.engine.worker.targets import Target
from octabox.engine.worker.third_party_logs import capture_warnings
from octabox.errors import GenerationCancelledError, RequestError
from octabox.types import AdapterReport

#: The key of a run's metadata for the number of runs that shared its call of the pipeline.
BATCH = "batch"


@dataclass(frozen=True)
class _GroupOutput:
    """What one call of the pipeline returned for the members of a batch.

    Args:
        runs: Their runs, with complete sizes.
        outputs: The fields of the output of each.
        own: The warnings of each.
        messages: The warnings of all.
        adapters: The LoRAs.
    """

    runs: list[Run]
    outputs: list[dict[str, Any]]
    own: list[list[str]]
    messages: list[str]
    adapters: list[AdapterReport]


class BatchRunner:
    """Runs several calls, or several runs of a call, of one loaded model in batches.

    Args:
        runner: Runs single runs.
        model: The model.
        modes: Selects the memory mode of each batch.
        ceilings: Most members by class and size, after failures in earlier processes.
    """

    def __init__(
        self, runner: Runner, model: LoadedModel, modes: ModeController, ceilings: Mapping[str, int] | None = None
    ) -> None:
        self._runner, self._model, self._modes = runner, model, modes
        #: The call whose run was the last one that ran, if it shared that with no other.
        self.alone: Call | None = None
        self._joined = JoinedRunner(runner, model)
        self.proof = BatchProof(runner, self._joined, model)
        self._limits = BatchLimits(ceilings)
        self._reported = BatchReport(ceilings=dict(ceilings or {}))
        self._last: tuple[str, int] = ("", 1)

    def may_batch(self, calls: Sequence[Call]) -> bool:
        """Return whether the runs of calls may run together."""
        if sum(len(call.runs) for call in calls) == 1:
            return False
        entry = load_catalog().pipeline(calls[0].runs_as)
        keys = {batch_key(call, entry) for call in calls}
        return len(keys) == 1 and None not in keys

    def run(self, calls: Sequence[Call], events: CallEvents) -> Iterator[RawOutput]:
        """Run calls, and yield the output of each once its last run is done.

        Args:
            calls: The calls, which may run together.
            events: Receives their progress, and decides which of them are cancelled.

        Raises:
            GenerationCancelledError: All members of a batch were cancelled.
        """
        records = [CallRecord(call, self._reporter(call)) for call in calls]
        waiting = deque(Member(record, index, run) for record in records for index, run in enumerate(record.call.runs))
        target = self._runner.targets[calls[0].runs_as]
        self._last, self.alone = ("", 1), None
        while waiting := deque(drop_cancelled(waiting, events)):
            group = self._next_group(target, waiting, events)
            self._run_group(target, group, events)
            for record in dict.fromkeys(member.record for member in group):
                if record.is_complete:
                    yield record.output(self._model.warnings)

    def add_single(self, call: Call, seconds: float) -> None:
        """Add what the pipeline took for a call whose runs ran singly."""
        entry = load_catalog().pipeline(call.runs_as)
        if (key := batch_key(call, entry)) is not None:
            self._limits.add(size_key(call.runs[0], entry), key, 1, Sample(seconds / len(call.runs)))

    def add_failure(self, error: Exception) -> None:
        """Allow half as many as in the batch that has failed, unless a request was the cause."""
        key, members = self._last
        if members > 1 and not isinstance(error, RequestError):
            self._limits.halve(key, members)

    def take_report(self) -> BatchReport | None:
        """Return how many runs may run together; None if that is as it was before."""
        single = self.proof.single_classes
        limits = {
            key: limit
            for key, limit in self._limits.by_size.items()
            if limit > 1 and key.partition(" ")[0] not in single
        }
        report = BatchReport(limits, self.proof.reasons, self._limits.ceilings)
        if report == self._reported:
            return None
        self._reported = report
        return report

    def _reporter(self, call: Call) -> ProgressReporter:
        return ProgressReporter(call, self._model.placement, lambda: None)

    def _next_group(self, target: Target, waiting: deque[Member], events: CallEvents) -> list[Member]:
        """Take the members of the next batch."""
        first = waiting.popleft()
        group = [first]
        key = size_key(first.run, target.entry)
        learned = {key: self._limits.limit(key, _batch_key(first.call))}
        limit = batch_limit(first.call, target.entry, learned, self._limits.ceilings) if waiting else 1
        if limit > 1:
            limit = self._modes.members_in_memory(self._pixels(target, first.run), limit)
            limit = self._limits.members_in_memory(key, free_host_bytes(self._runner.device), limit)
        if limit == 1 or not self._joined.is_plain(target, first.call, first.run):
            return group
        # The probe is last, since it takes a while. Where it fails for lack of memory, runs of this size share no batch.
        self._last, self.alone = (key, PROBED), None
        check = _probe_check(events, [member.call for member in (first, *waiting)])
        if self.proof.find_reason(first.call, check, first.run):
            return group
        while waiting and len(group) < limit and self._may_join(target, waiting[0], check):
            group.append(waiting.popleft())
        return group

    def _may_join(self, target: Target, member: Member, check: Callable[[], None]) -> bool:
        """Return whether a member may join others, whose texts may take other branches, such as one that is empty."""
        is_plain = self._joined.is_plain(target, member.call, member.run)
        return is_plain and not self.proof.find_reason(member.call, check, member.run)

    def _pixels(self, target: Target, run: Run) -> int:
        return call_pixels(target.pipe, target.entry, run.params, run.inputs)

    def _run_group(self, target: Target, group: Sequence[Member], events: CallEvents) -> None:
        """Run the members of a batch in a memory mode that fits, and add their outputs to the records of their calls."""
        call, run = group[0].call, group[0].run
        self._last, self.alone = (size_key(run, target.entry), len(group)), call if len(group) == 1 else None
        for record in dict.fromkeys(member.record for member in group):
            events.start(record.call, len(group))
        call_pipeline = partial(self._call_pipeline, target, group, events)
        done, changes = self._modes.run_in_memory(
            self._runner, call.model.name, self._pixels(target, run), call_pipeline, len(group)
        )
        shared = {BATCH: len(group)} if len(group) > 1 else {}
        for member, run, output, warnings in zip(group, done.runs, done.outputs, done.own, strict=True):
            items = parse_output(self._model, target, member.call, run, output, done.adapters, warnings)
            seeded = [(item, seed, {**metadata, **shared}) for item, seed, metadata in items]
            member.record.add(seeded, [*done.messages, *warnings, *changes], done.adapters)

    def _call_pipeline(self, target: Target, group: Sequence[Member], events: CallEvents) -> _GroupOutput:
        """Call the pipeline once for all members of a batch, and learn how long it took."""
        call, runner = group[0].call, self._runner
        steps = SharedSteps(target.pipe, group, events)
        own: list[list[str]] = [[] for _ in group]
        with (
            capture_warnings(target.entry.package) as messages,
            self._model.performance.running(target.pipe, steps.publish),
        ):
            reports = runner.apply_loras(call, group[0].run, messages)
            runner.reset_pipeline(target, call)
            runs = [complete_run(target, member.run) for member in group]
            with measured(runner.device) as measurement:
                outputs = self._joined.run(target, call, runs, steps.on_step, own)
            messages.extend(self._model.performance.take_warnings())
        steps.check()
        self._limits.add(size_key(group[0].run, target.entry), _batch_key(call), len(group), measurement.sample())
        return _GroupOutput(runs, outputs, own, messages, reports)


def _batch_key(call: Call) -> str:
    """Return what a call has in common with those that it may share a batch with."""
    return batch_key(call, load_catalog().pipeline(call.runs_as)) or ""


def _probe_check(events: CallEvents, calls: Sequence[Call]) -> Callable[[], None]:
    """Return what is called between steps of a probe: it reports the probe, and ends it once all calls are cancelled.

    Args:
        events: Where events of the calls go.
        calls: The calls that may share batches; the probe is made of the first one, which runs alone in the next process if
            the probe ends this one.
    """
    announced = False

    def check() -> None:
        nonlocal announced
        if not announced:
            announced = True
            events.start(calls[0], PROBED)
        if all(map(events.is_cancelled, calls)):
            raise GenerationCancelledError("All requests of this batch were cancelled.")

    return check
