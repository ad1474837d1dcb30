"""Malformed values at every place of a request: each is an error of the client that names the place, never of the server."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fakes import sample_image
from octabox.config.settings import Settings
from octabox.engine.protocol import Call
from octabox.server import app, build
from octabox.types import Artifact, Event, Generation

#: JSON of values that hardly any field takes.
VALUES = [
    "null", "true", '""', '"x"', '"\\u0000"', '"-"', "-1", "0", "1.5", "1e400", "-1e400", "1" + "0" * 400, "[]", "{}", "[[]]",
    "[{}]", "[null]", '{"": null}', '{"name": {}}', '{"lora": []}', '["x", 1, null]', '"http://xn--/x.png"', '"http://xn--a/x.png"',
]  # fmt: skip

#: Stands for the value in a body.
HERE = "@here@"

PROMPT = {
    "prompt": "x",
    "negative_prompt": "y",
    "num_inference_steps": 2,
    "guidance_scale": 3.0,
    "width": 64,
    "height": 64,
}

NATIVE: dict[str, Any] = {
    "model": "demo",
    "task": "text-to-image",
    "params": {**PROMPT, "clip_skip": 1, "eta": 0.0, "cross_attention_kwargs": {"scale": 1}, "timesteps": None, "image": None},
    "seed": 1,
    "num_outputs": 1,
    "output": {"format": "png", "quality": None, "fps": None, "response": "b64_json"},
    "partial_images": 0,
    "stream": False,
    "id": None,
    "scheduler": {"name": "euler", "use_karras_sigmas": True, "schedule": "karras"},
    "adapters": [{"lora": "x", "weight": 1, "weights": {"unet": 1}}],
    "prompt_syntax": "plain",
    "styles": ["x"],
    "deterministic": False,
    "workflow": {
        "variation": {"seed": 1, "strength": 0.1},
        "outpaint": {"left": 8, "mask_blur": 1},
        "inpaint": {"area": "masked", "padding": 8, "fill": "original", "invert": False},
        "hires": {"upscaler": "lanczos", "scale": 2, "strength": 0.5, "steps": 1, "scheduler": "euler", "params": {"eta": 0}},
        "upscale": {"upscaler": "lanczos", "scale": 2, "params": {}},
    },
}  # fmt: skip

OPENAI: dict[str, Any] = {
    **PROMPT,
    "model": "demo",
    "n": 1,
    "size": "64x64",
    "quality": "auto",
    "response_format": {"type": "b64_json"},
    "output_format": "png",
    "output_compression": 100,
    "stream": False,
    "partial_images": 0,
    "seed": 1,
    "user": "x",
    "scheduler": {"name": "euler"},
    "workflow": {"upscale": {"scale": 2}},
    "image": None,
}


def places(body: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value of a body."""
    if path:
        yield path
    items = body.items() if isinstance(body, dict) else enumerate(body) if isinstance(body, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def replaced(body: dict[str, Any], path: tuple[Any, ...]) -> str:
    """Return the JSON of a body without what is optional, but for the value at a path, which stands open."""
    kept: dict[str, Any] = {"model": "demo", **({"params": {"prompt": "x"}} if "params" in body else {"prompt": "x"})}
    kept = {**kept, path[0]: copy.deepcopy(body[path[0]])}
    if path[0] in ("workflow", "output") and len(path) > 1:
        kept[path[0]] = {path[1]: kept[path[0]][path[1]]}
    inner: Any = kept
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = HERE
    return json.dumps(kept)


@pytest.fixture(scope="module")
async def http(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[httpx.AsyncClient]:
    """Return a client of a server whose engine makes the same image of every call."""
    folder: Path = tmp_path_factory.mktemp("models")
    parts = build(Settings.load({"models": folder, "log_level": "error"}, environ={}))

    async def generate(call: Call) -> AsyncGenerator[Event, None]:
        image = Artifact("image", "image/png", sample_image(), 1, {})
        yield Generation(call.id, call.model.name, call.runs_as, call.task, (image,) * len(call.runs))

    parts.engine.generate = generate  # type: ignore[method-assign]
    transport = httpx.ASGITransport(app(parts))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client
    await parts.close()


@pytest.mark.parametrize(
    ("route", "body", "path"),
    [
        pytest.param(route, body, path, id=".".join(map(str, (route.rpartition("/")[2], *path))))
        for route, body in (("/v1/generations", NATIVE), ("/v1/images/generations", OPENAI))
        for path in places(body)
    ],
)
async def test_no_value_at_any_place_breaks_the_server(
    http: httpx.AsyncClient, route: str, body: dict[str, Any], path: tuple[Any, ...]
) -> None:
    """A value that cannot be is an error that names where it is; none is an unexpected exception."""
    text = replaced(body, path)
    for value in VALUES:
        content = text.replace(json.dumps(HERE), value)
        answer = await http.post(route, content=content, headers={"content-type": "application/json"})
        assert answer.status_code in (200, 400, 404), f"{path} = {value}: {answer.text[:500]}"
        if answer.status_code == 400:
            error = answer.json()["error"]
            problems = [error, *error.get("problems", ())]
            assert any(each["param"] is not None or each["code"] == "task_not_supported" for each in problems), (
                path,
                value,
                error,
            )
