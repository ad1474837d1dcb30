"""How long models stay in memory: by configurations, names and requests; and what is unloaded since nobody uses it."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from octabox.config.memory.durations import NEVER
from octabox.config.model import ModelConfig
from octabox.engine.local.resident.retention import IdleUnloader, Retention


def config(name: str, **fields: Any) -> ModelConfig:
    """Return a configuration."""
    return ModelConfig.model_validate({"name": name, "model": "x", **fields})


def test_a_configuration_comes_before_the_setting() -> None:
    """Without either a model stays."""
    assert Retention().expires(100) is None
    retention = Retention(60)
    assert 160 == retention.expires(100)
    retention.configure(config("a", keep_alive="5m"))
    assert 400 == retention.expires(100)
    retention.configure(config("a", keep_alive=0))
    assert 100 == retention.expires(100)


def test_of_several_names_the_longest_time_counts() -> None:
    """One that is pinned, or has no end, keeps the weights of all."""
    retention = Retention(60)
    retention.configure(config("a", keep_alive=10))
    retention.configure(config("b"))
    assert ("a", "b") == retention.names
    assert 60 == retention.keep_alive
    retention.configure(config("c", keep_alive="never"))
    assert NEVER == retention.keep_alive

    retention.forget("c")
    retention.configure(config("b", pin=True))
    assert retention.pinned
    assert retention.expires(100) is None


def test_a_request_counts_until_the_model_is_unloaded() -> None:
    """What it leaves out is not changed."""
    retention = Retention(60)
    retention.configure(config("a", pin=True))
    retention.request("a", 5, None)
    assert (5, True) == (retention.keep_alive, retention.pinned)
    retention.request("a", None, pin=False)
    assert 105 == retention.expires(100)

    retention.reset()
    assert (60, True) == (retention.keep_alive, retention.pinned)


class Model:
    """A model that expires after some seconds."""

    def __init__(self, name: str, seconds: float | None, *, idle: bool = True) -> None:
        self.name, self.idle = name, idle
        self.expires = None if seconds is None else time.time() + seconds

    async def unload(self) -> bool:
        """Leave memory."""
        was_idle, self.idle = self.idle, False
        return was_idle


async def test_each_model_is_unloaded_at_its_time() -> None:
    """One timer serves all; a busy model and one without an end stay."""
    models = [
        Model("now", 0),
        Model("soon", 0.1),
        Model("busy", 0, idle=False),
        Model("later", 60),
        Model("ever", None),
    ]
    unloaded: list[str] = []
    unloader = IdleUnloader(lambda: models, unloaded.append)
    unloader.update()
    await asyncio.sleep(0.02)
    assert ["now"] == unloaded
    await asyncio.sleep(0.2)

    assert ["now", "soon"] == unloaded
    unloader.stop()


async def test_a_model_that_is_used_again_stays() -> None:
    """The request arrives between the end of the time and the unload."""
    model, unloaded = Model("x", 0), list[str]()
    IdleUnloader(lambda: [model], unloaded.append).update()
    model.idle = False
    await asyncio.sleep(0.02)

    assert [] == unloaded


async def test_no_model_is_unloaded_after_the_end() -> None:
    """A server that is being stopped ends its workers itself."""
    model, unloaded = Model("x", 0.05), list[str]()
    unloader = IdleUnloader(lambda: [model], unloaded.append)
    unloader.update()
    unloader.stop()
    await asyncio.sleep(0.1)

    assert [] == unloaded
