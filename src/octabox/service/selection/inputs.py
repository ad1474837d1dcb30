"""Select the parameter of a pipeline that an input is for, by what the pipeline declares."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from octabox.catalog.entries import Parameter, ParameterKind, PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.tasks import CONTROL_PARAMETERS
from octabox.errors import InvalidParameterError, TaskNotFoundError, UnknownParameterError
from octabox.service.selection.pipelines import choose_pipeline
from octabox.service.served_model import ServedModel
from octabox.types import Kind

#: Names of the parameters for the number of frames, the frame rate, and the seconds of audio, the most common first.
FRAMES, RATES = ("num_frames", "video_length", "frames"), ("fps", "frame_rate")
SECONDS = (
    "audio_length_in_s",
    "audio_duration",
    "audio_duration_in_s",
    "audio_duration_s",
    "duration",
    "audio_end_in_s",
    "seconds",
)

#: The last image of a video.
LAST = re.compile(r"(^|_)(last|end|final|tail)(_|$)")

#: Images of adapters, which have no effect without the adapter.
ADAPTER = re.compile(r"adapter")

#: References to an image, such as `reference_image`.
REFERENCE = re.compile(r"ref")

#: The task of painting over an image, and the parameter for how much of it changes.
IMAGE_TO_IMAGE, STRENGTH = "image-to-image", "strength"

#: Media type of an input.
MediaType: TypeAlias = ParameterKind | Kind

#: Media types with their article, for messages.
ARTICLES: dict[MediaType, str] = {"image": "an image", "mask": "a mask", "video": "a video", "audio": "audio"}

#: Plurals for messages.
PLURALS: dict[Kind | None, str] = {
    "image": "images",
    "video": "videos",
    "audio": "audio",
    "mesh": "meshes",
    "text": "text",
    "array": "arrays",
}


def input_parameter(entry: PipelineEntry, kind: MediaType, *, many: bool = False) -> Parameter | None:
    """Return the parameter that takes an input: a required one, else the one with the simplest name.

    Parameters of adapters and of the last image of a video are not considered.

    Args:
        entry: The pipeline.
        kind: Media type of the input.
        many: Whether there are several inputs.
    """
    return min(
        (each for each in _inputs(entry, kind) if not LAST.search(each.name)),
        key=lambda each: (
            many and not each.many,
            not each.required,
            each.name != kind,
            bool(CONTROL_PARAMETERS.search(each.name)),
            not REFERENCE.search(each.name),
        ),
        default=None,
    )


def last_image_parameter(entry: PipelineEntry) -> Parameter | None:
    """Return the parameter for the last image of a video."""
    return next((each for each in _inputs(entry, "image") if LAST.search(each.name)), None)


def source_parameter(entry: PipelineEntry) -> Parameter | None:
    """Return the parameter for the image that a pipeline transforms; None if it takes control images alone."""
    parameter = input_parameter(entry, "image")
    return None if parameter is None or CONTROL_PARAMETERS.search(parameter.name) else parameter


def number_parameter(entry: PipelineEntry, *names: str) -> str | None:
    """Return the first of these names that is a parameter for a number."""
    numbers = {each.name for each in entry.parameters if each.kind in ("integer", "number")}
    return next((name for name in names if name in numbers), None)


def _inputs(entry: PipelineEntry, kind: MediaType) -> Iterator[Parameter]:
    """Yield the parameters for inputs of a media type, without those of adapters."""
    return (each for each in entry.media() if each.kind == kind and not ADAPTER.search(each.name))


@dataclass(frozen=True)
class InputBindings:
    """The pipelines of a model that may serve a request.

    Args:
        model: Name of the model.
        entries: The pipelines, the preferred one first.
    """

    model: str
    entries: tuple[PipelineEntry, ...]

    @property
    def preferred(self) -> PipelineEntry:
        """The first pipeline."""
        return self.entries[0]

    def serving(self, task: str) -> InputBindings:
        """Return the pipelines that serve a task."""
        return InputBindings(self.model, tuple(entry for entry in self.entries if task in entry.tasks))

    def making(self, *kinds: Kind) -> InputBindings:
        """Return the pipelines that make one of these media types.

        Raises:
            TaskNotFoundError: There are none.
        """
        making = tuple(entry for entry in self.entries if (entry.output_kind or "array") in kinds)
        if not making:
            tasks = dict.fromkeys(task for entry in self.entries for task in entry.tasks)
            raise TaskNotFoundError(
                f"Model '{self.model}' does not make {PLURALS[kinds[0]]}.",
                hint=f"Its tasks are {', '.join(tasks)}.",
                model=self.model,
                choices=tasks,
            )
        return InputBindings(self.model, making)

    def bind(self, kind: MediaType, *, many: bool = False) -> tuple[PipelineEntry, Parameter] | None:
        """Return the first pipeline that takes an input of a media type, and its parameter for it."""
        for entry in self.entries:
            if (parameter := input_parameter(entry, kind, many=many)) is not None:
                return entry, parameter
        return None

    def medium(self, kind: MediaType, field: str, *, many: bool = False) -> str:
        """Return the parameter that takes an image, mask, video or audio.

        Args:
            kind: Media type of the input.
            field: Name of the input in the request.
            many: Whether there are several.

        Raises:
            InvalidParameterError: No pipeline of the model takes one.
        """
        bound = self.bind(kind, many=many)
        if bound is None:
            message = f"Model '{self.model}' does not take {ARTICLES[kind]}."
            raise InvalidParameterError(message, model=self.model, parameter=field)
        return bound[1].name

    def last_image(self, field: str) -> str:
        """Return the parameter for the last image of a video.

        Raises:
            InvalidParameterError: No pipeline of the model takes one.
        """
        found = next((each for entry in self.entries if (each := last_image_parameter(entry))), None)
        if found is None:
            message = f"Model '{self.model}' does not take a last image."
            raise InvalidParameterError(message, model=self.model, parameter=field)
        return found.name

    def number(self, *names: str) -> str | None:
        """Return the first of these names that is a parameter for a number of one of the pipelines."""
        return next((name for entry in self.entries if (name := number_parameter(entry, *names))), None)


def bindings_for(model: ServedModel, catalog: Catalog) -> InputBindings:
    """Return the pipelines of a model; those that use its extra components come first."""
    family = model.family(catalog)
    using = [entry for entry in family if model.extra & {part.name for part in entry.components}]
    return InputBindings(model.config.name, (*using, *(entry for entry in family if entry not in using)))


def bind_image_to_image(
    model: ServedModel, catalog: Catalog, control: Collection[str]
) -> tuple[PipelineEntry, str] | None:
    """Return the pipeline of a model that paints over an image by a strength, and its parameter for the image.

    Args:
        model: The model.
        catalog: All pipelines.
        control: Names of the parameters for control images, which the pipeline should take too.
    """
    entries = InputBindings(model.config.name, model.family(catalog)).serving(IMAGE_TO_IMAGE).entries
    sources = {entry.name: source_parameter(entry) for entry in entries if entry.parameter(STRENGTH)}
    for name in dict.fromkeys(each.name for each in sources.values() if each):
        for files in ({name, *control}, {name}):
            try:
                entry, _ = choose_pipeline(catalog, model, IMAGE_TO_IMAGE, files)
            except (UnknownParameterError, InvalidParameterError):
                continue
            if entry.name in sources:
                return entry, name
    return None
