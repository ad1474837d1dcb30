"""A request of ``txt2img`` whose first pass is an image: the request of ``img2img`` that continues it."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

from PIL import Image

from octabox.frontends.http.a1111.checkpoints import find_other
from octabox.frontends.http.a1111.extras.runs import ModelRuns
from octabox.frontends.http.a1111.extras.upscale import enlarge_to
from octabox.frontends.http.a1111.generation.passes.hires import DEFAULT_UPSCALER
from octabox.frontends.http.a1111.generation.schema import GenerationBody, ImageToImageBody, TextToImageBody
from octabox.frontends.http.a1111.images import read_image
from octabox.frontends.http.a1111.modules import requested_modules
from octabox.frontends.http.a1111.options import CHECKPOINT, MODULES
from octabox.frontends.http.a1111.samplers import is_default
from octabox.frontends.http.a1111.upscalers import find_upscaler
from octabox.frontends.http.bodies import check_fields
from octabox.frontends.http.context import AppContext
from octabox.media.images import encode_png
from octabox.media.regions import Size
from octabox.service.protocols import Models
from octabox.service.workflows.resize import LANCZOS, LATENT_FILTERS

#: The sides of the result are multiples of this, which nearly all pipelines require.
MULTIPLE = 8

#: Fields by those of the second pass that replace them.
FIELDS = {"hr_cfg": "cfg_scale", "hr_distilled_cfg": "distilled_cfg_scale"}
SAMPLING = {"hr_sampler_name": "sampler_name", "hr_scheduler": "scheduler"}


async def continued(ctx: AppContext, models: Models, body: TextToImageBody) -> tuple[ImageToImageBody, tuple[str, ...]]:
    """Return the request that paints over the enlarged image, with the fields of the second pass, and warnings.

    Raises:
        OctaboxError: There is no such upscaler, or the image cannot be decoded.
    """
    image = await read_image(ctx, body.firstpass_image or "", "firstpass_image")
    warnings: list[str] = []
    enlarged = await _enlarged(ctx, models, body, image, warnings)
    fields = {name: getattr(body, name) for name in GenerationBody.model_fields if body.has(name)}
    steps = body.hr_second_pass_steps or body.steps
    if body.hr_second_pass_steps or body.has("steps"):
        # Diffusers runs only the fraction of the steps that the strength is.
        needed = max(1, round(steps / max(body.denoising_strength, 0.05)))
        fields["steps"] = max(steps, min(needed, ctx.settings.max_steps))
        if fields["steps"] < needed:
            left = round(fields["steps"] * body.denoising_strength)
            warnings.append(f"'steps' is {left}: more would exceed the limit `max_steps` at this 'denoising_strength'.")
    for name in ("prompt", "negative_prompt"):
        fields[name] = getattr(body, f"hr_{name}") or getattr(body, name)
    fields |= {name: getattr(body, each) for each, name in FIELDS.items() if getattr(body, each) is not None}
    fields |= {name: getattr(body, each) for each, name in SAMPLING.items() if not is_default(getattr(body, each))}
    content = await asyncio.to_thread(encode_png, enlarged)
    changes = {
        "width": enlarged.width,
        "height": enlarged.height,
        "init_images": [base64.b64encode(content).decode("ascii")],
        "override_settings": {**body.override_settings, **await asyncio.to_thread(_settings, models, body)},
    }
    return check_fields(ImageToImageBody, {**fields, **changes, **body.unknown}), tuple(warnings)


def _settings(models: Models, body: TextToImageBody) -> Mapping[str, Any]:
    """Return the options of the second pass: its model and its modules."""
    model = find_other(models, body.hr_checkpoint_name, "hr_checkpoint_name")
    settings: dict[str, Any] = {CHECKPOINT: model} if model else {}
    names = requested_modules(body.hr_additional_modules)
    return {**settings, MODULES: names} if names else settings


async def _enlarged(
    ctx: AppContext, models: Models, body: TextToImageBody, image: Image.Image, warnings: list[str]
) -> Image.Image:
    """Return the enlarged image; one of another shape is cropped."""
    name = body.hr_upscaler or DEFAULT_UPSCALER
    found = await asyncio.to_thread(find_upscaler, models, name, "hr_upscaler", latent=True) or LANCZOS
    if found in LATENT_FILTERS:
        if body.hr_upscaler:
            warnings.append(f"'hr_upscaler' {name!r} enlarges the pixels of 'firstpass_image', which has no latents.")
        found = LATENT_FILTERS[found].name.lower()
    field = "hr_resize_x" if body.hr_resize_x or body.hr_resize_y else "hr_scale"
    return await enlarge_to(ModelRuns(ctx, models, warnings), found, image, _size(body, image.size), field)


def _size(body: TextToImageBody, size: Size) -> Size:
    """Return the size of the result: that of the request, or that of the image by the scale."""
    width, height = body.hr_resize_x, body.hr_resize_y
    scale = body.hr_scale
    if width or height:
        scale = (width / size[0]) or (height / size[1])
    sides = (width or size[0] * scale, height or size[1] * scale)
    across, down = (max(round(side / MULTIPLE) * MULTIPLE, MULTIPLE) for side in sides)
    return across, down
