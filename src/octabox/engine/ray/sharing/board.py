"""What the servers of a cluster publish for each other, in the key-value store of its head."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ray.experimental import internal_kv

from octabox.engine.ray.connection import NAMESPACE
from octabox.engine.ray.sharing.offers import Offer, PlaceCall, offer_of

#: Seconds for which offers count that are not repeated: those of a server that has ended, whose replicas have ended with it.
OFFER_TTL = 15.0

#: What the keys of offers and of calls begin with.
_OFFERS, _CALLS = "octabox/offers/", "octabox/calls/"


class Board:
    """The offers of the servers of a cluster, and their calls for places.

    Whatever fails raises the error of Ray: the head may have ended.

    Args:
        clock: Returns the time in seconds since the epoch. The clocks of servers may differ by some seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    async def publish(self, server: str, offers: Sequence[Offer]) -> None:
        """Replace the offers of a server, and state that it runs."""
        await _put(_OFFERS + server, {"at": self._clock(), "offers": [asdict(each) for each in offers]})

    async def withdraw(self, server: str) -> None:
        """Remove the offers of a server."""
        await _delete(_OFFERS + server)

    async def offers(self, server: str) -> list[Offer]:
        """Return the offers of all servers but one; those of servers that have ended are removed."""
        found: list[Offer] = []
        for key, content in (await _read(_OFFERS)).items():
            other = key.removeprefix(_OFFERS)
            if abs(self._clock() - content.get("at", 0.0)) > OFFER_TTL:
                await _delete(key)
            elif other != server:
                found += _parsed(content, other)
        return found

    async def call(self, call: PlaceCall) -> None:
        """Call for places of another server."""
        await _put(f"{_CALLS}{call.to}/{call.id}", asdict(call))

    async def end_call(self, call: PlaceCall) -> None:
        """Remove a call, since its caller has a place or does not wait any more, or the places are not given."""
        await _delete(f"{_CALLS}{call.to}/{call.id}")

    async def calls(self, server: str) -> list[PlaceCall]:
        """Return the calls for places of a server."""
        found = (await _read(f"{_CALLS}{server}/")).values()
        return [call for each in found if (call := _parsed_call(each))]


def _parsed_call(content: Mapping[str, Any]) -> PlaceCall | None:
    """Return a call; None where its server has another version, whose calls have other fields."""
    try:
        return PlaceCall(**{**content, "names": tuple(content["names"])})
    except (TypeError, KeyError):
        return None


def _parsed(content: Mapping[str, Any], server: str) -> list[Offer]:
    """Return the offers of a server; none where it has another version, whose offers have other fields."""
    try:
        return [offer_of(each, server) for each in content["offers"]]
    except (TypeError, KeyError):
        return []


async def _put(key: str, content: Mapping[str, Any]) -> None:
    await asyncio.to_thread(internal_kv._internal_kv_put, key, json.dumps(content), namespace=NAMESPACE)  # noqa: SLF001


async def _delete(key: str) -> None:
    await asyncio.to_thread(internal_kv._internal_kv_del, key, namespace=NAMESPACE)  # noqa: SLF001


async def _read(prefix: str) -> dict[str, Any]:
    """Return the contents whose keys begin with a prefix; one that is removed meanwhile is missing."""

    def read() -> dict[str, Any]:
        keys = internal_kv._internal_kv_list(prefix, namespace=NAMESPACE)  # noqa: SLF001 (Ray has no public store)
        found = {key.decode(): internal_kv._internal_kv_get(key, namespace=NAMESPACE) for key in keys}  # noqa: SLF001
        return {key: json.loads(content) for key, content in found.items() if content}

    return await asyncio.to_thread(read)
