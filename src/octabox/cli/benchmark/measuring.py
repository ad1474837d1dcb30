"""Measure the speed and the memory of a model by batch size and memory mode."""

from __future__ import annotations

import contextlib
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from octabox.errors import CapacityError, GenerationError, InvalidParameterError, LoadError
from octabox.service.bounds import OUTPUTS
from octabox.types import Generation, ModelStatus, Progress

if TYPE_CHECKING:
    from octabox.catalog.entries import PipelineEntry
    from octabox.engine.protocol import Call, Engine

#: Memory modes that are measured on an accelerator; on the CPU weights are not moved.
MODES = ("full", "encoder_offload", "model_cpu_offload", "group_offload")


@dataclass(frozen=True)
class Measurement:
    """One batch size in one memory mode.

    Args:
        batch: Number of results of the call.
        seconds: Seconds of the call, prompts and decoding included; None if it was not measured.
        iterations_per_second: Denoising steps of all results for each second.
        error: Why it was not measured.
    """

    batch: int
    seconds: float | None = None
    iterations_per_second: float | None = None
    error: str = ""


@dataclass(frozen=True)
class ModeResult:
    """The measurements of one memory mode.

    Args:
        mode: The mode.
        batches: One measurement for each batch size.
        memory: Largest number of bytes by place; that of an accelerator is of tensors.
    """

    mode: str
    batches: tuple[Measurement, ...] = ()
    memory: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the measurements as JSON data."""
        return asdict(self)


class Benchmark:
    """Measures a call with several batch sizes.

    Args:
        engine: Runs the calls.
        call: The call, with one run.
        entry: Its pipeline.
        report: Called with each memory mode and batch size before it is measured.
    """

    def __init__(self, engine: Engine, call: Call, entry: PipelineEntry, report: Callable[[str, int], None]) -> None:
        self._engine, self._call, self._entry, self._report = engine, call, entry, report
        self._memory: dict[str, int] = {}
        self.device = ""
        self.results: list[ModeResult] = []

    async def run(self, modes: Sequence[str], batches: Sequence[int]) -> None:
        """Measure each memory mode, and add to `results` as it is measured; on the CPU the first mode only, as ``full``.

        Args:
            modes: The modes; empty for all.
            batches: Batch sizes.
        """
        for mode in modes or MODES:
            call = replace(self._call, model=self._call.model.model_copy(update={"memory": mode, "keep_alive": None}))
            self._memory = {}
            result = ModeResult(mode)
            self.results.append(result)
            async for each in self._measure(call, mode, batches):
                result = replace(result, batches=(*result.batches, each), memory=dict(self._memory))
                self.results[-1] = result
            await self._engine.unload(call.model.name)
            # The device is not known where the model could not be loaded: the next mode may need less of one.
            if self.device.startswith("cpu") and not modes:
                self.results[-1] = replace(result, mode="full")
                return

    async def _measure(self, call: Call, mode: str, batches: Sequence[int]) -> AsyncIterator[Measurement]:
        """Yield one measurement for each batch size, after a call that is not measured."""
        is_warm = False
        for batch in batches:
            self._report(mode, batch)
            try:
                sized = self._with_batch(call, batch)
                if not is_warm:
                    await self._time(sized, batch)
                    is_warm = True
                seconds, steps = await self._time(sized, batch)
            except (CapacityError, GenerationError, LoadError) as error:
                self._note_status(self._engine.status())
                yield Measurement(batch, error=error.message)
                continue
            yield Measurement(batch, seconds, steps * batch / seconds if seconds else None)

    def _with_batch(self, call: Call, batch: int) -> Call:
        """Return a call with one run of several results: by its parameter for their number, else by several prompts.

        Raises:
            GenerationError: The pipeline has neither.
        """
        (run,) = call.runs
        params = dict(run.params)
        name = next((each.name for each in self._entry.parameters if OUTPUTS.fullmatch(each.name)), None)
        if name is not None:
            params[name] = batch
        elif batch > 1:
            if not isinstance(prompt := params.get("prompt"), str):
                raise GenerationError(
                    f"{self._entry.name} makes one result in each call: it has neither a prompt nor a parameter for the number "
                    "of results."
                )
            params["prompt"] = [prompt] * batch
        return replace(call, runs=(replace(run, params=params),))

    async def _time(self, call: Call, batch: int) -> tuple[float, int]:
        """Run a call; return its seconds in the worker and its number of steps.

        Raises:
            GenerationError: It has made fewer results than were asked for.
        """
        steps, generation = 1, None
        async with contextlib.aclosing(self._engine.generate(replace(call, id=uuid.uuid4().hex))) as events:
            async for event in events:
                if isinstance(event, Progress):
                    steps = max(steps, event.steps)
                elif isinstance(event, Generation):
                    generation = event
        if generation is None:
            raise GenerationError("The engine ended a request without a result.")
        self._note_status(self._engine.status())
        # A result may have several outputs, such as a depth map and an image of it.
        made = max(Counter((each.kind, each.name) for each in generation.artifacts).values(), default=0)
        if made < batch:
            raise GenerationError(f"{self._entry.name} has made {made} of {batch} results in one call.")
        return generation.timings.get("run", 0.0), steps

    def _note_status(self, statuses: Sequence[ModelStatus]) -> None:
        """Keep the device, and the largest memory of the model."""
        for status in statuses:
            self.device = status.device or self.device
            for place, size in {**status.memory, **status.peak}.items():
                self._memory[place] = max(size, self._memory.get(place, 0))


def parse_batches(text: str) -> tuple[int, ...]:
    """Return the batch sizes of a list such as ``1,2,4``.

    Raises:
        InvalidParameterError: It is not such a list.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        message = f"The batch sizes must be whole numbers from 1, not '{text}'."
        raise InvalidParameterError(message, hint="Write --batches 1,2,4", parameter="batches")
    return tuple(dict.fromkeys(map(int, parts)))
