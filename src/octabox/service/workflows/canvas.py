"""Lay an image out before it is painted, and lay what was painted back: inpainting of a region, and outpainting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image

from octabox.catalog.entries import Parameter, PipelineEntry
from octabox.catalog.tasks import CONTROL_PARAMETERS
from octabox.engine.protocol import Medium
from octabox.errors import InvalidParameterError, MissingParameterError
from octabox.media.images import encode_png
from octabox.media.regions import (
    Padding,
    Size,
    binarize_mask,
    blur_mask,
    expand,
    fill_masked,
    masked_region,
    outpaint_mask,
    paste_back,
)
from octabox.service.generation import GenerationService
from octabox.service.models import ModelService
from octabox.service.planning import Plan
from octabox.service.provenance import input_digests
from octabox.service.selection.pipelines import family_of
from octabox.service.served_model import ServedModel
from octabox.service.workflows.settings import InpaintPart, OutpaintPart
from octabox.types import GenerationRequest, Source

#: The task that both are.
TASK = "inpainting"

#: Pixels that the sides of what is painted are multiples of: what all but a few pipelines work in.
MULTIPLE = 16

#: How an image is to be changed into what the model sees, and a mask likewise.
Change = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class InpaintCanvas:
    """A request whose image has been laid out.

    Args:
        request: The request as it is to be made.
        finish: Lays what it made back.
        brought: What the client brought, as metadata tell of it.
    """

    request: GenerationRequest
    finish: Change
    brought: Mapping[str, Any]


@dataclass(frozen=True)
class _Given:
    """What a request brings: its plan, and its media decoded."""

    plan: Plan
    image: Parameter
    mask: Parameter
    media: Mapping[str, tuple[Medium, ...]]

    def one(self, parameter: Parameter) -> Image.Image:
        """Return the only image of a parameter."""
        media = self.media[parameter.name]
        if len(media) != 1 or not isinstance(media[0], Image.Image):
            raise InvalidParameterError(
                f"'{parameter.name}' has {len(media)} images, and one is laid out at a time.",
                hint="Send one request for each.",
                parameter=parameter.name,
            )
        return media[0]


class CanvasPlanner:
    """Lays out the images of requests.

    Args:
        inner: Plans requests, and fetches their media.
        models: Where models are looked up.
    """

    def __init__(self, inner: GenerationService, models: ModelService) -> None:
        self._inner, self._models = inner, models

    async def inpainting(self, request: GenerationRequest, settings: InpaintPart) -> InpaintCanvas:
        """Return a request that paints the masked part alone.

        Raises:
            RequestError: There is no image or no mask, or the mask is black.
        """
        given = await self._given(request)
        return await asyncio.to_thread(_inpainting, request, settings, given)

    async def outpainting(self, request: GenerationRequest, settings: OutpaintPart) -> InpaintCanvas:
        """Return a request that paints what is beyond the edges of an image.

        Raises:
            RequestError: There is no image, or a mask, which this makes itself.
        """
        model = await self._models.served(request.model)
        mask = self._mask_of(model)
        if mask in request.inputs or mask in request.params:
            raise InvalidParameterError(
                f"'{mask}' is given, and outpainting makes it.", hint="Leave it out.", parameter=mask
            )
        for side in ("width", "height"):
            if side in request.params:
                raise InvalidParameterError(
                    f"'{side}' follows from the image and from how far it is widened.",
                    hint="Leave it out.",
                    parameter=side,
                )
        blank = replace(request, task=TASK, inputs={**request.inputs, mask: (encode_png(Image.new("L", (8, 8))),)})
        given = await self._given(blank, made={mask})
        return await asyncio.to_thread(_outpainting, blank, settings, given)

    def _mask_of(self, model: ServedModel) -> str:
        """Return the parameter for the mask of a model's likest pipeline that inpaints."""
        family = family_of(self._models.catalog, model.own, model.extra, alone=model.alone)
        inpainting = [entry for entry in family if TASK in entry.tasks]
        found = next((each.name for entry in inpainting for each in entry.parameters if each.kind == "mask"), None)
        if found is None:
            raise InvalidParameterError(
                f"A model of {model.own.name} cannot paint a part of an image.",
                hint="Take a model that does inpainting.",
                parameter="workflow.outpaint",
            )
        return found

    async def _given(self, request: GenerationRequest, made: frozenset[str] | set[str] = frozenset()) -> _Given:
        """Return what a request brings; ``made`` are media that stand for others, and are not to be looked at."""
        resolved = await self._inner.resolve(request)
        planned = resolved.plan
        files = {name: each for name, each in planned.files.items() if name not in made}
        originals = [
            each
            for each in _of_kind(planned.pipeline, "image", planned.files)
            if not CONTROL_PARAMETERS.search(each.name)
        ]
        masks = _of_kind(planned.pipeline, "mask", planned.files)
        for what, found in (("an image", originals), ("a mask", masks)):
            if not found:
                raise MissingParameterError(
                    f"There is no {what.removeprefix('a ')} to lay out.",
                    hint=f"Send {what} for one of the call parameters of {planned.pipeline.name}.",
                    parameter="image" if found is originals else "mask_image",
                )
        media = await self._inner.media(files, planned.pipeline)
        return _Given(planned, originals[0], masks[0], media)


