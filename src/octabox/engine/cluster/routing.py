"""Which of the replicas of a model that are free takes a request."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Protocol, TypeVar


class WarmReplica(Protocol):
    """A replica that is loaded."""

    @property
    def adapters(self) -> AbstractSet[str]:
        """The adapters that it has loaded."""


AnyReplica = TypeVar("AnyReplica", bound=WarmReplica)


def choose_warm(free: Iterable[AnyReplica], adapters: AbstractSet[str] = frozenset()) -> AnyReplica | None:
    """Return the replica that lacks the fewest of some adapters; None if there is none.

    Args:
        free: The replicas of the model that are free; of equal ones, the first is chosen.
        adapters: Adapters that the request applies.
    """
    return min(free, key=lambda each: len(adapters - each.adapters), default=None)
