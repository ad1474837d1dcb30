"""Models that are loaded when the server starts."""

from __future__ import annotations

import pytest

from fakes import FakeModels
from octabox.errors import LoadError
from octabox.service.jobs import Preloads
from octabox.types import ModelStatus


class Broken(FakeModels):
    """Cannot load a model, for a reason of Octabox's or for another one."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def load(self, name: str, keep_alive: float | None = None, pin: bool | None = None) -> ModelStatus:
        """Fail."""
        raise self.error


@pytest.mark.parametrize("error", [LoadError("It is damaged.", hint="Download it again."), ValueError("odd")])
async def test_a_failure_is_logged_and_reported(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever it is, the others are loaded and the server starts."""
    models, reported = Broken(error), list[str]()
    models.loaded = {}
    preloads = Preloads("a", "a")
    assert preloads.pending
    for name in preloads.names:
        await preloads.load(name, models, reported.append)

    assert not preloads.pending
    assert [f"The model 'a' could not be preloaded: {error}"] == reported
    assert {"a": str(error)} == preloads.failures(models)
    assert [("ERROR", reported[0])] == [(record.levelname, record.message) for record in caplog.records]


async def test_a_model_that_is_loaded_later_is_no_failure() -> None:
    """A request may succeed where the start did not."""
    models, preloads = Broken(LoadError("No memory.")), Preloads("a")
    await preloads.load("a", models, lambda _: None)
    models.loaded = {"a": ModelStatus("a", "loading")}
    assert {"a": "No memory."} == preloads.failures(models)
    models.loaded = {"a": ModelStatus("a", "busy")}
    assert {} == preloads.failures(models)
