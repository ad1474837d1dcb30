"""Models that are unloaded because nobody uses them."""

from __future__ import annotations

import asyncio
import time

from octabox.engine.local.resident.idle import IdleUnloader


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
