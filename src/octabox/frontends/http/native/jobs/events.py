"""Server-sent events of a background job."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from octabox.frontends.http.context import AppContext
from octabox.frontends.http.native.generations.responses import job_to_json, progress_to_json
from octabox.frontends.http.responses import as_data_uri
from octabox.frontends.http.sse import encode_event
from octabox.service.jobs.queue.event_log import JobEvent


async def to_events(
    ctx: AppContext, job_id: str, events: AsyncGenerator[JobEvent, None], base: str
) -> AsyncGenerator[str, None]:
    """Yield the encoded events of a job: its status whenever that changes, and its progress.

    Args:
        ctx: Collaborators of the routes.
        job_id: Id of the job.
        events: Its events.
        base: Base URL of the links.
    """
    async for event in events:
        if event.progress is None:
            job = await ctx.queue.find(job_id)
            yield encode_event("status", job_to_json(job, base), event.id)
        else:
            progress = {"id": job_id, **progress_to_json(event.progress)}
            if event.progress.preview is not None:
                progress["preview"] = await as_data_uri(event.progress.preview)
            yield encode_event("progress", progress, event.id)


def parse_event_id(text: str | None) -> int | None:
    """Return the id of the last event that a client has received; None if it has received none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else None  # noqa: PLR2004 (64 bits)
