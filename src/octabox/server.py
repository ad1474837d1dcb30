"""Build every part of Octabox and hand it its collaborators: the only file that knows them all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from octabox.catalog.pipelines import use_folder
from octabox.config.discovery import ModelRegistry, model_of_source
from octabox.config.settings import Settings
from octabox.engine.local.engine import LocalEngine
from octabox.engine.messages import COMPILED_CODE_VARIABLE, WorkerOptions
from octabox.engine.protocol import Engine
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.media.fetching import Fetcher
from octabox.media.limits import MediaLimits
from octabox.service.bounds import Limits
from octabox.service.generation import GenerationService
from octabox.service.models import ModelService
from octabox.service.prompting import PromptWriter
from octabox.service.workflows.execution import WorkflowService
from octabox.service.workflows.planner import WorkflowPlanner
from octabox.telemetry.logs import configure

if TYPE_CHECKING:
    from fastapi import FastAPI

    from octabox.frontends.grpc.localai.environment import Environment

#: Folder beside the models for pipelines in single files.
PIPELINES = "pipelines"


@dataclass(frozen=True)
class Parts:
    """All that runs, put together.

    Args:
        settings: What it was built from.
        engine: Holds models in memory.
        models: The models of this server.
        generation: The door to a generation.
        name: Name of the model that was given by its place, where one was.
    """

    settings: Settings
    engine: Engine
    models: ModelService
    generation: WorkflowService
    name: str = ""


def build(settings: Settings, given: str | None = None) -> Parts:
    """Put the parts together.

    Args:
        settings: The server's settings.
        given: A model by name, folder, file or Hub id, which need not be configured.
    """
    configure(settings.log_level, settings.log_file)
    use_folder(settings.models / PIPELINES)
    options = WorkerOptions(
        threads=settings.threads,
        device=settings.device,
        dtype=settings.dtype,
        log_level=settings.log_level,
        log_file=str(settings.log_file) if settings.log_file else None,
        embeddings=str(settings.embedding_folder),
        max_adapters=settings.max_adapters,
        profile=settings.profile,
        cache_dir=None if os.environ.get(COMPILED_CODE_VARIABLE) else str(settings.cache_dir),
    )
    engine = LocalEngine(
        options, queue_size=settings.queue_size, max_resident=settings.max_resident, load_timeout=settings.load_timeout
    )
    shelves = ModelRegistry(settings.models)
    extra = model_of_source(given) if given and given not in shelves.current().named else None
    models = ModelService(
        shelves,
        engine,
        allow_hub=settings.allow_hub,
        extra={extra.name: extra} if extra else {},
        # Whoever names the model by its place sits at this machine.
        adapters=AdapterRegistry(
            settings.lora_folder, settings.embedding_folder, any_path=given is not None, any_hub=settings.allow_hub
        ),
    )
    media_limits = _media_limits(settings)
    fetcher = Fetcher(media_limits, timeout=settings.fetch_timeout)
    limits = Limits(settings.max_outputs, settings.max_image_pixels, settings.max_frames, settings.max_steps)
    writer = PromptWriter(settings.wildcards, settings.styles, settings.prompt_syntax)
    single = GenerationService(models, engine, fetcher, limits, media_limits, writer)
    generation = WorkflowService(single, WorkflowPlanner(single, models, media_limits))
    return Parts(settings, engine, models, generation, extra.name if extra else given or "")


def _media_limits(settings: Settings) -> MediaLimits:
    """Return how large media may be."""
    return MediaLimits(
        max_pixels=settings.max_image_pixels,
        max_bytes=settings.max_upload_bytes,
        max_frames=settings.max_frames,
        max_seconds=settings.max_audio_seconds,
    )


def app(parts: Parts) -> FastAPI:
    """Return the HTTP application over these parts; it starts and ends their engine."""
    from octabox.frontends.http.app import create_app  # noqa: PLC0415 (the command line needs no HTTP)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await parts.engine.start(parts.models.configurations())
        loads = [parts.models.load(name) for name in parts.settings.preload]
        ahead = [asyncio.create_task(work) for work in (parts.models.prepare(), *loads)]
        try:
            yield
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)
            await parts.engine.close()

    return create_app(parts.generation, parts.models, parts.settings, lifespan)


async def serve_localai(
    parts: Parts, address: str, environment: Environment, paths: Iterable[Path], announce: Callable[[str], None]
) -> int:
    """Serve LocalAI's core until told to stop; return the exit code.

    Args:
        parts: The parts; their engine is started and ended.
        address: ``host:port`` to listen on.
        environment: LocalAI's variables.
        paths: Folders that requests may name files in, besides LocalAI's own.
        announce: Called with the address once it is listened on.
    """
    from octabox.frontends.grpc.localai.listening import serve  # noqa: PLC0415 (nothing else needs gRPC)
    from octabox.frontends.grpc.localai.loading.model_slot import ModelSlot  # noqa: PLC0415
    from octabox.frontends.grpc.localai.loading.request_gate import RequestGate  # noqa: PLC0415
    from octabox.frontends.grpc.localai.making.files import AllowedPaths  # noqa: PLC0415
    from octabox.frontends.grpc.localai.servicer import Servicer  # noqa: PLC0415

    settings = parts.settings
    turns = RequestGate(environment.python_grpc_max_workers, settings.queue_size)
    writable = (environment.generated_content_path, Path(tempfile.gettempdir()), *paths)
    readable = (environment.upload_path, *filter(None, [environment.models_path]))
    roots = AllowedPaths(writable, readable, settings.max_upload_bytes)
    residence, limits = ModelSlot(parts.models, turns), _media_limits(settings)
    servicer = Servicer(residence, parts.generation, environment, roots, limits, settings.device)
    getting_ready: list[asyncio.Task[None]] = []

    def listening(address: str) -> None:
        getting_ready.extend(asyncio.create_task(work) for work in (parts.engine.start(()), parts.models.prepare()))
        announce(address)

    try:
        return await serve(servicer, address, environment, listening)
    finally:
        for task in getting_ready:
            task.cancel()
        await asyncio.gather(*getting_ready, return_exceptions=True)
        await parts.engine.close()
