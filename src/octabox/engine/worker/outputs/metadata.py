"""Describe a run in the metadata of its outputs, completely enough to repeat it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from importlib.metadata import version
from typing import Any

from diffusers import DiffusionPipeline

from octabox.catalog.entries import PipelineEntry
from octabox.engine.protocol import Call, Run
from octabox.types import AdapterReport, SchedulerChoice

#: Types of default values that metadata can hold.
SCALARS = (str, int, float, bool)

#: Call parameters that concern how a result is returned, not what it is.
INTERNAL = frozenset({"output_type", "return_dict", "callback_steps"})

#: The key of the first stage's metadata for the name of the cascade, and the keys that are kept of each stage.
CASCADE, OF_A_STAGE = "cascade", ("model", "pipeline", "task", "params", "scheduler", "adapters", "seed", "seconds")


@cache
def _octabox_version() -> str:
    """Return the version of Octabox; reading it from the files of the package takes a millisecond."""
    return version("octabox")


def describe_run(
    pipe: DiffusionPipeline,
    entry: PipelineEntry,
    call: Call,
    run: Run,
    adapters: Sequence[AdapterReport],
    performance: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the metadata of the outputs of a run.

    Args:
        pipe: The pipeline.
        entry: Its catalog entry.
        call: The call.
        run: The run.
        adapters: The LoRAs that were applied.
        performance: The metadata about performance settings.
    """
    defaults = {
        each.name: each.default for each in entry.parameters if each.literal and isinstance(each.default, SCALARS)
    }
    params = {**defaults, **run.params}
    metadata = {
        "version": _octabox_version(),
        "model": call.model.name,
        "pipeline": call.runs_as,
        "task": call.task,
        "params": {name: value for name, value in params.items() if name not in INTERNAL and value is not None},
        "seed": run.seed,
        **performance,
    }
    if entry.last_layer and isinstance(skipped := params.get("clip_skip"), int):
        metadata["clip_layer"] = skipped + entry.last_layer
    if call.prompt_syntax != "plain":
        metadata["prompt_syntax"] = call.prompt_syntax
    if run.written:
        metadata["written"] = dict(run.written)
    if call.input_digests:
        metadata["inputs"] = dict(call.input_digests)
    if run.variation:
        metadata["variation"] = asdict(run.variation)
    if run.noise:
        metadata["noise"] = {name: each for name, each in asdict(run.noise).items() if each is not None}
    if run.seamless:
        metadata["seamless"] = {"axes": run.seamless}
    if (scheduler := getattr(pipe, "scheduler", None)) is not None:
        metadata["scheduler"] = _describe_scheduler(scheduler, call.scheduler)
    if adapters:
        metadata["adapters"] = [_describe_adapter(each) for each in adapters]
    return _describe_cascade(metadata, run.earlier) if run.earlier else metadata


def _describe_cascade(last: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the metadata of a cascade: those of its first stage, which a request repeats, and what each stage has done."""
    first = dict(earlier[0])
    name = first.pop(CASCADE)
    stages = [{key: each[key] for key in OF_A_STAGE if key in each} for each in (first, *earlier[1:], last)]
    return {**first, "model": name, "stages": stages}


def _describe_scheduler(scheduler: Any, choice: SchedulerChoice | None) -> dict[str, Any]:
    settings = dict(sorted(choice.settings.items())) if choice else {}
    described: dict[str, Any] = {"name": type(scheduler).__name__, "settings": settings}
    if choice and choice.schedule:
        described["schedule"] = choice.schedule
    return described


def _describe_adapter(adapter: AdapterReport) -> dict[str, Any]:
    described: dict[str, Any] = {"lora": adapter.lora, "weight": adapter.weight}
    if adapter.weights:
        described["weights"] = dict(adapter.weights)
    return described
