"""Decide whether calls of a class may share a batch: by what is known of it, by the disk, or by a probe."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from octabox.engine.batches.verdicts import read_verdict, write_verdict
from octabox.engine.protocol import Call, Run
from octabox.engine.worker.batches.joined import JoinedRunner, complete_run
from octabox.engine.worker.batches.probe import TOLERANCE, Probe, Verdict
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.placement.recovery import clean_up
from octabox.engine.worker.runner import Runner
from octabox.engine.worker.targets import Target
from octabox.engine.worker.third_party_logs import capture_warnings

#: Attributes of a scheduler that keeps a source of noise, with a seed, which a batch cannot have for each member.
OWN_NOISE = re.compile(r"noise_sampler|(^|_)seed$")

#: How many requests a class is probed with where none gives a verdict; then it runs singly until the model is loaded again.
PROBES = 3


class BatchProof:
    """What is known of the batches of one loaded model.

    Args:
        runner: Runs single runs.
        joined: Runs several together.
        model: The model.
    """

    def __init__(self, runner: Runner, joined: JoinedRunner, model: LoadedModel) -> None:
        self._runner, self._joined, self._model = runner, joined, model
        self._verdicts: dict[tuple[str, ...], str] = {}
        self._probes: Counter[tuple[str, ...]] = Counter()
        #: Why calls run singly, by class; with the scheduler of the request and the media, if it has any.
        self.reasons: dict[str, str] = {}

    def find_reason(self, call: Call, check: Callable[[], None]) -> str:
        """Return why calls like this one must run singly; empty if batches of them are proved, or always made.

        Args:
            call: The call.
            check: Called between steps of a probe; raises if it is to end.
        """
        media = sorted(call.runs[0].inputs)
        key = (call.runs_as, *([call.scheduler.name] if call.scheduler else []), *media)
        if key not in self._verdicts:
            target = self._runner.targets[call.runs_as]
            self._runner.reset_pipeline(target, call)
            verdict = Verdict(self._static_reason(target, call.runs[0]))
            if not verdict.reason and call.model.batching != "always":
                verdict = self._probe(target, call, check)
                self._probes[key] += 1
            if not verdict.is_final and self._probes[key] < PROBES:
                return verdict.reason
            self._verdicts[key] = verdict.reason
            if verdict.reason:
                self.reasons[" with ".join(key)] = verdict.reason
        return self._verdicts[key]

    def _static_reason(self, target: Target, run: Run) -> str:
        """Return what is known to prevent batches before they are tried."""
        scheduler = getattr(target.pipe, "scheduler", None)
        if scheduler is not None and any(map(OWN_NOISE.search, {**vars(scheduler), **scheduler.config})):
            return f"{type(scheduler).__name__} keeps its own seed"
        if "cache" in self._model.performance.report.applied:
            return "a step cache decides for all members of a batch together"
        if run.inputs and self._model.ip_adapters:
            return "its IP-Adapters take the images of one request"
        return ""

    def _probe(self, target: Target, call: Call, check: Callable[[], None]) -> Verdict:
        """Return the verdict of the probe, from the disk if there is one."""
        run, device = call.runs[0], self._runner.device
        key = self._verdict_key(target, run)
        stored = read_verdict(key)
        if stored is not None:
            return Verdict(stored)

        def on_step(*_: object) -> None:
            check()

        def run_together(runs: Sequence[Run]) -> list[dict[str, Any]]:
            self._runner.reset_pipeline(target, call)
            completed = [complete_run(target, each) for each in runs]
            return self._joined.run(target, call, completed, on_step, [[] for _ in runs])

        def recover() -> None:
            clean_up(self._runner.pipelines, device, self._runner.state)

        is_exact = torch.device(device).type == "cpu" and self._runner.in_float32
        with capture_warnings(target.entry.package):
            probe = Probe(run_together, recover, TOLERANCE if is_exact else None)
            verdict = probe.find_verdict(run, target.entry, target.pipe)
        if verdict.is_final:
            write_verdict(key, verdict.reason, source=call.model.model)
        return verdict

    def _verdict_key(self, target: Target, run: Run) -> Mapping[str, Any]:
        """Return what a verdict depends on."""
        parts = target.pipe.components
        modules = [each for each in parts.values() if isinstance(each, torch.nn.Module)]
        return {
            "class": target.entry.name,
            "module": target.entry.module,
            "components": {name: type(part).__name__ for name, part in sorted(parts.items()) if part is not None},
            "device": torch.device(self._runner.device).type,
            "dtypes": sorted({str(getattr(each, "dtype", "")) for each in modules}),
            "media": sorted(run.inputs),
        }
