"""Routes for the outputs of background jobs: give them stars and tags, and delete them, one by one or many together."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from octabox.frontends.http.bodies import body_description, read_json
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.native.generations.responses import job_to_json
from octabox.frontends.http.native.jobs.schema import OutputChange, OutputsChange, OutputSelection, parse_body
from octabox.frontends.http.responses import base_url
from octabox.service.jobs.output_changes import OutputChanges, OutputId, delete_outputs, mark_outputs

#: Example of a body, for errors.
EXAMPLE = '{"outputs": [{"id": "...", "index": 0}]}'


def add_output_routes(router: APIRouter, ctx: AppContext) -> None:
    """Add the routes."""

    @router.patch(
        "/{job_id}/outputs/{index}", openapi_extra=body_description(OutputChange.model_json_schema, "application/json")
    )
    async def mark(job_id: str, index: int, request: Request) -> Response:
        """Give an output of a completed job a star or tags, or remove them."""
        change = parse_body(OutputChange, await read_json(request, '{"star": true}')).change()
        await ctx.queue.controls.mark(await ctx.queue.find(job_id), index, change)
        return SafeJson(job_to_json(await ctx.queue.find(job_id), base_url(ctx, request)))

    @router.post("/outputs/mark", openapi_extra=body_description(OutputsChange.schema_of_body, "application/json"))
    async def mark_many(request: Request) -> Response:
        """Give outputs of any completed jobs a star or tags, or remove them; those that do not exist are listed."""
        body = parse_body(OutputsChange, await read_json(request, EXAMPLE))
        return SafeJson(_changes_to_json(await mark_outputs(ctx.queue, body.ids(), body.change())))

    @router.post("/outputs/delete", openapi_extra=body_description(OutputSelection.schema_of_body, "application/json"))
    async def delete_many(request: Request) -> Response:
        """Delete outputs of any completed jobs, and the jobs that have no other; those that do not exist are listed."""
        body = parse_body(OutputSelection, await read_json(request, EXAMPLE))
        return SafeJson(_changes_to_json(await delete_outputs(ctx.queue, body.ids())))


def _changes_to_json(changes: OutputChanges) -> dict[str, Any]:
    """Return what became of outputs."""
    data = [{**_reference(each), **asdict(marks)} for each, marks in changes.changed]
    return {"object": "list", "data": data, "missing": [_reference(each) for each in changes.missing]}


def _reference(output: OutputId) -> dict[str, Any]:
    """Return what names an output."""
    return {"id": output.job, "index": output.index}
