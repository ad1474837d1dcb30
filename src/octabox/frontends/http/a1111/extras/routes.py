"""Routes without a prompt: enlarging, the infotext of an image, and captions."""

from __future__ import annotations

import asyncio
import base64
import io
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from PIL import Image

from octabox.errors import GenerationError, MissingParameterError, RequestError
from octabox.frontends.http.a1111.extras.faces import restore_faces
from octabox.frontends.http.a1111.extras.schema import (
    BatchBody,
    ExtrasBody,
    InterrogateBody,
    PngBody,
    SingleBody,
    batch_schema,
)
from octabox.frontends.http.a1111.extras.upscale import enlarge
from octabox.frontends.http.a1111.fields import unknown_warnings
from octabox.frontends.http.a1111.images import read_image
from octabox.frontends.http.a1111.responses import A1111Route
from octabox.frontends.http.bodies import body_description, check_fields, read_json
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.disconnect import cancel_on_disconnect
from octabox.frontends.http.middleware import SafeJson
from octabox.media.fetcher import decode_text
from octabox.media.images import READABLE_FORMATS, encode_png
from octabox.media.metadata.chunks import TEXT_CHUNK, read_infotext
from octabox.media.metadata.infotext import split_infotext
from octabox.media.metadata.passes import parse_sides
from octabox.service.protocols import Models
from octabox.service.selection.inputs import bindings_for
from octabox.service.selection.pipelines import choose_pipeline
from octabox.types import GenerationRequest

#: The task of captions, and the names of models of the web UI for the first one.
CAPTION, FIRST = "image-to-text", ("clip", "deepbooru", "deepdanbooru", "")

#: Pairs of an infotext that are sizes, which the web UI splits in two.
SIZES = ("Size", "Hires resize", "Seed resize from")


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/sdapi/v1", route_class=A1111Route, tags=["A1111"])

    @router.post(
        "/extra-single-image", openapi_extra=body_description(SingleBody.model_json_schema, "application/json")
    )
    async def single(request: Request) -> Response:
        """Enlarge an image."""
        body = check_fields(SingleBody, await read_json(request))
        warnings = unknown_warnings(body)
        made = await cancel_on_disconnect(request.receive, _processed(ctx, body, body.image, "image", warnings))
        return SafeJson({"html_info": " ".join(warnings), "image": made, "warnings": warnings})

    @router.post("/extra-batch-images", openapi_extra=body_description(batch_schema, "application/json"))
    async def batch(request: Request) -> Response:
        """Enlarge several images."""
        body = check_fields(BatchBody, await read_json(request))
        warnings = unknown_warnings(body)
        made = [
            await cancel_on_disconnect(request.receive, _processed(ctx, body, each.data, "imageList", warnings))
            for each in body.imageList
        ]
        warnings = [*dict.fromkeys(warnings)]
        return SafeJson({"html_info": " ".join(warnings), "images": made, "warnings": warnings})

    @router.post("/png-info", openapi_extra=body_description(PngBody.model_json_schema, "application/json"))
    async def png_info(request: Request) -> Response:
        """Return the infotext of an image, and its parameters."""
        body = check_fields(PngBody, await read_json(request))
        _require(body.image)
        return SafeJson({**await asyncio.to_thread(_png_info, body.image), **_noted(unknown_warnings(body))})

    @router.post("/interrogate", openapi_extra=body_description(InterrogateBody.model_json_schema, "application/json"))
    async def interrogate(request: Request) -> Response:
        """Describe an image by a model that makes text of images."""
        body = check_fields(InterrogateBody, await read_json(request))
        _require(body.image)
        models = await asyncio.to_thread(ctx.models.snapshot)
        parsed = await asyncio.to_thread(_caption_request, models, body)
        generation = await cancel_on_disconnect(request.receive, ctx.generation.generate(parsed, models))
        text = next(
            (each.content.decode("utf-8", "replace") for each in generation.artifacts if each.kind == "text"), None
        )
        if text is None:
            raise GenerationError(f"The model '{generation.model}' made no text.", model=generation.model)
        return SafeJson({"caption": text, **_noted([*unknown_warnings(body), *generation.warnings])})

    return router


def _require(image: str) -> None:
    """Raise an error if there is no image."""
    if not image.strip():
        raise MissingParameterError("'image' is missing.", hint="Send it as base64.", parameter="image")


def _noted(warnings: list[str]) -> dict[str, list[str]]:
    """Return the key of warnings, if there are some."""
    return {"warnings": warnings} if warnings else {}


async def _processed(ctx: AppContext, body: ExtrasBody, text: str, field: str, warnings: list[str]) -> str:
    """Return an image in base64 with restored faces, enlarged, or the other way round."""
    _require(text)
    image, models = await read_image(ctx, text, field), await asyncio.to_thread(ctx.models.snapshot)
    for step in (enlarge, restore_faces) if body.upscale_first else (restore_faces, enlarge):
        image = await step(ctx, models, body, image, warnings)
    return base64.b64encode(await asyncio.to_thread(encode_png, image)).decode("ascii")


def _png_info(text: str) -> dict[str, Any]:
    """Return the infotext of an image, the other texts in its file, and the parameters of the infotext."""
    data = decode_text(text, "image")
    infotext = read_infotext(data, READABLE_FORMATS)
    return {"info": infotext, "items": _items(data), "parameters": parameters_of(infotext) if infotext else {}}


def _items(data: bytes) -> dict[str, str]:
    """Return the texts in the file of an image, without its infotext."""
    try:
        with Image.open(io.BytesIO(data), formats=READABLE_FORMATS) as image:
            return {
                str(name): value for name, value in image.info.items() if isinstance(value, str) and name != TEXT_CHUNK
            }
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return {}


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
