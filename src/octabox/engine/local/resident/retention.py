"""How long models stay in memory: by their configurations, the server's setting and requests. After that, they are unloaded."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

from octabox.config.memory.durations import NEVER
from octabox.config.model import ModelConfig

logger = logging.getLogger("octabox.engine")


@dataclass(frozen=True)
class _Choice:
    """What one name, or a request for it, has set; None is not set."""

    keep_alive: float | None = None
    pin: bool | None = None


@dataclass
class Retention:
    """How long one model stays in memory, by all names that share it: the longest time counts, and one pin is enough.

    Args:
        default: Seconds of models that configure none.
    """

    default: float = NEVER
    _configured: dict[str, _Choice] = field(default_factory=dict)
    _requested: dict[str, _Choice] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The names that share the model, in the order of their first requests."""
        return tuple(self._configured)

    @property
    def keep_alive(self) -> float:
        """Seconds without requests after which the model is unloaded."""
        values = [choice.keep_alive for choice in self._choices()]
        return max((self.default if value is None else value for value in values), default=self.default)

    @property
    def pinned(self) -> bool:
        """Whether the model is never unloaded for another one, nor for lack of requests."""
        return any(choice.pin for choice in self._choices())

    def configure(self, model: ModelConfig) -> None:
        """Take over what a configuration sets."""
        self._configured[model.name] = _Choice(model.keep_alive, model.pin)

    def request(self, name: str, keep_alive: float | None, pin: bool | None) -> None:
        """Take over what a request sets, until the model is unloaded; None leaves a value as it is."""
        before = self._requested.get(name, _Choice())
        changes = {"keep_alive": keep_alive, "pin": pin}
        self._requested[name] = replace(before, **{key: value for key, value in changes.items() if value is not None})  # type: ignore[arg-type]

    def forget(self, name: str) -> None:
        """Remove a name whose configuration is loaded otherwise now."""
        self._configured.pop(name, None)
        self._requested.pop(name, None)

    def reset(self) -> None:
        """Forget what requests have set, since the model was unloaded."""
        self._requested.clear()

    def expires(self, last_used: float) -> float | None:
        """Return when a model that was used last at a time is unloaded; None if it is not."""
        return None if self.pinned or math.isinf(self.keep_alive) else last_used + self.keep_alive

    def _choices(self) -> list[_Choice]:
        """Return what counts for each name: what a request has set, then its configuration."""
        return [
            _Choice(
                configured.keep_alive if requested.keep_alive is None else requested.keep_alive,
                configured.pin if requested.pin is None else requested.pin,
            )
            for name, configured in self._configured.items()
            for requested in [self._requested.get(name, _Choice())]
        ]


class ExpiringModel(Protocol):
    """A model whose time in memory may end."""

    name: str

    @property
    def idle(self) -> bool:
        """Whether it is in memory, and no request waits for it or runs on it."""

    @property
    def expires(self) -> float | None:
        """When it is unloaded if no request arrives, in seconds since the epoch; None if that will not happen."""

    async def unload(self) -> bool:
        """Unload it once it is idle; return whether it was in memory."""


class IdleUnloader:
    """Unloads each model once its time without requests is over; one timer runs, for the next model.

    Args:
        models: Returns all models.
        on_unload: Called with the name of each model that is unloaded.
    """

    def __init__(self, models: Callable[[], Iterable[ExpiringModel]], on_unload: Callable[[str], None]) -> None:
        self._models, self._on_unload = models, on_unload
        self._timer: asyncio.TimerHandle | None = None
        self._unloads: set[asyncio.Task[None]] = set()

    def update(self) -> None:
        """Unload what has expired, and set the timer; called where a model has become idle or its time was changed."""
        self.stop()
        now = time.time()
        idle = [(each.expires, each) for each in self._models() if each.idle and each.expires is not None]
        expired = [model for expires, model in idle if expires is not None and expires <= now]
        later = [expires for expires, _ in idle if expires is not None and expires > now]
        for model in expired:
            task = asyncio.get_running_loop().create_task(self._unload(model), name=f"idle unload of {model.name}")
            self._unloads.add(task)
            task.add_done_callback(self._unloads.discard)
        if later:
            # The clock of the loop is another one, and timers may fire early by its resolution.
            delay = min(later) - now + 0.01
            self._timer = asyncio.get_running_loop().call_later(delay, self.update)

    def stop(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _unload(self, model: ExpiringModel) -> None:
        """Unload a model, unless a request has arrived in the meantime."""
        if not model.idle:
            return
        logger.info("%s is unloaded, since it was not used for its keep_alive", model.name)
        if await model.unload():
            self._on_unload(model.name)
