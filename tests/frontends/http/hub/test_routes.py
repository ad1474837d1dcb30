"""Who may manage models of the Hub over HTTP, and what a request must be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fakes import Server
from local_hub import LocalHub

FILES = {"model_index.json": b'{"_class_name": "X"}'}


def headers(key: str | None) -> dict[str, str]:
    """Return the headers with a key."""
    return {"authorization": f"Bearer {key}"} if key else {}


@pytest.mark.parametrize(
    ("settings", "key", "status"),
    [
        ({}, None, 200),
        ({"host": "0.0.0.0"}, None, 403),
        ({"api_keys": ["user"]}, "user", 403),
        ({"admin_keys": ["admin"]}, None, 401),
        ({"admin_keys": ["admin"]}, "wrong", 401),
        ({"admin_keys": ["admin"]}, "admin", 200),
        ({"admin_keys": ["admin"], "api_keys": ["user"]}, "user", 401),
        ({"admin_keys": ["admin"], "api_keys": ["user"]}, "admin", 200),
        ({"hub": False}, None, 404),
    ],
)
async def test_only_administrators(local_hub: LocalHub, settings: dict[str, Any], key: str | None, status: int) -> None:
    """An API key is not enough, and without keys only this machine may."""
    server = Server(**settings)
    response = await server.http.get("/v1/hub/pulls", headers=headers(key))

    assert status == response.status_code, response.text


async def test_an_admin_key_is_an_api_key_too(local_hub: LocalHub) -> None:
    """And alone it closes no other route."""
    server = Server(admin_keys=["admin"], api_keys=["user"])
    statuses = [(await server.http.get("/v1/models", headers=headers(key))).status_code for key in ("admin", "x")]
    server = Server(admin_keys=["admin"])
    statuses.append((await server.http.get("/v1/models")).status_code)

    assert [200, 401, 200] == statuses


async def test_search_and_description(local_hub: LocalHub) -> None:
    """They are those of the command line."""
    local_hub.add("org/painter", FILES, downloads=3)
    server = Server()
    found = (await server.http.get("/v1/hub/search", params={"q": "painter"})).json()["data"]
    known = (await server.http.get("/v1/hub/models/org/painter")).json()
    missing = await server.http.get("/v1/hub/models/org/nobody")

    assert [("org/painter", "diffusers", 3)] == [(each["name"], each["kind"], each["downloads"]) for each in found]
    assert ("hub", "diffusers") == (known["where"], known["kind"])
    assert (404, "model_not_found") == (missing.status_code, missing.json()["error"]["code"])


@pytest.mark.parametrize(
    "body", [{}, {"model": ""}, {"model": "org/x", "path": "/etc"}, {"model": "org/x", "name": "../x"}]
)
async def test_a_body_is_checked(local_hub: LocalHub, body: dict[str, Any]) -> None:
    """Unknown fields, and names that leave the folder, are refused."""
    server = Server()
    response = await server.http.post("/v1/hub/pulls", json=body)

    assert 400 == response.status_code, response.text


async def test_a_path_of_this_machine_is_no_model(
    local_hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that has the name of a Hub id is not described, nor a path removed."""
    (tmp_path / "org" / "folder").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    server = Server()
    statuses = [
        (await server.http.get("/v1/hub/models/org/folder")).status_code,
        (await server.http.delete("/v1/hub/models/../folder")).status_code,
        (await server.http.delete("/v1/hub/models/org/..%2Ffolder")).status_code,
    ]

    assert [404, 404, 404] == statuses
    assert (tmp_path / "org" / "folder").is_dir()
