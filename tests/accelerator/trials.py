"""Try tiny pipelines on the pretended accelerator in every mode, from a folder through Octabox's own loader and runner."""

from __future__ import annotations

import asyncio
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from diffusers.utils import logging as diffusers_logging
from PIL.Image import Image
from transformers.utils import logging as transformers_logging

from makers import Tiny
from octabox.config.settings import Settings
from octabox.engine.messages import Start, WorkerOptions
from octabox.engine.protocol import Call
from octabox.engine.worker.failures import to_generation_error, to_load_error
from octabox.engine.worker.inputs.argument_errors import is_for_caller, library_message
from octabox.engine.worker.loading.models import load
from octabox.engine.worker.outputs.items import OutputItem
from octabox.engine.worker.placement import dtype_failures
from octabox.engine.worker.placement.recovery import clean_up
from octabox.engine.worker.trial import TrialRunner
from octabox.errors import InvalidParameterError, OctaboxError
from octabox.server import build
from octabox.types import GenerationRequest, OutputFormat
from pipelines.requests import ask, in_base64

#: How a model is held and computed in, by the name that the table has for it: settings of its configuration.
MODES: dict[str, dict[str, str]] = {
    "float32": {"dtype": "float32", "memory": "full"},
    "auto": {"dtype": "auto", "memory": "full"},
    "encoder_offload": {"dtype": "float32", "memory": "encoder_offload"},
    "model_cpu_offload": {"dtype": "float32", "memory": "model_cpu_offload"},
    "sequential_cpu_offload": {"dtype": "float32", "memory": "sequential_cpu_offload"},
    "group_offload": {"dtype": "float32", "memory": "group_offload"},
}

#: What the table says of a mode in which all is well.
WORKS = "works"

#: How far results in float32 may be from the processor's, in the mean, where 1 is the range of a pixel.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Outcome:
    """What calls made of a loaded model.

    Args:
        values: Their outputs as numbers, by task and field.
        warnings: What could not be honoured.
    """

    values: Mapping[str, np.ndarray]
    warnings: frozenset[str]


class _FailedError(Exception):
    """An error of a load or of a call, with its message for clients."""

    def __init__(self, kind: str, reason: OctaboxError) -> None:
        super().__init__(f"{kind}: {reason}")
        self.kind, self.reason = kind, reason


