"""The sizes of batches that have failed, which the server keeps when the worker that they have ended is replaced."""

from __future__ import annotations

from collections.abc import Mapping

from octabox.catalog.pipelines import load_catalog
from octabox.engine.batches.keys import MAX_SIZES, size_key, size_limit
from octabox.engine.protocol import Call


class Ceilings:
    """The most members of a batch by class and size, where larger batches have failed or ended their worker.

    Those of the sizes that have failed last are kept.
    """

    def __init__(self) -> None:
        self._loaded: object = None
        self._known: dict[str, int] = {}

    def of(self, loaded: object) -> Mapping[str, int]:
        """Return what is known of a model; that of the one before is forgotten.

        Args:
            loaded: What is loaded; equal for equal models.
        """
        if loaded != self._loaded:
            self._loaded, self._known = loaded, {}
        return dict(self._known)

    def merge(self, reported: Mapping[str, int]) -> None:
        """Take over what a worker has learned."""
        for key, members in reported.items():
            self._lower(key, members)

    def halve(self, call: Call, members: int) -> None:
        """Allow half as many as in a batch that has ended its worker.

        Args:
            call: One of its calls.
            members: How many members it had.
        """
        entry = load_catalog().pipeline(call.runs_as)
        run = call.runs[0]
        self._lower(size_key(run, entry), max(1, min(members, size_limit(run, entry)) // 2))

    def _lower(self, key: str, members: int) -> None:
        known = self._known.pop(key, members)
        self._known[key] = min(known, members)
        if len(self._known) > MAX_SIZES:
            del self._known[next(iter(self._known))]
