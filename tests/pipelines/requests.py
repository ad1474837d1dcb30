"""Make requests for tiny pipelines from what the server says of them, and look at the answers."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from PIL import Image

from makers import Tiny
from makers.samples import SIDE, content, parted
from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import load_catalog
from octabox.catalog.tasks import CONTROL_PARAMETERS, task_inputs
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
    params, files = parted({name: value for name, value in tiny.params.items() if name in schema["properties"]})
    files = {name: each for name, each in files.items() if name not in _of_other_tasks(entry, schema["x-tasks"], task)}
    size = _size(params, files)
    files |= {name: content(kind, *size) for name, kind in _needed(entry, task, files).items()}
    if "strength" in schema["properties"]:
        params.setdefault("strength", 0.75)
    asked_type = tiny.params.get("output_type")
    return Ask(tiny.name, task, params, files, {"format": FORMATS[asked_type]} if asked_type else {})


def _of_other_tasks(entry: PipelineEntry, tasks: Iterable[str], task: str) -> set[str]:
    """Return the parameters of media that other tasks of a model bring, and this one does not."""
    elsewhere = set().union(*map(task_inputs, tasks)) - task_inputs(task)
    return {each.name for each in entry.media() if each.kind in elsewhere and not CONTROL_PARAMETERS.search(each.name)}


def _needed(entry: PipelineEntry, task: str, files: Mapping[str, Any]) -> dict[str, str]:
    """Return the kinds of what a pipeline and a task need beside the files that are there, by parameter."""
    media = entry.media()
    steering = [each for each in media if each.kind == "image" and _is_control(entry, each.name)]
    needed: dict[str, str] = {each.name: each.kind for each in [*entry.media(required=True), *steering]}
    there = {each.kind for each in media if each.name in {*files, *needed}}
    takers: dict[str, str] = {
        each.kind: each.name for each in reversed(media) if not CONTROL_PARAMETERS.search(each.name)
    }
    for kind in task_inputs(task) - there:
        # Where a video is taken, an image is one of a single frame.
        if taker := takers.get(kind) or takers.get("video"):
            needed[taker] = kind
    return {name: kind for name, kind in needed.items() if name not in files}


def _is_control(entry: PipelineEntry, name: str) -> bool:
    """Return whether a parameter is the image that a ControlNet cannot do without."""
    return not entry.modular and "controlnet" in entry.required_components and "control" in name


def _size(params: Mapping[str, Any], files: Mapping[str, Any]) -> tuple[int, int]:
    """Return the size of the media that are still to be made: that of the image that is there, or what is asked for."""
    if isinstance(files.get("image"), bytes):
        return Image.open(io.BytesIO(files["image"])).size
    return params.get("width") or SIDE, params.get("height") or SIDE


def check_output(output: Mapping[str, Any]) -> None:
    """Make sure that an output is a whole file of the kind that it is said to be."""
    data = base64.b64decode(output["b64_json"])
    kind, media_type = output["kind"], output["media_type"]
    if kind == "image":
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            assert image.width > 1
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
