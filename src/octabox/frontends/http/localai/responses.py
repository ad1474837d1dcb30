"""From a generation to an answer in LocalAI's words."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from octabox.frontends.http.links import as_base64, link
from octabox.frontends.http.results import Results
from octabox.types import Generation


async def to_answer(
    generation: Generation, response_format: str, results: Results, base_url: str, warnings: Iterable[str] = ()
) -> dict[str, Any]:
    """Return the body of an answer.

    Args:
        generation: What was made.
        response_format: ``url`` or ``b64_json``.
        results: Keeps the files that are answered as URLs.
        base_url: What those URLs begin with, without a slash at its end.
        warnings: What had no effect before it was made.
    """
    data = []
    for index, artifact in enumerate(generation.artifacts):
        if response_format == "b64_json":
            item: dict[str, Any] = {"b64_json": await as_base64(artifact)}
        else:
            item = {"url": link(base_url, await asyncio.to_thread(results.keep, artifact))}
        data.append({"index": index, **item, "seed": artifact.seed})
    return {
        "created": int(time.time()),
        "id": generation.id,
        "data": data,
        "model": generation.model,
        "pipeline": generation.pipeline,
        "task": generation.task,
        "warnings": [*warnings, *generation.warnings],
        "timings": dict(generation.timings),
        "usage": dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"), 0),
    }
