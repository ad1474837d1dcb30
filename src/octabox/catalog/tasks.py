"""Derive the tasks of a pipeline from its call, and resolve the names of tasks.

A task is a Hub tag. The tasks of a pipeline follow from the inputs and outputs of its call:

| output     | input                                      | task                                    |
|------------|--------------------------------------------|-----------------------------------------|
| image      | an image and a mask                        | inpainting                              |
| image      | an image                                   | image-to-image                          |
| image      | text                                       | text-to-image                           |
| image      | neither                                    | unconditional-image-generation          |
| 3D         | an image, or text                          | image-to-3d, text-to-3d                 |
| depth      | an image                                   | depth-estimation                        |
| other maps | an image                                   | image-to-image                          |
| video      | a video, else audio, else an image, or text | video-, audio-, image- or text-to-video |
| audio      | audio, or text                             | audio-to-audio, text-to-audio           |
| text       | an image, or text                          | image-to-text, text-generation          |
| array      | anything                                   | feature-extraction                      |

The required inputs decide the first task; optional ones add others. Control images (those of a ControlNet or an adapter) do
not count. The class name and the auto pipeline mappings of diffusers decide the order where the signature leaves it open. A
spectrogram counts as audio, embeddings count as text. ``tasks.yaml`` holds the aliases of tasks, and the few classes that no
rule fits.
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

#: Media parameters that condition a call and do not make its task: adapters, controls, negatives and styles.
CONTROL_PARAMETERS = re.compile(r"adapter|control|negative|pose|reference|style|last_image|gligen|condi?tioning")

#: The part of a name that makes images or a video masks.
MASK = re.compile(r"(^|_)masks?(_|$)")

#: Components that turn the image of a call into a control image.
CONTROL_COMPONENTS = re.compile(r"^controlnet|^adapter")

#: Words in the description of an output that decide what it shows.
SOLID, DEPTH = re.compile(r"\b3D\b|\bmesh"), re.compile(r"\bdepth\b", re.IGNORECASE)

#: The task of most pipelines, and of the simplest ones.
TEXT_TO_IMAGE = "text-to-image"

#: Inputs of tasks whose tag does not begin with them.
TASK_INPUTS = {"inpainting": {"image", "mask"}, "depth-estimation": {"image"}}

#: Outputs that are inputs of another model.
ENCODED = re.compile(r"embed|latent")

#: Arrays that hold audio.
SPECTROGRAM = re.compile(r"spectrogram|(^|_)mels?(_|$)")

#: Parts of a class name: words, acronyms, numbers.
WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


@dataclass(frozen=True)
class Vocabulary:
    """The content of ``tasks.yaml``.

    Args:
        aliases: The tag for every name of a task.
        tags: The tag for every normalized name of a task.
        families: The normalized name of a family, by its normalized aliases.
        exceptions: Fields of classes that the rules do not fit.
    """

    aliases: Mapping[str, str]
    tags: Mapping[str, str]
    families: Mapping[str, str]
    exceptions: Mapping[str, Mapping[str, Any]]


@cache
def vocabulary() -> Vocabulary:
    """Return the content of ``tasks.yaml``."""
    data = yaml.safe_load(files("octabox.catalog").joinpath("tasks.yaml").read_text(encoding="utf-8"))
    aliases = {name: tag for tag, known in data["aliases"].items() for name in (tag, *known)}
    tags = {normalize_name(name): tag for name, tag in aliases.items()}
    families = {
        normalize_name(name): normalize_name(family) for family, known in data["families"].items() for name in known
    }
    return Vocabulary(aliases, tags, families, data["exceptions"])


def is_mask(parameter: Parameter) -> bool:
    """Return whether the values of a parameter are masks, or videos of masks."""
    return parameter.kind == "mask" or (parameter.kind == "video" and bool(MASK.search(parameter.name)))


def normalize_name(name: str) -> str:
    """Return a name in lower case, without hyphens, underscores and spaces."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def tag_of(name: str) -> str | None:
    """Return the Hub tag for a task or an alias; None if it is unknown."""
    return vocabulary().tags.get(normalize_name(name))


def derive_tasks(entry: PipelineEntry) -> tuple[str, ...]:
    """Return the tasks that a call serves by its parameters and outputs, the primary one first."""
    if entry.output_kind is None:
        return ()
    inputs = _task_kinds(entry)
    needed = {kind for kind, required in inputs.items() if required}
    kinds = [_primary(needed), *(kind for kind in ("text", "image", "mask", "audio", "video") if kind in inputs)]
    if needed & MEDIA:
        # A call that requires an image does not serve text alone.
        kinds = [kind for kind in kinds if kind != "text"]
    if "mask" in needed:
        kinds = [kind for kind in kinds if kind != "image"]
    target = _output_target(entry, has_image="image" in inputs)
    found = [_task(kind, target) for kind in kinds if kind or not inputs]
    if target != "text" and "image" in inputs and any(field.kind == "text" for field in entry.outputs):
        found.append("image-to-text")
    return tuple(dict.fromkeys(task for task in found if task))


