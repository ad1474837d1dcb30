"""A generation as server-sent events, in OpenAI's words."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

from octabox.frontends.http.links import as_base64
from octabox.frontends.http.openai.responses import format_of, size_of, usage
from octabox.frontends.http.openai.translate import ParsedRequest
from octabox.frontends.http.sse import chained, event
from octabox.types import Artifact, Event, Generation, Progress


async def to_events(
    first: Event, rest: AsyncGenerator[Event, None], wanted: ParsedRequest, kind: str
) -> AsyncGenerator[str, None]:
    """Yield a generation as server-sent events.

    Args:
        first: Its first event, which has been waited for.
        rest: The others.
        wanted: What was asked for.
        kind: What the names of the events begin with: ``image_generation`` or ``image_edit``.
    """
    previews: Counter[int] = Counter()
    try:
        with wanted.rename_error_params():
            async for each in chained(first, rest):
                if isinstance(each, Generation):
                    for artifact in each.artifacts:
                        yield _event(f"{kind}.completed", await _completed(each, artifact, wanted))
                elif isinstance(each, Progress) and each.preview is not None:
                    told = {"partial_image_index": previews[each.output], "output_index": each.output}
                    previews[each.output] += 1
                    yield _event(f"{kind}.partial_image", {**await _image(each.preview, wanted), **told})
    finally:
        await rest.aclose()


async def _completed(generation: Generation, artifact: Artifact, wanted: ParsedRequest) -> dict[str, Any]:
    """Return what is told of a finished artifact."""
    return {
        **await _image(artifact, wanted),
        "usage": usage(),
        "seed": artifact.seed,
        "model": generation.model,
        "warnings": [*wanted.warnings, *generation.warnings],
    }


async def _image(artifact: Artifact, wanted: ParsedRequest) -> dict[str, Any]:
    """Return what is told of every image, finished or not."""
    wishes = wanted.request.wishes
    asked = f"{wishes['width']}x{wishes['height']}" if "width" in wishes else "auto"
    return {
        "b64_json": await as_base64(artifact),
        "created_at": int(time.time()),
        "size": size_of(artifact) or asked,
        "quality": wanted.quality or "auto",
        "background": "auto",
        "output_format": format_of(artifact),
    }


def _event(name: str, data: dict[str, Any]) -> str:
    """Return an event as it is sent; it names its type inside too."""
    return event(name, {"type": name, **data})
