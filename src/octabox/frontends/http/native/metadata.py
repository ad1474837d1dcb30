"""A route that returns the request in the generation metadata of a file."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response

from octabox.catalog.entries import PipelineEntry
from octabox.errors import MediaTypeError, OctaboxError
from octabox.frontends.http.bodies import body_description
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.middleware import SafeJson
from octabox.media.metadata.infotext import LAYER, LAYER_KEY
from octabox.security.json_files import parse_json
from octabox.service.metadata import skipped_layers
from octabox.service.protocols import Models

#: Content types of a file. Those that a browser sends from pages of other sites without asking are not among them.
ACCEPTED = ("application/octet-stream", "image/", "video/", "audio/")


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(tags=["generations"])
    file = body_description(lambda: {"type": "string", "format": "binary"}, ACCEPTED[0])

    @router.post("/metadata", openapi_extra=file)
    async def metadata(request: Request, model: str | None = None, task: str | None = None) -> Response:
        """Return the generation metadata of a file, of Octabox or of the AUTOMATIC1111 web UI, as fields of a request.

        Without a model of this server in it, `model` and `task` name the one that the request is for.
        """
        if not request.headers.get("content-type", "").lower().startswith(ACCEPTED):
            raise MediaTypeError("The body must be a file.", hint=f"Send 'Content-Type: {ACCEPTED[0]}'.")
        packed = await ctx.decoder.decode("metadata", await request.body(), parameter="file")
        assert isinstance(packed, np.ndarray)  # noqa: S101 (what this decoder returns)
        found = parse_json(packed.tobytes(), ctx.settings.max_upload_bytes)
        models = await asyncio.to_thread(ctx.models.snapshot)
        return SafeJson({"object": "metadata", **await asyncio.to_thread(_with_layers, models, found, model, task)})

    return router


def _with_layers(models: Models, found: Mapping[str, Any], model: str | None, task: str | None) -> dict[str, Any]:
    """Return metadata with the parameter for the layer of the text encoders that it states, which depends on the pipeline."""
    metadata, unused = dict(found["metadata"]), list(found["unused"])
    layer = metadata.pop(LAYER, None) if "pipeline" not in metadata else None
    if layer is not None:
        entry = _pipeline(models, metadata, model, task)
        skipped = skipped_layers({LAYER: layer}, entry) if entry else {}
        metadata["params"] = {**skipped, **metadata["params"]}
        if entry is None or not (skipped or layer <= max(entry.last_layer, 1)):
            unused.append(LAYER_KEY)
    return {"metadata": metadata, "unused": unused}


def _pipeline(models: Models, metadata: Mapping[str, Any], model: str | None, task: str | None) -> PipelineEntry | None:
    """Return the pipeline that a request would run on; None if it is not known."""
    known = {each.name for each in models.list()}
    if metadata.get("model") in known:
        model, task = metadata["model"], metadata.get("task")
    with contextlib.suppress(OctaboxError):
        return models.pipeline(model, task) if model in known and model is not None else None
    return None
