"""Make sure that a pipeline's outputs can be written as a request wants them, and tell the call so where it must know."""

from __future__ import annotations

import re

from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError
from octabox.media.formats import FORMATS, check_output_format
from octabox.types import Kind, OutputFormat

#: The call parameter that says in which form a result is handed over.
OUTPUT_TYPE = "output_type"

#: Its values for what only another pipeline can read, and for images, which are also the frames of a video.
LATENT, IMAGES = "latent", "pil"

#: Its values for raw numbers, and for a solid's surface in place of views of it.
NUMBERS, MESH = "np", "mesh"


def output_arguments(output: OutputFormat, entry: PipelineEntry) -> dict[str, str]:
    """Return the call parameters that make a pipeline hand its result over as the format needs it.

    Raises:
        InvalidParameterError: No output of the pipeline can be written in this format.
    """
    kinds = output_kinds(entry)
    parameter = entry.parameter(OUTPUT_TYPE)
    if output.latents:
        if parameter is None:
            raise InvalidParameterError(f"{entry.name} does not hand over latents.", parameter="output_format")
        return {OUTPUT_TYPE: LATENT}
    usual = {OUTPUT_TYPE: IMAGES} if parameter is not None and parameter.default == LATENT else {}
    problem: InvalidParameterError | None = None
    for kind in kinds:
        try:
            check_output_format(output, kind)
        except InvalidParameterError as error:
            problem = problem or error
        else:
            return usual | _arguments(kind, kinds[0], entry)
    assert problem is not None  # noqa: S101 (every pipeline makes something)
    if not problem.choices:
        # The format is right, and a number beside it out of range.
        raise problem
    known = dict.fromkeys(name for kind in kinds for name, each in FORMATS.items() if kind in each.kinds)
    problem.choices = tuple(known)
    problem.hint = f"Ask for one of {', '.join(known)}."
    raise problem


def output_kinds(entry: PipelineEntry) -> tuple[Kind, ...]:
    """Return the kinds of what a pipeline can give, its chief one first; the numbers themselves can always be had."""
    kinds: list[Kind] = [entry.output_kind or "array", *(field.kind for field in entry.outputs if field.kind)]
    parameter = entry.parameter(OUTPUT_TYPE)
    if parameter is not None and re.search(rf"\b{MESH}\b", parameter.description):
        kinds.append("mesh")
    # Maps such as depth are numbers that are shown as images.
    kinds += ["image", "array"] if kinds[0] == "array" else ["array"]
    return tuple(dict.fromkeys(kinds))


def _arguments(kind: Kind, chief: Kind, entry: PipelineEntry) -> dict[str, str]:
    """Return the arguments for a kind that is not the chief one."""
    if entry.parameter(OUTPUT_TYPE) is None or kind == chief:
        return {}
    return {"mesh": {OUTPUT_TYPE: MESH}, "array": {OUTPUT_TYPE: NUMBERS}}.get(kind, {})
