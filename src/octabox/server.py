"""Build every part of Octabox and hand it its collaborators: the only file that knows them all."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from octabox.catalog.pipelines import use_folder
from octabox.config.discovery import Shelves, model_of_source
from octabox.config.settings import Settings
from octabox.engine.local import LocalEngine
from octabox.engine.messages import WorkerOptions
from octabox.engine.protocol import Engine
from octabox.hub.adapters.shelf import AdapterShelf
from octabox.media.fetching import Fetcher
from octabox.media.limits import MediaLimits
from octabox.service.generation import GenerationService
from octabox.service.models import ModelService
from octabox.service.planning import Limits
from octabox.telemetry.logs import configure

if TYPE_CHECKING:
    from fastapi import FastAPI

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
    generation: GenerationService
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
    )
    engine = LocalEngine(
        options, queue_size=settings.queue_size, max_resident=settings.max_resident, load_timeout=settings.load_timeout
    )
    shelves = Shelves(settings.models)
    extra = model_of_source(given) if given and given not in shelves.current().named else None
    models = ModelService(
        shelves,
        engine,
        allow_hub=settings.allow_hub,
        extra={extra.name: extra} if extra else {},
        # Whoever names the model by its place sits at this machine.
        adapters=AdapterShelf(
            settings.lora_folder, settings.embedding_folder, any_path=given is not None, any_hub=settings.allow_hub
        ),
    )
    media_limits = MediaLimits(
        max_pixels=settings.max_image_pixels,
        max_bytes=settings.max_upload_bytes,
        max_frames=settings.max_frames,
        max_seconds=settings.max_audio_seconds,
    )
    fetcher = Fetcher(media_limits, timeout=settings.fetch_timeout)
    limits = Limits(settings.max_outputs, settings.max_image_pixels, settings.max_frames)
    generation = GenerationService(models, engine, fetcher, limits, media_limits)
    return Parts(settings, engine, models, generation, extra.name if extra else given or "")


def app(parts: Parts) -> FastAPI:
    """Return the HTTP application over these parts; it starts and ends their engine."""
    from octabox.frontends.http import create_app  # noqa: PLC0415 (the command line needs no HTTP)

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
