"""Stand-ins for the services behind the wire: they make real images, and need no model."""

from __future__ import annotations

import asyncio
import builtins
import io
import json
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
from fastapi import FastAPI
from PIL import Image

from in_process_decoder import InProcessDecoder
from octabox import demo
from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog, load_catalog
from octabox.catalog.signature import json_schema
from octabox.config.model import ModelConfig
from octabox.config.problems import Problem
from octabox.config.settings import Settings, secrets_of
from octabox.errors import InvalidParameterError, ModelNotFoundError
from octabox.frontends.http.app import create_app
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.results import Results
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.hub.pulls.links import ModelFolders
from octabox.media.images import encode
from octabox.media.limits import MediaLimits
from octabox.schedulers.compatibility import Incompatibility
from octabox.service.events import observed, result_of
from octabox.service.hub.pulls import Pulls
from octabox.service.jobs import Jobs, Preloads
from octabox.service.jobs.opening import job_queue
from octabox.service.model_schedulers import ModelSchedulers, find_incompatibility, model_schedulers, traits_of
from octabox.service.protocols import Models, RequestObserver
from octabox.service.served_model import ServedModel
from octabox.storage import open_store
from octabox.telemetry.logs import RecentLines
from octabox.telemetry.metrics import Metrics
from octabox.types import (
    Artifact,
    Event,
    Generation,
    GenerationRequest,
    ModelInfo,
    ModelStatus,
    Progress,
    SchedulerChoice,
)

#: Folder of the data of all servers over fakes.
DATA = tempfile.TemporaryDirectory(prefix="octabox-test-", ignore_cleanup_errors=True)


def sample_image(colour: str = "red", size: tuple[int, int] = (16, 8), mode: str = "RGB", form: str = "PNG") -> bytes:
    """Return an image of one colour as a file."""
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, form)
    return file.getvalue()


class FakeGenerations:
    """Makes images whose red is their seed, in the size that is wished for.

    With ``made`` it makes that instead, with other seeds, and ``copies`` of it for each output. ``error`` is raised before the
    first event, after ``delay`` seconds, and ``late`` after it, and after ``pause`` seconds; with ``hang`` nothing follows the
    first event.
    """

    def __init__(self) -> None:
        self.requests: list[GenerationRequest] = []
        self.seen: list[GenerationRequest] = []
        self.known = {"org/painter", "demo"}
        self.made: Artifact | None = None
        self.error: Exception | None = None
        self.late: Exception | None = None
        self.hang, self.delay, self.pause, self.copies = False, 0.0, 0.0, 1
        self.warnings: tuple[str, ...] = ("served warning.",)
        self.begun, self.cancelled = asyncio.Event(), asyncio.Event()
        self.observers: list[RequestObserver] = []

    async def stream(self, request: GenerationRequest, models: Models | None = None) -> AsyncGenerator[Event, None]:
        """Yield progress, previews if some are asked for, and the result."""
        with observed(request, self.observers) as results:
            self.requests.append(request)
            self._see(request)
            if self.delay:
                await asyncio.sleep(self.delay)
            if self.error:
                raise self.error
            if request.model not in self.known:
                raise ModelNotFoundError(f"There is no model '{request.model}'.", model=request.model)
            if request.num_outputs > 10:
                raise InvalidParameterError("At most 10 outputs.", parameter="num_outputs")
            try:
                yield Progress("queued")
                self.begun.set()
                if self.pause:
                    await asyncio.sleep(self.pause)
                if self.late:
                    raise self.late
                if self.hang:
                    await asyncio.sleep(60)
                first = 7 if request.seed is None else request.seed
                for step in range(request.partial_images):
                    yield Progress("running", step + 1, 3, preview=self._artifact(request, first))
                count = request.num_outputs * self.copies
                # The seed of the variation increases in place of that of the request.
                seeds = [first + (0 if request.variation else index) for index in range(count)]
                artifacts = tuple(self._artifact(request, seed) for seed in seeds)
                task = request.task or "text-to-image"
                results.append(
                    Generation(request.id, request.model, "FakePipeline", task, artifacts, self.warnings, {"run": 0.1})
                )
                yield results[0]
            except (asyncio.CancelledError, GeneratorExit):
                self.cancelled.set()
                raise

    async def generate(self, request: GenerationRequest, models: Models | None = None) -> Generation:
        """Return the result."""
        return await result_of(self.stream(request, models))

    async def validate(self, request: GenerationRequest, models: Models | None = None) -> GenerationRequest:
        """Refuse what `stream` refuses before its first event, and give the request a seed."""
        if self.error:
            raise self.error
        if request.model not in self.known:
            raise ModelNotFoundError(f"There is no model '{request.model}'.", model=request.model)
        if request.num_outputs > 10:
            raise InvalidParameterError("At most 10 outputs.", parameter="num_outputs")
        request = request if request.seed is not None else replace(request, seed=7)
        self.seen.append(request)
        return request

    def _see(self, request: GenerationRequest) -> None:
        """Remember a request that was not validated before."""
        if request not in self.seen:
            self.seen.append(request)

    def _artifact(self, request: GenerationRequest, seed: int) -> Artifact:
        if self.made is not None:
            return replace(self.made, seed=seed)
        size = {
            "width": int(request.optional_params.get("width", 16)),
            "height": int(request.optional_params.get("height", 16)),
        }
        image = Image.new("RGB", (size["width"], size["height"]), (seed % 256, 0, 0))
        facts = {"size": size, "seed": seed, "model": request.model, "params": dict(request.params)}
        content, media_type = encode(image, request.output, facts)
        return Artifact("image", media_type, content, seed, facts)