def order_tasks(entry: PipelineEntry, derived: tuple[str, ...], listed: Iterable[str]) -> tuple[str, ...]:
    """Return the tasks in order: first those in the class name or in the auto pipeline mappings of diffusers.

    A class that the mappings or its name assign to tasks with files does not serve tasks with text alone, even if its
    signature allows it. A class with inpainting in its name serves inpainting alone.
    """
    targets = {_target_of(task) for task in derived}
    needs_file = any(not CONTROL_PARAMETERS.search(parameter.name) for parameter in entry.media(required=True))
    listed = [
        task
        for task in listed
        if task in derived or (_target_of(task) in targets and not (needs_file and _is_text_only(task)))
    ]
    in_name = _tasks_in_name(entry.name)
    known = [task for task in in_name if task in {*derived, *listed}]
    order = tuple(dict.fromkeys([*known, *(task for task in derived if task in listed), *listed, *derived]))
    for_files = any(tasks and not any(map(_is_text_only, tasks)) for tasks in (listed, in_name))
    if for_files and not all(map(_is_text_only, order)):
        order = tuple(task for task in order if not _is_text_only(task))
    if "inpainting" in in_name and "inpainting" in order:
        order = tuple(task for task in order if task == "inpainting" or task in listed)
    return order


def family_stem(name: str) -> str:
    """Return a class name in the form of a family name: in lower case, with hyphens, and without its suffix."""
    return "-".join(WORDS.findall(name.replace("Pipeline", "").replace("Modular", ""))).lower()


def _tasks_in_name(name: str) -> list[str]:
    """Return the tasks that a class name contains, in its order."""
    words = WORDS.findall(name)
    runs = ("".join(words[start:end]) for start in range(len(words)) for end in range(start + 1, len(words) + 1))
    return [tag for tag in (tag_of(run) for run in runs) if tag is not None]


def _is_text_only(task: str) -> bool:
    return task.startswith(("text-to-", "unconditional-"))


def _target_of(task: str) -> str:
    """Return the output kind of a task."""
    return "image" if task == "inpainting" else task.removesuffix("-generation").replace("-", " ").split()[-1]


def _task_kinds(entry: PipelineEntry) -> dict[str, bool]:
    """Return the kinds of inputs that make the task of a call, and whether each is required."""
    has_component = any(CONTROL_COMPONENTS.search(part.name) for part in entry.components)
    has_control = any("control" in parameter.name for parameter in entry.media())
    kinds: dict[str, bool] = {}
    for parameter in entry.parameters:
        kind = _task_kind(parameter, entry.output_kind)
        if kind is None or (kind == "image" and has_component and not has_control):
            continue
        kinds[kind] = kinds.get(kind, False) or (parameter.required and kind != "text")
    if "mask" in kinds and "image" not in kinds and not kinds["mask"]:
        del kinds["mask"]
    if "text" in kinds:
        kinds["text"] = not any(kinds.values())
    return kinds


def _task_kind(parameter: Parameter, output_kind: Kind | None) -> str | None:
    """Return the kind of input that a parameter adds to the task; None for controls and settings."""
    if parameter.is_media:
        # A required control video makes the task.
        is_task_input = parameter.kind == "video" and parameter.required
        return parameter.kind if is_task_input or not CONTROL_PARAMETERS.search(parameter.name) else None
    if parameter.kind == "text" and (parameter.required or parameter.name.startswith("prompt")):
        return "text"
    if parameter.kind == "array" and parameter.required:
        if SPECTROGRAM.search(parameter.name):
            return "audio"
        # Embeddings count as text, latents as the output.
        return "text" if "embed" in parameter.name else output_kind if "latents" in parameter.name else None
    return None


def _primary(kinds: set[str]) -> str:
    """Return the kind that determines the output most; empty if there are none."""
    return next((kind for kind in ("video", "mask", "audio", "image", "text") if kind in kinds), "")


def _output_target(entry: PipelineEntry, *, has_image: bool) -> str:
    """Return the target of a call: the kind of its output, or what the description of its outputs names."""
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


def _task(kind: str, target: str) -> str | None:
    if target == "array":
        return "feature-extraction"
    if target == "depth":
        return "depth-estimation"
    if target == "text":
        return {"": None, "text": "text-generation"}.get(kind, f"{kind}-to-text")
    if kind == "mask":
        return "inpainting" if target == "image" else None
    if not kind:
        return f"unconditional-{target}-generation"
    return f"{kind}-to-{target}"


@cache
def task_inputs(task: str) -> frozenset[str]:
    """Return the kinds of files in a request for a task."""
    return frozenset(TASK_INPUTS.get(task, {task.partition("-to-")[0]})) & MEDIA


def count_extra_inputs(entry: PipelineEntry, task: str) -> int:
    """Return how many required parameters and control components of a class are not inputs of a task."""
    known = task_inputs(task) | {"text"}
    values = sum(parameter.required and parameter.kind not in known for parameter in entry.parameters)
    return values + sum(bool(CONTROL_COMPONENTS.search(name)) for name in entry.required_components)
