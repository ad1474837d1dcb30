"""The catalog over HTTP."""

from __future__ import annotations

import json
from pathlib import Path
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
    """Schedulers are listed with their other names, and each is described with its settings, by any name."""
    _, listed = await get("schedulers")
    _, one = await get("schedulers/EulerDiscreteScheduler")
    _, named = await get("schedulers/DPM++ 2M Karras")
    names = {row["name"]: row["names"] for row in listed["data"]}

    assert "euler" in names["EulerDiscreteScheduler"]
    assert "use_karras_sigmas" in [setting["name"] for setting in one["settings"]]
    assert ("DPMSolverMultistepScheduler", "karras") == (named["name"], named["means"]["schedule"])
    assert {"name": "euler", "settings": {}} in next(
        row["variants"] for row in listed["data"] if row["name"] == "EulerDiscreteScheduler"
    )
    assert "use_flow_sigmas" in named["schema"]["properties"]
    assert "align_your_steps" in [row["name"] for row in listed["schedules"]]


async def test_schedulers_of_a_model() -> None:
    """With a model each is told to fit or not, with the reason, and one is recommended."""
    _, listed = await get("schedulers?model=demo")
    _, one = await get("schedulers/EDMEuler?model=demo")
    rows = {row["name"]: row for row in listed["data"]}

    assert ("DDIMScheduler", False) == (listed["own"], listed["matches_flows"])
    assert {"name": "DDIMScheduler", "settings": {}} == listed["recommended"]
    assert rows["DDIMScheduler"]["fits"]
    _, fitting = await get("schedulers/dpmpp_2m?model=demo")
    assert "use_flow_sigmas" not in fitting["schema"]["properties"]
    assert "switch" == fitting["schema"]["properties"]["lower_order_final"]["x-octabox"]["control"]
    assert "beta_schedule" in rows["EDMEulerScheduler"]["reason"]
    assert "beta_schedule" in one["reason"]
    assert 404 == (await get("schedulers?model=no-such-model"))[0]


async def test_tasks() -> None:
    """Each task has a pipeline that serves it."""
    _, body = await get("tasks")

    assert "text-to-video" in [row["task"] for row in body["data"]]
    assert all(row["pipeline"] and row["pipelines"] for row in body["data"])


async def test_styles_and_wildcards(tmp_path: Path) -> None:
    """What a prompt may name is listed; a missing folder has none."""
    (tmp_path / "styles.csv").write_text("name,prompt,negative_prompt\nInk,{prompt} in ink,colour\n")
    (tmp_path / "cards" / "animals").mkdir(parents=True)
    (tmp_path / "cards" / "animals" / "small.txt").write_text("mouse\nfly\n")
    http = Server(styles=tmp_path / "styles.csv", wildcards=tmp_path / "cards").http
    styles, wildcards = [(await http.get(f"/v1/catalog/{name}")).json()["data"] for name in ("styles", "wildcards")]

    assert [{"name": "Ink", "prompt": "{prompt} in ink", "negative_prompt": "colour"}] == styles
    assert ["animals/small"] == wildcards
    empty = Server(styles=tmp_path / "no.csv", wildcards=tmp_path / "no").http
    for name in ("styles", "wildcards"):
        assert [] == (await empty.get(f"/v1/catalog/{name}")).json()["data"]


@pytest.mark.parametrize("path", ["pipelines/Nothing", "schedulers/Eul"])
async def test_an_unknown_name(path: str) -> None:
    """A name that leads nowhere is not found."""
    status, body = await get(path)

    assert 404 == status
    assert body["error"]["code"].endswith("_not_found")
