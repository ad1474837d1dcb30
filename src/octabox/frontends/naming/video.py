"""Length, frame rate and reference of a video."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from octabox.errors import InvalidParameterError
from octabox.service.selection.inputs import FRAMES, RATES
from octabox.service.selection.models import PipelineMatch
from octabox.types import Kind, Source

#: Frames per second where neither the client nor the pipeline sets them, and the pipeline has no example.
DEFAULT_RATE = 16.0

#: Temporal compression of video autoencoders: they encode 4k + 1 frames.
TEMPORAL_COMPRESSION = 4


def reference_type(reference: Source) -> Kind:
    """Return whether a reference is a video or an image, by its first bytes or its data URI; a URL is an image."""
    if isinstance(reference, str):
        return "video" if reference.lstrip()[:11].lower() == "data:video/" else "image"
    # MP4 and related formats have an `ftyp` box; Matroska and WebM begin with the EBML magic number; AVI is a RIFF file.
    is_video = reference[4:8] == b"ftyp" or reference[:4] == b"\x1aE\xdf\xa3" or reference[8:12] == b"AVI "
    return "video" if is_video and reference[8:12] not in (b"avif", b"heic") else "image"


def frame_rate(fps: float | None, match: PipelineMatch, params: dict[str, Any]) -> float:
    """Return the frames per second of a video.

    Args:
        fps: The client's value.
        match: The pipeline that generates the video.
        params: Its call parameters. The rate is added, if the pipeline has a parameter for it.

    Raises:
        InvalidParameterError: The call parameters set the rate too.
    """
    name = match.number_parameter(*RATES)
    if name is not None and fps is not None:
        if name in params:
            message = f"'fps' and '{name}' set the same value."
            raise InvalidParameterError(message, hint="Send one of them.", parameter=name)
        params[name] = int(fps) if float(fps).is_integer() else fps
    rate = fps if name is None else params.get(name, match.defaults.get(name))
    is_number = isinstance(rate, (int, float)) and not isinstance(rate, bool) and math.isfinite(rate) and rate > 0
    return float(rate) if is_number and rate is not None else match.entry.frame_rate or DEFAULT_RATE


def frame_count(
    seconds: float, match: PipelineMatch, rate: float, params: Mapping[str, Any], warnings: list[str]
) -> dict[str, int]:
    """Return the call parameter for a video's length; add a warning where the pipeline has none.

    Raises:
        InvalidParameterError: The call parameters set the length too.
    """
    name = match.number_parameter(*FRAMES)
    if name is None:
        warnings.append(f"'seconds' has no effect: {match.entry.name} makes videos of a fixed length.")
        return {}
    if name in params:
        message = f"'seconds' and '{name}' set the same value."
        raise InvalidParameterError(message, hint="Send one of them.", parameter=name)
    count = max(1, round(seconds * rate))
    default = match.defaults.get(name)
    compressed = not isinstance(default, int) or default % TEMPORAL_COMPRESSION == 1
    return {name: count - count % TEMPORAL_COMPRESSION + 1 if compressed else count}