def _of_kind(entry: PipelineEntry, kind: str, files: Mapping[str, Any]) -> list[Parameter]:
    return [each for each in entry.parameters if each.kind == kind and each.name in files]


def _inpainting(request: GenerationRequest, settings: InpaintPart, given: _Given) -> InpaintCanvas:
    image, mask = given.one(given.image), given.one(given.mask)
    if settings.invert:
        mask = mask.point(lambda value: 255 - value)
    alpha = blur_mask(mask, settings.mask_blur)
    size = _target(given, image.size)
    box = masked_region(alpha, settings.padding or 0, size)
    if box is None:
        raise InvalidParameterError(
            f"'{given.mask.name}' is black all over: there is nothing to paint.",
            hint="White is painted; `invert` turns that round.",
            parameter=given.mask.name,
        )
    if settings.area == "whole":
        box = (0, 0, *image.size)
    filled = fill_masked(image, mask) if settings.fill == "surroundings" else image

    def cut(medium: Image.Image) -> Image.Image:
        return medium.crop(box).resize(size, Image.Resampling.LANCZOS)

    seen = {given.image.name: cut(filled), given.mask.name: binarize_mask(cut(mask))}
    changed = _seeing(request, given, {**_companions(given, image.size, cut), **seen}, size)
    return InpaintCanvas(changed, lambda made: paste_back(image, made, box, alpha), input_digests(given.media))


def _outpainting(request: GenerationRequest, settings: OutpaintPart, given: _Given) -> InpaintCanvas:
    image = given.one(given.image)
    sides = Padding(settings.left, settings.top, settings.right, settings.bottom)
    inset = outpaint_mask(image.size, sides, inset=settings.mask_blur)
    # What is new is new altogether; inside the old edges it fades out.
    alpha = blur_mask(inset, settings.mask_blur / 2)
    alpha.paste(255, mask=outpaint_mask(image.size, sides))
    whole = expand(image, sides)
    size = _rounded(whole.size)
    more = Padding(right=size[0] - whole.width, bottom=size[1] - whole.height)

    def room(medium: Image.Image) -> Image.Image:
        return expand(expand(medium, sides), more)

    mask = Image.new("L", size, 255)
    mask.paste(inset, (0, 0))
    seen = {given.image.name: room(image), given.mask.name: mask}
    wide = _seeing(request, given, {**_companions(given, image.size, room), **seen}, size)
    if given.plan.pipeline.parameter("strength") and "strength" not in given.plan.runs[0][0]:
        wide = replace(wide, params={**wide.params, "strength": 1.0})
    box = (0, 0, *whole.size)

    def finish(made: Image.Image) -> Image.Image:
        return paste_back(whole, made.resize(size, Image.Resampling.LANCZOS).crop(box), box, alpha)

    return InpaintCanvas(wide, finish, input_digests(given.media))


def _companions(given: _Given, size: Size, change: Change) -> dict[str, Image.Image]:
    """Return the other images of a request that lie over the one that is laid out, changed as it is."""
    return {
        each.name: change(media[0])
        for each in given.plan.pipeline.parameters
        if (media := given.media.get(each.name)) and isinstance(media[0], Image.Image) and media[0].size == size
    }


def _seeing(
    request: GenerationRequest, given: _Given, originals: Mapping[str, Image.Image], size: Size
) -> GenerationRequest:
    """Return a request with these images in place of its own, at their size."""
    inputs: dict[str, tuple[Source, ...]] = {
        name: each for name, each in request.inputs.items() if name not in originals
    }
    params = {name: each for name, each in request.params.items() if name not in originals}
    sides = dict(zip(("width", "height"), size, strict=True))
    if all(given.plan.pipeline.parameter(name) for name in sides):
        params |= sides
    files = {name: (encode_png(each),) for name, each in originals.items()}
    return replace(request, task=given.plan.task, params=params, inputs={**inputs, **files})


def _target(given: _Given, size: Size) -> Size:
    """Return the size that a region is painted at: what the request or the model says, else that of the whole image."""
    params = given.plan.runs[0][0]
    width, height = params.get("width"), params.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else _rounded(size)


def _rounded(size: Size) -> Size:
    """Return the next size whose sides are multiples."""
    width, height = (-(-side // MULTIPLE) * MULTIPLE for side in size)
    return width, height
