"""A generation as server-sent events, in OpenAI's words."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from octabox.errors import GenerationCancelledError, OctaboxError
from octabox.frontends import errors
from octabox.frontends.openai.answers import as_base64, format_of, size_of, usage
from octabox.frontends.openai.disconnect import unless_gone
from octabox.frontends.openai.translate import Wanted
from octabox.types import Artifact, Event, Generation, Progress

logger = logging.getLogger("octabox.http")


class EventStream(StreamingResponse):
    """Sends events until they end or the client goes away."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[str, None]) -> None:
        super().__init__(events, headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the stream; closing the events cancels what makes them."""
        try:
            await unless_gone(receive, self.stream_response(send))
        except (GenerationCancelledError, OSError):
            logger.info("%s: the client went away", scope["path"])
        finally:
            await self._events.aclose()


async def to_events(
    first: Event, rest: AsyncGenerator[Event, None], wanted: Wanted, kind: str
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
        with wanted.in_clients_words():
            async for event in _chained(first, rest):
                if isinstance(event, Generation):
                    for artifact in event.artifacts:
                        yield _event(f"{kind}.completed", await _completed(event, artifact, wanted))
                elif isinstance(event, Progress) and event.preview is not None:
                    told = {"partial_image_index": previews[event.output], "output_index": event.output}
                    previews[event.output] += 1
                    yield _event(f"{kind}.partial_image", {**await _picture(event.preview, wanted), **told})
    except OctaboxError as error:
        yield _event("error", errors.body(error))
    except Exception:
        logger.exception("A stream broke")
        message = "Something went wrong inside the server; its log says what."
        yield _event("error", errors.plain_body(message, "server_error", "internal_error"))
    finally:
        await rest.aclose()


async def _chained(first: Event, rest: AsyncIterator[Event]) -> AsyncIterator[Event]:
    yield first
    async for event in rest:
        yield event


async def _completed(generation: Generation, artifact: Artifact, wanted: Wanted) -> dict[str, Any]:
    """Return what is told of a finished artifact."""
    return {
        **await _picture(artifact, wanted),
        "usage": usage(),
        "seed": artifact.seed,
        "model": generation.model,
        "warnings": [*wanted.warnings, *generation.warnings],
    }


async def _picture(artifact: Artifact, wanted: Wanted) -> dict[str, Any]:
    """Return what is told of every picture, finished or not."""
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
    """Return an event as it is sent; every event names its type inside too, except errors, whose shape is another."""
    told = data if name == "error" else {"type": name, **data}
    return f"event: {name}\ndata: {json.dumps(told, default=str)}\n\n"
