"""Masks of images that are transparent where they are to be inpainted."""

from __future__ import annotations

import asyncio

from PIL.Image import Image

from octabox.errors import ForbiddenUrlError, MediaError, TaskNotFoundError
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.multipart import MASK
from octabox.service.protocols import Models
from octabox.service.selection.models import first_model_for
from octabox.types import Source

#: The task of an edit with a mask.
INPAINTING = "inpainting"

#: Transparency of a pixel that is not visible.
TRANSPARENT = 255

#: Warning of an edit whose image is its mask.
OWN_MASK = (
    "'image' is its own mask: its transparent part is inpainted. Request the task image-to-image to edit all of it."
)


async def find_mask(
    ctx: AppContext, models: Models, model: str | None, inputs: dict[str, tuple[Source, ...]]
) -> dict[str, tuple[Source, ...]]:
    """Return the mask of an edit without one: its image, if a part of that is transparent, as in OpenAI's API.

    An image by its URL is fetched for that, and returned too, so that it is fetched once.

    Args:
        ctx: Collaborators of the routes.
        models: The models of this server, as the request sees them.
        model: Name of the model, if the client names one; a model that does not inpaint edits the whole image.
        inputs: Media by call parameter.
    """
    image, *others = inputs.get("image", ("", ""))
    if others or MASK in inputs:
        return {}
    try:
        if model is None:
            model = await asyncio.to_thread(first_model_for, models, "image", INPAINTING)
        await asyncio.to_thread(models.pipeline, model, INPAINTING)
        data = await ctx.fetcher.fetch(image, parameter="image")
        transparency = await ctx.decoder.decode("transparency", data, parameter="image")
    except (MediaError, ForbiddenUrlError, TaskNotFoundError):
        # The validation of the request reports a damaged image, together with all other problems.
        return {}
    is_mask = isinstance(transparency, Image) and transparency.getextrema()[1] == TRANSPARENT
    return {"image": (data,), **({MASK: (data,)} if is_mask else {})}
