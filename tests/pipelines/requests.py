"""Make requests for tiny pipelines from what the server says of them, and look at the answers."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from PIL import Image

from makers import Tiny
from makers.samples import SIDE, content, parted
from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import load_catalog
from octabox.catalog.tasks import STEERS, brought
from octabox.media import audio, formats, video
from octabox.media.limits import MediaLimits

#: Steps of a request that is to be cancelled: more than it will take.
MANY_STEPS = 400

#: Formats that make a pipeline give its outputs in the type that a maker asks for.
FORMATS = {"mesh": "glb", "np": "npz"}


@dataclass(frozen=True)
class Ask:
    """A request in the words of the native API: its parameters, its files, and the format of its outputs."""

    model: str
    task: str
    params: Mapping[str, Any]
    files: Mapping[str, Any]
    output: Mapping[str, str]

    def body(self, **others: Any) -> dict[str, Any]:
        """Return the JSON of the request; a single file stands alone, several as a list."""
        media = {name: in_base64(given) for name, given in self.files.items()}
        output = {"response": "b64_json", **self.output}
        params = {**self.params, **media, **others.pop("params", {})}
        return {"model": self.model, "task": self.task, "params": params, "seed": 7, "output": output, **others}


def in_base64(given: Any) -> Any:
    """Return files, in whatever lists they lie, as text."""
    if isinstance(given, list):
        return [in_base64(each) for each in given]
    return None if given is None else base64.b64encode(given).decode()


def ask(tiny: Tiny, schema: Mapping[str, Any], task: str) -> Ask:
    """Return a request for a task: the maker's parameters, and the files that the task and the pipeline need."""
    entry = load_catalog().pipeline(schema["x-pipeline"])
    open_to_requests = schema["properties"].keys()
    known = {name: value for name, value in tiny.params.items() if name in open_to_requests}
    params, files = parted(known)
    kinds = {parameter.name: parameter.kind for parameter in entry.media(required=False)}
    elsewhere = set().union(*(brought(other) for other in schema["x-tasks"])) - brought(task)
    files = {name: each for name, each in files.items() if STEERS.search(name) or kinds.get(name) not in elsewhere}
    needed: dict[str, str] = {
        parameter.name: parameter.kind for parameter in entry.media(required=True) if parameter.name not in files
    }
    for kind in brought(task) - {each.kind for each in entry.parameters if each.name in {*files, *needed}}:
        takers: dict[str, str] = {
            each.kind: each.name for each in reversed(entry.media()) if not STEERS.search(each.name)
        }
        # Where a clip is taken, a picture is one of a single frame.
        taker = takers.get(kind) or takers.get("video")
        needed |= {taker: kind} if taker else {}
    for each in entry.media():
        if (
            not entry.modular
            and "controlnet" in entry.required_components
            and "control" in each.name
            and each.kind == "image"
        ):
            needed.setdefault(each.name, each.kind)
    needed = {name: kind for name, kind in needed.items() if name not in files}
    asked = known.get("width"), known.get("height")
    side = (
        Image.open(io.BytesIO(files["image"])).size
        if isinstance(files.get("image"), bytes)
        else asked
        if None not in asked
        else (SIDE, SIDE)
    )
    files |= {name: content(kind, *side) for name, kind in needed.items()}
    if "strength" in schema["properties"]:
        params.setdefault("strength", 0.75)
    asked_type = tiny.params.get("output_type")
    return Ask(tiny.name, task, params, files, {"format": FORMATS[asked_type]} if asked_type else {})


def check_output(output: Mapping[str, Any]) -> None:
    """Make sure that an output is a whole file of the kind that it is said to be."""
    data = base64.b64decode(output["b64_json"])
    kind, media_type = output["kind"], output["media_type"]
    if kind == "image":
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            assert picture.width > 1
    elif kind == "video":
        clip = video.decode(data, parameter="output", limits=MediaLimits())
        assert clip.frames
    elif kind == "audio":
        assert audio.decode(data, parameter="output", limits=MediaLimits()).samples.size
    elif kind == "array":
        loaded = np.load(io.BytesIO(data), allow_pickle=False)
        arrays = [loaded] if media_type == "application/x-npy" else [loaded[name] for name in loaded.files]
        assert arrays
    else:
        assert data


def expected_kinds(entry: PipelineEntry, wanted: Ask) -> set[str]:
    """Return the kinds of outputs of which at least one must come back."""
    if wanted.output:
        return set(formats.FORMATS[wanted.output["format"]].kinds)
    chief = entry.output_kind or "array"
    return {chief, "image"} if chief == "array" else {chief}


def events(response: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the server-sent events of an answer: name and data."""
    name = ""
    for line in response.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)
