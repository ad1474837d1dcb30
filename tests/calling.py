"""Calls of tiny pipelines in the process of the test: without an engine, a server or a fork."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from octabox.config.model import ModelConfig
from octabox.engine.protocol import Call, Run
from octabox.engine.worker.outputs.encoding import RawOutput
from octabox.engine.worker.runner import Runner
from octabox.types import Progress


def call(
    runs_as: str, params: dict[str, Any], *, inputs: Any = None, seeds: tuple[int, ...] = (0,), **fields: Any
) -> Call:
    """Return a call of a tiny model; the task is only passed on."""
    runs = tuple(Run(params, inputs or {}, seed) for seed in seeds)
    model = ModelConfig(name="tiny", model="tiny")
    return Call(id="one", model=model, pipeline=runs_as, runs_as=runs_as, task="some-task", runs=runs, **fields)


@dataclass
class Watcher:
    """Keeps what a call tells of its progress, and raises ``error`` once so many steps are taken."""

    error: Exception | None = None
    step: int = 1
    told: list[Progress] = field(default_factory=list)

    def tell(self, progress: Progress) -> None:
        """Keep one word of progress."""
        self.told.append(progress)

    def check(self) -> None:
        """End the call where that was asked for."""
        if self.error is not None and len(self.told) >= self.step:
            raise self.error


def run(runner: Runner, wanted: Call, watcher: Watcher | None = None) -> RawOutput:
    """Make a call."""
    watcher = watcher or Watcher()
    return runner.run(wanted, watcher.tell, watcher.check)
