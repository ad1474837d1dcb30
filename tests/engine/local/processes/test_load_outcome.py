"""The wait for a load: its time limit is that of the weights, and what follows has the limit of a call."""

from __future__ import annotations

import asyncio

import pytest

from octabox.engine.local.processes.load_outcome import LoadOutcome
from octabox.engine.messages import Loaded
from octabox.errors import LoadError

LOADED = Loaded("cpu", 1.0)


async def test_the_time_limit_ends_with_the_weights() -> None:
    """A model may be compiled for longer than it may be loaded."""
    outcome = LoadOutcome()
    outcome.note_weights()
    waiting = asyncio.create_task(outcome.wait(timeout=0.01, progress_timeout=0))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    outcome.resolve(LOADED)

    assert LOADED == await waiting


async def test_weights_that_are_not_read_in_time_end_the_wait() -> None:
    """So does what follows them, by its own limit."""
    with pytest.raises(asyncio.TimeoutError):
        await LoadOutcome().wait(timeout=0.01, progress_timeout=60)
    outcome = LoadOutcome()
    outcome.note_weights()
    with pytest.raises(LoadError, match="not compiled") as caught:
        await outcome.wait(timeout=60, progress_timeout=0.01)
    assert "`progress_timeout`" in caught.value.hint


async def test_the_first_outcome_counts() -> None:
    """An error is raised, also before the weights are in memory."""
    outcome = LoadOutcome()
    outcome.resolve(LoadError("It does not exist."))
    outcome.resolve(LOADED)

    with pytest.raises(LoadError, match="does not exist"):
        await outcome.wait(timeout=60, progress_timeout=60)
