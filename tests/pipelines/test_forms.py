"""Every tiny pipeline by the form of the web page: the page's own code fills it in, and the server runs the request."""

from __future__ import annotations

import io
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from PIL import Image

from makers import Tiny, pipelines
from makers.samples import SIDE, content, is_marker, parted
from octabox.catalog.pipelines import load_catalog
from octabox.catalog.signature import settable_parameters
from page_scripts import copy_scripts, run
from pipelines.requests import in_base64

pytestmark = pytest.mark.slow

#: Kinds of media by the control of a field.
MEDIA = ("image", "mask", "video", "audio")

#: Forms whose request with defaults a server cannot run, each with the reason.
EXCEPTIONS = yaml.safe_load(Path(__file__).with_name("form_exceptions.yaml").read_text(encoding="utf-8")) or {}

#: The form of a schema with the values that a person fills in, and the request that the page sends.
FORM = """
const isText = (field) => ['prompt', 'text'].includes(field.control);
const listed = (value, field) => field.many && !Array.isArray(value) && !isText(field) ? [value] : value;
import { formFields, initialValues } from './js/fields.js';
import { requestBody } from './js/request.js';
const { model, task, schema, filled } = value;
const fields = formFields(schema);
const values = initialValues(fields);
for (const each of fields) {
  const given = filled.params[each.name] ?? (each.required || each.oneOf ? filled.controls[each.control] : undefined);
  if (given === undefined) continue;
  values[each.name] = ['json', 'array'].includes(each.control) ? JSON.stringify(given) : listed(given, each);
}
console.log(JSON.stringify(requestBody({ model, task, fields, values })));
"""


@pytest.fixture(scope="session")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the scripts of the page."""
    return copy_scripts(tmp_path_factory.mktemp("page"))


@pytest.fixture(params=[name for name in pipelines() if name not in EXCEPTIONS])
def tiny(request: pytest.FixtureRequest, folder: Path) -> Iterator[Tiny]:
    """Return a maker whose pipeline is a model of the server: what keeps its calls small are the model's defaults."""
    made = pipelines()[request.param]
    if made.missing:
        pytest.skip(f"needs {', '.join(made.missing)}")
    weights = folder.with_name(f"weights-{made.name}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.make().save_pretrained(str(weights))
    plain, _ = parted(made.params)
    known = {each.name for each in settable_parameters(load_catalog().pipeline(made.name))}
    simple = {name: each for name, each in plain.items() if not isinstance(each, list | dict)}
    defaults = {name: each for name, each in simple.items() if name in known - {"prompt"}}
    file = folder / f"{made.name}.yaml"
    file.write_text(yaml.safe_dump({"name": made.name, "model": str(weights), "defaults": defaults}), encoding="utf-8")
    yield made
    file.unlink()
    shutil.rmtree(weights)


def test_a_form_with_its_defaults_is_accepted(tiny: Tiny, server: httpx.Client, scripts: Path) -> None:
    """For each task a person writes a prompt and adds what the form marks as required; the request runs to its end."""
    tasks = server.get(f"/v1/models/{tiny.name}/schema").raise_for_status().json()["x-tasks"]
    for task in [each for each in tasks if each not in tiny.leaves_out]:
        schema = server.get(f"/v1/models/{tiny.name}/schema", params={"task": task}).raise_for_status().json()
        value = {"model": tiny.name, "task": task, "schema": schema, "filled": _filled(tiny)}
        made = run(scripts, FORM, value)
        assert {} == made["problems"], (task, made["problems"])
        response = server.post("/v1/jobs", json=made["body"])
        assert 202 == response.status_code, (task, response.text)
        job = _end(server, response.json()["id"])
        assert "completed" == job["status"], (task, job["error"])
        assert job["result"]["outputs"]


def _filled(tiny: Tiny) -> dict[str, Any]:
    """Return what a person fills in: a prompt, and an image or another medium where the form asks for one."""
    plain, files = parted(tiny.params)
    prompt = tiny.params.get("prompt", "a red circle")
    media = {name: _uris(given, str(tiny.params[name])) for name, given in files.items()}
    words = {} if is_marker(prompt) else {"prompt": prompt}
    lists = {name: each for name, each in plain.items() if isinstance(each, list | dict)}
    # The few steps of a tiny model are none at a small strength. A mask is painted in the size of its image.
    params = {"strength": 0.75, **lists, **words, **media}
    size = _size(plain, files)
    controls = {"prompt": "a red circle", "text": "a red circle"}
    return {"params": params, "controls": controls | {kind: _uri(kind, content(kind, *size)) for kind in MEDIA}}


def _size(plain: Mapping[str, Any], files: Mapping[str, Any]) -> tuple[int, int]:
    """Return the width and height of the image that is given, or else of what is made."""
    if isinstance(files.get("image"), bytes):
        return Image.open(io.BytesIO(files["image"])).size
    return plain.get("width") or SIDE, plain.get("height") or SIDE


def _uris(given: Any, marker: str) -> Any:
    """Return files as data URIs."""
    if isinstance(given, list):
        return [_uris(each, marker) for each in given]
    kind = next((each for each in ("video", "audio") if f":{each}" in marker), "image")
    return None if given is None else _uri(kind, given)


def _uri(kind: str, given: bytes) -> str:
    """Return a file as a data URI, as a browser reads it."""
    media_type = {"video": "video/mp4", "audio": "audio/wav"}.get(kind, "image/png")
    return f"data:{media_type};base64,{in_base64(given)}"


def _end(server: httpx.Client, job_id: str) -> dict[str, Any]:
    """Return a job when it has ended."""
    end = time.monotonic() + 300
    while time.monotonic() < end:
        job: dict[str, Any] = server.get(f"/v1/jobs/{job_id}").raise_for_status().json()
        if job["ended_at"]:
            return job
        time.sleep(0.1)
    raise AssertionError(f"job {job_id} did not end")
