"""The model of a backend while it is loaded, and when the backend is stopped."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fake_worker import FakeWorkers, engine_of
from local_hub import LocalHub
from octabox.config.discovery import ModelRegistry
from octabox.config.model import ModelConfig
from octabox.errors import LoadError, ServerStoppingError
from octabox.frontends.grpc.localai.loading.load_request import LoadRequest
from octabox.frontends.grpc.localai.loading.model_slot import ModelSlot
from octabox.hub.pulls.links import ModelFolders
from octabox.service.hub.downloads import ModelDownloads
from octabox.service.hub.pulls import Pulls
from octabox.service.models.service import ServerModels

LIMIT = 20

#: A model of the Hub, and its files.
CONFIG = ModelConfig(name="painter", model="org/painter", device="cpu")
FILES = {
    "model_index.json": b'{"_class_name": "StableDiffusionPipeline", "unet": ["diffusers", "UNet2DConditionModel"]}',
    "unet/diffusion_pytorch_model.safetensors": os.urandom(2_000_000),
}


class SlowModels:
    """Models whose load ends when a test says so, with an error if it sets one."""

    def __init__(self) -> None:
        self.loading, self.end = asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None

    def add(self, config: Any) -> None:
        """Add nothing."""

    async def remove(self, name: str) -> bool:
        """Unload nothing: what is being loaded is not in memory yet."""
        return not name

    async def load(self, name: str) -> None:
        """Load nothing, for a while."""
        self.loading.set()
        await self.end.wait()
        if self.error:
            raise self.error
        assert name


class Slot(ModelSlot):
    """A slot that takes every request as valid."""

    async def _validate(self, request: Any) -> Any:
        return SimpleNamespace(request=request, served=SimpleNamespace(pipeline=SimpleNamespace(name="FluxPipeline")))


def request() -> Any:
    """Return a request to load a model."""
    return SimpleNamespace(identity="demo", config=SimpleNamespace(name="demo"), warnings=())


async def use(slot: ModelSlot) -> str:
    """Return the name of the loaded model, as a request that uses it."""
    async with slot.using("") as loaded:
        return loaded.request.identity


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_request_that_waits_for_a_load_gets_the_model_or_the_reason(stopped: bool) -> None:
    """When the backend is stopped, the load fails, and the reason is not that no model was loaded."""
    models = SlowModels()
    slot = Slot(models)  # type: ignore[arg-type]
    load = asyncio.create_task(slot.load(request()))
    await asyncio.wait_for(models.loading.wait(), LIMIT)
    waiting = asyncio.create_task(use(slot))
    await asyncio.sleep(0)
    assert "BUSY" == slot.state()
    if stopped:
        slot.close()
        models.error = ServerStoppingError("The server is being stopped.")
    models.end.set()

    if not stopped:
        assert "demo" == await asyncio.wait_for(waiting, LIMIT)
        await load
        return
    for task in (load, waiting):
        with pytest.raises(ServerStoppingError):
            await asyncio.wait_for(task, LIMIT)


async def test_free_ends_a_load() -> None:
    """The caller of the load gets an error, and so does that of one that waits; the next load finds the slot free."""
    models = SlowModels()
    slot = Slot(models)  # type: ignore[arg-type]
    loads = [asyncio.create_task(slot.load(request())) for _ in range(2)]
    await asyncio.wait_for(models.loading.wait(), LIMIT)

    assert await asyncio.wait_for(slot.free(), LIMIT)

    for load in loads:
        with pytest.raises(LoadError, match="'demo' was unloaded"):
            await asyncio.wait_for(load, LIMIT)
    assert "UNINITIALIZED" == slot.state()
    models.end.set()
    await slot.load(request())
    assert "READY" == slot.state()


@dataclass
class Backend:
    """A slot with the models of a backend, whose model is on a slow Hub.

    Args:
        slot: The slot.
        models: The models.
        pulls: The downloads.
        workers: The workers.
    """

    slot: ModelSlot
    models: ServerModels
    pulls: Pulls
    workers: FakeWorkers

    async def download(self) -> asyncio.Task[Any]:
        """Begin to load the model, and return the task once it is being downloaded."""
        task = asyncio.create_task(self.slot.load(LoadRequest(CONFIG, CONFIG.name)))
        for _ in range(100 * LIMIT):
            if any(job.progress for job in self.pulls.list()):
                return task
            await asyncio.sleep(0.01)
        raise AssertionError("the download did not begin")


@pytest.fixture
async def backend(local_hub: LocalHub, tmp_path: Path) -> AsyncIterator[Backend]:
    """Return a backend for a model whose download takes seconds."""
    local_hub.add(CONFIG.model, FILES)
    local_hub.pause = 0.1
    workers = FakeWorkers()
    pulls = Pulls(ModelFolders(tmp_path / "models", tmp_path / "loras", tmp_path / "embeddings"))
    engine = engine_of(workers)
    registry = ModelRegistry(tmp_path / "models")
    models = ServerModels(registry, engine, allow_hub=True, downloads=ModelDownloads(pulls, engine))
    yield Backend(ModelSlot(models), models, pulls, workers)
    await pulls.close()
    await engine.close()


async def test_free_ends_a_download(backend: Backend) -> None:
    """Free does not wait for the rest of the model, and the load fails: nothing of it comes into memory later."""
    load = await backend.download()

    assert await asyncio.wait_for(backend.slot.free(), LIMIT)

    with pytest.raises(LoadError, match="'painter' was unloaded"):
        await asyncio.wait_for(load, LIMIT)
    assert ["cancelled"] == [job.status for job in backend.pulls.list()]
    assert ([], []) == (backend.workers.started, backend.models.status())
    assert "UNINITIALIZED" == backend.slot.state()


async def test_a_model_that_is_not_listed_any_more_is_unloaded(backend: Backend) -> None:
    """A load may end after its model was removed, and what it brought into memory leaves it with the next Free."""
    load = await backend.download()
    assert not await backend.models.remove(CONFIG.name)
    await asyncio.wait_for(load, LIMIT)

    assert await backend.slot.free()

    assert ([False], []) == ([each.alive for each in backend.workers.started], backend.models.status())


async def test_a_request_without_a_model_is_an_error() -> None:
    """It says what to do."""
    with pytest.raises(LoadError, match="Call LoadModel first"):
        await use(ModelSlot(SlowModels()))  # type: ignore[arg-type]
