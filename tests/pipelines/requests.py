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
from octabox.media import audio, video
from octabox.media.limits import MediaLimits

#: Steps of a request that is to be cancelled: more than it will take.
MANY_STEPS = 400


@dataclass(frozen=True)
class Ask:
    """A request in the words of the native API: its parameters and its files."""

    model: str
    task: str
    params: Mapping[str, Any]
    files: Mapping[str, tuple[bytes, ...]]

    def body(self, **others: Any) -> dict[str, Any]:
        """Return the JSON of the request; a single file stands alone, several as a list."""
        encoded = {name: [base64.b64encode(each).decode() for each in given] for name, given in self.files.items()}
        media = {name: given if len(given) > 1 else given[0] for name, given in encoded.items()}
        output = {"response": "b64_json"}
        params = {**self.params, **media, **others.pop("params", {})}
        return {"model": self.model, "task": self.task, "params": params, "seed": 7, "output": output, **others}


def ask(tiny: Tiny, schema: Mapping[str, Any], task: str) -> Ask:
    """Return a request for a task: the maker's parameters, and the files that the task and the pipeline need."""
    entry = load_catalog().pipeline(schema["x-pipeline"])
    known = {name: value for name, value in tiny.params.items() if name in schema["properties"]}
    params, files = parted(known)
    kinds = {parameter.name: parameter.kind for parameter in entry.media(required=False)}
    elsewhere = set().union(*(brought(other) for other in schema["x-tasks"])) - brought(task)
    files = {name: given for name, given in files.items() if kinds.get(name) not in elsewhere}
    needed = {parameter.name: parameter.kind for parameter in entry.media(required=True) if parameter.name not in files}
    for kind in brought(task) - {each.kind for each in entry.parameters if each.name in {*files, *needed}}:
        takers = {each.kind: each.name for each in reversed(entry.media()) if not STEERS.search(each.name)}
        # Where a clip is taken, a picture is one of a single frame.
        needed[takers.get(kind) or takers["video"]] = kind
    side = Image.open(io.BytesIO(files["image"][0])).size if "image" in files else (SIDE, SIDE)
    files |= {name: (content(kind, *side),) for name, kind in needed.items()}
    if "strength" in schema["properties"]:
        params.setdefault("strength", 0.75)
    return Ask(tiny.name, task, params, files)


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


def expected_kinds(entry: PipelineEntry) -> set[str]:
    """Return the kinds of outputs of which at least one must come back."""
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
