"""Build the parts of Octabox and connect them; only this file imports all of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from octabox.catalog.pipelines import use_folder
from octabox.config.discovery import ModelRegistry
from octabox.config.memory.durations import NEVER
from octabox.config.performance import COMPILED_CODE_VARIABLE
from octabox.config.sections.conditions import find_ineffective
from octabox.config.settings import Settings, secrets_of
from octabox.engine.local.engine import LocalEngine
from octabox.engine.local.processes.forkserver import end_fork_server
from octabox.engine.local.processes.starting import in_daemon_thread
from octabox.engine.messages import WorkerOptions
from octabox.engine.protocol import Engine
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.hub.pulls.links import ModelFolders
from octabox.hub.pulls.urls import file_guard
from octabox.media.decoding.pool import DecoderPool
from octabox.media.fetcher import Fetcher
from octabox.media.limits import MediaLimits
from octabox.security.urls import UrlGuard
from octabox.service.bounds import Limits
from octabox.service.cascades.generation import CascadeRunner
from octabox.service.hub.downloads import ModelDownloads
from octabox.service.hub.pulls import Pulls
from octabox.service.models.service import ServerModels
from octabox.service.prompting import PromptWriter
from octabox.service.selection.model_source import model_of_source
from octabox.service.workflows.execution import WorkflowService
from octabox.storage import open_store
from octabox.telemetry.logs import configure, keep_recent
from octabox.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from fastapi import FastAPI

    from octabox.frontends.grpc.localai.environment import Environment

logger = logging.getLogger("octabox.server")


@dataclass(frozen=True)
class Parts:
    """The parts of a server.

    Args:
        settings: The settings that they were built from.
        engine: Holds models in memory.
        models: The models of this server.
        generation: Runs requests.
        metrics: Counts requests.
        decoder: Decodes the media of requests.
        pulls: The downloads of models.
        name: Name of the model that `build` was called with.
    """

    settings: Settings
    engine: Engine
    models: ServerModels
    generation: WorkflowService
    metrics: Metrics
    decoder: DecoderPool
    pulls: Pulls
    name: str = ""

    async def close(self) -> None:
        """Cancel all downloads, unload all models, and end all processes."""
        await self.pulls.close()
        await self.engine.close()
        self.decoder.close()


def build(settings: Settings, model: str | None = None, base: Parts | None = None) -> Parts:
    """Return the connected parts of a server.

    Args:
        settings: The server's settings.
        model: A model by name, folder, file or Hub id, which need not be configured.
        base: Parts whose engine, decoder, downloads and metrics are used. Their models are separate.
    """
    if base is None:
        configure(settings.log_level, settings.log_file)
        use_folder(settings.pipeline_folder)
        for warning in find_ineffective(settings, settings.sources):
            logger.warning("%s", warning)
    metrics = base.metrics if base else Metrics()
    engine = base.engine if base else _build_engine(settings, _worker_options(settings), metrics)
    limits = limits_of(settings)
    folders = ModelFolders(settings.models, settings.lora_folder, settings.embedding_folder)
    pulls = base.pulls if base else Pulls(folders, settings.cache_dir / "files", file_guard(settings.url_hosts))
    downloads = ModelDownloads(pulls, engine)
    registry = ModelRegistry(settings.models)
    extra = model_of_source(model) if model and model not in registry.current().named else None
    models = ServerModels(
        registry,
        engine,
        allow_hub=settings.allow_hub,
        extra={extra.name: extra} if extra else {},
        # A model by path is given by a user of this machine, who may read any file.
        adapters=AdapterRegistry(
            settings.lora_folder, settings.embedding_folder, any_path=model is not None, any_hub=settings.allow_hub
        ),
        limits=limits,
        downloads=downloads,
    )
    if isinstance(engine, LocalEngine):
        models.check_devices_by(engine.accelerators)
    media_limits = _media_limits(settings)
    decoder = base.decoder if base else DecoderPool(media_limits)
    fetcher = build_fetcher(settings)
    writer = PromptWriter(settings.wildcards, settings.styles, settings.prompt_syntax)
    runner = CascadeRunner(engine, fetcher, limits, decoder, writer, [metrics], downloads)
    generation = WorkflowService(runner, models, media_limits)
    return Parts(settings, engine, models, generation, metrics, decoder, pulls, extra.name if extra else model or "")


def _worker_options(settings: Settings) -> WorkerOptions:
    """Return the settings of all workers."""
    return WorkerOptions(
        threads=settings.threads,
        device=settings.device,
        dtype=settings.dtype,
        log_level=settings.log_level,
        log_file=str(settings.log_file) if settings.log_file else None,
        embeddings=str(settings.embedding_folder),
        max_adapters=settings.max_adapters,
        profile=settings.profile,
        cache_dir=None if os.environ.get(COMPILED_CODE_VARIABLE) else str(settings.cache_dir),
        silence_timeout=settings.silence_timeout,
        progress_timeout=settings.progress_timeout,
        max_memory=settings.max_memory,
    )


def _build_engine(settings: Settings, options: WorkerOptions, metrics: Metrics) -> Engine:
    """Return the engine, which counts what it unloads; that of a cluster is connected to it."""
    if settings.engine == "ray":
        from octabox.engine.cluster_engine import build_cluster_engine  # noqa: PLC0415 (it needs an extra)

        return build_cluster_engine(settings, options, metrics.count_eviction, metrics.count_out_of_memory)
    return LocalEngine(
        options,
        queue_size=settings.queue_size,
        max_resident=settings.max_resident,
        load_timeout=settings.load_timeout,
        keep_alive=NEVER if settings.keep_alive is None else settings.keep_alive,
        on_evict=metrics.count_eviction,
        on_out_of_memory=metrics.count_out_of_memory,
    )


def build_fetcher(settings: Settings) -> Fetcher:
    """Return what fetches the media of requests."""
    return Fetcher(_media_limits(settings), UrlGuard(hosts=settings.url_hosts), settings.fetch_timeout)


def limits_of(settings: Settings) -> Limits:
    """Return the limits of the values of a request."""
    return Limits(
        settings.max_outputs,
        settings.max_image_pixels,
        settings.max_frames,
        settings.max_steps,
        settings.max_audio_seconds,
    )


def _media_limits(settings: Settings) -> MediaLimits:
    """Return the maximum size of media."""
    return MediaLimits(
        max_pixels=settings.max_image_pixels,
        max_bytes=settings.max_upload_bytes,
        max_frames=settings.max_frames,
        max_seconds=settings.max_audio_seconds,
    )


def app(parts: Parts, on_failure: Callable[[str], None] = lambda _: None) -> FastAPI:
    """Return the HTTP application of these parts, which starts and closes their engine.

    Args:
        parts: The parts.
        on_failure: Called with the error of each model of `preload` that cannot be loaded, which is logged as well.
    """
    from octabox.frontends.http.app import create_app  # noqa: PLC0415 (the command line needs no HTTP)
    from octabox.frontends.http.context import AppContext  # noqa: PLC0415
    from octabox.frontends.http.results import Results  # noqa: PLC0415
    from octabox.service.jobs import Jobs, Preloads  # noqa: PLC0415
    from octabox.service.jobs.opening import job_queue  # noqa: PLC0415

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await parts.engine.start(parts.models.snapshot().configurations())
        loads = [preloads.load(name, parts.models, on_failure) for name in preloads.names]
        preparations = [asyncio.create_task(work) for work in (parts.models.prepare(), *loads)]
        try:
            yield
        finally:
            for task in preparations:
                task.cancel()
            await asyncio.gather(*preparations, return_exceptions=True)
            await parts.close()

    settings, preloads = parts.settings, Preloads(*parts.settings.preload)
    queue = job_queue(parts.generation, settings, parts.models, parts.metrics)
    shared = open_store(settings.file_store)
    if shared:
        shared.check()
    results = Results(settings.result_ttl, stored=queue.results, shared=shared)
    jobs = Jobs(parts.generation, settings.result_ttl, results.keep, results.drop)
    ctx = AppContext(
        parts.generation,
        jobs,
        queue,
        parts.models,
        settings,
        results,
        parts.metrics,
        parts.decoder,
        parts.pulls,
        preloads=preloads,
        log=keep_recent(secrets_of(settings)),
        fetcher=build_fetcher(settings),
        devices=parts.engine.devices if isinstance(parts.engine, LocalEngine) else None,
    )
    return create_app(ctx, lifespan)


async def interrupt(application: FastAPI, parts: Parts) -> None:
    """End the requests of an application that `app` has returned, each with a response, and refuse new ones."""
    await application.state.lifecycle.stop(parts.engine.close)


async def end_processes() -> None:
    """End the fork server, which would outlive this process if it did not answer; the engine has ended its workers."""
    await in_daemon_thread(end_fork_server)


async def serve_localai(
    parts: Parts, address: str, environment: Environment, paths: Iterable[Path], on_listening: Callable[[str], None]
) -> int:
    """Serve LocalAI's core until it stops the process; return the exit code.

    Args:
        parts: The parts; their engine is started and closed.
        address: ``host:port`` to listen on.
        environment: LocalAI's variables.
        paths: Additional folders that requests may use files of.
        on_listening: Called with the address when the server listens on it.
    """
    from octabox.frontends.grpc.localai.listening import serve  # noqa: PLC0415 (nothing else needs gRPC)
    from octabox.frontends.grpc.localai.loading.model_slot import ModelSlot  # noqa: PLC0415
    from octabox.frontends.grpc.localai.making.files import AllowedPaths  # noqa: PLC0415
    from octabox.frontends.grpc.localai.servicer import Servicer  # noqa: PLC0415

    settings = parts.settings
    writable = (environment.generated_content_path, Path(tempfile.gettempdir()), *paths)
    readable = (environment.upload_path, *filter(None, [environment.models_path]))
    allowed = AllowedPaths(writable, readable, settings.max_upload_bytes)
    slot = ModelSlot(parts.models)
    servicer = Servicer(
        slot, parts.generation, environment, allowed, parts.decoder, settings.max_image_pixels, settings.device
    )
    preparations: list[asyncio.Task[None]] = []

    def prepare(address: str) -> None:
        preparations.extend(asyncio.create_task(work) for work in (parts.engine.start(()), parts.models.prepare()))
        on_listening(address)

    async def interrupt_calls() -> None:
        slot.close()
        await parts.engine.close()

    try:
        return await serve(servicer, address, environment, prepare, interrupt_calls)
    finally:
        for task in preparations:
            task.cancel()
        await asyncio.gather(*preparations, return_exceptions=True)
        await parts.close()
