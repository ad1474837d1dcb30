"""The model of a backend while it is loaded, and when the backend is stopped."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from octabox.errors import LoadError, ServerStoppingError
from octabox.frontends.grpc.localai.loading.model_slot import ModelSlot

LIMIT = 20


class SlowModels:
    """Models whose load ends when a test says so, with an error if it sets one."""

    def __init__(self) -> None:
        self.loading, self.end = asyncio.Event(), asyncio.Event()
        self.error: Exception | None = None

    def add(self, config: Any) -> None:
        """Add nothing."""

    async def remove(self, name: str) -> bool:
        """End the load of this model with an error."""
        if not self.end.is_set():
            self.error = LoadError(f"'{name}' was unloaded.")
            self.end.set()
        return bool(name)

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
    """The caller of the load gets an error, and the next load finds the slot free."""
    models = SlowModels()
    slot = Slot(models)  # type: ignore[arg-type]
    load = asyncio.create_task(slot.load(request()))
    await asyncio.wait_for(models.loading.wait(), LIMIT)

    assert await asyncio.wait_for(slot.free(), LIMIT)

    with pytest.raises(LoadError, match="'demo' was unloaded"):
        await asyncio.wait_for(load, LIMIT)
    assert "UNINITIALIZED" == slot.state()
    models.error = None
    await slot.load(request())
    assert "READY" == slot.state()


async def test_a_request_without_a_model_is_an_error() -> None:
    """It says what to do."""
    with pytest.raises(LoadError, match="Call LoadModel first"):
        await use(ModelSlot(SlowModels()))  # type: ignore[arg-type]
