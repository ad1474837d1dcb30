"""Every tiny pipeline from request to file, over HTTP, from nothing but its folder."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from makers import Tiny, pipelines
from octabox.catalog.pipelines import load_catalog
from pipelines.requests import MANY_STEPS, Ask, ask, check_output, events, expected_kinds
from summaries import SERVED

pytestmark = pytest.mark.slow


@pytest.fixture(params=list(pipelines()))
def tiny(request: pytest.FixtureRequest, folder: Path) -> Iterator[Tiny]:
    """Return a maker whose pipeline lies in the server's folder while the test runs."""
    made = pipelines()[request.param]
    if made.missing:
        pytest.skip(f"needs {', '.join(made.missing)}")
    with warnings.catch_warnings():
        # What diffusers says to whoever makes and saves pipelines is no concern of a server.
        warnings.simplefilter("ignore")
        made.make().save_pretrained(str(folder / made.name))
    yield made
    shutil.rmtree(folder / made.name)


def test_a_pipeline_is_served(tiny: Tiny, server: httpx.Client, record_property: Callable[[str, object], None]) -> None:
    """A pipeline is found whole, described, run for each of its tasks, cancelled in the middle, and gives the same again."""
    listed = server.get("/v1/models").json()
    assert tiny.name in {model["id"] for model in listed["data"]}
    assert [] == listed["problems"], listed["problems"]
    schema = _schema(server, tiny.name)
    assert schema["x-pipeline"] == tiny.name
    first: dict[str, Any] = {}
    for task in [each for each in schema["x-tasks"] if each not in tiny.leaves_out]:
        wanted = ask(tiny, _schema(server, tiny.name, task), task)
        answer = _generated(server, wanted)
        assert answer["task"] == task
        entry = load_catalog().pipeline(answer["pipeline"])
        kinds = {output["kind"] for output in answer["outputs"]}
        assert kinds & expected_kinds(entry, wanted), f"{answer['pipeline']} gave {kinds}"
        for output in answer["outputs"]:
            check_output(output)
        first.setdefault("wanted", wanted)
        first.setdefault("answer", answer)
    _cancel(server, first["wanted"])
    again = _generated(server, first["wanted"])
    assert tiny.unsteady or _contents(again) == _contents(first["answer"])
    record_property(SERVED, tiny.name)


def _schema(server: httpx.Client, name: str, task: str | None = None) -> dict[str, Any]:
    response = server.get(f"/v1/models/{name}/schema", params={"task": task} if task else {})
    assert response.is_success, response.text
    found: dict[str, Any] = response.json()
    return found


def _generated(server: httpx.Client, wanted: Ask) -> dict[str, Any]:
    """Return the answer to a request."""
    response = server.post("/v1/generations", json=wanted.body())
    assert response.is_success, response.text
    answer: dict[str, Any] = response.json()
    return answer


def _contents(answer: dict[str, Any]) -> list[str]:
    """Return the files of an answer, where the same seed makes the same file."""
    return [output["b64_json"] for output in answer["outputs"] if output["seed"] is not None]


def _cancel(server: httpx.Client, wanted: Ask) -> None:
    """Run a request, cancel it after its first step, and make sure that it ends there."""
    entry = load_catalog().pipeline(_schema(server, wanted.model, wanted.task)["x-pipeline"])
    steps = [
        each.name for each in entry.parameters if each.name.endswith("num_inference_steps") and each.kind == "integer"
    ]
    body = wanted.body(stream=True, params=dict.fromkeys(steps, MANY_STEPS))
    taken, last = 0, ""
    with server.stream("POST", "/v1/generations", json=body) as response:
        if not response.is_success:
            raise AssertionError(response.read())
        for name, data in events(response):
            last = name
            if name == "progress" and data["step"] > 0 and not taken:
                taken = data["step"]
                assert server.delete(f"/v1/generations/{data['id']}").is_success
    # A call without steps to count, or of a single one, may be over before it can be cancelled.
    assert last in ("error", "done")
    if steps and taken:
        assert last == "error", f"{wanted.model} ran to its end"
