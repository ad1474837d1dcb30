"""Restore the faces of images by models, by the names of the web UI for them."""

from __future__ import annotations

import asyncio

from PIL import Image

from octabox.frontends.http.a1111.extras.runs import ModelRuns
from octabox.frontends.http.a1111.extras.schema import ExtrasBody
from octabox.service.protocols import Models
from octabox.service.selection.inputs import STRENGTH
from octabox.service.workflows.faces import face_models

#: Fields for the share of a restored face; each begins with the name of its model.
FIELDS = ("gfpgan_visibility", "codeformer_visibility")

#: The field for how much a restored face is like the original one.
WEIGHT = "codeformer_weight"


def find_restorer(models: Models, name: str | None) -> tuple[str | None, bool]:
    """Return the model that restores faces whose name includes that of the web UI, else the first one, and whether it does.

    Args:
        models: The models of this server.
        name: The name of the web UI; None or empty for the first model.
    """
    known = face_models(models.list(), models.catalog)
    text = (name or "").strip().casefold()
    found = next((each for each in known if text in each.casefold()), None)
    return found or next(iter(known), None), found is not None


async def restore_faces(runs: ModelRuns, body: ExtrasBody, image: Image.Image) -> Image.Image:
    """Return an image with restored faces, by the models of its fields one after the other.

    Args:
        runs: Runs the models.
        body: The fields.
        image: The image.

    Raises:
        OctaboxError: A model has failed.
    """
    for field in FIELDS:
        if not (visibility := getattr(body, field)):
            continue
        requested = field.partition("_")[0]
        name, is_same = await asyncio.to_thread(find_restorer, runs.models, requested)
        if name is None:
            runs.warnings.append(f"'{field}' has no effect: there is no model that restores faces.")
            continue
        if not is_same:
            runs.warnings.append(f"'{field}': '{name}' restores faces, since there is no model '{requested}'.")
        if body.codeformer_weight and WEIGHT.partition("_")[0] == requested:
            runs.warnings.append(
                f"'{WEIGHT}' has no effect: '{name}' has no such weight, which is one of CodeFormer alone."
            )
        image = await runs.run(name, image, {STRENGTH: visibility})
    return image
