"""Which tasks a pipeline serves, and what people call them.

A task is a tag of the Hub. Which ones a pipeline serves follows from what its call takes and gives back:

| it gives   | it takes                                       | task                                          |
|------------|------------------------------------------------|-----------------------------------------------|
| image      | an image and a mask                           | inpainting                                    |
| image      | an image                                      | image-to-image                                |
| image      | words                                          | text-to-image                                 |
| image      | neither                                        | unconditional-image-generation                |
| 3D         | an image, or words                            | image-to-3d, text-to-3d                       |
| depth      | an image                                      | depth-estimation                              |
| other maps | an image                                      | image-to-image                                |
| video      | a video, else an audio, else an image, or words | video-, audio-, image- or text-to-video       |
| audio      | an audio, or words                              | audio-to-audio, text-to-audio                 |
| text       | an image, or words                            | image-to-text, text-generation                |
| numbers    | anything                                       | feature-extraction                            |

What a call needs decides the first task; what it may be given besides adds others. Images that only steer (those of a
ControlNet or of an adapter) do not count. The class's own name and diffusers' tables of siblings decide the order where
the signature leaves it open. A spectrogram is an audio in numbers, as embeddings are words. ``tasks.yaml`` holds what people
call the tasks, and the few classes that nothing fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from octabox.catalog.entries import MEDIA, Parameter, PipelineEntry
from octabox.types import Kind

#: Parameters whose images steer a call that would run without them: of adapters, controls, negatives and styles.
CONTROL_PARAMETERS = re.compile(r"adapter|control|negative|pose|reference|style|last_image|gligen|condi?tioning")

#: Components that turn the image of a call into such a steer.
CONTROL_COMPONENTS = re.compile(r"^controlnet|^adapter")

#: What the words of an output say that it shows, whatever its numbers look like.
SOLID, DEPTH = re.compile(r"\b3D\b|\bmesh"), re.compile(r"\bdepth\b", re.IGNORECASE)

#: What a request for a task brings, where the tag does not begin with it.
TASK_INPUTS = {"inpainting": {"image", "mask"}, "depth-estimation": {"image"}}

#: Outputs that only another model can read.
ENCODED = re.compile(r"embed|latent")

#: Arrays that hold an audio.
SPECTROGRAM = re.compile(r"spectrogram|(^|_)mels?(_|$)")

#: Parts of a class name: words, capitals, numbers.
WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


@dataclass(frozen=True)
class Vocabulary:
    """What ``tasks.yaml`` holds.

    Args:
        spellings: The tag for every name of a task, as people write it.
        tags: The same, by the plain form of the name.
        families: The plain name of a family, by the plain form of what people call it.
        exceptions: What holds for classes that the rules do not fit.
    """

    aliases: Mapping[str, str]
    tags: Mapping[str, str]
    families: Mapping[str, str]
    exceptions: Mapping[str, Mapping[str, Any]]


@cache
def vocabulary() -> Vocabulary:
    """Read ``tasks.yaml``."""
    data = yaml.safe_load(files("octabox.catalog").joinpath("tasks.yaml").read_text(encoding="utf-8"))
    spellings = {name: tag for tag, known in data["aliases"].items() for name in (tag, *known)}
    tags = {normalize_name(name): tag for name, tag in spellings.items()}
    families = {
        normalize_name(name): normalize_name(family) for family, known in data["families"].items() for name in known
    }
    return Vocabulary(spellings, tags, families, data["exceptions"])


def normalize_name(name: str) -> str:
    """Return a name without what people spell differently: letter case, hyphens, underscores, spaces."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def tag_of(name: str) -> str | None:
    """Return the Hub's tag for a task or for one of its other names; None where there is none."""
    return vocabulary().tags.get(normalize_name(name))


def derive_tasks(entry: PipelineEntry) -> tuple[str, ...]:
    """Return the tasks that a call with these parameters and outputs serves, the one it is made for first."""
    if entry.output_kind is None:
        return ()
    taken = _taken(entry)
    needed = {kind for kind, required in taken.items() if required}
    given = [_best(needed), *(kind for kind in ("text", "image", "mask", "audio", "video") if kind in taken)]
    if needed & MEDIA:
        # A call that needs an image cannot do with words alone.
        given = [kind for kind in given if kind != "text"]
    if "mask" in needed:
        given = [kind for kind in given if kind != "image"]
    goal = _goal(entry, has_image="image" in taken)
    found = [_task(kind, goal) for kind in given if kind or not taken]
    if goal != "text" and "image" in taken and any(field.kind == "text" for field in entry.outputs):
        found.append("image-to-text")
    return tuple(dict.fromkeys(task for task in found if task))


