"""Routes that list pipelines, schedulers and tasks."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.serialization import entry_to_json
from octabox.catalog.signature import json_schema
from octabox.errors import SchedulerNotFoundError
from octabox.frontends.http import errors
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.middleware import SafeJson
from octabox.prompts.styles import load_styles
from octabox.prompts.wildcards import Wildcards
from octabox.schedulers.listing import describe_scheduler, list_schedules, summarize_scheduler
from octabox.service.bounds import Limits
from octabox.service.forms.hints import add_form_hints
from octabox.service.forms.model_sizes import ModelSizes
from octabox.service.forms.scheduler_settings import settings_schema
from octabox.types import SchedulerChoice


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes. Building the catalog may take seconds, so it is built in a thread."""
    router = APIRouter(prefix="/catalog", tags=["catalog"])

    @router.get("/pipelines")
    async def pipelines(task: str | None = None) -> Response:
        """List the pipelines; with a task, those that serve it, the simplest first."""
        found = await _catalog(ctx)
        entries = list(found.pipelines.values()) if task is None else found.ranking(found.task(task))
        return SafeJson({"object": "list", "data": [summary(entry) for entry in entries]})

    @router.get("/pipelines/{name}")
    async def pipeline(name: str) -> Response:
        """Return a pipeline: its tasks, components, parameters and outputs, and the JSON Schema of its parameters."""
        found = await _catalog(ctx)
        entry = found.pipeline(name)
        siblings = [other.name for other in found.siblings(name)]
        schema = add_form_hints(json_schema(entry), entry, ModelSizes(entry), Limits())
        return SafeJson({**entry_to_json(entry), "siblings": siblings, "schema": schema})

    @router.get("/tasks")
    async def tasks() -> Response:
        """List the tasks, each with the simplest pipeline that serves it."""
        found = await _catalog(ctx)
        data = []
        for task in found.tasks():
            ranked = found.ranking(task)
            data.append({"task": task, "pipeline": ranked[0].name, "pipelines": len(ranked)})
        return SafeJson({"object": "list", "data": data})

    _add_schedulers(router, ctx)
    _add_prompts(router, ctx)
    return router


def _add_schedulers(router: APIRouter, ctx: AppContext) -> None:
    """Add the routes of noise schedulers."""

    @router.get("/schedulers")
    async def schedulers(model: str | None = None) -> Response:
        """List the noise schedulers and schedules; with a model, whether each is compatible, and which is recommended."""
        entries = (await _catalog(ctx)).schedulers.values()
        if model is None:
            return SafeJson(
                {
                    "object": "list",
                    "data": [summarize_scheduler(entry) for entry in entries],
                    "schedules": list_schedules(),
                }
            )
        known = await asyncio.to_thread(lambda: ctx.models.snapshot().schedulers(model))
        data = [{**summarize_scheduler(entry), **known.compatibility(entry.name)} for entry in entries]
        return SafeJson({"object": "list", **known.to_json(), "data": data, "schedules": list_schedules()})

    @router.get("/schedulers/{name}")
    async def scheduler(name: str, model: str | None = None) -> Response:
        """Return a noise scheduler by any of its names, with the schema of its settings; with a model, of those that fit it."""
        catalog = await _catalog(ctx)
        try:
            found = describe_scheduler(name, catalog)
        except SchedulerNotFoundError as error:
            # As a parameter of a request this is an error with status 400, but here the name is part of the URL.
            return SafeJson(errors.error_body(error), 404)
        models = await asyncio.to_thread(ctx.models.snapshot)
        served = None if model is None else await asyncio.to_thread(models.resolve, model)
        found["schema"] = await asyncio.to_thread(settings_schema, name, catalog, served)
        if model is None:
            return SafeJson(found)
        known = await asyncio.to_thread(models.schedulers, model)
        incompatibility = await asyncio.to_thread(models.scheduler_incompatibility, model, SchedulerChoice(name))
        return SafeJson({**found, **known.to_json(), **known.compatibility(found["name"], incompatibility)})


def _add_prompts(router: APIRouter, ctx: AppContext) -> None:
    """Add the routes of what a prompt may name: styles and wildcards, which are files of the server."""

    @router.get("/styles")
    async def styles() -> Response:
        """List the styles, with the templates of their prompts."""
        found = await asyncio.to_thread(load_styles, ctx.settings.styles)
        data = [
            {"name": each.name, "prompt": each.prompt, "negative_prompt": each.negative_prompt}
            for each in found.values()
        ]
        return SafeJson({"object": "list", "data": data})

    @router.get("/wildcards")
    async def wildcards() -> Response:
        """List the names of the wildcards."""
        names = await asyncio.to_thread(Wildcards(ctx.settings.wildcards).names)
        return SafeJson({"object": "list", "data": sorted(names)})


async def _catalog(ctx: AppContext) -> Catalog:
    """Return the catalog."""
    return await asyncio.to_thread(lambda: ctx.models.catalog)


def summary(entry: PipelineEntry) -> dict[str, Any]:
    """Return a pipeline as an item of the list."""
    return {
        "name": entry.name,
        "tasks": entry.tasks,
        "output": entry.output_kind,
        "inputs": [{"name": each.name, "kind": each.kind, "required": each.required} for each in entry.media()],
        "family": entry.family,
        "modular": entry.modular,
        "deprecated": entry.deprecated,
        "description": entry.description,
    }
