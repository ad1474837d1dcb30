"""Upscalers by the names of the web UI: filters for images and for latents, and models that enlarge images."""

from __future__ import annotations

from typing import Any

from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError, nearest
from octabox.service.protocols import Models
from octabox.service.selection.inputs import IMAGE_TO_IMAGE, STRENGTH, source_parameter
from octabox.service.workflows.resize import FILTERS, LANCZOS

#: The upscaler that leaves an image as it is.
NONE = "None"

#: Filters for latents: antialiasing has an effect only where latents are made smaller.
LATENT_MODES = {
    "Latent": "latent",
    "Latent (antialiased)": "latent",
    "Latent (bicubic)": "latent-bicubic",
    "Latent (bicubic antialiased)": "latent-bicubic",
    "Latent (nearest)": "latent-nearest",
    "Latent (nearest-exact)": "latent-nearest",
}

#: Filters for images.
IMAGE_MODES = {name.capitalize(): name for name in FILTERS}


def enlarging_models(models: Models) -> dict[str, PipelineEntry]:
    """Return the models that enlarge images, by name: those that transform an image, and do not paint over it."""
    found = {}
    for info in models.list():
        entry = models.catalog.pipelines.get(info.pipeline or "")
        if entry is None or info.alias_of or entry.tasks[:1] != (IMAGE_TO_IMAGE,):
            continue
        if source_parameter(entry) and entry.parameter(STRENGTH) is None:
            found[info.name] = entry
    return found


def list_upscalers(models: Models) -> list[dict[str, Any]]:
    """Return all upscalers for images."""
    rows: list[tuple[str, str | None]] = [(NONE, None), *((name, None) for name in IMAGE_MODES)]
    sources = {info.name: info.source for info in models.list()}
    rows += [(name, sources[name]) for name in enlarging_models(models)]
    return [
        {"name": name, "model_name": name if path else None, "model_path": path, "model_url": None, "scale": 4.0}
        for name, path in rows
    ]


def find_upscaler(models: Models, name: str, field: str, *, latent: bool = False) -> str | None:
    """Return an upscaler by the name of a workflow; None for the one that does nothing.

    Args:
        models: The models of this server.
        name: Its name in the web UI.
        field: The field that names it, for errors.
        latent: Whether it may be one for latents.

    Raises:
        InvalidParameterError: There is no such upscaler.
    """
    text = name.strip().casefold()
    if text in (NONE.casefold(), ""):
        return None
    modes = {**IMAGE_MODES, **(LATENT_MODES if latent else {}), **{each: each for each in enlarging_models(models)}}
    known = {label.casefold(): value for label, value in modes.items()}
    if text not in known:
        close = nearest(name, modes) or [LANCZOS.capitalize()]
        raise InvalidParameterError(
            f"There is no upscaler '{name}'.",
            hint=f"Did you mean {' or '.join(close)}? `GET /sdapi/v1/upscalers` lists them all.",
            parameter=field,
            choices=[NONE, *modes],
        )
    return known[text]
