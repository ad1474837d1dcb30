"""Find the models that restore faces, and build the requests to one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.errors import InvalidParameterError, ModelNotFoundError, nearest
from octabox.service.protocols import Models
from octabox.service.served_model import ServedModel
from octabox.service.workflows.parts import FacesPart
from octabox.types import ModelInfo

#: The component that makes a pipeline one for the restoration of faces.
COMPONENT = "face_restorer"

#: The setting of a workflow that names the model.
PARAMETER = "workflow.faces.model"


def face_models(infos: Iterable[ModelInfo], catalog: Catalog) -> list[str]:
    """Return the names of the models that restore faces."""
    entries = ((info, catalog.pipelines.get(info.pipeline or "")) for info in infos if not info.alias_of)
    return [info.name for info, entry in entries if entry is not None and restores_faces(entry)]


def restores_faces(entry: PipelineEntry) -> bool:
    """Return whether a pipeline restores faces, by its components."""
    return any(part.name == COMPONENT for part in entry.components)


async def select_face_model(models: Models, settings: FacesPart) -> ServedModel:
    """Return the model that restores the faces of a workflow.

    Raises:
        InvalidParameterError: There is none, or the requested one does not restore faces.
    """
    known = face_models(models.list(), models.catalog)
    name = settings.model or next(iter(known), None)
    if name is None:
        raise InvalidParameterError(
            "There is no model that restores faces.",
            hint="Put a network such as GFPGAN or RestoreFormer into the models folder.",
            parameter="workflow.faces",
        )
    hint = f"There are {', '.join(known)}." if known else "Put a network such as GFPGAN into the models folder."
    try:
        model = await asyncio.to_thread(models.resolve, name)
    except ModelNotFoundError as error:
        close = nearest(name, known)
        message = f"There is no model '{name}'."
        raise InvalidParameterError(message, hint=hint, parameter=PARAMETER, choices=close or known) from error
    if not restores_faces(model.pipeline):
        message = f"The model '{name}' is a {model.pipeline.name}, which does not restore faces."
        raise InvalidParameterError(message, hint=hint, parameter=PARAMETER, choices=known)
    return model