class FakeModels:
    """Two models, one of which is in memory; they are their own snapshot."""

    def __init__(self) -> None:
        self.infos = [
            ModelInfo("demo", "/secret/demo", "FakePipeline", ("text-to-image",), 5.5, "A fake."),
            ModelInfo("org/painter", "org/painter"),
        ]
        self.loaded = {"demo": ModelStatus("demo", "ready", "FakePipeline", "cpu", {"host": 1024}, 2, 42, 6.5)}
        self.is_ready = True
        self.adapters = AdapterRegistry(None, None)

    @property
    def catalog(self) -> Catalog:
        """The catalog of pipelines and schedulers."""
        return load_catalog()

    def snapshot(self) -> FakeModels:
        """Return the models as they are."""
        return self

    def ready(self) -> bool:
        """Return whether requests can be served."""
        return self.is_ready

    def problems(self) -> tuple[Problem, ...]:
        """Return the problem of a third one, in whose message its path is."""
        message = f"'{Path('models').absolute()}/lost' does not exist."
        return (Problem(Path("models/lost.yaml"), 2, 1, "model", message, "remove it"),)

    def list(self) -> list[ModelInfo]:
        """Return all models."""
        return self.infos

    def get(self, name: str) -> ModelInfo:
        """Return one model."""
        for info in self.infos:
            if info.name == name:
                return info
        raise ModelNotFoundError(
            f"There is no model '{name}'.", hint="Did you mean demo?", model=name, choices=["demo"]
        )

    def config(self, name: str) -> ModelConfig:
        """Return the configuration of one model."""
        info = self.get(name)
        return ModelConfig.model_validate(
            {"name": info.name, "model": info.source, "response_format": info.response_format}
        )

    def check_scheduler(self, model: ServedModel, pipeline: PipelineEntry, choice: SchedulerChoice) -> None:
        """Accept every scheduler."""

    def schema(self, name: str, task: str | None = None) -> dict[str, Any]:
        """Return a schema: that of the model's class, where it is one of the catalog."""
        own = self.catalog.pipelines.get(self.get(name).pipeline or "")
        if own is None:
            return {"title": self.get(name).name, "x-task": task, "properties": {"prompt": {}}}
        entry = self.catalog.for_task(task, like=own.name) if task else own
        return {**json_schema(entry), "x-pipeline": entry.name, "x-tasks": list(self.catalog.tasks_like(own.name))}

    def schedulers(self, name: str) -> ModelSchedulers:
        """Return which schedulers fit a model, as if it were the embedded one, unless it is a folder."""
        return model_schedulers(self.resolve(name), self.catalog)

    def scheduler_incompatibility(
        self, name: str, choice: SchedulerChoice, pipeline: PipelineEntry | None = None
    ) -> Incompatibility | None:
        """Return why a scheduler does not fit it."""
        return find_incompatibility(choice, traits_of(self.resolve(name), self.catalog), self.catalog, pipeline)

    def resolve(self, name: str) -> ServedModel:
        """Return a model of its class; the embedded one, if the class is not one of the catalog."""
        entry = self.catalog.pipelines.get(self.get(name).pipeline or "")
        return replace(self._embedded(name), pipeline=entry) if entry else self._embedded(name)

    def pipeline(self, name: str, task: str | None = None) -> PipelineEntry:
        """Return the pipeline that serves a task."""
        entry = self.resolve(name).pipeline
        return self.catalog.for_task(task, like=entry.name) if task else entry

    def _embedded(self, name: str) -> ServedModel:
        info = self.get(name)
        folder = info.source if Path(info.source).is_dir() else str(demo.FOLDER)
        config = ModelConfig(name=info.name, model=folder)
        return ServedModel(config, self.catalog.pipelines["StableDiffusionPipeline"])

    async def load(self, name: str, keep_alive: float | None = None, pin: bool | None = None) -> ModelStatus:
        """Bring a model into memory."""
        self.loaded[name] = ModelStatus(self.get(name).name, "ready", time_left=keep_alive, pinned=bool(pin))
        return self.loaded[name]

    async def unload(self, name: str) -> bool:
        """Take a model out of memory."""
        return self.loaded.pop(name, None) is not None

    def status(self) -> builtins.list[ModelStatus]:
        """Return the models in memory."""
        return builtins.list(self.loaded.values())

    def waiting(self) -> dict[str, int]:
        """Return how many requests wait for the models in memory."""
        return {status.model: status.waiting for status in self.status()}


