"""Routes without a prompt: enlarging, the infotext of an image, and captions."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import Response

from octabox.errors import GenerationError, RequestError
from octabox.frontends.http.a1111.callers import Caller, caller_of
from octabox.frontends.http.a1111.extras.processing import Processor, require_image
from octabox.frontends.http.a1111.extras.schema import (
    BatchBody,
    InterrogateBody,
    PngBody,
    SingleBody,
    batch_schema,
)
from octabox.frontends.http.a1111.fields import unknown_warnings
from octabox.frontends.http.a1111.progress.tasks import Tasks
from octabox.frontends.http.a1111.responses import A1111Route
from octabox.frontends.http.bodies import body_description, check_fields, read_json
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.disconnect import cancel_on_disconnect
from octabox.frontends.http.middleware import SafeJson
from octabox.media.fetcher import decode_text
from octabox.media.metadata.chunks import TEXT_CHUNK
from octabox.media.metadata.infotext import split_infotext
from octabox.media.metadata.passes import parse_sides
from octabox.service.events import result_of
from octabox.service.protocols import Models
from octabox.service.selection.inputs import bindings_for
from octabox.service.selection.pipelines import choose_pipeline
from octabox.types import GenerationRequest

#: The task of captions, and the names of models of the web UI for the first one.
CAPTION, FIRST = "image-to-text", ("clip", "deepbooru", "deepdanbooru", "")

#: Pairs of an infotext that are sizes, which the web UI splits in two.
SIZES = ("Size", "Hires resize", "Seed resize from")


def routes(ctx: AppContext, tasks: Tasks) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/sdapi/v1", route_class=A1111Route, tags=["A1111"])
    processor = Processor(ctx, tasks)

    @router.post(
        "/extra-single-image", openapi_extra=body_description(SingleBody.model_json_schema, "application/json")
    )
    async def single(request: Request) -> Response:
        """Enlarge an image; an interrupted one is as far as it was made."""
        body = check_fields(SingleBody, await read_json(request))
        warnings = unknown_warnings(body)
        work = processor.process(caller_of(request), body, [body.image], "image", warnings)
        (made,) = await cancel_on_disconnect(request.receive, work)
        return SafeJson({"html_info": " ".join(warnings), "image": await made.to_base64(), "warnings": warnings})

    @router.post("/extra-batch-images", openapi_extra=body_description(batch_schema, "application/json"))
    async def batch(request: Request) -> Response:
        """Enlarge several images; those that were finished before an interruption."""
        body = check_fields(BatchBody, await read_json(request))
        warnings = unknown_warnings(body)
        texts = [each.data for each in body.imageList]
        work = processor.process(caller_of(request), body, texts, "imageList", warnings)
        made = await cancel_on_disconnect(request.receive, work)
        images = [await each.to_base64() for each in made if each.is_finished]
        warnings = [*dict.fromkeys(warnings)]
        return SafeJson({"html_info": " ".join(warnings), "images": images, "warnings": warnings})

    @router.post("/png-info", openapi_extra=body_description(PngBody.model_json_schema, "application/json"))
    async def png_info(request: Request) -> Response:
        """Return the infotext of an image, and its parameters."""
        body = check_fields(PngBody, await read_json(request))
        require_image(body.image)
        return SafeJson({**await _png_info(ctx, body.image), **_noted(unknown_warnings(body))})

    @router.post("/interrogate", openapi_extra=body_description(InterrogateBody.model_json_schema, "application/json"))
    async def interrogate(request: Request) -> Response:
        """Describe an image by a model that makes text of images."""
        body = check_fields(InterrogateBody, await read_json(request))
        require_image(body.image)
        work = _caption(ctx, tasks, caller_of(request), body)
        text, warnings = await cancel_on_disconnect(request.receive, work)
        return SafeJson({"caption": text, **_noted([*unknown_warnings(body), *warnings])})

    return router


def _noted(warnings: list[str]) -> dict[str, list[str]]:
    """Return the key of warnings, if there are some."""
    return {"warnings": warnings} if warnings else {}


async def _caption(ctx: AppContext, tasks: Tasks, caller: Caller, body: InterrogateBody) -> tuple[str, Sequence[str]]:
    """Return the text that a model makes of an image as a task of the caller, and warnings; an interrupted one is empty.

    Raises:
        OctaboxError: There is no such model, or it has failed.
    """
    with tasks.started(None, caller, "interrogate", 1) as task:
        models = await asyncio.to_thread(ctx.models.snapshot)
        parsed = await asyncio.to_thread(_caption_request, models, body)
        (made,) = await task.run(0, [lambda report: result_of(ctx.generation.stream(parsed, models), report)])
    if made is None:
        return "", ["The request was interrupted: there is no caption."]
    text = next((each.content.decode("utf-8", "replace") for each in made.artifacts if each.kind == "text"), None)
    if text is None:
        raise GenerationError(f"The model '{made.model}' made no text.", model=made.model)
    return text, made.warnings


async def _png_info(ctx: AppContext, text: str) -> dict[str, Any]:
    """Return the infotext of an image, the other texts in its file, and the parameters of the infotext.

    Raises:
        MediaError: It cannot be decoded.
    """
    data = await asyncio.to_thread(decode_text, text, "image")
    decoded = await ctx.decoder.decode("texts", data, parameter="image")
    assert isinstance(decoded, np.ndarray)  # noqa: S101 (of that kind)
    items: dict[str, str] = json.loads(decoded.tobytes())
    infotext = items.pop(TEXT_CHUNK)
    return {"info": infotext, "items": items, "parameters": parameters_of(infotext) if infotext else {}}


def parameters_of(infotext: str) -> dict[str, str]:
    """Return the parameters of an infotext as the web UI names them."""
    prompt, negative, pairs = split_infotext(infotext)
    found = {"Prompt": prompt, "Negative prompt": negative}
    for name, value in pairs.items():
        if name in SIZES and (size := parse_sides(value)):
            found |= {f"{name}-1": str(size["width"]), f"{name}-2": str(size["height"])}
        else:
            found[name] = value
    return found


def _caption_request(models: Models, body: InterrogateBody) -> GenerationRequest:
    """Return the request for a caption.

    Raises:
        RequestError: There is no model that makes text of images.
    """
    if body.model.strip().casefold() in FIRST:
        found = [each.name for each in models.list() if not each.alias_of and CAPTION in each.tasks]
        if not found:
            raise RequestError(
                "There is no model that describes images.",
                hint="Add one whose output is text to the models folder.",
                parameter="model",
            )
        name = found[0]
    else:
        name = body.model
    served, catalog = models.resolve(name), models.catalog
    serving = bindings_for(served, catalog).serving(CAPTION)
    if not serving.entries:
        choose_pipeline(catalog, served, CAPTION, ())
    inputs = {serving.medium("image", "image"): (decode_text(body.image, "image"),)}
    return GenerationRequest(served.config.name, task=CAPTION, inputs=inputs)
