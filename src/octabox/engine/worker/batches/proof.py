"""Decide whether calls of a class may share a batch: by what is known of it, by the disk, or by a probe."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from octabox.config.model import ModelConfig
from octabox.engine.batches.verdicts import find_verdict, join_reasons, read_verdict, write_verdict
from octabox.engine.protocol import Call, Run
from octabox.engine.worker.batches.branches import (
    describe_choice,
    describe_config,
    describe_params,
    describe_scheduler,
    name_branches,
)
from octabox.engine.worker.batches.joined import JoinedRunner, complete_run
from octabox.engine.worker.batches.limits import use_last
from octabox.engine.worker.batches.probe import TOLERANCE, Probe, Verdict
from octabox.engine.worker.loading.models import LoadedModel
from octabox.engine.worker.placement.recovery import clean_up
from octabox.engine.worker.runner import Runner
from octabox.engine.worker.targets import Target
from octabox.engine.worker.third_party_logs import capture_warnings

#: Attributes of a scheduler that keeps a source of noise, with a seed, which a batch cannot have for each member.
OWN_NOISE = re.compile(r"noise_sampler|(^|_)seed$")

#: How many requests of a kind are probed where none gives a verdict; then they run singly until the next load.
PROBES = 3

#: Of how many kinds of requests the verdicts are known at a time; those on disk remain.
MAX_KINDS = 256


@dataclass
class _Proof:
    """What is known of one kind of requests: those that take the same branches of the code of one class.

    Args:
        class_name: The class.
        names: What may distinguish the kind: the scheduler of the requests, their media, and parameters.
        is_plain: Whether they name no scheduler and have no media.
    """

    class_name: str
    names: Sequence[str]
    is_plain: bool
    probes: int = 0
    #: Why they run singly, empty if their batches are proved; None while that is not known.
    reason: str | None = None


class BatchProof:
    """What is known of the batches of one loaded model.

    Args:
        runner: Runs single runs.
        joined: Runs several together.
        model: The model.
    """

    def __init__(self, runner: Runner, joined: JoinedRunner, model: LoadedModel) -> None:
        self._runner, self._joined, self._model = runner, joined, model
        self._proofs: dict[str, _Proof] = {}
        self._expected: dict[str, str] = {}

    def expect(self, config: ModelConfig, pipeline: str) -> None:
        """Report why calls will run singly until one was tried, by what is known of the model and of others of its class.

        Args:
            config: The configuration of the model.
            pipeline: The class that it is loaded as.
        """
        target = self._runner.targets[pipeline]
        if config.deterministic or config.batching == "never" or not target.entry.batches:
            return
        if reason := self._static_reason(target, Run({})):
            self._expected = {pipeline: reason}
        elif config.batching == "auto":
            self._expected = find_verdict(pipeline, config, _component_classes(target)) or {}

    @property
    def reasons(self) -> dict[str, str]:
        """Why calls run singly: by class, if one reason holds for all that is known of it; else by what distinguishes them."""
        known: dict[str, dict[tuple[str, ...], str]] = {}
        for each in self._known:
            known.setdefault(each.class_name, {})[tuple(each.names)] = each.reason or ""
        expected = {name: reason for name, reason in self._expected.items() if name.partition(" ")[0] not in known}
        return {**expected, **join_reasons(known)}

    @property
    def _known(self) -> list[_Proof]:
        return [each for each in self._proofs.values() if each.reason is not None]

    @property
    def single_classes(self) -> frozenset[str]:
        """The classes of which no calls are known to share batches, and those without a scheduler and media share none."""
        proved = {each.class_name for each in self._known if not each.reason}
        return frozenset({each.class_name for each in self._known if each.is_plain} - proved)

    def find_reason(self, call: Call, check: Callable[[], None], run: Run | None = None) -> str:
        """Return why a run must run singly; empty if batches of runs like it are proved, or always made.

        Args:
            call: Its call.
            check: Called between steps of a probe; raises if it is to end.
            run: The run; None is the first one of the call.
        """
        run, target = run or call.runs[0], self._runner.targets[call.runs_as]
        branches, choice = describe_params(run, target.entry), describe_choice(call.scheduler)
        media = sorted(run.inputs)
        key = json.dumps([call.runs_as, choice, media, branches], sort_keys=True)
        scheduler = [call.scheduler.name, *sorted(call.scheduler.settings)] if call.scheduler else []
        names = [*scheduler, *media, *name_branches(branches, target.entry)]
        proof = use_last(self._proofs, key, lambda: _Proof(call.runs_as, names, not scheduler and not media), MAX_KINDS)
        if proof.reason is not None:
            return proof.reason
        self._runner.reset_pipeline(target, call)
        verdict = Verdict(self._static_reason(target, run))
        if not verdict.reason and call.model.batching != "always":
            verdict = self._probe(target, call, run, check, names)
            proof.probes += 1
        elif verdict.reason:
            key_of_file = {"class": target.entry.name, "source": call.model.model, "static": key}
            performance = call.model.performance.model_dump_json()
            write_verdict({**key_of_file, "performance": performance}, verdict.reason, names=names)
        if verdict.is_final or proof.probes >= PROBES:
            proof.reason = verdict.reason
        return verdict.reason

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

    def _probe(self, target: Target, call: Call, run: Run, check: Callable[[], None], names: Sequence[str]) -> Verdict:
        """Return the verdict of the probe, from the disk if there is one."""
        device = self._runner.device
        key = self._verdict_key(target, call, run)
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
            write_verdict(key, verdict.reason, source=call.model.model, names=names)
        return verdict

    def _verdict_key(self, target: Target, call: Call, run: Run) -> Mapping[str, Any]:
        """Return what a verdict depends on, of a pipeline that was reset for the call."""
        parts = target.pipe.components
        modules = [each for each in parts.values() if isinstance(each, torch.nn.Module)]
        return {
            "class": target.entry.name,
            "module": target.entry.module,
            "components": _component_classes(target),
            "device": torch.device(self._runner.device).type,
            "dtypes": sorted({str(getattr(each, "dtype", "")) for each in modules}),
            "media": sorted(run.inputs),
            "scheduler": describe_scheduler(parts.get("scheduler"), call.scheduler),
            "configs": {name: config for name, part in parts.items() if (config := describe_config(part))},
            "pipeline_config": describe_config(target.pipe),
            "params": describe_params(run, target.entry),
        }


def _component_classes(target: Target) -> dict[str, str]:
    """Return the classes of a pipeline's components."""
    return {name: type(part).__name__ for name, part in sorted(target.pipe.components.items()) if part is not None}
