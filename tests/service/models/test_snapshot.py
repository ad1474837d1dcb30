"""One request sees one state of the models folder, which is looked at once for it."""

from __future__ import annotations

import base64
import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from PIL import Image

from octabox import demo
from octabox.config import discovery
from octabox.config.discovery import ModelRegistry
from octabox.config.settings import Settings
from octabox.engine.local.engine import LocalEngine
from octabox.engine.protocol import Call
from octabox.errors import ModelNotFoundError
from octabox.server import Parts, app, build
from octabox.service.models.service import ServerModels
from octabox.types import Event

#: The configuration of the embedded model under another name, before and after a change.
OLD: dict[str, Any] = {"defaults": {"num_inference_steps": 2}, "seed": 5, "response_format": "url"}
NEW: dict[str, Any] = {"defaults": {"num_inference_steps": 3}, "seed": 6, "response_format": "b64_json"}

PROMPT = "a red circle on a white background"


def image() -> str:
    """Return an image in base64."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


#: Requests to each protocol, with a model and without.
REQUESTS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai": ("/v1/images/generations", {"model": "shapes", "prompt": PROMPT}),
    "openai's first model": ("/v1/images/generations", {"prompt": PROMPT, "response_format": "b64_json"}),
    "openai's events": ("/v1/images/generations", {"model": "shapes", "prompt": PROMPT, "stream": True}),
    "openai's edits": (
        "/v1/images/edits",
        {"model": "shapes", "prompt": PROMPT, "images": [{"image_url": f"data:image/png;base64,{image()}"}]},
    ),
    "native": ("/v1/generations", {"model": "shapes", "params": {"prompt": PROMPT}}),
    "a workflow": (
        "/v1/generations",
        {"model": "shapes", "params": {"prompt": PROMPT}, "workflow": {"hires": {"scale": 1.5, "model": demo.NAME}}},
    ),
    "hugging face": ("/models/shapes", {"inputs": PROMPT}),
    "a1111": ("/sdapi/v1/txt2img", {"prompt": PROMPT, "steps": 2}),
    "a1111's second pass": ("/sdapi/v1/txt2img", {"prompt": PROMPT, "steps": 2, "enable_hr": True, "hr_scale": 1.5}),
    "a1111's image": ("/sdapi/v1/img2img", {"prompt": PROMPT, "steps": 2, "init_images": [image()]}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a models folder."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
async def parts(folder: Path) -> AsyncIterator[Parts]:
    """Return all parts over that folder."""
    write(folder, OLD)
    parts = build(Settings.load({"models": folder, "threads": 1, "log_level": "error", "a1111": True}, environ={}))
    yield parts
    await parts.close()


@pytest.fixture(scope="module")
async def client(parts: Parts) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of a server of these parts, to which all models are known."""
    transport = httpx.ASGITransport(app(parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=120) as client:
        await parts.models.prepare()
        yield client


def write(folder: Path, config: dict[str, Any]) -> None:
    """Write the configuration of the embedded model."""
    text = yaml.safe_dump({"name": "shapes", "model": str(demo.FOLDER), **config})
    (folder / "shapes.yaml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize("name", REQUESTS)
async def test_the_folder_is_looked_at_once(
    client: httpx.AsyncClient, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Whatever a request asks for, all that is done for it sees the models that it has found at first."""
    write(folder, OLD)
    looks: list[Path] = []
    fingerprint = discovery._fingerprint

    def look(folder: Path) -> object:
        looks.append(folder)
        return fingerprint(folder)

    monkeypatch.setattr(discovery, "_fingerprint", look)
    path, body = REQUESTS[name]
    response = await client.post(path, json=body)

    assert (200, [folder]) == (response.status_code, looks), response.text[:500]


@pytest.mark.parametrize(
    "change", [lambda folder: write(folder, NEW), lambda folder: (folder / "shapes.yaml").unlink()], ids=["new", "none"]
)
async def test_a_change_takes_effect_at_the_next_request(
    client: httpx.AsyncClient,
    parts: Parts,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[Path], object],
) -> None:
    """A request that has begun is translated, planned, run and answered by the old values; the next one by the new ones."""
    write(folder, OLD)
    (path, body), calls = REQUESTS["openai"], list[Call]()
    check_room, generate = LocalEngine.check_room, parts.engine.generate

    def change_and_check(engine: LocalEngine, name: str, client: str) -> None:
        change(folder)
        check_room(engine, name, client)

    def watch(call: Call) -> AsyncGenerator[Event, None]:
        calls.append(call)
        return generate(call)

    monkeypatch.setattr(parts.engine, "generate", watch)
    with monkeypatch.context() as during:
        # The request is translated by then, and not planned yet.
        during.setattr(LocalEngine, "check_room", change_and_check)
        first = await client.post(path, json=body)
    second = await client.post(path, json=body)

    assert ["url", "seed"] == [*first.json()["data"][0]], first.text[:500]
    assert OLD["defaults"] == calls[0].model.defaults
    assert (2, 5) == (calls[0].runs[0].params["num_inference_steps"], calls[0].runs[0].seed)
    if not (folder / "shapes.yaml").exists():
        assert 404 == second.status_code
        return
    assert ["b64_json", "seed"] == [*second.json()["data"][0]]
    assert NEW["defaults"] == calls[1].model.defaults
    assert (3, 6) == (calls[1].runs[0].params["num_inference_steps"], calls[1].runs[0].seed)


def test_a_snapshot_keeps_its_models(tmp_path: Path) -> None:
    """A model that is added, changed or removed meanwhile is that of the next snapshot alone, also one of the process."""
    write(tmp_path, OLD)
    models = ServerModels(ModelRegistry(tmp_path), LocalEngine())
    before = models.snapshot()
    write(tmp_path, NEW)
    models.add(before.config("shapes").model_copy(update={"name": "other"}))
    after = models.snapshot()

    assert [5, 6] == [each.resolve("shapes").config.seed for each in (before, after)]
    assert [["shapes"], ["other", "shapes"]] == [
        [each.name for each in one.configurations()] for one in (before, after)
    ]
    assert after.resolve("other") is after.resolve("other")
    with pytest.raises(ModelNotFoundError):
        before.config("other")
