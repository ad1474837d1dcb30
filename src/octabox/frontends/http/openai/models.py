"""Routes that list, load and unload models."""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from octabox.config.file_problems import find_file_problems
from octabox.config.memory.durations import Duration
from octabox.config.problems import Problem
from octabox.errors import ModelNotFoundError
from octabox.frontends.http.bodies import body_description, check_fields, read_json
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.middleware import SafeJson
from octabox.hub.browsing.memory import machine_memory
from octabox.service.forms.memory import estimate_memory
from octabox.service.forms.tokens import count_model_tokens
from octabox.types import ModelInfo, ModelStatus

#: Maximum number of characters of a prompt whose tokens are counted.
MAX_PROMPT = 20_000


class LoadBody(BaseModel):
    """How long a loaded model stays in memory, until it is unloaded."""

    model_config = ConfigDict(extra="forbid")

    keep_alive: Duration | None = Field(default=None, description="Seconds, a duration such as 5m, or never.")
    pin: StrictBool | None = Field(default=None, description="Whether it is never unloaded for another model.")


class TokensBody(BaseModel):
    """A prompt whose tokens are counted."""

    model_config = ConfigDict(extra="forbid")

    prompt: str = Field(max_length=MAX_PROMPT, description="The prompt.")
    prompt_syntax: Literal["plain", "a1111", "compel"] | None = Field(
        default=None, description="Syntax of the prompt, whose weights are not counted; default: the model's."
    )


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes. A name may contain slashes, so the routes with a suffix come first."""
    router = APIRouter(prefix="/models", tags=["models"])
    _add_estimates(router, ctx)

    async def find(name: str) -> ModelInfo:
        """Return a model that is configured or in memory."""
        try:
            return await asyncio.to_thread(lambda: ctx.models.snapshot().get(name))
        except ModelNotFoundError:
            found = _status_of(ctx, name)
            if found is None:
                raise
            return unconfigured(found)

    @router.get("")
    async def models() -> Response:
        """List all models, with the status of those in memory."""
        current = ctx.models.status()
        statuses = {name: status for status in current for name in (*status.names, status.model)}
        infos = {info.name: info for info in await asyncio.to_thread(lambda: ctx.models.snapshot().list())}
        infos |= {status.model: unconfigured(status) for status in current if status.model not in infos}
        data = [describe(info, statuses.get(info.alias_of or name)) for name, info in infos.items()]
        return SafeJson({"object": "list", "data": data, "problems": await _list_problems(ctx)})

    @router.get("/{name:path}/schema")
    async def schema(name: str, task: str | None = None) -> Response:
        """Return the JSON Schema of a model's requests."""
        return SafeJson(await asyncio.to_thread(lambda: ctx.models.snapshot().schema(name, task)))

    @router.post("/{name:path}/load", openapi_extra=_describe_body())
    async def load(name: str, request: Request) -> Response:
        """Load a model into memory; the body may have `keep_alive` and `pin`."""
        info = await asyncio.to_thread(lambda: ctx.models.snapshot().get(name))
        fields = await read_json(request, '{"keep_alive": "10m"}') if await request.body() else {}
        body = check_fields(LoadBody, fields)
        return SafeJson(describe(info, await ctx.models.load(name, body.keep_alive, body.pin)))

    @router.post("/{name:path}/unload")
    async def unload(name: str) -> Response:
        """Unload a model from memory."""
        info = await find(name)
        return SafeJson({**describe(info, None), "unloaded": await ctx.models.unload(name)})

    @router.get("/{name:path}")
    async def model(name: str) -> Response:
        """Return a model, with its status if it is in memory."""
        info = await find(name)
        return SafeJson(describe(info, _status_of(ctx, info.alias_of or info.name)))

    return router


def _add_estimates(router: APIRouter, ctx: AppContext) -> None:
    """Add the routes that count tokens, and estimate memory, without loading a model."""
    _add_tokens(router, ctx)

    @router.get("/{name:path}/memory")
    async def memory(name: str) -> Response:
        """Return the bytes that the weights of a model need, and whether they fit into the memory; it is not loaded for it."""
        model = await asyncio.to_thread(lambda: ctx.models.snapshot().resolve(name))
        machine = await asyncio.to_thread(machine_memory)
        return SafeJson(
            await asyncio.to_thread(estimate_memory, model, machine, ctx.settings.device, ctx.settings.dtype)
        )


def _add_tokens(router: APIRouter, ctx: AppContext) -> None:
    """Add the route that counts the tokens of a prompt."""

    @router.post(
        "/{name:path}/tokens", openapi_extra=body_description(TokensBody.model_json_schema, "application/json")
    )
    async def tokens(name: str, request: Request) -> Response:
        """Count the tokens of a prompt by each tokenizer of a model, which is not loaded for it."""
        body = check_fields(TokensBody, await read_json(request, '{"prompt": "a red circle"}'))
        model = await asyncio.to_thread(lambda: ctx.models.snapshot().resolve(name))
        syntax = body.prompt_syntax or model.config.prompt_syntax or ctx.settings.prompt_syntax
        counts = await asyncio.to_thread(count_model_tokens, model.config, body.prompt, syntax)
        return SafeJson({"object": "list", "data": [asdict(each) for each in counts]})


def _describe_body() -> dict[str, Any]:
    """Return the OpenAPI description of the body that a load may have."""
    content = {"application/json": {"schema": LoadBody.model_json_schema()}}
    return {"requestBody": {"required": False, "content": content}}


def _status_of(ctx: AppContext, name: str) -> ModelStatus | None:
    """Return the status of a model by one of its names; None if it is not in memory."""
    return next((status for status in ctx.models.status() if name in (status.model, *status.names)), None)


def unconfigured(status: ModelStatus) -> ModelInfo:
    """Return a model in memory that is not in the models folder: a Hub id, or one whose configuration was removed."""
    return ModelInfo(status.model, status.model, status.pipeline)


async def _list_problems(ctx: AppContext) -> list[dict[str, Any]]:
    """Return the problems of the configurations and of the files of the settings' folders, as `octabox check` finds them."""
    problems = await asyncio.to_thread(lambda: [*ctx.models.problems(), *find_file_problems(ctx.settings)])
    return [describe_problem(each, ctx.settings.models) for each in problems]


def describe_problem(problem: Problem, folder: Path) -> dict[str, Any]:
    """Return a problem of a configuration, which `octabox check` finds too, without the path of the models folder.

    Args:
        problem: The problem.
        folder: The models folder.
    """
    described = {**asdict(problem), "file": problem.file.name}
    paths = (f"{folder.absolute()}{os.sep}", f"{folder}{os.sep}")
    for name in ("message", "hint"):
        for path in paths:
            described[name] = described[name].replace(path, "")
    return described


def describe(info: ModelInfo, status: ModelStatus | None) -> dict[str, Any]:
    """Return a model in OpenAI's format, without its path on the server."""
    described: dict[str, Any] = {
        "id": info.name,
        "object": "model",
        "created": int(info.created),
        "owned_by": "octabox",
        "pipeline": info.pipeline,
        "tasks": list(info.tasks),
        "description": info.description,
        **({"alias_of": info.alias_of} if info.alias_of else {}),
    }
    if status is not None:
        described["status"] = {name: value for name, value in asdict(status).items() if name != "model"}
    return described
