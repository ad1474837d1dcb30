"""From a generation to an answer in OpenAI's words."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from octabox.frontends.http.links import as_base64, link
from octabox.frontends.http.openai.translate import ParsedRequest
from octabox.frontends.http.results import Results
from octabox.types import Artifact, Generation


def usage() -> dict[str, Any]:
    """Return OpenAI's count of tokens; here nobody pays for any."""
    return {
        "input_tokens": 0,
        "output_tokens": 0,
        "total_tokens": 0,
        "input_tokens_details": {"text_tokens": 0, "image_tokens": 0},
    }


def size_of(artifact: Artifact) -> str | None:
    """Return an artifact's size as WIDTHxHEIGHT, where it is known."""
    size = artifact.metadata.get("size")
    return f"{size['width']}x{size['height']}" if size else None


def format_of(artifact: Artifact) -> str:
    """Return the name of the format that an artifact is written in."""
    return artifact.media_type.rpartition("/")[2]


async def to_answer(generation: Generation, wanted: ParsedRequest, results: Results, base_url: str) -> dict[str, Any]:
    """Return the body of an answer.

    Args:
        generation: What was made.
        wanted: What was asked for.
        results: Keeps the files that are answered as URLs.
        base_url: What those URLs begin with, without a slash at its end.
    """
    data = []
    for artifact in generation.artifacts:
        if wanted.response_format == "b64_json":
            item: dict[str, Any] = {"b64_json": await as_base64(artifact)}
        else:
            item = {"url": link(base_url, await asyncio.to_thread(results.keep, artifact))}
        data.append({**item, "seed": artifact.seed})
    first = generation.artifacts[0] if generation.artifacts else None
    facts = {
        "size": size_of(first) if first else None,
        "quality": wanted.quality,
        "output_format": format_of(first) if first else None,
    }
    return {
        "created": int(time.time()),
        "data": data,
        "model": generation.model,
        "pipeline": generation.pipeline,
        "task": generation.task,
        "warnings": [*wanted.warnings, *generation.warnings],
        "timings": dict(generation.timings),
        **{name: fact for name, fact in facts.items() if fact is not None},
        "usage": usage(),
    }
