"""Translate requests of the native API to generation requests."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from octabox.frontends.http.native.generations.schema import NativeRequest
from octabox.service.jobs import Submission
from octabox.service.planning import parse_seed
from octabox.types import GenerationRequest, OutputFormat, Source

#: The client's names of parameters.
CLIENT_NAMES = {"output_format": "output.format", "output_compression": "output.quality"}


@dataclass(frozen=True)
class ParsedRequest:
    """A generation request, and the format of its response.

    Args:
        request: The request.
        as_links: Whether the response has links to the outputs instead of their content.
        warnings: Fields without effect.
    """

    request: GenerationRequest
    as_links: bool
    warnings: tuple[str, ...] = ()


def to_request(body: NativeRequest, inputs: Mapping[str, tuple[Source, ...]]) -> ParsedRequest:
    """Return the generation request for a body.

    Args:
        body: The body.
        inputs: Media that were sent as files, by call parameter.

    Raises:
        RequestError: The scheduler object has no name.
    """
    request = GenerationRequest(
        model=body.model,
        task=body.task,
        params=body.params,
        inputs=dict(inputs),
        seed=parse_seed(body.seed),
        num_outputs=body.num_outputs,
        output=OutputFormat(body.output.format, body.output.quality, body.output.fps),
        # The events of a background job may have previews too.
        partial_images=body.partial_images if body.stream or body.background else 0,
        id=body.id or uuid.uuid4().hex,
    )
    return ParsedRequest(body.control_from_aliases(request), body.output.response == "url", _warnings(body))


def to_submission(body: NativeRequest, inputs: Mapping[str, tuple[Source, ...]]) -> Submission:
    """Return the background job for a body; its arguments and errors are those of `to_request`."""
    body = body.model_copy(update={"background": True})
    parsed = to_request(body, inputs)
    note = {"warnings": list(parsed.warnings)}
    return Submission(parsed.request, note=note, priority=body.priority, webhook=body.webhook)


def _warnings(body: NativeRequest) -> tuple[str, ...]:
    """Return a warning for each field without effect."""
    has_no_effect = {
        "'partial_images' has no effect without 'stream'.": body.partial_images
        and not (body.stream or body.background),
        "'stream' has no effect on a background job; follow its events.": body.stream and body.background,
        "'output.response' has no effect on a background job, whose outputs are links.": body.background
        and body.output.response != "url",
        "'priority' has no effect without 'background'.": body.priority and not body.background,
        "'webhook' has no effect without 'background'.": body.webhook and not body.background,
    }
    return tuple(warning for warning, applies in has_no_effect.items() if applies)
