"""How long a video is to be and how fast it plays, and what a reference for it is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from octabox.errors import InvalidParameterError
from octabox.service.selection.inputs import FRAMES, RATES
from octabox.service.selection.models import PipelineMatch
from octabox.types import Kind, Source

#: Frames a second where neither the client nor the pipeline says.
RATE = 16.0

#: Frames that video models pack into one, behind the first: they make 4k + 1.
PACKED = 4


def kind_of(reference: Source) -> Kind:
    """Return whether a reference is a video or an image, by its first bytes or its data URI; a link is an image."""
    if isinstance(reference, str):
        return "video" if reference.lstrip()[:11].lower() == "data:video/" else "image"
    # MP4 and its kin name their type behind a length; Matroska and WebM begin with EBML's mark; AVI is a RIFF file.
    is_video = reference[4:8] == b"ftyp" or reference[:4] == b"\x1aE\xdf\xa3" or reference[8:12] == b"AVI "
    return "video" if is_video and reference[8:12] not in (b"avif", b"heic") else "image"


def frame_rate(fps: float | None, maker: PipelineMatch, params: dict[str, Any]) -> float:
    """Return the frames a second; where the pipeline has a parameter of it, it is told too.

    Args:
        fps: What the client asks for.
        maker: The pipeline that makes the video.
        params: Its call parameters so far; the rate is put among them.

    Raises:
        InvalidParameterError: They say the rate already.
    """
    name = maker.number_parameter(*RATES)
    if name is not None and fps is not None:
        if name in params:
            raise InvalidParameterError(f"'fps' and '{name}' say the same.", hint="Give one of them.", parameter=name)
        params[name] = int(fps) if float(fps).is_integer() else fps
    given = fps if name is None else params.get(name, maker.defaults.get(name))
    is_number = isinstance(given, (int, float)) and not isinstance(given, bool) and math.isfinite(given) and given > 0
    return float(given) if is_number and given is not None else RATE


def frames_of(
    seconds: float, maker: PipelineMatch, rate: float, params: Mapping[str, Any], warnings: list[str]
) -> dict[str, int]:
    """Return the wish that a length means; where it can have no effect, that is put among the warnings.

    Raises:
        InvalidParameterError: The call parameters say the length already.
    """
    name = maker.number_parameter(*FRAMES)
    if name is None:
        warnings.append(f"'seconds' has no effect: {maker.entry.name} makes videos of one length.")
        return {}
    if name in params:
        raise InvalidParameterError(f"'seconds' and '{name}' say the same.", hint="Give one of them.", parameter=name)
    count = max(1, round(seconds * rate))
    usual = maker.defaults.get(name)
    packs = not isinstance(usual, int) or usual % PACKED == 1
    return {name: count - count % PACKED + 1 if packs else count}