class Trial:
    """One tiny pipeline, saved to a folder of models.

    Args:
        tiny: What makes it.
        folder: Where it is saved.
    """

    def __init__(self, tiny: Tiny, folder: Path) -> None:
        with warnings.catch_warnings():
            # What diffusers says to whoever makes and saves pipelines is no concern here.
            warnings.simplefilter("ignore")
            tiny.make().save_pretrained(str(folder / tiny.name))
        self._tiny, self._folder = tiny, folder
        self._calls = asyncio.run(self._prepare())
        self._expected: Outcome | None = None

    async def _prepare(self) -> list[Call]:
        """Return a call for each task, as the service makes it of a request."""
        parts = build(Settings.load({"models": self._folder, "log_level": "error"}))
        made = []
        name = self._tiny.name
        for task in parts.models.snapshot().schema(name)["x-tasks"]:
            if task in self._tiny.leaves_out:
                continue
            wanted = ask(self._tiny, parts.models.snapshot().schema(name, task), task)
            media = {parameter: in_base64(given) for parameter, given in wanted.files.items()}
            output = OutputFormat(wanted.output.get("format"))
            request = GenerationRequest(name, task, {**wanted.params, **media}, seed=7, output=output)
            made.append(await parts.generation.prepare(request))
        return made

    @property
    def calls(self) -> list[Call]:
        """A call for each task."""
        return self._calls

    def expected(self) -> Outcome:
        """Return the results of the CPU in float32."""
        if self._expected is None:
            self._expected = self._run({"dtype": "float32", "memory": "full"}, "cpu")
        return self._expected

    def outcome(self, mode: str) -> str:
        """Return the outcome of a mode: that it works, or its error or fallback in a client's message."""
        expected = self.expected()
        try:
            # What this class failed in is to be found anew, not remembered from another run.
            with patch.object(dtype_failures, "cache_folder", return_value=self._folder / ".cache"):
                found = self._run(MODES[mode], "fake", exhaustive=mode == "float32")
        except _FailedError as error:
            return f"{error.kind}: {type(error.reason).__name__}: {self._plain(error.reason.message)}"
        if differing := self._differing(expected, found, exact=MODES[mode]["dtype"] == "float32"):
            return f"differs: {differing}"
        notes = sorted(self._plain(each) for each in found.warnings - expected.warnings)
        return f"falls back: {' '.join(notes)}" if notes else WORKS

    def _run(self, settings: Mapping[str, str], device: str, *, exhaustive: bool = True) -> Outcome:
        """Load the model, and make all calls or the first."""
        config = self._calls[0].model.model_copy(update=settings)
        start = Start(config, self._calls[0].pipeline, WorkerOptions(device=device))
        try:
            loaded = load(start.model, start.pipeline, start.options)
        except Exception as error:  # noqa: BLE001 (as a worker does)
            raise _FailedError("refused", to_load_error(error, config)) from None
        runner, calls = TrialRunner(loaded, start), self._calls if exhaustive else self._calls[:1]
        del loaded
        values: dict[str, np.ndarray] = {}
        notes: set[str] = set()
        for call in calls:
            try:
                made = runner.run(call, lambda _: None, lambda: None)
            except Exception as error:  # noqa: BLE001 (as a worker does)
                clean_up(runner.pipelines, runner.device, runner.state)
                failure = to_generation_error(error, call, runner.steps_taken)
                if not is_for_caller(error):  # The table has what the log has.
                    verb = (
                        "refused the request"
                        if isinstance(failure, InvalidParameterError)
                        else f"failed: {type(error).__name__}"
                    )
                    failure.message = f"{call.runs_as} {verb}: {library_message(error)}"
                raise _FailedError("fails", failure) from None
            notes.update(made.warnings)
            for product, *_ in made.outputs:
                values |= {f"{call.task} {name}": each for name, each in numbers(product)}
        return Outcome(values, frozenset(notes))

    def _differing(self, expected: Outcome, found: Outcome, *, exact: bool) -> str:
        """Return in which output a result is not as expected; nothing where all are."""
        for name, other in found.values.items():
            value = expected.values[name]
            if other.shape != value.shape:
                return f"{name} has another shape"
            distance = float(np.mean(np.abs(value - other))) if value.size else 0.0
            if not np.isfinite(other).all() and np.isfinite(value).all():
                return f"{name} has numbers that are NaN"
            if exact and not self._tiny.unsteady and distance > TOLERANCE:
                return f"{name} differs by {distance:.2g}"
        return ""

    def _plain(self, words: str) -> str:
        """Return a message without what differs in each run."""
        words = words.replace(str(self._folder / self._tiny.name), "FOLDER")
        words = re.sub(r"0x[0-9a-f]+", "ADDRESS", words)
        words = re.sub(r"^(Model 'FOLDER'|Model '\w+')( \(FOLDER\))? ", "The model ", words)
        return " ".join(words.split())[:300]


def numbers(product: OutputItem) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what a product holds as numbers, pixels from 0 to 1."""
    value: Any = product.value
    if isinstance(value, Image):
        yield product.name, np.asarray(value).astype(np.float64) / 255
    elif hasattr(value, "frames"):
        yield product.name, np.stack([np.asarray(frame) for frame in value.frames]).astype(np.float64) / 255
    elif hasattr(value, "samples"):
        yield product.name, np.asarray(value.samples, np.float64)
    elif hasattr(value, "vertices"):
        yield product.name, np.asarray(value.vertices, np.float64)
    elif isinstance(value, Mapping):
        yield from ((f"{product.name} {name}", np.asarray(each).astype(np.float64)) for name, each in value.items())


def silence_libraries() -> None:
    """Keep diffusers and transformers from logging and drawing bars while pipelines are made and tried."""
    for library in (diffusers_logging, transformers_logging):
        library.disable_progress_bar()
        library.set_verbosity_error()
