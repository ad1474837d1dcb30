"""Derive which outputs of the earlier stages of a cascade a stage takes, by the names and types that the classes declare."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from octabox.catalog.entries import Parameter, PipelineEntry
from octabox.catalog.tasks import derive_tasks
from octabox.prompts.names import is_prompt
from octabox.service.selection.inputs import input_parameter, source_parameter
from octabox.types import OutputFormat

#: Form in which a stage hands over its images: files without loss, tensors, latents, or the frames of a video.
Form = Literal["images", "pt", "latent", "frames"]

#: The output format of each form; without images, only arrays are handed over.
FORMATS: Mapping[Form | None, OutputFormat] = {
    None: OutputFormat("npz"),
    "pt": OutputFormat("npz"),
    "latent": OutputFormat("npz", latents=True),
    "images": OutputFormat("png"),
    "frames": OutputFormat("png"),
}

#: Prefix of a parameter for the input that the first stage has had.
ORIGINAL = "original_"

#: The number of a further prompt, such as that of `prompt_2`.
NUMBER = re.compile(r"_\d+$")


@dataclass(frozen=True)
class StageLink:
    """What a stage takes from the stages before it, and from the request.

    Args:
        entry: The class that runs the stage.
        arrays: Parameters that take an output of the same name.
        media: Parameter that takes the images or the video of the stage before; None if none does.
        form: Form in which the stage before returns them.
        output: The output of the stage before that they are.
        files: Files of the request by parameter: the parameter of the first stage that they are for.
        missing: Required parameters that nothing is for.
    """

    entry: PipelineEntry
    arrays: tuple[str, ...] = ()
    media: str | None = None
    form: Form | None = None
    output: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All parameters that take an output of an earlier stage."""
        return (*self.arrays, *((self.media,) if self.media else ()))

    def takes_prompt(self, name: str) -> bool:
        """Return whether the stage takes a prompt as text: it has the parameter, and no embedding of it is linked."""
        stem = NUMBER.sub("", name)
        is_encoded = any(array.startswith(f"{stem}_") for array in self.arrays)
        return is_prompt(name) and self.entry.parameter(name) is not None and not is_encoded


def link_stage(earlier: Sequence[PipelineEntry], entry: PipelineEntry, files: Collection[str]) -> StageLink:
    """Return what a class takes from the stages before it.

    Args:
        earlier: The classes of the earlier stages.
        entry: The class.
        files: Parameters of the first stage that the request has files for.
    """
    returned = {each.name for stage in earlier for each in stage.outputs if each.kind == "array"}
    arrays = tuple(each.name for each in entry.parameters if each.kind == "array" and each.name in returned)
    last, media = earlier[-1], _media_parameter(earlier[-1], entry)
    required = [each for each in entry.parameters if each.required and each.is_file]
    others = [each.name for each in required if each.name not in arrays and each is not media]
    known = {name: source for name in others if (source := _request_file(name, files))}
    return StageLink(
        entry,
        arrays,
        media.name if media else None,
        _form(last, entry, media) if media else None,
        next((each.name for each in last.outputs if each.kind == last.output_kind), "") if media else "",
        known,
        tuple(name for name in others if name not in known),
    )


def choose_link(
    earlier: Sequence[PipelineEntry], family: Sequence[PipelineEntry], files: Collection[str]
) -> StageLink | None:
    """Return the link of the class of a model's family that uses most of the files; None if none can be linked."""
    links = [link_stage(earlier, entry, files) for entry in family]
    complete = [each for each in links if each.names and not each.missing]
    return max(complete, key=lambda each: len(each.files), default=None)


def combine(first: PipelineEntry, last: PipelineEntry) -> PipelineEntry:
    """Return the entry of a cascade: the call of its first stage, with the outputs of its last."""
    entry = replace(first, outputs=last.outputs, output_kind=last.output_kind)
    return entry if first.output_kind == last.output_kind else replace(entry, tasks=derive_tasks(entry))


def _media_parameter(last: PipelineEntry, entry: PipelineEntry) -> Parameter | None:
    """Return the parameter for the images or the video that a class returns."""
    if last.output_kind == "image":
        return source_parameter(entry)
    return input_parameter(entry, "video") if last.output_kind == "video" else None


def _form(last: PipelineEntry, entry: PipelineEntry, parameter: Parameter) -> Form:
    """Return the most exact form in which a class returns images and the next one takes them.

    Classes of one module share their latent space, and the range of the values of their tensors.
    """
    if last.output_kind == "video":
        return "frames"
    if last.module.rpartition(".")[0] != entry.module.rpartition(".")[0]:
        return "images"
    if entry.takes_latents and "latent" in last.output_types:
        return "latent"
    return "pt" if "pt" in last.output_types and "Tensor" in parameter.annotation else "images"


def _request_file(name: str, files: Collection[str]) -> str | None:
    """Return the file of the request for a parameter: that of the same name, or the original of the first stage."""
    return next((each for each in (name, name.removeprefix(ORIGINAL)) if each in files), None)
