"""Build a response body from a generation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from octabox.frontends.http.responses import as_base64, link
from octabox.frontends.http.results import Results
from octabox.types import Generation


async def to_response(
    generation: Generation, response_format: str, results: Results, base: str, warnings: Iterable[str]
) -> dict[str, Any]:
    """Return the body of a response.

    Args:
        generation: The result.
        response_format: ``url`` or ``b64_json``.
        results: Stores the files of URLs.
        base: Base URL of the links, without a trailing slash.
        warnings: Warnings about the request and the result.
    """
    data = []
    for index, artifact in enumerate(generation.artifacts):
        if response_format == "b64_json":
            item: dict[str, Any] = {"b64_json": await as_base64(artifact)}
        else:
            item = {"url": link(base, await asyncio.to_thread(results.keep, artifact))}
        data.append({"index": index, **item, "seed": artifact.seed})
    return {
        "created": int(time.time()),
        "id": generation.id,
        "data": data,
        "model": generation.model,
        "pipeline": generation.pipeline,
        "task": generation.task,
        "warnings": list(warnings),
        "timings": dict(generation.timings),
        "usage": dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 0),
    }
