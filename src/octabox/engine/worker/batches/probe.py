"""Find out by short runs whether the members of a batch get the outputs that they get alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from PIL import ImageOps
from PIL.Image import Image

from octabox.catalog.entries import PipelineEntry
from octabox.engine.batches.keys import text_parameters
from octabox.engine.protocol import Run
from octabox.engine.worker.batches.outputs import DivisionError, find_difference, is_finite
from octabox.engine.worker.inputs.sizes import size_multiple
from octabox.engine.worker.placement.device_errors import hardware_cause
from octabox.errors import GenerationCancelledError

#: Runs runs as one batch, and returns the fields of the output of each.
RunTogether = Callable[[Sequence[Run]], list[dict[str, Any]]]

#: Sides of the images of a probe, the smallest first; each is tried until single runs succeed.
SIDES = (64, 128, 256)

#: Most frames of the videos of a probe: a multiple of 2, 4 and 8, and one.
FRAMES = 9

#: Denoising steps of a probe.
STEPS = 2

#: Largest difference of two outputs in float32 on a CPU; others are compared by their mean.
TOLERANCE = 1e-4

#: Added to a prompt of one word; those of several are cut, since a longer one might be too long for an encoder.
LONGER = "and a wall"

#: The call parameter for the type of the output, its value for images, and that for numbers, which are not rounded to bytes.
OUTPUT_TYPE, IMAGES, NUMBERS = "output_type", "pil", "np"


@dataclass(frozen=True)
class Verdict:
    """What a probe has found out about a class.

    Args:
        reason: Why its runs must run singly; empty if its batches are proved.
        is_final: Whether it is about the class. Where the run does not even work singly, its request may be the cause.
    """

    reason: str
    is_final: bool = True


class Probe:
    """Compares batches of two with single runs.

    Args:
        run_together: Runs runs as one batch; one run alone as a single one.
        recover: Restores the model after a failure.
        tolerance: The largest difference that counts as equal; see `find_difference`.
    """

    def __init__(self, run_together: RunTogether, recover: Callable[[], None], tolerance: float | None) -> None:
        self._run_together, self._recover, self._tolerance = run_together, recover, tolerance

    def find_verdict(self, run: Run, entry: PipelineEntry, pipe: Any) -> Verdict:
        """Return whether batches of runs like this one give each the outputs that it gets alone.

        Raises:
            GenerationCancelledError: All calls that wait for the verdict were cancelled.
        """
        reason = "it has no short run"
        for pair in short_runs(run, entry, pipe):
            singles = [self._attempt([each]) for each in pair]
            failed = next((each for each in singles if isinstance(each, str)), None)
            if failed is None:
                return self._compare(pair, [each[0] for each in singles if not isinstance(each, str)])
            reason = f"a short run of it {failed}"
        return Verdict(reason, is_final=False)

    def _compare(self, pair: tuple[Run, Run], singles: list[dict[str, Any]]) -> Verdict:
        """Compare a batch of twins and one of different members with single runs."""
        if not all(map(is_finite, singles)):
            return Verdict("its outputs are NaN, which cannot be compared", is_final=False)
        first, second = pair
        for runs, expected in (((first, first), (0, 0)), ((first, second), (0, 1))):
            outputs = self._attempt(runs)
            if isinstance(outputs, str):
                return Verdict(f"a batch of two {outputs}")
            for output, index in zip(outputs, expected, strict=True):
                if difference := find_difference(output, singles[index], self._tolerance):
                    kind = "the same prompts and seeds" if runs[0] is runs[1] else "different prompts and seeds"
                    return Verdict(f"an output of a batch with {kind} {difference} from that of a single run")
        return Verdict("")

    def _attempt(self, runs: Sequence[Run]) -> list[dict[str, Any]] | str:
        """Return the outputs of a batch, or how it failed."""
        try:
            return self._run_together(runs)
        except (GenerationCancelledError, SystemExit):
            raise
        except DivisionError as error:
            return f"cannot be divided: {error}"
        except Exception as error:
            if hardware_cause(error):
                raise
            message = f"raises {type(error).__name__}: {error}"
        self._recover()
        return " ".join(message.split())[:200]


def short_runs(run: Run, entry: PipelineEntry, pipe: Any) -> Iterator[tuple[Run, Run]]:
    """Yield pairs of short runs like a run, with prompts of unequal length and two seeds, those of the smallest size first."""
    steps = few_steps(run.params, entry)
    makes_images = entry.parameter(OUTPUT_TYPE) is not None and run.params.get(OUTPUT_TYPE, IMAGES) == IMAGES
    precise = {OUTPUT_TYPE: NUMBERS} if makes_images else {}
    for side in SIDES:
        if (sizes := _small_sizes(run, entry, pipe, side)) is not None:
            size, media = sizes
            yield _pair(replace(run, params={**run.params, **steps, **size, **precise}, inputs=media), entry)
    for extra in ({**steps, **precise}, steps):
        yield _pair(replace(run, params={**run.params, **extra}), entry)


def _pair(run: Run, entry: PipelineEntry) -> tuple[Run, Run]:
    """Return two runs with other texts, media and seeds."""
    texts = [name for name in text_parameters(entry) if isinstance(run.params.get(name), str)]
    others = {name: _other_text(run.params[name]) for name in texts}
    media: Mapping[str, tuple[Any, ...]] = {
        name: tuple(ImageOps.mirror(each) if isinstance(each, Image) else each for each in items)
        for name, items in run.inputs.items()
    }
    return replace(run, seed=1), replace(run, seed=2, params={**run.params, **others}, inputs=media)


def _other_text(text: str) -> str:
    """Return a text with another number of words."""
    words = text.split()
    return words[0] if len(words) > 1 else f"{text} {LONGER}".strip()


def few_steps(params: Mapping[str, Any], entry: PipelineEntry) -> dict[str, int]:
    """Return the parameters for the number of denoising steps, as few as make `STEPS` after those that a strength skips."""
    strength_parameter = entry.parameter("strength")
    strength = params.get("strength", strength_parameter.default if strength_parameter else 1)
    is_fraction = isinstance(strength, int | float) and 0 < strength < 1
    steps = math.ceil(STEPS / strength) if is_fraction else STEPS
    names = (each.name for each in entry.parameters if each.kind == "integer" and "inference_steps" in each.name)
    return {name: steps for name in names if not any(params.get(each) for each in ("timesteps", "sigmas"))}


def _small_sizes(
    run: Run, entry: PipelineEntry, pipe: Any, side: int
) -> tuple[dict[str, int], Mapping[str, tuple[Any, ...]]] | None:
    """Return the parameters and media of a small run; None if the run is not larger, or its size cannot be set."""
    multiples = [size_multiple(pipe, entry, name) for name in ("width", "height")]
    small = math.ceil(side / math.lcm(*multiples)) * math.lcm(*multiples)
    images = [each for items in run.inputs.values() for each in items if isinstance(each, Image)]
    has_sides = all(entry.parameter(name) for name in ("width", "height"))
    sides = [run.params.get(name) for name in ("width", "height")]
    known = [each for each in sides if isinstance(each, int)] + [edge for image in images for edge in image.size]
    if not (has_sides or images) or (known and min(known) <= small):
        return None
    size = {"width": small, "height": small} if has_sides and not (images and not any(sides)) else {}
    if entry.frames:
        frames = run.params.get(entry.frames.name, entry.frames.default)
        size |= {entry.frames.name: FRAMES} if isinstance(frames, int) and frames > FRAMES else {}
    resized = {
        name: tuple(each.resize((small, small)) if isinstance(each, Image) else each for each in items)
        for name, items in run.inputs.items()
    }
    return size, resized
