"""Routes that show the installation, the settings and the log of the server."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from octabox.config.settings import describe_settings
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.middleware import SafeJson
from octabox.frontends.http.network.access import AdminAccess
from octabox.hub.browsing.memory import machine_memory
from octabox.telemetry.installation import describe_machine, describe_versions
from octabox.telemetry.logs import KEPT_LINES

#: Seconds for listing the accelerators: while the server starts, the process that does is still importing its libraries.
DEVICE_TIMEOUT = 5.0


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(prefix="/system", tags=["server"], dependencies=[Depends(AdminAccess(ctx.settings))])

    @router.get("")
    async def system() -> Response:
        """Return versions, the machine, and each setting with what has set it; keys and passwords are hidden."""
        memory = await asyncio.to_thread(machine_memory)
        machine = {**describe_machine(), "accelerator_memory": memory.bytes if memory.accelerator else None}
        body = {
            "versions": describe_versions(),
            "machine": machine,
            "devices": await _devices(ctx),
            "settings": describe_settings(ctx.settings),
        }
        return SafeJson({"object": "system", **body})

    @router.get("/log")
    async def log(
        after: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=KEPT_LINES)] = KEPT_LINES
    ) -> Response:
        """Return the last lines of the log of this server's process, after the one with a number; keys are redacted."""
        lines = ctx.log.after(after)[-limit:]
        return SafeJson({"object": "list", "data": [asdict(line) for line in lines], "process": ctx.log.process})

    return router


async def _devices(ctx: AppContext) -> dict[str, Any]:
    """Return the free bytes of each accelerator of this machine, or why they are not listed."""
    found: dict[str, Any] = {"accelerators": {}, "problem": None}
    if ctx.devices is not None:
        try:
            return await asyncio.wait_for(ctx.devices(), DEVICE_TIMEOUT)
        except asyncio.TimeoutError:
            found["problem"] = "The accelerators are still being looked for. Try again in a minute."
    return found
