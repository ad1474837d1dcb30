"""What servers of a cluster tell each other, over a store in memory."""

from __future__ import annotations

import json

import pytest
from ray.experimental import internal_kv

from octabox.engine.ray.sharing.board import OFFER_TTL, Board
from octabox.engine.ray.sharing.offers import Offer, PlaceCall


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> dict[bytes, bytes]:
    """Return the content of the store."""
    found: dict[bytes, bytes] = {}

    def put(key: str, value: str, *, namespace: str) -> None:
        assert "octabox" == namespace
        found[key.encode()] = value.encode()

    def delete(key: str, *, namespace: str) -> None:
        assert "octabox" == namespace
        found.pop(key.encode(), None)

    def get(key: bytes, *, namespace: str) -> bytes | None:
        assert "octabox" == namespace
        return found.get(key)

    monkeypatch.setattr(internal_kv, "_internal_kv_put", put)
    monkeypatch.setattr(internal_kv, "_internal_kv_del", delete)
    monkeypatch.setattr(internal_kv, "_internal_kv_get", get)
    monkeypatch.setattr(
        internal_kv,
        "_internal_kv_list",
        lambda prefix, *, namespace: [each for each in found if each.startswith(prefix.encode())],
    )
    return found


async def test_offers_are_those_of_other_servers_that_run(stored: dict[bytes, bytes]) -> None:
    """What is not repeated is removed, as its server has ended; a version with other fields offers nothing."""
    now = 100.0
    board = Board(lambda: now)
    offers = [Offer("a", "one", "n", {"GPU": 1.0}, 2.0, 3.0, "0")]
    await board.publish("a", offers)
    await board.publish("b", [])
    stored[b"octabox/offers/c"] = json.dumps({"at": now, "offers": [{"kind": "new"}]}).encode()

    assert offers == await board.offers("b")
    assert [] == await board.offers("a")
    now += OFFER_TTL + 1
    assert [] == await board.offers("b")
    assert {} == stored


async def test_a_server_that_leaves_offers_nothing(stored: dict[bytes, bytes]) -> None:
    """Its offers are removed."""
    board = Board(lambda: 1.0)
    await board.publish("a", [Offer("a", "one", "n", {"GPU": 1.0})])
    await board.withdraw("a")

    assert {} == stored


async def test_calls_reach_their_server(stored: dict[bytes, bytes]) -> None:
    """Each until it is ended; one of a version with other fields is not answered."""
    board = Board(lambda: 1.0)
    call = PlaceCall("1", "a", ("one", "two"), "demo", {"GPU": 2.0}, 5.0)
    await board.call(call)
    stored[b"octabox/calls/a/2"] = json.dumps({"names": []}).encode()

    assert [call] == await board.calls("a")
    assert [] == await board.calls("b")
    await board.end_call(call)
    assert [] == await board.calls("a")
