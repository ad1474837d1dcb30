"""Who may manage models of the Hub over HTTP, and what a request must be."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import pytest
from safetensors.numpy import save

from fakes import Server
from local_hub import LocalHub
from octabox.hub.pulls.links import ModelFolders
from octabox.security.urls import UrlGuard

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


@pytest.mark.parametrize("revision", ["/dev/zero", "../../../x", "C:\\x"])
async def test_a_revision_is_no_path_of_this_machine(local_hub: LocalHub, revision: str) -> None:
    """It is one that the repository does not have."""
    local_hub.add("org/painter", FILES)
    response = await Server().http.get("/v1/hub/models/org/painter", params={"revision": revision})

    assert (404, "revision_not_found") == (response.status_code, response.json()["error"]["code"])


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "model"),
        ({"model": ""}, "model"),
        ({"model": "org/x", "path": "/etc"}, "path"),
        ({"model": "org/x", "name": "../x"}, "name"),
        ({"model": "org/x", "name": "x\0"}, "name"),
        ({"model": "org/x", "name": "ä" * 101}, "name"),
        ({"url": "https://files.example/a%00b.safetensors", "sha256": "0" * 64}, "url"),
        ({"url": "https://files.example/a\u0001b.safetensors", "sha256": "0" * 64}, "url"),
    ],
)
async def test_a_body_is_checked(local_hub: LocalHub, body: dict[str, Any], param: str) -> None:
    """Unknown fields, and names that leave the folder or cannot be those of files, are refused."""
    server = Server()
    response = await server.http.post("/v1/hub/pulls", json=body)

    assert (400, param) == (response.status_code, response.json()["error"]["param"]), response.text


async def test_a_name_that_is_used(tmp_path: Path) -> None:
    """The error of the download names the field of the request; the file that has the name is kept."""
    gate = asyncio.Event()
    gate.set()
    server = url_server(tmp_path, gate)
    (tmp_path / "loras").mkdir()
    (tmp_path / "loras" / "mine.safetensors").write_bytes(b"mine")
    response = await server.http.post("/v1/hub/pulls", json={"url": URL, "sha256": SHA256, "name": "mine"})
    error = (await finished(server, response.json()))["error"]

    assert "exists already" in error["message"]
    assert "name" == error.get("param", error.get("parameter"))
    assert b"mine" == (tmp_path / "loras" / "mine.safetensors").read_bytes()


async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """It is named, and what was downloaded is kept."""
    gate = asyncio.Event()
    gate.set()
    server = url_server(tmp_path, gate)
    (tmp_path / "loras").write_bytes(b"not a folder")
    response = await server.http.post("/v1/hub/pulls", json={"url": URL, "sha256": SHA256})
    error = (await finished(server, response.json()))["error"]

    assert f"{tmp_path / 'loras'}" in error["message"]
    assert "cannot be written" in error["message"]
    assert [CONTENT] == [each.read_bytes() for each in (tmp_path / "files").rglob("style.safetensors")]


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


CONTENT = save(
    {"unet.a.lora_A.weight": np.zeros((4, 16000), "float32"), "unet.a.lora_B.weight": np.zeros((16000, 4), "float32")}
)
#: Bytes before the body stops; a transfer reads pieces of 256 KiB.
FIRST = 300_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
URL = "https://files.example/style.safetensors"


class Pieces(httpx.AsyncByteStream):
    """A body that arrives in pieces, and stops before the last one until it may go on."""

    def __init__(self, content: bytes, gate: asyncio.Event) -> None:
        self._content, self._gate = content, gate

    async def __aiter__(self) -> AsyncIterator[bytes]:
        await asyncio.sleep(0.3)  # Longer than the interval of reports.
        yield self._content[:FIRST]
        while not self._gate.is_set():  # noqa: ASYNC110 (it is set in another loop)
            await asyncio.sleep(0.01)
        yield self._content[FIRST:]


def url_server(tmp_path: Path, gate: asyncio.Event, **settings: Any) -> Server:
    """Return a server whose URLs end at a server of files; one of its hosts is of this machine."""

    async def resolve(host: str, port: int) -> list[str]:
        return ["10.0.0.1"] if host == "inside.example" else ["93.184.216.34"]

    def answer(request: httpx.Request) -> httpx.Response:
        start, _, end = (request.headers.get("range") or "bytes=0-").removeprefix("bytes=").partition("-")
        body = CONTENT[int(start) : int(end) + 1 if end else None]
        stream = Pieces(body, gate) if len(body) > FIRST else httpx.ByteStream(body)
        headers = {"content-length": str(len(body))}
        if "range" in request.headers:
            headers["content-range"] = f"bytes {start}-{int(start) + len(body) - 1}/{len(CONTENT)}"
        return httpx.Response(206 if "range" in request.headers else 200, headers=headers, stream=stream)

    server = Server(models=tmp_path / "models", **settings)
    guard = UrlGuard(resolve, lambda: httpx.MockTransport(answer))
    folders = ModelFolders(tmp_path / "models", tmp_path / "loras", tmp_path / "embeddings")
    # The routes have the downloads of the server that was built before.
    server.pulls.__init__(folders, tmp_path / "files", guard)  # type: ignore[misc]
    return server


async def finished(server: Server, pull: dict[str, Any]) -> dict[str, Any]:
    """Return a download at its end."""
    async for job in server.pulls.follow(server.pulls.find(pull["id"])):
        if job.ended is not None:
            break
    found: dict[str, Any] = (await server.http.get(f"/v1/hub/pulls/{pull['id']}")).json()
    return found


async def test_a_url_is_a_pull_as_any_other(tmp_path: Path) -> None:
    """It has progress, is cancelled, goes on, and is linked into the folder of its kind; a token in it is shown nowhere."""
    gate = asyncio.Event()
    server = url_server(tmp_path, gate)
    body = {"url": f"{URL}?token=secret", "sha256": SHA256}
    started = (await server.http.post("/v1/hub/pulls", json=body)).json()
    job = server.pulls.find(started["id"])
    async for each in server.pulls.follow(job):
        if each.progress is not None and each.progress.done:
            break
    cancelled = (await server.http.delete(f"/v1/hub/pulls/{started['id']}")).json()
    gate.set()
    streamed = await server.http.post("/v1/hub/pulls", json={**body, "name": "style", "stream": True})
    last = json.loads(streamed.text.strip().rpartition("data: ")[2])

    assert (URL, None, "style.safetensors") == tuple(started[key] for key in ("url", "model", "file"))
    assert "cancelled" == cancelled["status"]
    assert 0 < cancelled["bytes"] < len(CONTENT)
    assert "event: done" in streamed.text
    assert ("completed", "lora", len(CONTENT)) == tuple(last[key] for key in ("status", "kind", "total_bytes"))
    assert CONTENT == (tmp_path / "loras" / "style.safetensors").read_bytes()
    assert "secret" not in streamed.text + json.dumps([started, cancelled])


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"url": "http://files.example/a.safetensors", "sha256": SHA256}, 400, ""),
        ({"url": "https://user:pw@files.example/a.safetensors", "sha256": SHA256}, 400, ""),
        ({"url": URL}, 400, None),
        ({"url": URL, "sha256": "abc"}, 400, None),
        ({"url": "https://files.example/page.html", "sha256": SHA256}, 400, None),
        ({"url": URL, "sha256": SHA256, "model": "org/x"}, 400, None),
        ({"url": URL, "sha256": SHA256, "variant": "fp16"}, 400, None),
        ({"model": "org/x", "sha256": SHA256}, 400, None),
        ({"url": "https://inside.example/a.safetensors", "sha256": SHA256}, 202, "forbidden_url"),
        ({"url": URL, "sha256": "0" * 64}, 202, "checksum_mismatch"),
    ],
)
async def test_what_a_url_must_be(tmp_path: Path, body: dict[str, Any], status: int, code: str | None) -> None:
    """Its form is checked at once; what only a connection shows is the error of the download, and nothing is kept."""
    gate = asyncio.Event()
    gate.set()
    server = url_server(tmp_path, gate)
    response = await server.http.post("/v1/hub/pulls", json=body)

    assert status == response.status_code, response.text
    if code:
        ended = await finished(server, response.json())
        assert ("failed", code) == (ended["status"], ended["error"]["code"])
    assert [] == [*tmp_path.rglob("*.safetensors")]


async def test_a_field_of_a_download_that_does_not_exist() -> None:
    """The error names it."""
    error = (await Server().http.post("/v1/hub/pulls", json={"modl": "org/x"})).json()["error"]

    assert ("invalid_request_error", "modl") == (error["type"], error["param"])
    assert "'modl'" in error["message"]


async def test_a_url_needs_an_admin_key_too(tmp_path: Path) -> None:
    """As any download."""
    server = url_server(tmp_path, asyncio.Event(), admin_keys=["admin"])

    assert 401 == (await server.http.post("/v1/hub/pulls", json={"url": URL, "sha256": SHA256})).status_code


@pytest.mark.parametrize("name", ["style", "a/b/c", "a b/c", "style#2", "line/50% ?", "style/ink"])
async def test_a_file_of_any_name_is_removed(local_hub: LocalHub, tmp_path: Path, name: str) -> None:
    """By its name in its folder, as the list states it; another file stays."""
    server = Server(models=tmp_path, cache_dir=tmp_path / "own")
    file = tmp_path / "own" / "files" / SHA256 / "style.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    loras = tmp_path / "loras"
    for each in (name, "other"):
        link = loras / f"{each}.safetensors"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(file)
    listed = [each["name"] for each in (await server.http.get("/v1/hub/models")).json()["data"]]
    response = await server.http.delete(f"/v1/hub/models/{quote(name)}")
    missing = await server.http.delete(f"/v1/hub/models/{quote(name)}")
    revision = await server.http.delete(f"/v1/hub/models/{quote(name)}", params={"revision": "main"})

    assert sorted([name, "other"]) == sorted(listed)
    assert (200, True) == (response.status_code, response.json().get("removed")), response.text
    assert (404, 404) == (missing.status_code, revision.status_code)
    assert [loras / "other.safetensors"] == [each for each in loras.rglob("*") if each.is_symlink()]
    assert CONTENT == (loras / "other.safetensors").read_bytes()
