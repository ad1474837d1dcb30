"""Route of OpenAI's speech API."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from fastapi.responses import Response

from octabox.errors import GenerationError
from octabox.frontends.http.bodies import body_description, check_fields, read_json
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.disconnect import cancel_on_disconnect
from octabox.frontends.http.openai.speech.schema import SpeechRequest
from octabox.frontends.http.openai.speech.translate import CLIENT_NAMES, match_pipeline, to_request
from octabox.frontends.http.responses import media_headers
from octabox.frontends.naming.renaming import rename_error_params, rename_warnings
from octabox.service.outputs import first_output

#: Example of a body, for hints.
EXAMPLE = '{"model": "...", "input": "..."}'


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/audio", tags=["audio"])

    @router.post("/speech", openapi_extra=body_description(SpeechRequest.model_json_schema, "application/json"))
    async def speech(request: Request) -> Response:
        """Generate audio from a prompt, and return the file."""
        body = check_fields(SpeechRequest, await read_json(request, EXAMPLE))
        models = await asyncio.to_thread(ctx.models.snapshot)
        match = await asyncio.to_thread(match_pipeline, models, body)
        generation_request, warnings = to_request(body, match)
        with rename_error_params(CLIENT_NAMES):
            work = ctx.generation.generate(generation_request, models)
            generation = await cancel_on_disconnect(request.receive, work)
        audio, left_out = first_output(generation.artifacts, "audio")
        if audio is None:
            raise GenerationError("The model generated no audio.", model=generation.model)
        renamed = rename_warnings([*warnings, *generation.warnings, *left_out], CLIENT_NAMES)
        headers = media_headers(audio, renamed)
        return Response(audio.content, media_type=audio.media_type, headers=headers)

    return router
