"""Build a response body from a generation."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from octabox.frontends.http.openai.images.translate import ParsedRequest
from octabox.frontends.http.openai.responses import size_of
from octabox.frontends.http.responses import as_base64, link
from octabox.frontends.http.results import Results
from octabox.types import Artifact, Generation


def usage() -> dict[str, Any]:
    """Return OpenAI's token counts, which are all 0 here."""
    return {
        "input_tokens": 0,
        "output_tokens": 0,
        "total_tokens": 0,
        "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
    }


def format_of(artifact: Artifact) -> str:
    """Return the name of an artifact's format."""
    return artifact.media_type.rpartition("/")[2]


async def to_response(
    generation: Generation, parsed: ParsedRequest, response_format: str, results: Results, base: str
) -> dict[str, Any]:
    """Return the body of a response.

    Args:
        generation: The result.
        parsed: The request.
        response_format: ``url`` or ``b64_json``.
        results: Stores the files of URLs.
        base: Base URL of the links, without a trailing slash.
    """
    data = []
    for artifact in generation.artifacts:
        if response_format == "b64_json":
            item: dict[str, Any] = {"b64_json": await as_base64(artifact)}
        else:
            item = {"url": link(base, await asyncio.to_thread(results.keep, artifact))}
        data.append({**item, "seed": artifact.seed})
    first = generation.artifacts[0] if generation.artifacts else None
    optional = {
        "size": size_of(first) if first else None,
        "quality": parsed.quality,
        "output_format": format_of(first) if first else None,
    }
    return {
        "created": int(time.time()),
        "data": data,
        "model": generation.model,
        "pipeline": generation.pipeline,
        "task": generation.task,
        "warnings": parsed.warnings_of(generation),
        "timings": dict(generation.timings),
        **{name: value for name, value in optional.items() if value is not None},
        "usage": usage(),
    }
