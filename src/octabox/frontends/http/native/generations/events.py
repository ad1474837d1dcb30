"""Server-sent events of the native API: progress, each output, and the end."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from octabox.frontends.http.native.generations.responses import (
    generation_to_json,
    output_to_json,
    output_urls,
    progress_to_json,
)
from octabox.frontends.http.native.generations.translate import CLIENT_NAMES
from octabox.frontends.http.responses import as_data_uri
from octabox.frontends.http.sse import StartedEvents, encode_event
from octabox.frontends.naming.renaming import rename_error_params
from octabox.service.jobs import Job
from octabox.types import Event, Generation


async def to_events(
    job: Job, events: StartedEvents[Event], base: str, warnings: tuple[str, ...]
) -> AsyncGenerator[str, None]:
    """Yield the encoded events of a generation.

    Args:
        job: The job.
        events: Its events.
        base: Base URL of the links.
        warnings: Fields without effect.
    """
    try:
        with rename_error_params(CLIENT_NAMES):
            async for event in events:
                if isinstance(event, Generation):
                    urls = output_urls(job, len(event.artifacts), base)
                    for index, (artifact, url) in enumerate(zip(event.artifacts, urls, strict=True)):
                        data = {"id": job.id, "index": index, **await output_to_json(artifact, url)}
                        yield encode_event("output", data)
                    yield encode_event("done", generation_to_json(job, event, base, warnings))
                else:
                    progress = {"id": job.id, **progress_to_json(event)}
                    if event.preview is not None:
                        progress["preview"] = await as_data_uri(event.preview)
                    yield encode_event("progress", progress)
    finally:
        await events.aclose()
