"""Join the runs of a batch to one, whose texts, seeds and media are lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from octabox.catalog.entries import PipelineEntry
from octabox.engine.batches.keys import text_parameters
from octabox.engine.protocol import Run


@dataclass(frozen=True)
class JoinedRun(Run):
    """The runs of a batch as one.

    Args:
        seeds: The seed of each.
    """

    seeds: tuple[int, ...] = ()


def join_runs(entry: PipelineEntry, runs: Sequence[Run]) -> JoinedRun:
    """Return runs that have everything in common but their texts, seeds and media as one."""
    first = runs[0]
    texts = [name for name in text_parameters(entry) if isinstance(first.params.get(name), str)]
    joined = {name: [run.params[name] for run in runs] for name in texts}
    # Each member has its own medium, even if they are equal: pipelines share one among all with noise of the first only.
    inputs = {name: tuple(run.inputs[name][0] for run in runs) for name in first.inputs}
    return JoinedRun(
        {**first.params, **joined},
        inputs,
        first.seed,
        adapters=first.adapters,
        seamless=first.seamless,
        seeds=tuple(run.seed for run in runs),
    )