def order_tasks(entry: PipelineEntry, derived: tuple[str, ...], listed: Iterable[str]) -> tuple[str, ...]:
    """Return the tasks in order: first those that the class's own name or diffusers' tables of siblings call it by.

    A class that the tables have for files alone, or whose name speaks of a task that brings some, is not for words alone, even
    where its signature would do without; and one whose name speaks of inpainting is for that alone.
    """
    goals = {_goal_of(task) for task in derived}
    needs_file = any(not CONTROL_PARAMETERS.search(parameter.name) for parameter in entry.media(required=True))
    listed = [
        task for task in listed if task in derived or (_goal_of(task) in goals and not (needs_file and _is_wordy(task)))
    ]
    spoken = _in_name(entry.name)
    known = [task for task in spoken if task in {*derived, *listed}]
    order = tuple(dict.fromkeys([*known, *(task for task in derived if task in listed), *listed, *derived]))
    for_files = (listed and not any(_is_wordy(task) for task in listed)) or (spoken and not any(map(_is_wordy, spoken)))
    if for_files and not all(map(_is_wordy, order)):
        order = tuple(task for task in order if not _is_wordy(task))
    if "inpainting" in spoken and "inpainting" in order:
        order = tuple(task for task in order if task == "inpainting" or task in listed)
    return order


def family_stem(name: str) -> str:
    """Return a class name as families are written: ``StableDiffusionXLPipeline`` is ``stable-diffusion-xl``."""
    return "-".join(WORDS.findall(name.replace("Pipeline", "").replace("Modular", ""))).lower()


def _in_name(name: str) -> list[str]:
    """Return the tasks that a class name speaks of, in its order."""
    words = WORDS.findall(name)
    runs = ("".join(words[start:end]) for start in range(len(words)) for end in range(start + 1, len(words) + 1))
    return [tag for tag in (tag_of(run) for run in runs) if tag is not None]


def _is_wordy(task: str) -> bool:
    return task.startswith(("text-to-", "unconditional-"))


def _goal_of(task: str) -> str:
    """Return what a task ends in."""
    return "image" if task == "inpainting" else task.removesuffix("-generation").replace("-", " ").split()[-1]


def _taken(entry: PipelineEntry) -> dict[str, bool]:
    """Return what a call takes that makes its task, and whether it needs it."""
    control_from_aliases = any(CONTROL_COMPONENTS.search(part.name) for part in entry.components)
    has_control = any("control" in parameter.name for parameter in entry.media())
    taken: dict[str, bool] = {}
    for parameter in entry.parameters:
        kind = _subject(parameter, entry.output_kind)
        if kind is None or (kind == "image" and control_from_aliases and not has_control):
            continue
        taken[kind] = taken.get(kind, False) or (parameter.required and kind != "text")
    if "mask" in taken and "image" not in taken and not taken["mask"]:
        del taken["mask"]
    if "text" in taken:
        taken["text"] = not any(taken.values())
    return taken


def _subject(parameter: Parameter, output_kind: Kind | None) -> str | None:
    """Return what a parameter brings that the call is about; None where it only steers or sets."""
    if parameter.is_media:
        # A video that steers is what the call is about, where it cannot be left out.
        is_subject = parameter.kind == "video" and parameter.required
        return parameter.kind if is_subject or not CONTROL_PARAMETERS.search(parameter.name) else None
    if parameter.kind == "text" and (parameter.required or parameter.name.startswith("prompt")):
        return "text"
    if parameter.kind == "array" and parameter.required:
        if SPECTROGRAM.search(parameter.name):
            return "audio"
        # Words that another model has read, or a work that is half done.
        return "text" if "embed" in parameter.name else output_kind if "latents" in parameter.name else None
    return None


def _best(kinds: set[str]) -> str:
    """Return the chief of the kinds: that which fixes most of the outcome."""
    return next((kind for kind in ("video", "mask", "audio", "image", "text") if kind in kinds), "")


def _goal(entry: PipelineEntry, *, has_image: bool) -> str:
    """Return what a call is for: its output's kind, or what the words of its outputs say it shows."""
    words = " ".join(f"{field.name} {field.description}" for field in entry.outputs)
    if SOLID.search(words):
        return "3d"
    if (
        entry.output_kind == "array"
        and has_image
        and not any(ENCODED.search(field.name) for field in entry.outputs[:1])
    ):
        return "depth" if DEPTH.search(words) else "image"
    return entry.output_kind or ""


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


def task_inputs(task: str) -> frozenset[str]:
    """Return the kinds of files that a request for a task brings."""
    return frozenset(TASK_INPUTS.get(task, {task.partition("-to-")[0]})) & MEDIA


def count_extra_inputs(entry: PipelineEntry, task: str) -> int:
    """Return how much a class needs beyond what a request for this task brings: values, files, steering components."""
    known = task_inputs(task) | {"text"}
    values = sum(parameter.required and parameter.kind not in known for parameter in entry.parameters)
    return values + sum(bool(CONTROL_COMPONENTS.search(name)) for name in entry.required_components)
