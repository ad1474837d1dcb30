"""Models over HTTP."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from fakes import Server
from local_hub import LocalHub, folder_files
from octabox import demo
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.pulls.plan import make_plan
from octabox.hub.pulls.pull import pull
from octabox.memory_state import MemoryState
from octabox.types import ModelInfo, ModelStatus


@pytest.fixture
def server() -> Server:
    """Return a server over fakes."""
    return Server()


async def test_list_by_the_client(server: Server) -> None:
    """OpenAI's client lists all models and gets one whose name holds a slash."""
    async with server.client() as client:
        names = [model.id async for model in client.models.list()]
        painter = await client.models.retrieve("org/painter")

    assert ["demo", "org/painter"] == names
    assert ("org/painter", "octabox") == (painter.id, painter.owned_by)


async def test_problems_of_configurations(server: Server) -> None:
    """Are listed with the models, as `octabox check` finds them, but without the path of the models folder."""
    (problem,) = (await server.http.get("/v1/models")).json()["problems"]

    assert {
        "file": "lost.yaml",
        "line": 2,
        "column": 1,
        "key": "model",
        "message": "'lost' does not exist.",
        "hint": "remove it",
        "severity": "error",
    } == problem


async def test_problems_of_other_files(tmp_path: Path) -> None:
    """Such as a LoRA that is a link to nothing, which `octabox check` and `octabox serve` name too."""
    (tmp_path / "lost.safetensors").symlink_to(tmp_path / "nothing")
    *_, found = (await Server(loras=tmp_path).http.get("/v1/models")).json()["problems"]

    assert ("lost.safetensors", "error") == (found["file"], found["severity"])


async def test_model_in_memory_has_its_status(server: Server) -> None:
    """A model says all but where it lies on disk; its status is there while it is in memory."""
    demo, painter = (await server.http.get("/v1/models")).json()["data"]

    assert "status" not in painter
    about_memory = {field.name for field in fields(MemoryState)} - {"allocated"}
    assert about_memory <= set(demo["status"])
    demo["status"] = {name: value for name, value in demo["status"].items() if name not in about_memory}
    assert demo == {
        "id": "demo",
        "object": "model",
        "created": 5,
        "owned_by": "octabox",
        "pipeline": "FakePipeline",
        "tasks": ["text-to-image"],
        "description": "A fake.",
        "status": {
            "state": "ready",
            "pipeline": "FakePipeline",
            "device": "cpu",
            "memory": {"host": 1024},
            "allocated": {},
            "waiting": 2,
            "pid": 42,
            "since": 6.5,
            "performance": None,
        },
    }


async def test_schema(server: Server) -> None:
    """The schema of a model whose name holds a slash is found, for a task too."""
    answer = await server.http.get("/v1/models/org/painter/schema", params={"task": "inpainting"})

    assert {"title": "org/painter", "x-task": "inpainting"}.items() <= answer.json().items()


async def test_a_load_sets_how_long_a_model_stays(server: Server) -> None:
    """The body may be left out; each of its fields, too."""
    bodies = ({"keep_alive": "10m", "pin": True}, {"pin": False}, None)
    answers = [await server.http.post("/v1/models/demo/load", json=body) for body in bodies]

    found = [answer.json()["status"] for answer in answers]
    assert [(600, True), (None, False), (None, False)] == [(each["time_left"], each["pinned"]) for each in found]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"keep_alive": "soon"}, "'keep_alive' must be seconds, a duration such as 5m, or never."),
        ({"pin": 1}, "'pin' must be"),
        ({"keepalive": 5}, "keepalive"),
        ([], "must be a JSON object"),
    ],
)
async def test_a_load_with_other_fields_is_refused(server: Server, body: Any, message: str) -> None:
    """The error names the field."""
    answer = await server.http.post("/v1/models/demo/load", json=body)

    assert 400 == answer.status_code
    assert message in answer.json()["error"]["message"]


async def test_names_that_share_a_process_have_its_status(server: Server) -> None:
    """A model that is no longer configured is listed once, under the name that it was loaded by."""
    shared = ModelStatus("gone", "ready", "FakePipeline", pid=7, names=("gone", "org/painter"))
    server.models.loaded = {"gone": shared}
    listed = (await server.http.get("/v1/models")).json()["data"]

    assert [("demo", None), ("org/painter", 7), ("gone", 7)] == [
        (each["id"], each.get("status", {}).get("pid")) for each in listed
    ]
    one = (await server.http.get("/v1/models/org/painter")).json()
    assert ["gone", "org/painter"] == one["status"]["names"]


