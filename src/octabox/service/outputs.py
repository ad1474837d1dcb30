"""Check that a pipeline can make the requested output format, and build its call parameters for it."""

from __future__ import annotations

import re
from collections.abc import Iterable

from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError
from octabox.media.formats import FORMATS, check_output_format
from octabox.types import Artifact, Kind, OutputFormat

#: The call parameter for the type of the output.
OUTPUT_TYPE = "output_type"

#: Its values for latents, and for images, which are also the frames of a video.
LATENT, IMAGES = "latent", "pil"

#: Its values for arrays, and for meshes in place of rendered views.
NUMBERS, MESH = "np", "mesh"


def output_arguments(output: OutputFormat, entry: PipelineEntry) -> dict[str, str]:
    """Return the call parameters for an output format.

    Raises:
        InvalidParameterError: The pipeline cannot make this format.
    """
    kinds = output_kinds(entry)
    parameter = entry.parameter(OUTPUT_TYPE)
    if output.latents:
        if parameter is None:
            raise InvalidParameterError(f"{entry.name} does not hand over latents.", parameter="output_format")
        return {OUTPUT_TYPE: LATENT}
    default = {OUTPUT_TYPE: IMAGES} if parameter is not None and parameter.default == LATENT else {}
    problem: InvalidParameterError | None = None
    for kind in kinds:
        try:
            check_output_format(output, kind)
        except InvalidParameterError as error:
            problem = problem or error
        else:
            return default | _arguments(kind, kinds[0], entry)
    assert problem is not None  # noqa: S101 (every pipeline makes something)
    if not problem.choices:
        # The format is valid, but its quality or frame rate is not.
        raise problem
    known = dict.fromkeys(name for kind in kinds for name, each in FORMATS.items() if kind in each.kinds)
    problem.choices = tuple(known)
    problem.hint = f"Use one of {', '.join(known)}."
    raise problem


def first_output(artifacts: Iterable[Artifact], kind: Kind) -> tuple[Artifact | None, tuple[str, ...]]:
    """Return the first output of a media type, if any, and a warning if a response with one output leaves others out.

    Args:
        artifacts: The outputs.
        kind: The media type.
    """
    outputs = [each for each in artifacts if each.kind == kind]
    warnings = (f"The response has the first of {len(outputs)} outputs.",) if len(outputs) > 1 else ()
    return next(iter(outputs), None), warnings


def output_kinds(entry: PipelineEntry) -> tuple[Kind, ...]:
    """Return the media types that a pipeline can make, the primary one first; arrays are always possible."""
    kinds: list[Kind] = [entry.output_kind or "array", *(field.kind for field in entry.outputs if field.kind)]
    parameter = entry.parameter(OUTPUT_TYPE)
    if parameter is not None and re.search(rf"\b{MESH}\b", parameter.description):
        kinds.append("mesh")
    # Maps such as depth are arrays that are encoded as images.
    kinds += ["image", "array"] if kinds[0] == "array" else ["array"]
    return tuple(dict.fromkeys(kinds))


def _arguments(kind: Kind, primary: Kind, entry: PipelineEntry) -> dict[str, str]:
    """Return the arguments for a media type that is not the primary one."""
    if entry.parameter(OUTPUT_TYPE) is None or kind == primary:
        return {}
    return {"mesh": {OUTPUT_TYPE: MESH}, "array": {OUTPUT_TYPE: NUMBERS}}.get(kind, {})