class Server:
    """An application over fakes, and a client of it.

    Args:
        generations: What makes its outputs.
        settings: Fields of its settings.
    """

    def __init__(self, generations: FakeGenerations | None = None, /, **settings: Any) -> None:
        self.generations, self.models = generations or FakeGenerations(), FakeModels()
        self.lived: list[str] = []

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            self.lived.append("started")
            yield
            self.lived.append("ended")

        settings.setdefault("data_dir", tempfile.mkdtemp(dir=DATA.name))
        loaded, metrics = Settings.model_validate(settings), Metrics()
        self.queue = job_queue(self.generations, loaded, self.models, metrics)
        results = Results(loaded.result_ttl, stored=self.queue.results, shared=open_store(loaded.file_store))
        jobs = Jobs(self.generations, loaded.result_ttl, results.keep, results.drop)
        self.generations.observers.append(metrics)
        self.preloads, decoder = Preloads(*loaded.preload), InProcessDecoder(MediaLimits())
        folders = ModelFolders(loaded.models, loaded.lora_folder, loaded.embedding_folder)
        self.pulls, self.log = Pulls(folders), RecentLines(secrets_of(loaded))
        self.ctx = AppContext(
            *(self.generations, jobs, self.queue, self.models, loaded, results, metrics, decoder, self.pulls),
            preloads=self.preloads,
            log=self.log,
        )
        self.app = create_app(self.ctx, lifespan)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://localhost")

    def client(self, api_key: str = "x") -> openai.AsyncOpenAI:
        """Return OpenAI's client of this server."""
        # Its type names another package in some versions, which takes the same transports.
        http: Any = httpx.AsyncClient(transport=httpx.ASGITransport(self.app))
        return openai.AsyncOpenAI(base_url="http://localhost/v1", api_key=api_key, http_client=http, max_retries=0)

    async def generate(self, **body: Any) -> httpx.Response:
        """Ask for images."""
        return await self.http.post("/v1/images/generations", json=body)

    async def leave(self, path: str, **body: Any) -> None:
        """Send a request, and go away once it has begun; httpx cannot, since it waits for the answer."""
        messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        messages.put_nowait({"type": "http.request", "body": json.dumps(body).encode(), "more_body": False})
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            "server": ("localhost", 80),
            "scheme": "http",
        }

        async def send(message: Any) -> None:
            """Take what the server sends."""

        running = asyncio.create_task(self.app(scope, messages.get, send))
        await asyncio.wait_for(self.generations.begun.wait(), 5)
        messages.put_nowait({"type": "http.disconnect"})
        await asyncio.wait_for(running, 5)

    def add(self, name: str, pipeline: str, source: str = "") -> None:
        """Add a model of a class of diffusers; its schedulers are those of the embedded model, unless it is a folder."""
        tasks = self.models.catalog.tasks_like(pipeline)
        self.models.infos.append(ModelInfo(name, source or name, pipeline, tasks))
        self.generations.known.add(name)

    @property
    def asked(self) -> GenerationRequest:
        """The last request that reached the service."""
        return self.generations.seen[-1]
