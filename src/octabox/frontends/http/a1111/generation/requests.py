"""Build the requests of ``txt2img`` and ``img2img``: translated, with their workflows and images."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from octabox.errors import InvalidParameterError
from octabox.frontends.http.a1111.callers import Caller, Callers
from octabox.frontends.http.a1111.checkpoints import find_checkpoint
from octabox.frontends.http.a1111.controlnet.control import Control, find_control
from octabox.frontends.http.a1111.controlnet.units import parse_units
from octabox.frontends.http.a1111.generation.hires import SecondPass, hires_pass, refiner_part
from octabox.frontends.http.a1111.generation.schema import GenerationBody, ImageToImageBody, TextToImageBody
from octabox.frontends.http.a1111.generation.targets import (
    image_target,
    mask_target,
    text_target,
)
from octabox.frontends.http.a1111.generation.translate import (
    ParsedRequest,
    check_count,
    image_params,
    mask_blur,
    to_request,
)
from octabox.frontends.http.a1111.images import STRETCH_LATENTS, read_image, read_mask, resize, target_size
from octabox.frontends.http.a1111.options import CHECKPOINT, Options
from octabox.frontends.http.a1111.responses import NO_IMAGE, ImageNotFoundError
from octabox.frontends.http.bodies import check_fields
from octabox.frontends.http.context import AppContext
from octabox.media.images import encode_png
from octabox.service.workflows.resize import LATENT_FILTERS
from octabox.types import Source

#: Settings of a workflow by the number of ``inpainting_fill``.
FILLS = ("surroundings", "original", "noise", "blank")

#: The sides of an image.
SIDES = ("width", "height")


@dataclass(frozen=True)
class Batches:
    """All batches of a request.

    Args:
        parsed: The request.
        images: The source images, of which each makes one output of a batch; empty for one that makes all.
        count: Number of outputs.
        options: The options of the request.
        strength: Strength of the result, for its description; None if it has none.
        mask_blur: Radius of the mask's blur.
        batches: Number of batches.
    """

    parsed: ParsedRequest
    images: tuple[bytes, ...] = ()
    count: int = 1
    options: Options = field(default_factory=lambda: Options.model_validate({}))
    strength: float | None = None
    mask_blur: int | list[int] | None = None
    batches: int = 1

    @property
    def runs(self) -> int:
        """Number of requests to the service."""
        return self.batches * max(len(self.images), 1)

    def request(self, index: int) -> Any:
        """Return a request to the service."""
        if not self.images:
            return self.parsed.batch(index)
        request = replace(self.parsed.batch(index), num_outputs=1)
        source: tuple[Source, ...] = (self.images[index % len(self.images)],)
        return replace(request, inputs={**request.inputs, self.parsed.target.image: source})


class RequestBuilder:
    """Builds the requests of a server.

    Args:
        ctx: Collaborators of the routes.
        callers: The options of callers.
    """

    def __init__(self, ctx: AppContext, callers: Callers) -> None:
        self._ctx, self._callers = ctx, callers

    async def text_to_image(self, body: TextToImageBody, caller: Caller) -> Batches:
        """Return the batches of ``txt2img``.

        Raises:
            OctaboxError: The request is invalid.
        """
        if body.enable_hr and body.firstpass_image:
            return await self._continued(body, caller)
        options, model = await asyncio.to_thread(self._options, body, caller)
        control, model = await self._control(body, model)
        target = await asyncio.to_thread(text_target, self._ctx.models, model, controlled=bool(control.units))
        parsed = await asyncio.to_thread(to_request, self._ctx.models, body, options, target)
        size = {name: getattr(body, name) for name in SIDES if body.has(name)}
        if body.enable_hr and (body.firstphase_width or body.firstphase_height):
            size = {name: getattr(body, f"firstphase_{name}") or getattr(body, name) for name in SIDES}
        parsed = with_params(parsed, optional_params=size)
        parsed = with_refiner(parsed, await asyncio.to_thread(refiner_part, self._ctx.models, body))
        if body.enable_hr:
            second = await asyncio.to_thread(hires_pass, self._ctx.models, target, body, parsed.sampling)
            parsed = with_second_pass(parsed, second)
        parsed = await self._with_control(parsed, control, size)
        count = check_count(body, 1, self._ctx.settings.max_outputs)
        strength = body.denoising_strength if body.enable_hr else None
        return Batches(parsed, (), count, options, strength, batches=body.n_iter)

    async def image_to_image(self, body: ImageToImageBody, caller: Caller) -> Batches:
        """Return the batches of ``img2img``.

        Raises:
            OctaboxError: The request is invalid.
        """
        sources = [text for text in body.init_images if text]
        if not sources:
            raise ImageNotFoundError(f"{NO_IMAGE}.", hint="Send it as base64.", parameter="init_images")
        count = check_count(body, len(sources), self._ctx.settings.max_outputs)
        options, model = await asyncio.to_thread(self._options, body, caller)
        control, model = await self._control(body, model)
        find = mask_target if body.mask else image_target
        target = await asyncio.to_thread(find, self._ctx.models, model, controlled=bool(control.units))
        parsed = await asyncio.to_thread(to_request, self._ctx.models, body, options, target)
        images = [await read_image(self._ctx, text, "init_images") for text in sources]
        parsed, images = await _prepared(self._ctx, body, parsed, images)
        parsed = with_refiner(parsed, await asyncio.to_thread(refiner_part, self._ctx.models, body))
        files = tuple([await asyncio.to_thread(encode_png, each) for each in images])
        if len(files) == 1:
            parsed = with_inputs(parsed, {target.image: files})
        parsed = await self._with_control(parsed, control, dict(zip(SIDES, images[0].size, strict=True)))
        blur = mask_blur(body) if body.mask else None
        strength = body.denoising_strength
        several = files if len(files) > 1 else ()
        return Batches(parsed, several, count, options, strength, blur, batches=body.n_iter)

    def _options(self, body: GenerationBody, caller: Caller) -> tuple[Options, str]:
        """Return the options of a request, and its model."""
        set_options = self._callers.options(caller)
        overridden = {name: value for name, value in body.override_settings.items() if name in Options.model_fields}
        options = check_fields(Options, {**set_options, **overridden}, "override_settings.")
        return options, find_checkpoint(self._ctx.models, getattr(options, CHECKPOINT))

    async def _control(self, body: GenerationBody, model: str) -> tuple[Control, str]:
        """Return the ControlNets of a request, and the model that has them."""
        units, warnings = parse_units(body.alwayson_scripts)
        if not units:
            return Control(warnings=warnings), model
        control = await asyncio.to_thread(find_control, self._ctx.models, model, units, warnings)
        return control, control.model

    async def _with_control(self, parsed: ParsedRequest, control: Control, size: Mapping[str, int]) -> ParsedRequest:
        """Return a request with its control images."""
        parsed = replace(parsed, warnings=(*parsed.warnings, *control.warnings))
        if not control.units:
            return parsed
        side = (size.get("width"), size.get("height"))
        source = parsed.request.inputs.get(parsed.target.image, ())
        images, params, warnings = await control.prepare(self._ctx, parsed.target.entry, side, source)
        parsed = with_params(parsed, params=params)
        parsed = replace(parsed, warnings=(*parsed.warnings, *warnings))
        return with_inputs(parsed, {parsed.target.control: images})

    async def _continued(self, body: TextToImageBody, caller: Caller) -> Batches:
        """Return the batches of a request whose first pass is an image: it is enlarged and painted over."""
        image = await read_image(self._ctx, body.firstpass_image or "", "firstpass_image")
        size = [round(side * body.hr_scale / 8) * 8 for side in image.size]
        if body.hr_resize_x or body.hr_resize_y:
            ratio = (body.hr_resize_x / image.width) or (body.hr_resize_y / image.height)
            size = [body.hr_resize_x or round(image.width * ratio), body.hr_resize_y or round(image.height * ratio)]
        fields = {name: getattr(body, name) for name in GenerationBody.model_fields if body.has(name)}
        steps = body.hr_second_pass_steps or body.steps
        if body.hr_second_pass_steps or body.has("steps"):
            # Diffusers runs only the fraction of the steps that the strength is.
            fields["steps"] = max(1, round(steps / max(body.denoising_strength, 0.05)))
        for name in ("prompt", "negative_prompt"):
            fields[name] = getattr(body, f"hr_{name}") or getattr(body, name)
        changes = {"width": size[0], "height": size[1], "init_images": [body.firstpass_image]}
        continued = check_fields(ImageToImageBody, {**fields, **changes, **body.unknown})
        batches = await self.image_to_image(continued, caller)
        warning = "'hr_upscaler' has no effect on 'firstpass_image', which is enlarged by Lanczos."
        return replace(batches, parsed=replace(batches.parsed, warnings=(*batches.parsed.warnings, warning)))


async def _prepared(
    ctx: AppContext, body: ImageToImageBody, parsed: ParsedRequest, images: Sequence[Image.Image]
) -> tuple[ParsedRequest, list[Image.Image]]:
    """Return a request with its size, strength and mask, and its resized images."""
    width, height = (getattr(body, name) if body.has(name) else None for name in SIDES)
    limit = ctx.settings.max_image_pixels
    sizes = [target_size(each, width, height, limit) for each in images]
    is_region = body.mask is not None and body.mask != "" and body.inpaint_full_res
    prepared = list(images)
    if not is_region:
        pairs = zip(images, sizes, strict=True)
        prepared = [await asyncio.to_thread(resize, each, size, body.resize_mode) for each, size in pairs]
    params = image_params(body, parsed.target)
    if (width or height) and parsed.target.takes(*SIDES):
        params |= dict(zip(SIDES, sizes[0], strict=True))
    warnings = []
    if body.resize_mode == STRETCH_LATENTS and not body.mask:
        warnings.append("'resize_mode' 3 resizes the image, not its latents.")
    parsed = replace(with_params(parsed, optional_params=params), warnings=(*parsed.warnings, *warnings))
    if body.mask:
        parsed = await _with_mask(ctx, body, parsed, images[0], None if is_region else sizes[0])
    return parsed, prepared


async def _with_mask(
    ctx: AppContext, body: ImageToImageBody, parsed: ParsedRequest, image: Image.Image, size: tuple[int, int] | None
) -> ParsedRequest:
    """Return a request that paints a mask only.

    Args:
        ctx: Collaborators of the routes.
        body: The body.
        parsed: The request.
        image: The first image, before it is resized.
        size: The size that the image is resized to; None for a request that paints a region of it.
    """
    assert body.mask is not None  # noqa: S101 (the caller has checked it)
    mask = await read_mask(ctx, body.mask, is_rounded=body.mask_round)
    if mask.size != image.size:
        mask = mask.resize(image.size)
    if size is not None:
        mask = await asyncio.to_thread(resize, mask, size, body.resize_mode)
    part = {
        "area": "masked" if size is None else "whole",
        "padding": body.inpaint_full_res_padding if size is None else None,
        "mask_blur": mask_blur(body),
        "fill": FILLS[body.inpainting_fill],
        "invert": bool(body.inpainting_mask_invert),
    }
    workflow = {**parsed.request.workflow, "inpaint": part}
    parsed = replace(parsed, request=replace(parsed.request, workflow=workflow))
    return with_inputs(parsed, {parsed.target.mask: (await asyncio.to_thread(encode_png, mask),)})


def with_params(
    parsed: ParsedRequest, params: Mapping[str, Any] | None = None, optional_params: Mapping[str, Any] | None = None
) -> ParsedRequest:
    """Return a request with other call parameters in addition."""
    request = replace(
        parsed.request,
        params={**parsed.request.params, **(params or {})},
        optional_params={**parsed.request.optional_params, **(optional_params or {})},
    )
    return replace(parsed, request=request)


def with_inputs(parsed: ParsedRequest, inputs: Mapping[str, tuple[Source, ...]]) -> ParsedRequest:
    """Return a request with other images in addition."""
    return replace(parsed, request=replace(parsed.request, inputs={**parsed.request.inputs, **inputs}))


def with_refiner(parsed: ParsedRequest, refiner: Mapping[str, Any] | None) -> ParsedRequest:
    """Return a request with a refiner, if there is one."""
    return _with_part(parsed, "refiner", refiner) if refiner else parsed


def with_second_pass(parsed: ParsedRequest, second: SecondPass) -> ParsedRequest:
    """Return a request with a second pass."""
    parsed = replace(parsed, warnings=(*parsed.warnings, *second.warnings))
    if "refiner" in parsed.request.workflow and second.settings["upscaler"] in LATENT_FILTERS:
        warning = (
            "'refiner_checkpoint' has no effect with a second pass over latents: set 'hr_upscaler' to that of an image."
        )
        workflow = {name: each for name, each in parsed.request.workflow.items() if name != "refiner"}
        parsed = replace(parsed, request=replace(parsed.request, workflow=workflow))
        parsed = replace(parsed, warnings=(*parsed.warnings, warning))
    return _with_part(parsed, "hires", second.settings)


def _with_part(parsed: ParsedRequest, name: str, settings: Mapping[str, Any]) -> ParsedRequest:
    """Return a request with a part of a workflow.

    Raises:
        InvalidParameterError: The format of its images is not that of a workflow.
    """
    if parsed.request.output.format not in (None, "png", "jpeg", "webp"):
        maker = {"hires": "A second pass", "refiner": "A refiner"}[name]
        raise InvalidParameterError(f"{maker} makes png, jpg or webp.", parameter="samples_format")
    workflow = {**parsed.request.workflow, name: dict(settings)}
    return replace(parsed, request=replace(parsed.request, workflow=workflow))
