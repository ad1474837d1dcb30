"""Routes ``txt2img`` and ``img2img``."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias, TypeVar

from fastapi import APIRouter, Request
from fastapi.responses import Response

from octabox.errors import QueueFullError
from octabox.frontends.http.a1111.callers import Caller, Callers, caller_of
from octabox.frontends.http.a1111.controlnet.units import SCRIPT
from octabox.frontends.http.a1111.generation.defaults import with_infotext
from octabox.frontends.http.a1111.generation.parsed import with_warnings
from octabox.frontends.http.a1111.generation.plots.plot import cell_body, parse_plot, with_fixed_seed
from octabox.frontends.http.a1111.generation.requests import Batches, RequestBuilder
from octabox.frontends.http.a1111.generation.results import Output, to_plot_response, to_response
from octabox.frontends.http.a1111.generation.schema import GenerationBody, ImageToImageBody, TextToImageBody
from octabox.frontends.http.a1111.generation.translate import requested_steps
from octabox.frontends.http.a1111.options import COMMENTS, Options, sent_options
from octabox.frontends.http.a1111.progress.tasks import OnProgress, Task, Tasks
from octabox.frontends.http.a1111.responses import A1111Route, ScriptNotFoundError
from octabox.frontends.http.a1111.scripts import PLOT
from octabox.frontends.http.bodies import body_description, check_fields, read_json
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.disconnect import cancel_on_disconnect
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.naming.renaming import rename_error_params
from octabox.prompts.comments import inner_comments, remove_comments
from octabox.security.nesting import check_text
from octabox.service.events import result_of
from octabox.service.protocols import Models
from octabox.types import Generation, GenerationRequest

#: Field of older clients for the units of ControlNet.
UNITS = "controlnet_units"

#: Maximum number of characters of a comment in a warning.
MAX_SHOWN = 60

#: Maximum number of previews of a run.
MAX_PREVIEWS = 20

Body = TypeVar("Body", bound=GenerationBody)

#: Builds the batches of a request.
Build: TypeAlias = Callable[[Models, Body, Caller], Awaitable[Batches]]


@dataclass(frozen=True)
class Generator:
    """Runs the batches of requests.

    Args:
        ctx: Collaborators of the routes.
        callers: The options of callers.
        tasks: The tasks that run.
    """

    ctx: AppContext
    callers: Callers
    tasks: Tasks

    async def respond(self, request: Request, body: Body, job: str, build: Build[Body]) -> dict[str, Any]:
        """Return the body of the response to a request.

        Raises:
            OctaboxError: The request is invalid or has failed.
        """
        caller = caller_of(request)
        body, notes = self._without_comments(body, caller)
        build = partial(_with_notes, build, notes)
        with self.tasks.started(body.force_task_id, caller, job, body.n_iter) as task:
            models = await asyncio.to_thread(self.ctx.models.snapshot)
            if body.script_name:
                return await self._plot(models, body, task, build)
            batches = await build(models, body, caller)
            task.batches = batches.runs
            output = await self._run(body, batches, task)
            return await to_response(self.ctx, body, batches, output, task)

    def _without_comments(self, body: Body, caller: Caller) -> tuple[Body, list[str]]:
        """Return a body whose prompts have no comments, unless the options turn them off, and warnings about those in lines.

        Raises:
            InvalidParameterError: The option is not true or false.
        """
        set_options = {**self.callers.options(caller), **sent_options(body.override_settings)}
        sent = {name: value for name, value in set_options.items() if name == COMMENTS}
        if not check_fields(Options, sent, "override_settings.").enable_prompt_comments:
            return body, []
        prompts = {name: getattr(body, name) for name in type(body).model_fields if name.endswith("prompt")}
        for name, text in prompts.items():
            check_text(text, name)
        changed = {name: made for name, text in prompts.items() if (made := remove_comments(text)) != text}
        notes = [
            f"'{name}' has a comment, which is left out: '{each[:MAX_SHOWN]}'; the option '{COMMENTS}' turns that off."
            for name in changed
            for each in inner_comments(prompts[name])
        ]
        return body.model_copy(update=changed), notes

    async def _plot(self, models: Models, body: Body, task: Task, build: Build[Body]) -> dict[str, Any]:
        """Return the body of the response to a request for a plot."""
        plot = parse_plot(body)
        body = with_fixed_seed(body, plot)
        cells = [cell_body(body, plot, values, index) for index, values in enumerate(plot.cells())]
        # All are checked before one runs.
        built = [await build(models, cell, task.caller) for cell in cells]
        task.batches = sum(batches.runs for batches in built)
        done = 0
        bodies: list[dict[str, Any] | None] = []
        for cell, batches in zip(cells, built, strict=True):
            output = await self._run(cell, batches, task, done)
            done += batches.runs
            made = await to_response(self.ctx, cell, batches, output, task) if output.is_present else None
            bodies.append(made)
            if task.interrupted:
                break
        return await asyncio.to_thread(to_plot_response, plot, bodies, body)

    async def _run(self, body: GenerationBody, batches: Batches, task: Task, start: int = 0) -> Output:
        """Run all batches, unless the task is interrupted.

        Args:
            body: The body of the request.
            batches: The batches.
            task: Their task.
            start: Number of batches of the task before these.
        """
        previews = self._previews(batches, body, task.caller)
        requests = [replace(batches.request(index), partial_images=previews) for index in range(batches.runs)]
        with rename_error_params(batches.parsed.client_names):
            works = [partial(self._generate, batches.models, task, *each) for each in enumerate(requests, start)]
            results = await task.run(start, works)
        generations = {index: each for index, each in enumerate(results) if each is not None}
        preview = task.preview if task.interrupted else None
        if preview is None or preview.batch - start in generations:
            return Output(generations)
        return Output(generations, replace(preview, batch=preview.batch - start))

    async def _generate(
        self, models: Models, task: Task, index: int, request: GenerationRequest, on_progress: OnProgress
    ) -> Generation:
        """Run a batch; where those before it fill the queue of the model, it waits for them."""
        while True:
            try:
                return await result_of(self.ctx.generation.stream(request, models), on_progress)
            except QueueFullError as error:
                if task.is_current(index):
                    raise
                await asyncio.sleep(error.pause)

    def _previews(self, batches: Batches, body: GenerationBody, caller: Caller) -> int:
        """Return the number of previews of a run: those of a caller that reads them, or that the request asks for."""
        options = batches.options
        every = options.show_progress_every_n_steps
        if not options.live_previews_enable or every < 1:
            return 0
        if "live_previews_enable" not in body.override_settings and not self.callers.reads_previews(caller):
            return 0
        target = batches.parsed.target
        steps = requested_steps(body, target) or target.default_steps or body.steps
        return min(max((steps - 1) // every, 1), MAX_PREVIEWS)


def routes(ctx: AppContext, callers: Callers, tasks: Tasks) -> APIRouter:
    """Return the routes, also those of older clients of the extension for ControlNets."""
    router = APIRouter(route_class=A1111Route, tags=["A1111"])
    builder, generator = RequestBuilder(ctx, callers), Generator(ctx, callers, tasks)

    @router.post("/controlnet/txt2img", include_in_schema=False)
    @router.post(
        "/sdapi/v1/txt2img", openapi_extra=body_description(TextToImageBody.model_json_schema, "application/json")
    )
    async def txt2img(request: Request) -> Response:
        """Generate images from a prompt."""
        body = await _read(request, TextToImageBody)
        work = generator.respond(request, body, "txt2img", builder.text_to_image)
        return SafeJson(await cancel_on_disconnect(request.receive, work))

    @router.post("/controlnet/img2img", include_in_schema=False)
    @router.post(
        "/sdapi/v1/img2img", openapi_extra=body_description(ImageToImageBody.model_json_schema, "application/json")
    )
    async def img2img(request: Request) -> Response:
        """Generate images from images, or paint the masked part of one."""
        body = await _read(request, ImageToImageBody)
        work = generator.respond(request, body, "img2img", builder.image_to_image)
        return SafeJson(await cancel_on_disconnect(request.receive, work))

    return router


async def _with_notes(build: Build[Body], notes: Sequence[str], models: Models, body: Body, caller: Caller) -> Batches:
    """Return the batches of a body, with other warnings in addition."""
    batches = await build(models, body, caller)
    return replace(batches, parsed=with_warnings(batches.parsed, *notes))


async def _read(request: Request, model: type[Body]) -> Body:
    """Return the body of a request.

    Raises:
        RequestError: It is not a JSON object, a field has an invalid value, or there is no such script.
    """
    fields = await read_json(request)
    scripts = fields.get("alwayson_scripts") or {}
    if UNITS in fields and isinstance(scripts, Mapping):
        # Older clients send the units next to the other fields.
        units = {SCRIPT: {"args": fields.pop(UNITS)}}
        fields = {**fields, "alwayson_scripts": {**scripts, **units}}
    body = check_fields(model, with_infotext(fields))
    name = (body.script_name or "").strip().casefold()
    if name in ("", "none"):
        return body.model_copy(update={"script_name": None})
    if name != PLOT:
        raise ScriptNotFoundError(
            f"Script '{name[:60]}' not found.",
            hint=f"There is '{PLOT}'; ControlNet is one of `alwayson_scripts`.",
            parameter="script_name",
            choices=[PLOT],
        )
    return body
