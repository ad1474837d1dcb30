"""Server-sent events of OpenAI's images API."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

from octabox.frontends.http.openai.images.responses import format_of, usage
from octabox.frontends.http.openai.images.translate import ParsedRequest
from octabox.frontends.http.openai.responses import requested_size_of, size_of
from octabox.frontends.http.responses import as_base64
from octabox.frontends.http.sse import StartedEvents, encode_event
from octabox.types import Artifact, Event, Generation, Progress


async def to_events(events: StartedEvents[Event], parsed: ParsedRequest, prefix: str) -> AsyncGenerator[str, None]:
    """Yield the encoded events of a generation.

    Args:
        events: The events of the service.
        parsed: The request.
        prefix: Prefix of the events' names: ``image_generation`` or ``image_edit``.
    """
    previews: Counter[int] = Counter()
    try:
        with parsed.rename_error_params():
            async for event in events:
                if isinstance(event, Generation):
                    for artifact in event.artifacts:
                        yield _encode(f"{prefix}.completed", await _describe_completed(event, artifact, parsed))
                elif isinstance(event, Progress) and event.preview is not None:
                    indexes = {"partial_image_index": previews[event.output], "output_index": event.output}
                    previews[event.output] += 1
                    image = await _describe_image(event.preview, parsed)
                    yield _encode(f"{prefix}.partial_image", {**image, **indexes})
    finally:
        await events.aclose()


async def _describe_completed(generation: Generation, artifact: Artifact, parsed: ParsedRequest) -> dict[str, Any]:
    """Return the data of a finished image."""
    return {
        **await _describe_image(artifact, parsed),
        "usage": usage(),
        "seed": artifact.seed,
        "model": generation.model,
        "warnings": parsed.warnings_of(generation),
    }


async def _describe_image(artifact: Artifact, parsed: ParsedRequest) -> dict[str, Any]:
    """Return the data that finished images and previews have in common."""
    requested = requested_size_of({**parsed.request.optional_params, **parsed.request.params})
    return {
        "b64_json": await as_base64(artifact),
        "created_at": int(time.time()),
        "size": size_of(artifact) or requested or "auto",
        "quality": parsed.quality or "auto",
        "background": "auto",
        "output_format": format_of(artifact),
    }


def _encode(name: str, data: dict[str, Any]) -> str:
    """Return the text of an event, with its name also in the data."""
    return encode_event(name, {"type": name, **data})
