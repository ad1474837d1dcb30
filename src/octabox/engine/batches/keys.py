"""Which calls may run together as one batch, and how many by their sizes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from math import prod
from typing import Any

from PIL.Image import Image

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.signature import is_one_each
from octabox.engine.protocol import Call, Run
from octabox.types import AdapterChoice

#: Most members of a batch.
MAX_MEMBERS = 16

#: Members of the batches that prove a class.
PROBED = 2

#: Of how many sizes it is known, at a time, how many may run together.
MAX_SIZES = 64

#: Most pixels of a batch, over all frames of all its members.
MAX_PIXELS = 2**25

#: Pixels of an output whose size only the loaded model knows.
DEFAULT_PIXELS = 2**20


def text_parameters(entry: PipelineEntry) -> frozenset[str]:
    """Return the parameters of a pipeline that take a list with one text for each member of a batch."""
    return frozenset(each.name for each in entry.parameters if each.many and is_one_each(each))


def batch_key(call: Call, entry: PipelineEntry) -> str | None:
    """Return what the members of a batch have in common: everything but their texts, seeds and media; None for no batch.

    Args:
        call: The call; if it has several runs, they have this in common too.
        entry: The pipeline that it calls.
    """
    if call.deterministic or call.model.deterministic or call.model.batching == "never" or not entry.batches:
        return None
    configured = tuple(AdapterChoice(each.lora, each.weight, each.weights) for each in call.model.adapters)
    try:
        keys = {_run_key(run, entry, configured) for run in call.runs}
        scheduler = None if call.scheduler is None else asdict(call.scheduler)
        shared = [call.pipeline, call.runs_as, call.task, scheduler, asdict(call.output)]
        (run_key,) = keys
        return None if run_key is None else json.dumps([*shared, call.partial_images, call.prompt_syntax, run_key])
    except (TypeError, ValueError, RecursionError):
        # Runs that differ, values that are not plain, or mappings that are too deep.
        return None


def _run_key(run: Run, entry: PipelineEntry, configured: tuple[AdapterChoice, ...]) -> str | None:
    """Return what a run has in common with the other members of a batch; None if it may be in no batch.

    Args:
        run: The run.
        entry: The pipeline that it calls.
        configured: The LoRAs of a run that names none.
    """
    present = sorted(name for name in text_parameters(entry) if isinstance(run.params.get(name), str))
    media = {name: _describe_medium(each) for name, each in run.inputs.items()}
    is_single = any(each is not None for each in (run.variation, run.noise, run.latent_fill))
    if not present or is_single or None in media.values():
        return None
    # A parameter that is None by default may as well be missing.
    empty = {each.name for each in entry.parameters if not each.required and each.literal and each.default is None}
    values = {name: value for name, value in run.params.items() if not (value is None and name in empty)}
    others = {name: value for name, value in values.items() if name not in present}
    adapters = [asdict(each) for each in (configured if run.adapters is None else run.adapters)]
    return json.dumps([present, others, media, adapters, run.seamless], sort_keys=True)


def _describe_medium(media: tuple[Any, ...]) -> list[Any] | None:
    """Return the size and the mode of one image; None for other media, and for several images."""
    if len(media) != 1 or not isinstance(media[0], Image):
        return None
    return [*media[0].size, media[0].mode]


def size_key(run: Run, entry: PipelineEntry) -> str:
    """Return the class and the size of a run, by which the time of batches is learned."""
    parts = [entry.name]
    width, height = (run.params.get(name) for name in ("width", "height"))
    if isinstance(width, int) and isinstance(height, int):
        parts.append(f"{width}x{height}")
    parts += [f"{each.width}x{each.height} {name}" for name, media in run.inputs.items() if (each := _image(media))]
    frames = run.params.get(entry.frames.name) if entry.frames else None
    return " ".join([*parts, *([f"{frames} frames"] if isinstance(frames, int) else [])])


def pixels(run: Run, entry: PipelineEntry) -> int:
    """Return the pixels of a run's output, over all frames."""
    sides = [run.params.get(name) for name in ("width", "height")]
    area = prod(side for side in sides if isinstance(side, int)) if all(isinstance(each, int) for each in sides) else 0
    if not area:
        areas = [image.width * image.height for media in run.inputs.values() if (image := _image(media))]
        area = max(areas, default=DEFAULT_PIXELS)
    frames = run.params.get(entry.frames.name, entry.frames.default) if entry.frames else 1
    return area * frames if isinstance(frames, int) and frames > 0 else area


def size_limit(run: Run, entry: PipelineEntry) -> int:
    """Return how many members of the size of a run a batch may have."""
    return max(1, min(MAX_MEMBERS, MAX_PIXELS // pixels(run, entry)))


def batch_limit(call: Call, entry: PipelineEntry, learned: Mapping[str, int], ceilings: Mapping[str, int]) -> int:
    """Return how many runs of the size of a call may run together.

    Args:
        call: The call.
        entry: The pipeline that it calls.
        learned: How many are known to be faster together, by class and size.
        ceilings: The most that may, since larger batches have failed, by class and size.
    """
    run = call.runs[0]
    key, most = size_key(run, entry), size_limit(run, entry)
    return min(most, ceilings.get(key, most) if call.model.batching == "always" else learned.get(key, 1))


def _image(media: tuple[Any, ...]) -> Image | None:
    return next((each for each in media if isinstance(each, Image)), None)
