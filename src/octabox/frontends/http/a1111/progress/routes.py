"""Routes for the progress of tasks, and for their end."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from octabox.frontends.http.a1111.callers import Caller, Callers, caller_of
from octabox.frontends.http.a1111.fields import Count, LenientModel
from octabox.frontends.http.a1111.progress.tasks import Task, Tasks
from octabox.frontends.http.a1111.responses import A1111Route
from octabox.frontends.http.bodies import check_fields, read_json
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.responses import as_base64, as_data_uri


class TaskBody(LenientModel):
    """Body of ``/internal/progress``."""

    id_task: str = Field("", description="Id of the task.")
    id_live_preview: Count = Field(-1, description="Number of the last preview that the client has.")
    live_preview: bool = Field(default=True, description="Whether to return a newer preview.")


def routes(callers: Callers, tasks: Tasks) -> APIRouter:
    """Return the routes."""
    router = APIRouter(route_class=A1111Route, tags=["A1111"])

    def own_task(request: Request, task_id: str | None) -> Task | None:
        caller = caller_of(request)
        task = tasks.current(caller, task_id)
        return task if task is not None and task.is_of(caller) else None

    @router.get("/sdapi/v1/progress")
    async def progress(request: Request, skip_current_image: bool = False, id_task: str | None = None) -> Response:
        """Return the progress of the caller's task, or of one by its id."""
        caller = caller_of(request)
        task = tasks.current(caller, id_task)
        if not skip_current_image:
            callers.note_poll(caller)
        shown = task.preview if task and task.is_of(caller) and not skip_current_image else None
        image = await as_base64(shown.artifact) if shown else None
        return SafeJson(progress_to_json(task, image))

    @router.post("/sdapi/v1/interrupt")
    async def interrupt(request: Request, id_task: str | None = None) -> Response:
        """End the caller's task, which responds with the finished images; tasks of others go on."""
        if (task := own_task(request, id_task)) is not None:
            task.interrupt()
        return SafeJson({})

    @router.post("/sdapi/v1/skip")
    async def skip(request: Request, id_task: str | None = None) -> Response:
        """End the current batch of the caller's task, which goes on with the next one."""
        if (task := own_task(request, id_task)) is not None:
            task.skip()
        return SafeJson({})

    _add_internal(router, callers, tasks)
    return router


def _add_internal(router: APIRouter, callers: Callers, tasks: Tasks) -> None:
    """Add the routes of the web UI's own page, which some clients use."""

    @router.get("/internal/ping")
    async def ping() -> Response:
        """Report that the server responds."""
        return SafeJson({})

    @router.get("/internal/pending-tasks")
    async def pending(request: Request) -> Response:
        """Return the ids of the caller's tasks that wait."""
        waiting = tasks.waiting(caller_of(request))
        return SafeJson({"size": len(waiting), "tasks": waiting})

    @router.post("/internal/progress")
    async def progress(request: Request) -> Response:
        """Return the progress of a task by its id."""
        body = check_fields(TaskBody, await read_json(request))
        task, caller = tasks.find(body.id_task), caller_of(request)
        if body.live_preview:
            callers.note_poll(caller)
        return SafeJson(await task_to_json(task, body, caller, ended=tasks.has_ended(body.id_task)))


def progress_to_json(task: Task | None, image: str | None) -> dict[str, Any]:
    """Return the progress of a task; without one the server is idle for the caller."""
    now = task.progress if task else None
    state = {
        "skipped": bool(task and task.skipped),
        "interrupted": bool(task and task.interrupted),
        "stopping_generation": bool(task and task.interrupted),
        "job": task.job if task else "",
        "job_count": task.batches if task else 0,
        "job_timestamp": task.timestamp if task else "0",
        "job_no": task.batch if task else 0,
        "sampling_step": now.step if now else 0,
        "sampling_steps": now.steps if now else 0,
    }
    return {
        "progress": task.fraction if task else 0.0,
        "eta_relative": task.eta if task else 0.0,
        "state": state,
        "current_image": image,
        "textinfo": describe(task),
        "id_task": task.id if task else None,
    }


async def task_to_json(task: Task | None, body: TaskBody, caller: Caller, *, ended: bool) -> dict[str, Any]:
    """Return the progress of a task as the web UI's own page reads it."""
    is_queued = task is not None and task.progress.phase == "queued"
    is_newer = task is not None and task.previews > body.id_live_preview
    preview = task.preview if task and is_newer and body.live_preview and task.is_of(caller) else None
    return {
        "active": task is not None and not is_queued,
        "queued": is_queued,
        "completed": ended and task is None,
        "progress": task.fraction if task and not is_queued else None,
        "eta": task.eta if task else None,
        "live_preview": await as_data_uri(preview.artifact) if preview else None,
        "id_live_preview": task.previews if task and preview else body.id_live_preview,
        "textinfo": describe(task),
    }


def describe(task: Task | None) -> str | None:
    """Return what a task does, in words; None without one."""
    if task is None:
        return None
    now = task.progress
    if now.phase == "queued":
        return f"In queue: {now.position} ahead" if now.position else "Waiting"
    return f"{now.phase.capitalize()}: part {now.part} of {now.parts}" if now.parts > 1 else now.phase.capitalize()
