"""Routes that start, follow and cancel downloads."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from octabox.errors import InvalidParameterError
from octabox.frontends.http.bodies import body_description, check_fields, read_json
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.hub.responses import pull_to_json
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.sse import EventStream, encode_event
from octabox.hub.pulls.addresses import request_of
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.pulls.urls import UrlRequest
from octabox.service.hub.pulls import PullJob

#: Example of a body, for hints.
EXAMPLE = '{"model": "owner/name"}'


class PullBody(BaseModel):
    """The body of a request for a download."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(
        default=None, description="Hub id, or the address of its page; or `url`.", min_length=1, max_length=2000
    )
    url: str | None = Field(default=None, description="https URL of a file.", min_length=1, max_length=2000)
    sha256: str | None = Field(default=None, description="SHA-256 of the file at `url`.", max_length=64)
    revision: str | None = Field(default=None, description="Branch, tag or commit.", max_length=200)
    file: str | None = Field(default=None, description="The one file to download.", max_length=500)
    variant: str | None = Field(default=None, description="Variant of the weights, such as fp16.", max_length=50)
    name: str | None = Field(default=None, description="Name to use the model by.", max_length=200)
    stream: bool = Field(default=False, description="Whether to respond with events until the end.")

    def request(self) -> PullRequest | UrlRequest:
        """Return what is to be downloaded.

        Raises:
            InvalidParameterError: It has both a Hub id and a URL or neither, or fields of the other.
        """
        of_hub = ("model", "revision", "file", "variant")
        mixed = [name for name in (of_hub if self.url else ("sha256",)) if getattr(self, name) is not None]
        if mixed:
            message = f"`{mixed[0]}` has no effect with a {'URL' if self.url else 'Hub id'}."
            raise InvalidParameterError(message, hint="Leave it out.", parameter=mixed[0])
        if self.url is not None:
            return UrlRequest(self.url, self.sha256)
        if self.model is None:
            hint = "Set `model` to a Hub id, or `url` and `sha256`."
            raise InvalidParameterError("The request does not state what to download.", hint=hint, parameter="model")
        return request_of(self.model, self.revision, self.file, self.variant)


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/pulls")

    @router.post("", openapi_extra=body_description(PullBody.model_json_schema, "application/json"))
    async def start(request: Request) -> Response:
        """Start a download, or return the running one of the same files; it goes on if the client disconnects."""
        body = check_fields(PullBody, await read_json(request, EXAMPLE))
        job = ctx.pulls.start(body.request(), body.name)
        return _stream(ctx, job) if body.stream else SafeJson(pull_to_json(job), 202)

    @router.get("")
    async def pulls() -> Response:
        """List the downloads of this server, the oldest first."""
        return SafeJson({"object": "list", "data": [pull_to_json(job) for job in ctx.pulls.list()]})

    @router.get("/{pull_id}")
    async def pull(pull_id: str, request: Request) -> Response:
        """Return the status of a download; as events, if the client accepts them."""
        job = ctx.pulls.find(pull_id)
        if "text/event-stream" in request.headers.get("accept", ""):
            return _stream(ctx, job)
        return SafeJson(pull_to_json(job))

    @router.delete("/{pull_id}")
    async def cancel(pull_id: str) -> Response:
        """Cancel a download. What was received is kept, so that the next one continues."""
        job = ctx.pulls.find(pull_id)
        await ctx.pulls.cancel(job)
        return SafeJson(pull_to_json(job))

    return router


def _stream(ctx: AppContext, job: PullJob) -> Response:
    """Return the changes of a download as events: ``progress``, and at the end ``done`` or ``error``."""
    changes = ctx.pulls.follow(job)
    return EventStream(_events(changes), changes)


async def _events(changes: AsyncGenerator[PullJob, None]) -> AsyncGenerator[str, None]:
    """Yield the encoded events of a download."""
    async with aclosing(changes):
        async for job in changes:
            name = "progress" if job.ended is None else "error" if job.error else "done"
            yield encode_event(name, pull_to_json(job))
