"""From a client's words to a generation request."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from octabox.frontends.http.native.schema import NativeRequest
from octabox.types import GenerationRequest, OutputFormat, Source

#: Our fields for what other rooms call otherwise in their errors.
SPELLED = {"output_format": "output.format", "output_compression": "output.quality"}


@dataclass(frozen=True)
class ParsedRequest:
    """What a client wants, and how it wants to be answered.

    Args:
        request: The wish.
        as_links: Whether outputs are answered as links; else as content.
        warnings: What has no effect.
    """

    request: GenerationRequest
    as_links: bool
    warnings: tuple[str, ...] = ()


def to_request(body: NativeRequest, inputs: Mapping[str, tuple[Source, ...]]) -> ParsedRequest:
    """Return what a client wants.

    Args:
        body: The fields of its request.
        inputs: Media that came as files, by call parameter.

    Raises:
        RequestError: The scheduler has no name.
    """
    request = GenerationRequest(
        model=body.model,
        task=body.task,
        params=body.params,
        inputs=dict(inputs),
        seed=None if body.seed == -1 else body.seed,
        num_outputs=body.num_outputs,
        output=OutputFormat(body.output.format, body.output.quality, body.output.fps),
        partial_images=body.partial_images if body.stream else 0,
        id=body.id or uuid.uuid4().hex,
    )
    vain = body.partial_images and not body.stream
    warnings = ("'partial_images' has no effect without 'stream'.",) if vain else ()
    return ParsedRequest(body.control_from_aliases(request), body.output.response == "url", warnings)
