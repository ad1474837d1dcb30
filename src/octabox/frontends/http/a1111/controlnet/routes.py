"""Routes of the web UI's extension for ControlNets."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from octabox.frontends.http.a1111.controlnet.control import control_models, preprocess
from octabox.frontends.http.a1111.controlnet.preprocessors import PREPROCESSORS, find_preprocessor
from octabox.frontends.http.a1111.fields import Count, LenientModel, Number, unknown_warnings
from octabox.frontends.http.a1111.images import read_image
from octabox.frontends.http.a1111.responses import A1111Route
from octabox.frontends.http.bodies import check_fields, read_json
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.middleware import SafeJson
from octabox.media.images import encode_png

#: Version of the extension whose API this is, and the maximum number of units.
VERSION, MAX_UNITS = 2, 8


class DetectBody(LenientModel):
    """Body of ``/controlnet/detect``."""

    controlnet_module: str = Field("none", description="Preprocessor.")
    controlnet_input_images: list[str] = Field(default_factory=list, max_length=64, description="Images in base64.")
    controlnet_images: list[str] = Field(default_factory=list, max_length=64, description="Another name of them.")
    controlnet_processor_res: Count = Field(512, description="Size at which the preprocessor works.")
    controlnet_threshold_a: Number = Field(-1.0, description="Its first threshold.")
    controlnet_threshold_b: Number = Field(-1.0, description="Its second threshold.")


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/controlnet", route_class=A1111Route, tags=["A1111"])

    @router.get("/version")
    async def version() -> Response:
        """Return the version of the API."""
        return SafeJson({"version": VERSION})

    @router.get("/settings")
    async def settings() -> Response:
        """Return the maximum number of units."""
        return SafeJson({"control_net_unit_count": MAX_UNITS})

    @router.get("/model_list")
    async def model_list() -> Response:
        """List the ControlNets of all models, each once."""
        return SafeJson({"model_list": await asyncio.to_thread(_model_names, ctx)})

    @router.get("/module_list")
    async def module_list() -> Response:
        """List the preprocessors."""
        details = {name: {"model_free": False, "sliders": _sliders(name)} for name in PREPROCESSORS}
        return SafeJson({"module_list": [*PREPROCESSORS], "module_detail": details})

    @router.get("/control_types")
    async def control_types() -> Response:
        """List the preprocessors and the ControlNets by type."""
        names = await asyncio.to_thread(_model_names, ctx)
        types: dict[str, list[str]] = {"All": [*PREPROCESSORS]}
        for name, each in PREPROCESSORS.items():
            if each.control_type != "All":
                types.setdefault(each.control_type, ["none"]).append(name)
        rows = {name: _control_type(name, modules, names) for name, modules in types.items()}
        return SafeJson({"control_types": rows})

    @router.post("/detect")
    async def detect(request: Request) -> Response:
        """Return the control images that a preprocessor makes."""
        body = check_fields(DetectBody, await read_json(request))
        find_preprocessor(body.controlnet_module)
        images = []
        for text in body.controlnet_input_images or body.controlnet_images:
            image = await read_image(ctx, text, "controlnet_input_images")
            arguments = (body.controlnet_processor_res, body.controlnet_threshold_a, body.controlnet_threshold_b)
            made = await asyncio.to_thread(preprocess, image, body.controlnet_module, *arguments)
            images.append(base64.b64encode(await asyncio.to_thread(encode_png, made)).decode("ascii"))
        warnings = unknown_warnings(body)
        return SafeJson({"images": images, "info": "Success", **({"warnings": warnings} if warnings else {})})

    return router


def _model_names(ctx: AppContext) -> list[str]:
    """Return the names of all ControlNets."""
    return sorted({name for names in control_models(ctx.models.snapshot()).values() for name in names})


def _sliders(name: str) -> list[dict[str, Any]]:
    """Return the thresholds of a preprocessor."""
    return [
        {"name": label, "value": value, "min": low, "max": high, "step": 1}
        for label, value, low, high in PREPROCESSORS[name].sliders
    ]


def _control_type(name: str, modules: list[str], names: list[str]) -> dict[str, Any]:
    """Return a type with its preprocessors and ControlNets."""
    matching = [each for each in names if name == "All" or name.casefold() in each.casefold()]
    return {
        "module_list": modules,
        "model_list": ["None", *matching],
        "default_option": modules[-1] if name != "All" else "none",
        "default_model": matching[0] if matching and name != "All" else "None",
    }
