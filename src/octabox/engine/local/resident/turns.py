"""Models in use give their places to others, whose requests have waited longer."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Mapping, Sequence

from octabox.engine.cluster.state import Replica
from octabox.engine.cluster.turns import plan_yields, seconds_until_yield
from octabox.engine.local.resident.room import ResidentModel, as_replica

logger = logging.getLogger("octabox.engine")


class PlaceTurns:
    """Which loads wait for models in use, and which of those give their places.

    Args:
        models: All models by their names.
    """

    def __init__(self, models: Mapping[str, ResidentModel]) -> None:
        self._models = models
        self._waiting: dict[
            str, tuple[str | None, int]
        ] = {}  # The place of each load, and the bytes that it lacks there.

    def request_place(
        self, name: str, models: Sequence[ResidentModel], place: str | None = None, needed: int = 1
    ) -> float | None:
        """Let models in use give their places to another one, where they have to.

        Args:
            name: Name of the model that is to be loaded.
            models: Models that may make room for it.
            place: Where bytes are needed; None is where any model makes room for another one.
            needed: How many bytes.

        Returns:
            When to request it again, by `time.monotonic`, if nothing has become idle or left memory; None if models make room.
        """
        self._waiting[name] = (place, max(needed, 1))
        if self._is_preceded(name, place):
            return math.inf
        seconds = {each.name: self.seconds(name, each) for each in models}
        by_name = {each.name: each for each in models}

        def value(replica: Replica) -> float:
            model = by_name[replica.name]
            return -1.0 if model.yields_to else model.keep_value  # Those that yield already are first.

        plan = plan_yields((as_replica(each, place) for each in models), max(needed, 1), value, seconds)
        if plan is None:
            later = [each for each in seconds.values() if each > 0]
            return time.monotonic() + min(later, default=math.inf)
        self.let_yield(name, (each.name for each in plan))
        return None

    def yielding(self, name: str, models: Iterable[ResidentModel]) -> list[str]:
        """Return the names of the models that have to give their places to another one; none while models do so already.

        Args:
            name: Name of the model that is to be loaded.
            models: Models that may make room for it.
        """
        self._waiting[name] = ("", 1)
        others = list(models)
        if self._is_preceded(name, "") or any(each.yields_to == name and not each.has_yielded for each in others):
            return []
        return [each.name for each in others if self.seconds(name, each) <= 0]

    def let_yield(self, name: str, yielding: Iterable[str]) -> None:
        """Let models give their places to another one once their calls are done.

        Args:
            name: Name of the model that is to be loaded.
            yielding: Names of the models that make room for it.
        """
        for each in yielding:
            if self._models[each].yields_to != name:
                logger.info(
                    "%s makes room for %s once its calls are done, whose requests have waited longer", each, name
                )
                self._models[each].yield_to(name)

    def seconds(self, name: str, model: ResidentModel) -> float:
        """Return in how many seconds a model has to give its place to another one; infinity if it does not.

        Args:
            name: Name of the model that is to be loaded.
            model: The model that may make room for it.
        """
        if model.yields_to or model.pinned:
            return 0.0 if model.yields_to == name else math.inf
        claim, turn = self._models[name].claim, model.turn
        return math.inf if claim is None or turn is None else seconds_until_yield(turn, claim, time.perf_counter())

    def is_awaited(self, model: ResidentModel) -> bool:
        """Return whether a load waits to which a model, which has taken a request, has to give its place now."""
        return not model.yields_to and any(self.seconds(name, model) <= 0 for name in self._waiting)

    def end(self, name: str) -> bool:
        """End the wait of a load; models that were to make room take requests again. Return whether it has waited."""
        for each in self._models.values():
            each.resume(name)
        return self._waiting.pop(name, self) is not self

    def _is_preceded(self, name: str, place: str | None) -> bool:
        """Return whether a load has no claim, or another one that can have the same place is first."""
        claims = [(self._models[each].claim, each) for each, (other, _) in self._waiting.items() if other == place]
        ranks = sorted((claim.rank, each) for claim, each in claims if claim)
        return next((each for _, each in ranks if each == name or self._can_have_place(each)), None) != name

    def _can_have_place(self, name: str) -> bool:
        """Return whether models in use give a load enough of its place, at the latest at the end of their turns."""
        place, needed = self._waiting[name]
        models = [each for each in self._models.values() if each.name != name and (not place or each.memory.get(place))]
        return needed <= sum(as_replica(each, place).size for each in models if self.seconds(name, each) < math.inf)
