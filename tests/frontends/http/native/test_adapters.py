"""LoRAs in requests and answers of our own API, and the list of those there are."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fakes import Server
from octabox.errors import InvalidParameterError
from octabox.frontends.http.native.generations.responses import adapter_to_json
from octabox.frontends.http.native.generations.schema import body_schema, parse_fields
from octabox.frontends.http.native.generations.translate import to_request
from octabox.hub.adapters.registry import AdapterRegistry
from octabox.types import AdapterChoice, AdapterReport, ModelInfo
from trained import EMBEDDINGS, LORAS


def asked(*adapters: Any) -> tuple[AdapterChoice, ...]:
    """Return the LoRAs of a request."""
    return to_request(parse_fields({"model": "demo", "adapters": list(adapters)}), {}).request.adapters


def test_by_name_and_by_object() -> None:
    """A name is a LoRA of full strength."""
    wanted = {"lora": "b", "weight": 0.8, "weights": {"unet": 1, "text_encoder": 0}}

    assert (AdapterChoice("a"), AdapterChoice("b", 0.8, {"unet": 1, "text_encoder": 0})) == asked("a", wanted)
    assert () == asked()


@pytest.mark.parametrize(
    "wrong",
    [
        3,
        {},
        {"lora": ""},
        {"lora": "a", "weight": "strong"},
        {"lora": "a", "weight": 11},
        {"lora": "a", "weight": float("nan")},
        {"lora": "a", "weights": {"unet": 1e9}},
        {"lora": "a", "scale": 1},
        {"name": "a"},
    ],
)
def test_what_is_wrong_is_refused(wrong: Any) -> None:
    """The error names the field."""
    with pytest.raises(InvalidParameterError) as caught:
        asked(wrong)

    assert "adapters" == caught.value.parameter


def test_the_schema_tells_both_forms() -> None:
    """A name, or an object with its strengths."""
    name, whole = body_schema()["properties"]["adapters"]["items"]["anyOf"]

    assert ("string", {"lora", "weight", "weights"}) == (name["type"], set(whole["properties"]))


def test_what_became_of_one() -> None:
    """How strong it was, and how many of its tensors were used."""
    assert {"lora": "a", "weight": 0.5, "weights": {"unet": 1}, "keys": 9, "used": 8} == adapter_to_json(
        AdapterReport("a", 0.5, {"unet": 1}, 9, 8)
    )


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["frame", "hearts", "plumstar", "ruby"]),
        ("?kind=lora", ["frame", "hearts"]),
        ("?kind=embedding", ["plumstar", "ruby"]),
    ],
)
async def test_the_list(query: str, names: list[str]) -> None:
    """All, or those of a kind; places on the server's disk are not told."""
    server = Server()
    server.models.adapters = AdapterRegistry(LORAS, EMBEDDINGS)
    answer = await server.http.get(f"/v1/adapters{query}")

    assert names == [row["name"] for row in answer.json()["data"]]
    assert str(LORAS) not in answer.text


async def test_a_kind_that_there_is_not() -> None:
    """Another word is an error."""
    assert (await Server().http.get("/v1/adapters?kind=x")).status_code in {400, 422}


async def test_a_preview(tmp_path: Path) -> None:
    """The image beside a file is served under the same keys as all else; without one the error says where to put it."""
    for file in LORAS.glob("*.safetensors"):
        shutil.copy(file, tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "hearts.png")
    server = Server(api_keys="key")
    server.models.adapters = AdapterRegistry(tmp_path, None)
    server.http.headers["authorization"] = "Bearer key"
    rows = (await server.http.get("/v1/adapters")).json()["data"]
    found = await server.http.get("/v1/adapters/preview?name=hearts")
    none = await server.http.get("/v1/adapters/preview?name=frame")
    unknown = await server.http.get("/v1/adapters/preview?name=../hearts&kind=embedding")

    assert {"frame": False, "hearts": True} == {row["name"]: row["preview"] for row in rows}
    assert (200, "image/png", "nosniff") == (
        *(found.status_code, found.headers["content-type"]),
        found.headers["x-content-type-options"],
    )
    assert found.content == (tmp_path / "hearts.png").read_bytes()
    assert [404, 404] == [none.status_code, unknown.status_code]
    assert "frame.preview.png" in none.json()["error"]["message"]
    assert str(tmp_path) not in none.text
    del server.http.headers["authorization"]
    assert 401 == (await server.http.get("/v1/adapters/preview?name=hearts")).status_code


async def test_the_models_folder_is_not_read_in_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """To find a model may take a look at all of its files, for which no other client waits."""
    server, threads = Server(), list[threading.Thread]()
    get = server.models.get

    def watched(name: str) -> ModelInfo:
        threads.append(threading.current_thread())
        return get(name)

    monkeypatch.setattr(server.models, "get", watched)
    answer = await server.http.get("/v1/adapters", params={"model": "demo"})

    assert 200 == answer.status_code
    assert threads
    assert threading.current_thread() not in threads
