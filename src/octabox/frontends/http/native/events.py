"""A generation as server-sent events: progress, each output, and the end."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from octabox.frontends.http.errors import rename_error_params
from octabox.frontends.http.links import as_data_uri
from octabox.frontends.http.native.responses import addresses, output_to_json, remembered, told_progress
from octabox.frontends.http.native.translate import SPELLED
from octabox.frontends.http.sse import chained, event
from octabox.service.jobs import Job
from octabox.types import Event, Generation


async def to_events(
    job: Job, first: Event, rest: AsyncGenerator[Event, None], base: str, warnings: tuple[str, ...]
) -> AsyncGenerator[str, None]:
    """Yield a generation as server-sent events.

    Args:
        job: The request.
        first: Its first event, which has been waited for.
        rest: The others.
        base: What links begin with.
        warnings: What has no effect.
    """
    try:
        with rename_error_params(SPELLED):
            async for each in chained(first, rest):
                if isinstance(each, Generation):
                    places = addresses(job, len(each.artifacts), base)
                    for index, (artifact, place) in enumerate(zip(each.artifacts, places, strict=True)):
                        yield event("output", {"id": job.id, "index": index, **await output_to_json(artifact, place)})
                    yield event("done", remembered(job, each, base, warnings))
                else:
                    told = {"id": job.id, **told_progress(each)}
                    if each.preview is not None:
                        told["preview"] = await as_data_uri(each.preview)
                    yield event("progress", told)
    finally:
        await rest.aclose()
