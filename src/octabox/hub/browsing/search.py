"""Search models on the Hub, and state what each is, how large it is, and whether it can be used."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from huggingface_hub import ModelInfo

from octabox.errors import DownloadError, GatedModelError, ModelNotFoundError, OctaboxError
from octabox.hub.browsing.description import FoundModel, IsServed, describe_model, unread_model
from octabox.hub.browsing.memory import Machine
from octabox.hub.responses.errors import hub_error
from octabox.hub.responses.messages import MODEL_LIST, RESPONSE_ERRORS, hub_api

#: Orders of results, and the Hub's names of them; sizes are compared here.
SORTS: dict[str, Literal["downloads", "likes", "last_modified"]] = {
    "downloads": "downloads",
    "likes": "likes",
    "updated": "last_modified",
    "size": "downloads",
}

#: How many of the most downloaded models are compared by their size, at least, and for each result.
MIN_COMPARED, COMPARED_FOR_EACH = 100, 2

#: Results that are described at the same time.
_PARALLEL = 8

#: Seconds that a search waits at most, all in all, where the Hub limits requests.
MAX_WAIT = 20.0

#: Codes of errors that concern one request, so that the other results are shown.
_TEMPORARY = frozenset({"rate_limited", "hub_unavailable", "connection_reset"})


@dataclass(frozen=True)
class Query:
    """A search.

    Args:
        words: Words of the name.
        task: Task tag.
        author: User or organization.
        sort: One of `SORTS`. The Hub cannot sort by size: ``size`` compares the most downloaded models only, see `compared`.
        limit: Maximum number of results.
        gated: Whether only gated models (True) or only others (False) are found; None finds all.
    """

    words: str = ""
    task: str | None = None
    author: str | None = None
    sort: str = "downloads"
    limit: int = 20
    gated: bool | None = None

    @property
    def compared(self) -> int:
        """How many models of the Hub's list are described."""
        return max(MIN_COMPARED, COMPARED_FOR_EACH * self.limit) if self.sort == "size" else self.limit


def search_models(query: Query, machine: Machine, is_served: IsServed) -> list[FoundModel]:
    """Return the models that a query finds; one that the Hub did not answer about has an `error`.

    Raises:
        OctaboxError: The Hub cannot be reached, or refuses the request or all that is asked about the models.
    """
    try:
        infos = list(
            hub_api().list_models(
                search=query.words or None,
                author=query.author,
                pipeline_tag=query.task,
                gated=query.gated,
                sort=SORTS[query.sort],
                limit=query.compared,
            )
        )
    except RESPONSE_ERRORS as error:
        raise hub_error(error, MODEL_LIST) from error
    description = _Description(time.monotonic() + MAX_WAIT)
    if query.sort != "size":
        return description.of_all(infos, lambda name: describe_model(name, machine, is_served))
    sizes = description.of_all(infos, lambda name: describe_model(name, machine, is_served, headers=False))
    largest = sorted(sizes, key=lambda each: -(each.size or 0))[: query.limit]
    # Headers are read of the shown ones only; those that could not be read before are not tried again.
    entries = {each.id: each for each in infos}
    unread = {each.name: each for each in largest if each.error}
    shown = [entries[each.name] for each in largest if each.name not in unread]
    known = {each.name: each for each in largest}
    try:
        described = description.of_all(shown, lambda name: describe_model(name, machine, is_served))
    except OctaboxError:  # The Hub limits requests by now: what it has answered stays.
        described = [known[each.id] for each in shown]
    read = [known[each.name] if each.error else each for each in described]
    return [*sorted(read, key=lambda each: -(each.size or 0)), *unread.values()]


class _Description:
    """Describes the models of a list at the same time.

    Args:
        deadline: When the search waits no longer for a Hub that limits requests, by `time.monotonic`.
    """

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline

    def of_all(self, infos: Iterable[ModelInfo], describe: Callable[[str], FoundModel]) -> list[FoundModel]:
        """Return what is known of each model, without those that have gone.

        Raises:
            OctaboxError: The Hub answers about none of them, or there is an error that concerns all.
        """
        errors: list[OctaboxError] = []

        def attempt(info: ModelInfo) -> FoundModel | None:
            try:
                return self._describe(info.id, describe)
            except OctaboxError as error:
                if isinstance(error, ModelNotFoundError | GatedModelError) or error.code == "model_disabled":
                    return None  # It was removed, disabled or made private since the list was made.
                if error.code not in _TEMPORARY:
                    raise
                errors.append(error)
                return unread_model(info, error)

        with ThreadPoolExecutor(_PARALLEL) as pool:
            found = [each for each in pool.map(attempt, infos) if each is not None]
        if errors and all(each.error for each in found):
            raise errors[0]
        return found

    def _describe(self, name: str, describe: Callable[[str], FoundModel]) -> FoundModel:
        """Describe a model, again once the time that the Hub states has passed, while the deadline allows it."""
        while True:
            try:
                return describe(name)
            except DownloadError as error:
                wait = error.retry_after
                if error.code != "rate_limited" or not wait or time.monotonic() + wait > self._deadline:
                    raise
                time.sleep(wait)
