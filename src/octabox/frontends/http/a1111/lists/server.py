"""Routes for the memory, the flags and the end of the server."""

from __future__ import annotations

import os
import platform
import signal
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from octabox.frontends.http.a1111.responses import A1111Route, ServerControlError
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.middleware import SafeJson
from octabox.telemetry.installation import describe_machine, describe_versions

#: The file in which Linux reports its memory.
MEMORY_FILE = Path("/proc/meminfo")

#: The unit of sizes of memory.
GIBIBYTE = 2**30

#: Routes that stop the server; a service manager may start it again.
CONTROLS = ("server-kill", "server-restart", "server-stop")


def routes(ctx: AppContext) -> APIRouter:
    """Return the routes."""
    router = APIRouter(route_class=A1111Route, tags=["A1111"])

    @router.get("/sdapi/v1/memory")
    async def memory() -> Response:
        """Return the memory of the host, and that of the models on accelerators."""
        return SafeJson({"ram": _host_memory(), "cuda": _accelerator_memory(ctx)})

    @router.get("/internal/sysinfo")
    async def information(attachment: bool = False) -> Response:
        """Return the machine and the versions of packages, without settings; as a file to store, if requested."""
        return _information_file(is_attached=attachment)

    @router.get("/internal/sysinfo-download")
    async def download() -> Response:
        """Return the same as a file to store."""
        return _information_file(is_attached=True)

    @router.get("/sdapi/v1/cmd-flags")
    async def flags() -> Response:
        """Return the settings of the server under the names of the flags of the web UI."""
        settings = ctx.settings
        return SafeJson(
            {
                "api": True,
                "api_auth": None,
                "nowebui": True,
                "listen": settings.host != "127.0.0.1",
                "port": settings.port,
                "ckpt_dir": str(settings.models),
                "lora_dir": str(settings.lora_folder),
                "embeddings_dir": str(settings.embedding_folder),
                "styles_file": [str(settings.styles)],
                "api_server_stop": settings.a1111_server_control,
                "cors_allow_origins": ",".join(settings.cors_origins) or None,
            }
        )

    async def stop() -> Response:
        """Stop the server, where its settings allow it."""
        if not ctx.settings.a1111_server_control:
            raise ServerControlError("Clients may not stop this server.", hint="Allow it by `a1111_server_control`.")
        os.kill(os.getpid(), signal.SIGTERM)
        return SafeJson({})

    for name in CONTROLS:
        router.add_api_route(f"/sdapi/v1/{name}", stop, methods=["POST"], name=name)
    return router


def _information_file(*, is_attached: bool) -> Response:
    """Return the machine and the versions of packages under the names of the web UI, as a file."""
    machine, versions = describe_machine(), describe_versions()
    python = versions.pop("python")
    content = {
        "Platform": machine["system"],
        "Python": python,
        "Version": versions["octabox"],
        "CPU": {"model": platform.processor(), "count logical": machine["cores"]},
        "RAM": {name: f"{size / GIBIBYTE:.1f}GB" for name, size in _host_memory().items()},
        "Extensions": [],
        "Packages": [f"{name}=={version}" for name, version in versions.items() if version],
    }
    name = datetime.now(tz=timezone.utc).strftime("sysinfo-%Y-%m-%d-%H-%M.json")
    kind = "attachment" if is_attached else "inline"
    return SafeJson(content, headers={"content-disposition": f'{kind}; filename="{name}"'})


def _host_memory() -> dict[str, int]:
    """Return the memory of the host; what caches use counts as free, where the system reports it."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = os.sysconf("SC_PHYS_PAGES") * page
    try:
        rows = dict(line.split(":", 1) for line in MEMORY_FILE.read_text(encoding="ascii").splitlines())
        free = int(rows["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        free = 0
    return {"free": free, "used": total - free, "total": total}


def _accelerator_memory(ctx: AppContext) -> dict[str, Any]:
    """Return the memory that the models have reserved on accelerators; an error text if there are none."""
    statuses = ctx.models.status()
    reserved = sum(size for each in statuses for name, size in each.memory.items() if name != "host")
    allocated = sum(size for each in statuses for size in each.allocated.values())
    peak = max(sum(size for each in statuses for size in each.peak.values()), allocated)
    if not reserved:
        return {"error": "No model is on an accelerator."}
    return {
        "system": {"free": 0, "used": reserved, "total": reserved},
        "active": {"current": allocated, "peak": peak},
        "allocated": {"current": allocated, "peak": peak},
        "reserved": {"current": reserved, "peak": reserved},
        "inactive": {"current": reserved - allocated, "peak": reserved - allocated},
        "events": {"retries": 0, "oom": 0},
    }
