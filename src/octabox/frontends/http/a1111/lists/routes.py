"""Routes that list samplers, upscalers, LoRAs, embeddings, styles and scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from octabox.frontends.http.a1111.controlnet.units import Unit
from octabox.frontends.http.a1111.modules import list_modules
from octabox.frontends.http.a1111.responses import A1111Route
from octabox.frontends.http.a1111.samplers import list_samplers, list_schedules
from octabox.frontends.http.a1111.scripts import PLOT, plot_arguments
from octabox.frontends.http.a1111.upscalers import LATENT_MODES, list_upscalers
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.middleware import SafeJson
from octabox.hub.adapters.adapter_file import AdapterFile
from octabox.prompts.styles import load_styles
from octabox.service.workflows.faces import face_models

#: The scripts; clients look for the last name to find out whether there is ControlNet.
SCRIPTS = (PLOT, "controlnet", "controlnet m2m")

#: Lists that are empty, since there is nothing of the kind.
EMPTY = ("hypernetworks", "realesrgan-models", "extensions")

#: Lists that are read again when they are requested, so that there is nothing to refresh.
FRESH = ("refresh-checkpoints", "refresh-vae", "refresh-loras", "refresh-embeddings")


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/sdapi/v1", route_class=A1111Route, tags=["A1111"])

    def add_list(path: str, build: Callable[[], Any], description: str) -> None:
        async def respond() -> Response:
            return SafeJson(await asyncio.to_thread(build))

        router.add_api_route(f"/{path}", respond, methods=["GET"], name=path, description=description)

    add_list("samplers", lambda: list_samplers(ctx.models.catalog), "List the samplers.")
    add_list("schedulers", list_schedules, "List the schedules.")
    add_list(
        "upscalers", lambda: list_upscalers(ctx.models.snapshot()), "List the filters and models that enlarge images."
    )
    add_list("face-restorers", lambda: _face_restorers(ctx), "List the models that restore faces.")
    add_list("sd-vae", lambda: list_modules(ctx.models.snapshot(), vae=True), "List the VAEs of configurations.")
    add_list(
        "sd-modules", lambda: list_modules(ctx.models.snapshot()), "List the VAEs and text encoders of configurations."
    )
    add_list("latent-upscale-modes", lambda: [{"name": name} for name in LATENT_MODES], "List the filters for latents.")
    add_list("loras", lambda: [_lora_to_json(each) for each in ctx.models.adapters.loras()], "List the LoRAs.")
    add_list("embeddings", lambda: _embeddings(ctx.models.adapters.embeddings()), "List the embeddings.")
    add_list("prompt-styles", lambda: _styles(ctx), "List the styles.")
    add_list("scripts", lambda: {"txt2img": [*SCRIPTS], "img2img": [*SCRIPTS]}, "List the scripts.")
    add_list("script-info", _script_info, "List the scripts with their arguments.")
    for name in EMPTY:
        add_list(name, list, "An empty list: there is nothing of the kind.")

    async def refresh() -> Response:
        """Respond only: folders are read when they are listed."""
        return SafeJson({})

    for name in FRESH:
        router.add_api_route(f"/{name}", refresh, methods=["POST"], name=name)
    return router


def _lora_to_json(lora: AdapterFile) -> dict[str, Any]:
    """Return a LoRA as an item of the list."""
    metadata = {"ss_base_model_version": lora.base or None, "network": lora.network, "words": list(lora.words)}
    fields = {"name": lora.name, "alias": lora.name.rpartition("/")[2], "path": str(lora.file), "metadata": metadata}
    return {**fields, "problem": lora.problem} if lora.problem else fields


def _embeddings(found: list[AdapterFile]) -> dict[str, dict[str, Any]]:
    """Return the embeddings by the words that they are used by; those that cannot be used are skipped."""
    loaded: dict[str, Any] = {}
    skipped: dict[str, Any] = {}
    for each in found:
        described = {
            "step": None,
            "sd_checkpoint": None,
            "sd_checkpoint_name": None,
            "shape": max(each.widths, default=0),
            "vectors": each.rank or 0,
        }
        rows = skipped if each.problem else loaded
        rows |= dict.fromkeys(each.words or (each.name,), described)
    return {"loaded": loaded, "skipped": skipped}


def _styles(ctx: AppContext) -> list[dict[str, Any]]:
    """Return the styles."""
    styles = load_styles(ctx.settings.styles).values()
    return [{"name": each.name, "prompt": each.prompt, "negative_prompt": each.negative_prompt} for each in styles]


def _script_info() -> list[dict[str, Any]]:
    """Return the scripts with their arguments, for both routes."""
    unit = [{"label": name, "value": each.default} for name, each in Unit.model_fields.items()]
    rows: list[dict[str, Any]] = []
    for is_img2img in (False, True):
        rows.append({"name": "controlnet", "is_alwayson": True, "is_img2img": is_img2img, "args": _arguments(unit)})
        plot = {"name": PLOT, "is_alwayson": False, "is_img2img": is_img2img, "args": _arguments(plot_arguments())}
        rows.append(plot)
    return rows


def _arguments(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return arguments with all keys that clients read."""
    return [{"minimum": None, "maximum": None, "step": None, "choices": None, **row} for row in rows]


def _face_restorers(ctx: AppContext) -> list[dict[str, Any]]:
    """Return the models that restore faces."""
    return [{"name": name, "cmd_dir": None} for name in face_models(ctx.models.snapshot().list(), ctx.models.catalog)]
