"""A load that can be stopped from outside."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from octabox.errors import LoadError

T = TypeVar("T")


class StoppableLoad:
    """The load of a model in steps, of which one at a time runs as a task that can be cancelled.

    What the load does between its steps, such as the unload of another model, always runs to its end.

    Args:
        name: Name of the model.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._step: asyncio.Task[Any] | None = None
        self._stopped = False

    def stop(self) -> None:
        """Cancel the step that runs, and each later one."""
        self._stopped = True
        if self._step is not None:
            self._step.cancel()

    async def run(self, step: Coroutine[Any, Any, T]) -> T:
        """Return the result of a step.

        Raises:
            LoadError: The load was stopped.
        """
        task: asyncio.Task[T] = asyncio.create_task(step)
        self._step = task
        if self._stopped:
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            if not self._stopped:
                raise
            message = f"The load was stopped, because '{self._name}' was unloaded."
            raise LoadError(message, hint="Load it again.", model=self._name) from None
        finally:
            self._step = None
