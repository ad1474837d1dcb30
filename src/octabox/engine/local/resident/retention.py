"""How long a model stays in memory: by its configurations, the server's setting, and requests."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from octabox.config.memory.durations import NEVER
from octabox.config.model import ModelConfig


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
