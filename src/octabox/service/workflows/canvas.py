"""Prepare an image for inpainting of a region or for outpainting, and paste the result back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from PIL import Image

from octabox.catalog.entries import Parameter
from octabox.engine.protocol import Medium
from octabox.errors import InvalidParameterError, MissingParameterError
from octabox.media.images import encode_png
from octabox.media.limits import check_output_size
from octabox.media.regions import (
    Padding,
    Size,
    binarize_mask,
    blur_mask,
    expand,
    fill_masked,
    fill_with_gray,
    fill_with_noise,
    masked_region,
    outpaint_mask,
    paste_back,
)
from octabox.noise import LatentFill
from octabox.service.generation import RequestRunner
from octabox.service.planning import Plan
from octabox.service.protocols import Models
from octabox.service.provenance import input_digests
from octabox.service.selection.inputs import ARTICLES, MediaType, bindings_for, input_parameter, source_parameter
from octabox.service.served_model import ServedModel
from octabox.service.workflows.settings import Fill, InpaintPart, OutpaintPart
from octabox.types import GenerationRequest, Source

#: The task of both.
TASK = "inpainting"

#: The sides of the painted image are multiples of this, which nearly all pipelines require.
MULTIPLE = 16

#: Fills the masked pixels of an image for the model, by the setting of the workflow.
FILLS: Mapping[Fill, Callable[[Image.Image, Image.Image], Image.Image]] = {
    "original": lambda image, _: image,
    "surroundings": fill_masked,
    "noise": fill_with_noise,
    "blank": fill_with_gray,
    "latent-noise": fill_masked,
    "latent-blank": fill_masked,
}

#: Contents of the latents under the mask, by the setting of the workflow.
LATENT_FILLS: Mapping[Fill, Literal["noise", "blank"]] = {"latent-noise": "noise", "latent-blank": "blank"}

#: Transforms an image or a mask.
Transform = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class InpaintCanvas:
    """A request for a part of an image.

    Args:
        request: The request with the prepared image and mask.
        finish: Pastes the result into the original image.
        size: Size of the complete image.
        input_digests: Digests of the client's inputs, for the metadata.
    """

    request: GenerationRequest
    finish: Transform
    size: Size
    input_digests: Mapping[str, Any]


@dataclass(frozen=True)
class _Inputs:
    """The plan of a request, and its decoded media."""

    plan: Plan
    image: Parameter
    mask: Parameter
    media: Mapping[str, tuple[Medium, ...]]

    def one(self, parameter: Parameter) -> Image.Image:
        """Return the only image of a parameter."""
        media = self.media[parameter.name]
        if len(media) == 1 and isinstance(media[0], list):
            media = tuple(media[0])
        if len(media) != 1 or not isinstance(media[0], Image.Image):
            raise InvalidParameterError(
                f"'{parameter.name}' must be one image, not {len(media)}.",
                hint="Send a request for each.",
                parameter=parameter.name,
            )
        return media[0]


class CanvasPlanner:
    """Plans inpainting of a region, and outpainting.

    Args:
        inner: Plans requests and decodes their media.
        models: The models of this server, as the request sees them.
        max_pixels: Maximum number of pixels of an image.
    """

    def __init__(self, inner: RequestRunner, models: Models, max_pixels: int) -> None:
        self._inner, self._models, self._max_pixels = inner, models, max_pixels

    async def inpainting(self, request: GenerationRequest, settings: InpaintPart) -> InpaintCanvas:
        """Return a request that paints the masked region only.

        Raises:
            RequestError: There is no image or no mask, or the mask is black.
        """
        inputs = await self._inputs(request)
        return await asyncio.to_thread(_inpainting, request, settings, inputs)

    async def outpainting(self, request: GenerationRequest, settings: OutpaintPart) -> InpaintCanvas:
        """Return a request that paints beyond the edges of an image.

        Raises:
            RequestError: There is no image, there is a mask, which outpainting makes itself, or the result would be too large.
        """
        model = await asyncio.to_thread(self._models.resolve, request.model)
        mask = self._mask_parameter(model)
        if mask in request.inputs or mask in request.params:
            message = f"'{mask}' cannot be given, since outpainting makes it."
            raise InvalidParameterError(message, hint="Omit it.", parameter=mask)
        for side in ("width", "height"):
            if side in request.params:
                message = f"'{side}' cannot be given, since it follows from the image and the padding."
                raise InvalidParameterError(message, hint="Omit it.", parameter=side)
        placeholder = (encode_png(Image.new("L", (8, 8))),)
        request = replace(request, task=TASK, inputs={**request.inputs, mask: placeholder})
        inputs = await self._inputs(request, placeholders={mask})
        width, height = inputs.one(inputs.image).size
        expanded = width + settings.left + settings.right, height + settings.top + settings.bottom
        check_output_size(_rounded(expanded), self._max_pixels, "workflow.outpaint")
        return await asyncio.to_thread(_outpainting, request, settings, inputs)

    def _mask_parameter(self, model: ServedModel) -> str:
        """Return the parameter for the mask of the most similar pipeline of a model that inpaints."""
        bound = bindings_for(model, self._models.catalog).serving(TASK).bind("mask")
        if bound is None:
            raise InvalidParameterError(
                f"A model of {model.pipeline.name} cannot paint a part of an image.",
                hint="Use a model that serves inpainting.",
                parameter="workflow.outpaint",
            )
        return bound[1].name

    async def _inputs(
        self, request: GenerationRequest, placeholders: frozenset[str] | set[str] = frozenset()
    ) -> _Inputs:
        """Return the inputs of a request; placeholders are not decoded."""
        resolved = await self._inner.resolve(request, self._models)
        plan = resolved.plan
        image, mask = source_parameter(plan.pipeline), input_parameter(plan.pipeline, "mask")
        required: tuple[tuple[MediaType, Parameter | None], ...] = (("image", image), ("mask", mask))
        for kind, parameter in required:
            if parameter is None or parameter.name not in plan.files:
                raise MissingParameterError(
                    f"There is no {kind} to paint on.",
                    hint=f"Send {ARTICLES[kind]} for a call parameter of {plan.pipeline.name}.",
                    parameter="image" if kind == "image" else "mask_image",
                )
        assert image is not None  # noqa: S101 (checked above)
        assert mask is not None  # noqa: S101 (likewise)
        files = {name: sources for name, sources in plan.files.items() if name not in placeholders}
        return _Inputs(plan, image, mask, await self._inner.media(files, plan.pipeline))


def _inpainting(request: GenerationRequest, settings: InpaintPart, inputs: _Inputs) -> InpaintCanvas:
    image, mask = inputs.one(inputs.image), inputs.one(inputs.mask)
    if settings.invert:
        mask = mask.point(lambda value: 255 - value)
    alpha = blur_mask(mask, settings.mask_blur)
    size = _painted_size(inputs, image.size)
    box = masked_region(alpha, settings.padding or 0, size)
    if box is None:
        raise InvalidParameterError(
            f"'{inputs.mask.name}' is completely black: there is nothing to paint.",
            hint="White is painted; `invert` inverts the mask.",
            parameter=inputs.mask.name,
        )
    if settings.area == "whole":
        box = (0, 0, *image.size)
    filled = FILLS[settings.fill](image, mask)

    def crop(medium: Image.Image) -> Image.Image:
        return medium.crop(box).resize(size, Image.Resampling.LANCZOS)

    files = _files(inputs, image.size, crop, crop(filled), binarize_mask(crop(mask)))
    request = _with_files(request, inputs, files, size)
    if (content := LATENT_FILLS.get(settings.fill)) is not None:
        request = replace(request, latent_fill=LatentFill(content, inputs.image.name, inputs.mask.name))
    digests = input_digests(inputs.media)
    return InpaintCanvas(request, lambda result: paste_back(image, result, box, alpha), image.size, digests)


def _outpainting(request: GenerationRequest, settings: OutpaintPart, inputs: _Inputs) -> InpaintCanvas:
    image = inputs.one(inputs.image)
    sides = Padding(settings.left, settings.top, settings.right, settings.bottom)
    inset = outpaint_mask(image.size, sides, inset=settings.mask_blur)
    # New pixels are opaque; inside the old edges they fade out.
    alpha = blur_mask(inset, settings.mask_blur / 2)
    alpha.paste(255, mask=outpaint_mask(image.size, sides))
    expanded = expand(image, sides)
    size = _rounded(expanded.size)
    rounding = Padding(right=size[0] - expanded.width, bottom=size[1] - expanded.height)

    def pad(medium: Image.Image) -> Image.Image:
        return expand(expand(medium, sides), rounding)

    mask = Image.new("L", size, 255)
    mask.paste(inset, (0, 0))
    request = _with_files(request, inputs, _files(inputs, image.size, pad, pad(image), mask), size)
    if inputs.plan.pipeline.parameter("strength") and "strength" not in inputs.plan.runs[0][0]:
        request = replace(request, params={**request.params, "strength": 1.0})
    box = (0, 0, *expanded.size)

    def finish(result: Image.Image) -> Image.Image:
        return paste_back(expanded, result.resize(size, Image.Resampling.LANCZOS).crop(box), box, alpha)

    return InpaintCanvas(request, finish, expanded.size, input_digests(inputs.media))


def _files(
    inputs: _Inputs, size: Size, transform: Transform, image: Image.Image, mask: Image.Image
) -> dict[str, tuple[Any, ...]]:
    """Return the files of a request that change: its image, its mask, and those that lie over its image.

    Args:
        inputs: The inputs of the request.
        size: Size of its source image: an image of this size, such as a control image, lies over it.
        transform: Transforms such an image as the source image is.
        image: The transformed source image.
        mask: The transformed mask.
    """

    def transformed(medium: Medium | None, source: Any) -> Any:
        if isinstance(medium, list):
            return [transformed(*each) for each in zip(medium, source, strict=True)]
        if isinstance(medium, Image.Image) and medium.size == size:
            return encode_png(transform(medium))
        return source

    files: dict[str, tuple[Any, ...]] = {}
    for name in inputs.media.keys() - {inputs.image.name, inputs.mask.name}:
        media, sources = list(inputs.media[name]), list(inputs.plan.files[name])
        # The frames of a video are one medium, and several files.
        if len(media) == len(sources) and (found := transformed(media, sources)) != sources:
            files[name] = tuple(found)
    return {**files, inputs.image.name: (encode_png(image),), inputs.mask.name: (encode_png(mask),)}


def _with_files(
    request: GenerationRequest, inputs: _Inputs, files: Mapping[str, tuple[Any, ...]], size: Size
) -> GenerationRequest:
    """Return a request with these files as its inputs, at their size."""
    others: dict[str, tuple[Source, ...]] = {name: each for name, each in request.inputs.items() if name not in files}
    params = {name: each for name, each in request.params.items() if name not in files}
    sides = dict(zip(("width", "height"), size, strict=True))
    if all(inputs.plan.pipeline.parameter(name) for name in sides):
        params |= sides
    return replace(request, task=inputs.plan.task, params=params, inputs={**others, **files})


def _painted_size(inputs: _Inputs, size: Size) -> Size:
    """Return the size that a region is painted at: that of the request or of the model, else that of the image."""
    params = inputs.plan.runs[0][0]
    width, height = params.get("width"), params.get("height")
    return (width, height) if isinstance(width, int) and isinstance(height, int) else _rounded(size)


def _rounded(size: Size) -> Size:
    """Return the next larger size whose sides are multiples."""
    width, height = (-(-side // MULTIPLE) * MULTIPLE for side in size)
    return width, height
