"""Which tasks a pipeline serves, and what people call them.

A task is a tag of the Hub. Which ones a pipeline serves follows from what its call takes and gives back:

| it gives | it takes                                        | task                            |
|----------|-------------------------------------------------|---------------------------------|
| image    | a picture and a mask                            | inpainting                      |
| image    | a picture                                       | image-to-image                  |
| image    | words                                           | text-to-image                   |
| image    | neither                                         | unconditional-image-generation  |
| 3D       | a picture, or words                             | image-to-3d, text-to-3d         |
| depth    | a picture                                       | depth-estimation                |
| video    | a clip, else a sound, else a picture, else words | video-to-video, audio-to-video, image-to-video, text-to-video |
| audio    | a sound, else words                             | audio-to-audio, text-to-audio   |
| text     | a picture, else words                           | image-to-text, text-generation  |
| numbers  | anything                                        | feature-extraction              |

What a call needs decides the first task; what it may be given besides adds others. Pictures that only steer (those of a ControlNet
or of an adapter) do not count. ``tasks.yaml`` holds what people call the tasks, and the few classes that none of this fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from octabox.catalog.entries import MEDIA, Field, Parameter, PipelineEntry
from octabox.types import Kind

#: Parameters whose pictures steer a call that would run without them: those of adapters, controls, negatives and styles.
STEERS = re.compile(r"adapter|control|negative|pose|reference|style|last_image|gligen")

#: Components that turn the picture of a call into such a steer.
STEERING_COMPONENTS = re.compile(r"controlnet|adapter")

#: Tasks for what an output's words say it is, whatever its numbers look like.
SAYS = ((re.compile(r"\b3D\b|\bmesh"), "3d"), (re.compile(r"\bdepth\b", re.IGNORECASE), "depth"))


@dataclass(frozen=True)
class Vocabulary:
    """What ``tasks.yaml`` holds: the tag for every name of a task, and the classes that the rules do not fit."""

    tags: Mapping[str, str]
    exceptions: Mapping[str, Mapping[str, Any]]


@cache
def vocabulary() -> Vocabulary:
    """Read ``tasks.yaml``."""
    data = yaml.safe_load(files("octabox.catalog").joinpath("tasks.yaml").read_text(encoding="utf-8"))
    tags = {plain(name): tag for tag, known in data["aliases"].items() for name in (tag, *known)}
    return Vocabulary(tags, data.get("exceptions") or {})


def plain(name: str) -> str:
    """Return a name without what people spell differently: letter case, hyphens, underscores, spaces."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def tag_of(name: str) -> str | None:
    """Return the Hub's tag for a task or for one of its other names; None where there is none."""
    return vocabulary().tags.get(plain(name))


def derive(
    parameters: Iterable[Parameter], components: Iterable[str], outputs: Iterable[Field], output_kind: Kind | None
) -> tuple[str, ...]:
    """Return the tasks that a call with these parameters and outputs serves, the one it is made for first."""
    if output_kind is None:
        return ()
    taken = _taken(tuple(parameters), any(STEERING_COMPONENTS.search(name) for name in components))
    needed = {kind for kind, required in taken.items() if required}
    goal = _goal(outputs, output_kind, has_picture="image" in taken)
    given = [_best(needed)] + [kind for kind in ("text", "image", "mask", "audio", "video") if kind in taken]
    if needed & MEDIA:
        # A call that needs a picture cannot do with words alone.
        given = [kind for kind in given if kind != "text"]
    if "mask" in needed:
        given = [kind for kind in given if kind != "image"]
    tasks = [_task(kind, goal) for kind in given if kind or not taken]
    return tuple(dict.fromkeys(task for task in tasks if task))


def _taken(parameters: tuple[Parameter, ...], steered: bool) -> dict[str, bool]:
    """Return what a call takes that makes its task, and whether it needs it."""
    has_control = any("control" in parameter.name for parameter in parameters if parameter.is_media)
    taken: dict[str, bool] = {}
    for parameter in parameters:
        kind = parameter.kind if parameter.is_media else "text" if _is_words(parameter) else None
        if kind is None or (parameter.is_media and STEERS.search(parameter.name) and not _is_subject(parameter)):
            continue
        if kind == "image" and steered and not has_control:
            continue
        taken[kind] = taken.get(kind, False) or (parameter.required and parameter.is_media)
    if "text" in taken:
        taken["text"] = taken["text"] or not any(taken.values())
    return taken


def _is_words(parameter: Parameter) -> bool:
    """Whether a parameter takes the words that say what is to be made."""
    return parameter.kind == "text" and (parameter.required or parameter.name.startswith("prompt"))


def _is_subject(parameter: Parameter) -> bool:
    """Whether a clip that steers is needed all the same: then it is what the call is about."""
    return parameter.kind == "video" and parameter.required


def _best(kinds: set[str]) -> str:
    """Return the chief of the kinds: that which fixes most of the outcome."""
    return next((kind for kind in ("video", "mask", "audio", "image", "text") if kind in kinds), "")


def _goal(outputs: Iterable[Field], output_kind: Kind, *, has_picture: bool) -> str:
    words = " ".join(f"{field.name} {field.description}" for field in outputs)
    for pattern, goal in SAYS:
        if pattern.search(words) and (goal == "3d" or (has_picture and output_kind == "array")):
            return goal
    return output_kind


def _task(given: str, goal: str) -> str | None:
    if goal == "array":
        return "feature-extraction"
    if goal == "depth":
        return "depth-estimation"
    if goal == "text":
        return {"": None, "text": "text-generation"}.get(given, f"{given}-to-text")
    if given == "mask":
        return "inpainting" if goal == "image" else None
    if not given:
        return f"unconditional-{goal}-generation"
    return f"{given}-to-{goal}"


def extra_media(entry: PipelineEntry, task: str) -> int:
    """Return how many files a class needs beyond those that a request for this task brings."""
    brought = {"inpainting": {"image", "mask"}}.get(task, {task.partition("-to-")[0]})
    return sum(parameter.kind not in brought for parameter in entry.media(required=True))
