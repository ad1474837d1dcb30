"""The catalog over HTTP."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from fakes import Server
from octabox.cli.main import cli


async def get(path: str) -> tuple[int, Any]:
    """Return the status and the body of an answer."""
    answer = await Server().http.get(f"/v1/catalog/{path}")
    return answer.status_code, answer.json()


async def test_all_pipelines_are_listed() -> None:
    """Each pipeline of the catalog has a row with its tasks, media and output."""
    _, body = await get("pipelines")
    row = next(row for row in body["data"] if row["name"] == "StableDiffusionInpaintPipeline")

    assert len(body["data"]) >= 300
    assert (["inpainting"], "image") == (row["tasks"], row["output"])
    assert {"name": "mask_image", "kind": "mask", "required": True} in row["inputs"]


async def test_pipelines_of_a_task() -> None:
    """With a task only those that serve it are listed, the plainest first; an unknown task is an error."""
    _, body = await get("pipelines?task=txt2img")

    assert all("text-to-image" in row["tasks"] for row in body["data"])
    assert 400 == (await get("pipelines?task=text-to-cheese"))[0]


async def test_a_pipeline_is_described_as_by_the_command_line() -> None:
    """Everything that the verb prints is there, and the schema of what it takes."""
    _, body = await get("pipelines/StableDiffusionPipeline")
    printed = json.loads(CliRunner().invoke(cli, ["pipelines", "StableDiffusionPipeline", "--json"]).output)

    assert printed.items() <= body.items()
    assert "integer" == body["schema"]["properties"]["num_inference_steps"]["type"]
    assert "StableDiffusionInpaintPipeline" in body["siblings"]


async def test_schedulers() -> None:
    """Schedulers are listed, and each is described with its settings."""
    _, listed = await get("schedulers")
    _, one = await get("schedulers/EulerDiscreteScheduler")

    assert "EulerDiscreteScheduler" in [row["name"] for row in listed["data"]]
    assert "use_karras_sigmas" in [setting["name"] for setting in one["settings"]]


async def test_tasks() -> None:
    """Each task has a pipeline that serves it."""
    _, body = await get("tasks")

    assert "text-to-video" in [row["task"] for row in body["data"]]
    assert all(row["pipeline"] and row["pipelines"] for row in body["data"])


@pytest.mark.parametrize("path", ["pipelines/Nothing", "schedulers/Eul"])
async def test_an_unknown_name(path: str) -> None:
    """A name that leads nowhere is not found."""
    status, body = await get(path)

    assert 404 == status
    assert body["error"]["code"].endswith("_not_found")
