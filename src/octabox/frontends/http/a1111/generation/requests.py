"""Build the requests of ``txt2img`` and ``img2img``: translated, with their workflows and images."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from octabox.frontends.http.a1111.callers import Caller, Callers
from octabox.frontends.http.a1111.checkpoints import find_checkpoint
from octabox.frontends.http.a1111.controlnet.control import Control, find_control
from octabox.frontends.http.a1111.controlnet.units import Pass, parse_units
from octabox.frontends.http.a1111.generation.parsed import ParsedRequest, with_inputs, with_params, with_warnings
from octabox.frontends.http.a1111.generation.passes.continued import continued
from octabox.frontends.http.a1111.generation.passes.controlled import with_control_passes
from octabox.frontends.http.a1111.generation.passes.hires import (
    hires_pass,
    refiner_part,
    with_refiner,
    with_second_pass,
)
from octabox.frontends.http.a1111.generation.passes.painting import SIDES, prepared
from octabox.frontends.http.a1111.generation.schema import GenerationBody, ImageToImageBody, TextToImageBody
from octabox.frontends.http.a1111.generation.targets import Target, image_target, mask_target, text_target
from octabox.frontends.http.a1111.generation.translate import check_count, mask_blur, to_request
from octabox.frontends.http.a1111.images import read_image
from octabox.frontends.http.a1111.modules import missing_warning, model_with
from octabox.frontends.http.a1111.options import CHECKPOINT, Options, kept_options, sent_options
from octabox.frontends.http.a1111.responses import NO_IMAGE, ImageNotFoundError
from octabox.frontends.http.bodies import check_fields
from octabox.frontends.http.context import AppContext
from octabox.media.images import encode_png
from octabox.service.protocols import Models
from octabox.types import Source


@dataclass(frozen=True)
class Batches:
    """All batches of a request.

    Args:
        models: The models of the server by which it was built, and by which it is run.
        parsed: The request.
        images: The source images, of which each makes one output of a batch; empty for one that makes all.
        count: Number of outputs.
        options: The options of the request.
        strength: Strength of the result, for its description; None if it has none.
        mask_blur: Radius of the mask's blur.
        batches: Number of batches.
        controls: The control images of each of several source images; empty if there are none.
        masks: The mask of each of them; empty if there is none.
    """

    models: Models
    parsed: ParsedRequest
    images: tuple[bytes, ...] = ()
    count: int = 1
    options: Options = field(default_factory=lambda: Options.model_validate({}))
    strength: float | None = None
    mask_blur: int | list[int] | None = None
    batches: int = 1
    controls: tuple[tuple[Source, ...], ...] = ()
    masks: tuple[bytes, ...] = ()

    @property
    def runs(self) -> int:
        """Number of requests to the service."""
        return self.batches * max(len(self.images), 1)

    def request(self, index: int) -> Any:
        """Return a request to the service."""
        if not self.images:
            return self.parsed.batch(index)
        request = self.parsed.batch(index)
        place, target = index % len(self.images), self.parsed.target
        inputs: dict[str, tuple[Source, ...]] = {target.image: (self.images[place],)}
        if self.controls:
            inputs[target.control] = self.controls[place]
        if self.masks:
            inputs[target.mask] = (self.masks[place],)
        return replace(request, inputs={**request.inputs, **inputs})


class RequestBuilder:
    """Builds the requests of a server.

    Args:
        ctx: Collaborators of the routes.
        callers: The options of callers.
    """

    def __init__(self, ctx: AppContext, callers: Callers) -> None:
        self._ctx, self._callers = ctx, callers

    async def text_to_image(self, models: Models, body: TextToImageBody, caller: Caller) -> Batches:
        """Return the batches of ``txt2img``.

        Raises:
            OctaboxError: The request is invalid.
        """
        if body.enable_hr and body.firstpass_image:
            following, warnings = await continued(self._ctx, models, body)
            batches = await self._painted(models, following, caller, Pass.SECOND)
            return replace(batches, parsed=with_warnings(batches.parsed, *warnings))
        options, model, notes = await asyncio.to_thread(self._options, models, body, caller)
        control, model = await self._control(models, body, model)

        def translated() -> tuple[Target, ParsedRequest]:
            target = text_target(models, model, controlled=bool(control.units))
            return target, with_refiner(to_request(models, body, options, target), refiner_part(models, body))

        target, parsed = await asyncio.to_thread(translated)
        size = {name: getattr(body, name) for name in SIDES if body.has(name)}
        if body.enable_hr and (body.firstphase_width or body.firstphase_height):
            size = {name: getattr(body, f"firstphase_{name}") or getattr(body, name) for name in SIDES}
        parsed = with_params(parsed, optional_params=size)
        if body.enable_hr:
            second = await asyncio.to_thread(hires_pass, self._ctx, models, target, body, parsed.sampling)
            parsed = with_second_pass(parsed, second)
            if control.has_passes:
                parsed, control = await asyncio.to_thread(with_control_passes, models, parsed, control)
        parsed, _ = await self._with_control(with_warnings(parsed, *notes), control, size)
        count = check_count(body, 1, self._ctx.settings.max_outputs)
        strength = body.denoising_strength if body.enable_hr else None
        return Batches(models, parsed, (), count, options, strength, batches=body.n_iter)

    async def image_to_image(self, models: Models, body: ImageToImageBody, caller: Caller) -> Batches:
        """Return the batches of ``img2img``.

        Raises:
            OctaboxError: The request is invalid.
        """
        return await self._painted(models, body, caller)

    async def _painted(
        self, models: Models, body: ImageToImageBody, caller: Caller, which: Pass | None = None
    ) -> Batches:
        """Return the batches that paint over images, as a request of its own or as one of two passes."""
        sources = [text for text in body.init_images if text]
        if not sources:
            raise ImageNotFoundError(f"{NO_IMAGE}.", hint="Send it as base64.", parameter="init_images")
        count = check_count(body, len(sources), self._ctx.settings.max_outputs)
        options, model, notes = await asyncio.to_thread(self._options, models, body, caller)
        control, model = await self._control(models, body, model)
        control = control.in_pass(which) if which else control
        find = mask_target if body.mask else image_target
        target = await asyncio.to_thread(find, models, model, controlled=bool(control.units))
        parsed = await asyncio.to_thread(to_request, models, body, options, target)
        images = [await read_image(self._ctx, text, "init_images") for text in sources]
        parsed, images, masks = await prepared(self._ctx, body, with_warnings(parsed, *notes), images)
        parsed = with_refiner(parsed, await asyncio.to_thread(refiner_part, models, body))
        files = tuple([await asyncio.to_thread(encode_png, each) for each in images])
        if len(files) == 1:
            parsed = with_inputs(parsed, {target.image: files})
        else:
            # Each makes one output, and the seeds count outputs.
            parsed = replace(parsed, request=replace(parsed.request, num_outputs=1))
        parsed, controls = await self._with_control(parsed, control, {}, files)
        blur = mask_blur(body) if body.mask else None
        strength = body.denoising_strength
        several, masks = (files, masks) if len(files) > 1 else ((), ())
        return Batches(models, parsed, several, count, options, strength, blur, body.n_iter, controls, masks)

    def _options(self, models: Models, body: GenerationBody, caller: Caller) -> tuple[Options, str, tuple[str, ...]]:
        """Return the options of a request, its model, and warnings about the modules of it that there are not."""
        overridden = sent_options(body.override_settings)
        kept, warnings = kept_options(models, self._callers, caller)
        options = check_fields(Options, {**kept, **overridden}, "override_settings.")
        model = find_checkpoint(models, getattr(options, CHECKPOINT))
        names = options.modules
        model, missing = model_with(models, model, names) if names else (model, [])
        warnings = [] if CHECKPOINT in overridden else warnings
        return options, model, (*warnings, *(missing_warning(models, model, name, names[name]) for name in missing))

    async def _control(self, models: Models, body: GenerationBody, model: str) -> tuple[Control, str]:
        """Return the ControlNets of a request, and the model that has them."""
        units, warnings = parse_units(body.alwayson_scripts)
        if not units:
            return Control(warnings=warnings), model
        control = await asyncio.to_thread(find_control, models, model, units, warnings)
        return control, control.model

    async def _with_control(
        self, parsed: ParsedRequest, control: Control, size: Mapping[str, int], sources: Sequence[bytes] = ()
    ) -> tuple[ParsedRequest, tuple[tuple[Source, ...], ...]]:
        """Return a request with its control images, and those of each source image.

        Args:
            parsed: The request.
            control: The ControlNets.
            size: Width and height of a result without a source image, if the request has them.
            sources: The source images.
        """
        parsed = with_warnings(parsed, *control.warnings)
        if not control.units:
            return parsed, ()
        entry, side = parsed.target.entry, (size.get("width"), size.get("height"))
        source_images: Sequence[bytes | None] = sources or [None]
        prepared = [await control.prepare(self._ctx, entry, side, each) for each in source_images]
        _, params, warnings = prepared[0]
        controls = tuple(images for images, _, _ in prepared)
        # Those that follow the result are the same for all sources where units have images themselves.
        maps = tuple(file for images in dict.fromkeys(controls) for file in control.maps(images))
        parsed = with_warnings(with_params(parsed, params=params), *warnings)
        parsed = replace(parsed, maps=maps, pairs=control.pairs)
        return with_inputs(parsed, {parsed.target.control: controls[0]}), controls