async def test_load_and_unload(server: Server) -> None:
    """A model is loaded and unloaded; unloading what is not there says so."""
    path = "/v1/models/org%2Fpainter"
    loaded = (await server.http.post(f"{path}/load")).json()
    first = (await server.http.post(f"{path}/unload")).json()
    second = (await server.http.post(f"{path}/unload")).json()

    assert ("org/painter", "ready") == (loaded["id"], loaded["status"]["state"])
    assert (True, False) == (first["unloaded"], second["unloaded"])


async def test_a_model_whose_configuration_is_gone(server: Server) -> None:
    """It is listed and shown while it is in memory, and can be unloaded."""
    server.models.loaded["gone"] = ModelStatus("gone", "ready", "FakePipeline")
    listed = (await server.http.get("/v1/models")).json()["data"][-1]
    shown = (await server.http.get("/v1/models/gone")).json()
    unloaded = (await server.http.post("/v1/models/gone/unload")).json()

    assert ("gone", "FakePipeline", "ready") == (listed["id"], listed["pipeline"], listed["status"]["state"])
    assert shown == listed
    assert unloaded["unloaded"]
    assert 404 == (await server.http.get("/v1/models/gone")).status_code


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "none"), ("GET", "none/schema"), ("POST", "none/load"), ("POST", "none/unload"), ("GET", "a/b/c")],
)
async def test_unknown_model(server: Server, method: str, path: str) -> None:
    """A model that is not there is 404 on every route, with what there is."""
    answer = await server.http.request(method, f"/v1/models/{path}")

    assert (404, "model_not_found") == (answer.status_code, answer.json()["error"]["code"])
    assert ["demo"] == answer.json()["error"]["choices"]


async def test_an_alias_has_the_status_of_its_model(server: Server) -> None:
    """The list says whose other name it is; one process serves both."""
    server.models.infos.append(ModelInfo("gpt-image-1", "/secret/demo", "FakePipeline", alias_of="demo"))
    demo, _, alias = (await server.http.get("/v1/models")).json()["data"]
    single = (await server.http.get("/v1/models/gpt-image-1")).json()

    assert ("gpt-image-1", "demo", 42) == (alias["id"], alias["alias_of"], alias["status"]["pid"])
    assert alias == single
    assert "alias_of" not in demo


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": 1}, "prompt"),
        ({"prompt": "a" * 20_001}, "prompt"),
        ({"prompt": "a", "prompt_syntax": "bbcode"}, "prompt_syntax"),
    ],
)
async def test_tokens_of_what_is_no_prompt(server: Server, body: dict[str, Any], param: str) -> None:
    """A wrong body is an error that names the field, before a model is looked at."""
    answer = await server.http.post("/v1/models/demo/tokens", json=body)

    assert (400, param) == (answer.status_code, answer.json()["error"]["param"])


async def test_tokens_of_a_model_of_the_hub(
    server: Server, local_hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found in the cache of the Hub, as its configuration names it."""
    local_hub.add("org/shapes", folder_files(demo.FOLDER))
    await pull(make_plan(PullRequest("org/shapes")))
    served = server.models.resolve("demo")
    config = served.config.model_copy(update={"model": "org/shapes"})
    monkeypatch.setattr(server.models, "resolve", lambda _: replace(served, config=config))
    answer = await server.http.post("/v1/models/demo/tokens", json={"prompt": "a red circle"})

    assert [("tokenizer", 24)] == [(each["tokenizer"], each["max_tokens"]) for each in answer.json()["data"]]
    assert answer.json()["data"][0]["tokens"] > 2


async def test_the_memory_that_a_model_needs(server: Server) -> None:
    """It is that of the weights in its files, before it is loaded."""
    found = (await server.http.get("/v1/models/demo/memory")).json()

    assert {"text_encoder", "unet", "vae"} == set(found["weights"])
    assert sum(found["weights"].values()) == found["bytes"] > 1_000_000
    assert ("yes", True) == (found["fits"], found["memory"] > found["bytes"])
    assert 404 == (await server.http.get("/v1/models/gone/memory")).status_code
