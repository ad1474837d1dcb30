"""The calls of a cascade, and what passes from one to the next."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
from PIL import Image

from octabox.engine.protocol import Call, Medium, Run
from octabox.errors import GenerationError, InvalidRequestError, OctaboxError
from octabox.media import arrays
from octabox.media.video import Video
from octabox.service.cascades.links import StageLink
from octabox.service.workflows.parts import StagePart
from octabox.types import Artifact, Generation

#: Metadata of an output that concern its file, not the stage that made it.
OF_THE_FILE = frozenset({"arrays", "size", "fps", "num_frames"})


@dataclass(frozen=True)
class StageCall:
    """The call of a stage, without what it takes from the stages before it.

    Args:
        call: The call, with one run for each output of the cascade.
        link: What it takes; None for the first stage.
    """

    call: Call
    link: StageLink | None = None


@dataclass(frozen=True)
class CascadeCall(Call):
    """The call of a cascade; its own fields are those of its first stage.

    Args:
        cascade: Name of the cascade.
        stages: The calls of all stages.
        requested: The settings of the request for the stages after the first, for the metadata.
        origins: The runs of the first stage when the cascade was planned, by which those of the others are found.
    """

    cascade: str = ""
    stages: tuple[StageCall, ...] = ()
    requested: tuple[Mapping[str, Any] | None, ...] = ()
    origins: tuple[Run, ...] = ()

    def positions(self) -> list[int]:
        """Return the positions of its runs in the calls of the stages."""
        return [next(index for index, each in enumerate(self.origins) if each is run) for run in self.runs]


@dataclass
class Pool:
    """What the stages so far have made for one output of the cascade.

    Args:
        media: The images of the last stage.
        arrays: Arrays by name, of all stages.
        metadata: Metadata of each stage.
    """

    media: tuple[Image.Image, ...] = ()
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    metadata: tuple[Mapping[str, Any], ...] = ()

    def add(self, artifacts: Sequence[Artifact], seconds: float) -> None:
        """Add the outputs of a stage."""
        self.media = tuple(_image(each) for each in artifacts if each.kind == "image")
        for each in artifacts:
            if each.kind == "array":
                self.arrays |= _arrays(each)
        kept = {name: value for name, value in artifacts[0].metadata.items() if name not in OF_THE_FILE}
        self.metadata = (*self.metadata, {**kept, "seconds": round(seconds, 3)})

    def inputs(self, link: StageLink) -> dict[str, tuple[Medium, ...]]:
        """Return the inputs of a stage by parameter.

        Raises:
            GenerationError: The stages before have not made what it needs.
        """
        inputs: dict[str, tuple[Medium, ...]] = {
            name: (self.arrays[name],) for name in link.arrays if name in self.arrays
        }
        if link.media and link.form in ("images", "frames") and self.media:
            inputs[link.media] = self.media if link.form == "images" else (Video(self.media, is_timed=False),)
        elif link.media and link.output in self.arrays:
            inputs[link.media] = (self.arrays[link.output],)
        parameters = [each for name in link.names if (each := link.entry.parameter(name)) is not None]
        missing = [each.name for each in parameters if each.name not in inputs and each.required]
        if missing or not inputs:
            raise GenerationError(f"The stage before made nothing for '{(missing or list(link.names))[0]}'.")
        return inputs


def stage_call(call: CascadeCall, index: int, pools: Sequence[Pool]) -> Call:
    """Return the call of a stage with the outputs of the stages before it, for the runs of a cascade's call."""
    stage, last = call.stages[index], index == len(call.stages) - 1
    workflow = {"workflow": {"stages": list(call.requested)}} if any(call.requested) else {}
    runs = [stage.call.runs[position] for position in call.positions()]
    if stage.link is not None:
        for number, pool in enumerate(pools):
            first = {**pool.metadata[0], **workflow, "cascade": call.cascade}
            earlier = (first, *pool.metadata[1:]) if last else ()
            inputs = {**runs[number].inputs, **pool.inputs(stage.link)}
            runs[number] = replace(runs[number], inputs=inputs, earlier=earlier)
    suffix = f"-stage-{index + 1}" if index else ""
    return replace(stage.call, id=f"{call.id}{suffix}", runs=tuple(runs), continues=call.continues or index > 0)


def add_outputs(pools: Sequence[Pool], generation: Generation) -> None:
    """Add the outputs of a stage to the pools of its runs."""
    per_run, rest = divmod(len(generation.artifacts), len(pools))
    if rest or not per_run:
        message = f"{generation.pipeline} made {len(generation.artifacts)} outputs in {len(pools)} runs."
        raise GenerationError(message, model=generation.model)
    for index, pool in enumerate(pools):
        artifacts = generation.artifacts[index * per_run : (index + 1) * per_run]
        pool.add(artifacts, generation.timings.get("run", 0.0) / len(pools))


def cascade_call(call: Call, cascade: str, stages: Sequence[StageCall], parts: Sequence[StagePart]) -> CascadeCall:
    """Return the call of a cascade.

    Args:
        call: The call of its first stage.
        cascade: Its name.
        stages: The calls of all stages.
        parts: The settings of the request for each stage.
    """
    last = stages[-1].call
    own = {each.name: getattr(call, each.name) for each in fields(Call)} | {"output": last.output}
    # Those of the first stage are in its call, whose metadata are those of the cascade.
    requested = (None, *(_described(part, stage.link) for part, stage in zip(parts[1:], stages[1:], strict=True)))
    return CascadeCall(**own, cascade=cascade, stages=tuple(stages), requested=requested, origins=call.runs)


def _described(part: StagePart, link: StageLink | None) -> dict[str, Any] | None:
    """Return the settings of a request for a stage without files; None for no settings."""
    params = [] if link is None else link.entry.parameters
    files = {each.name for each in params if each.is_file or each.fields}
    kept = {name: value for name, value in part.params.items() if name not in files}
    described = {"scheduler": part.scheduler, "params": kept}
    return {name: each for name, each in described.items() if each} or None


@contextmanager
def naming_stage(cascade: str, number: int, part: StagePart | None = None) -> Iterator[None]:
    """Add the number of the stage to the errors that are raised within the context.

    Args:
        cascade: Name of the cascade.
        number: Number of the stage, from 1.
        part: The settings of the request for the stage, which errors name as the request does.
    """
    try:
        yield
    except OctaboxError as error:
        for each in error.problems if isinstance(error, InvalidRequestError) else (error,):
            each.message = f"Stage {number} of '{cascade}': {each.message}"
            each.args = (each.message, *each.args[1:])
            each.parameter = _requested_name(each.parameter, number, part)
        if isinstance(error, InvalidRequestError):
            error.restate()
        raise


def _requested_name(parameter: str | None, number: int, part: StagePart | None) -> str | None:
    """Return the name of a parameter of a stage in the request; one that the request does not set keeps its own."""
    setting = f"workflow.stages.{number - 1}"
    if part is not None and parameter in part.params:
        return f"{setting}.params.{parameter}"
    return f"{setting}.{parameter}" if part is not None and parameter == "scheduler" and part.scheduler else parameter


def _image(artifact: Artifact) -> Image.Image:
    with Image.open(io.BytesIO(artifact.content)) as image:
        opened: Image.Image = image.copy()
        return opened


def _arrays(artifact: Artifact) -> dict[str, np.ndarray]:
    """Return the arrays of a file by name."""
    loaded = np.load(io.BytesIO(artifact.content), allow_pickle=False)
    return {artifact.name: loaded} if artifact.content.startswith(arrays.MAGIC) else dict(loaded.items())
