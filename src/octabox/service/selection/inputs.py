"""Which call parameters of a model take what LocalAI's messages bring, by what the pipelines say of themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from octabox.catalog.entries import Parameter, ParameterKind, PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.tasks import CONTROL_PARAMETERS
from octabox.errors import InvalidParameterError, TaskNotFoundError
from octabox.service.selection.pipelines import family_of
from octabox.service.served_model import ServedModel
from octabox.types import Kind

#: Names of the parameters for the frames of a video, the frames a second, and the seconds of an audio, the likeliest first.
FRAMES, RATES = ("num_frames", "video_length", "frames"), ("fps", "frame_rate")
SECONDS = ("audio_length_in_s", "audio_duration", "audio_duration_in_s", "duration", "audio_end_in_s", "seconds")

#: The image that a video ends with.
LAST = re.compile(r"(^|_)(last|end|final)(_|$)")

#: Images of adapters: without the adapter nobody reads them.
ADAPTER = re.compile(r"adapter")

#: How a sentence calls what is made.
PLURALS: dict[Kind, str] = {"image": "pictures", "video": "videos", "audio": "sound"}


@dataclass(frozen=True)
class InputBindings:
    """The pipelines of a model that may serve a request, its own first.

    Args:
        model: Name of the model.
        entries: The pipelines.
    """

    model: str
    entries: tuple[PipelineEntry, ...]

    @property
    def own(self) -> PipelineEntry:
        """The first of them."""
        return self.entries[0]

    def making(self, *kinds: Kind) -> InputBindings:
        """Return those that make one of these kinds.

        Raises:
            TaskNotFoundError: There are none.
        """
        made = tuple(entry for entry in self.entries if (entry.output_kind or "array") in kinds)
        if not made:
            tasks = dict.fromkeys(task for entry in self.entries for task in entry.tasks)
            raise TaskNotFoundError(
                f"Model '{self.model}' makes no {PLURALS[kinds[0]]}.",
                hint=f"Its tasks are {', '.join(tasks)}.",
                model=self.model,
                choices=tasks,
            )
        return InputBindings(self.model, made)

    def medium(self, kind: ParameterKind, field: str, *, many: bool = False) -> str:
        """Return the parameter that takes an image, mask, video or audio.

        Args:
            kind: What it is.
            field: What the client calls it.
            many: Whether there are several.

        Raises:
            InvalidParameterError: No pipeline of the model takes one.
        """
        plain = [_plainest(_of_kind(entry, kind), many=many) for entry in self.entries]
        found = next((each for each in plain if each), None)
        if found is None:
            article = {"image": "an image", "mask": "a mask", "video": "a video", "audio": "an audio"}[kind]
            raise InvalidParameterError(
                f"Model '{self.model}' takes no {article[2:]}.", model=self.model, parameter=field
            )
        return found.name

    def last_image(self, field: str) -> str:
        """Return the parameter that takes the image that a video ends with.

        Raises:
            InvalidParameterError: No pipeline of the model takes one.
        """
        for entry in self.entries:
            for each in entry.media():
                if each.kind == "image" and LAST.search(each.name):
                    return each.name
        raise InvalidParameterError(f"Model '{self.model}' takes no last image.", model=self.model, parameter=field)

    def number(self, *names: str) -> str | None:
        """Return the first of these names that a pipeline has a parameter of which takes a number."""
        for entry in self.entries:
            numbers = {each.name for each in entry.parameters if each.kind in ("integer", "number")}
            if found := next((name for name in names if name in numbers), None):
                return found
        return None


def bindings_for(model: ServedModel, catalog: Catalog) -> InputBindings:
    """Return the pipelines of a model; those that use what was configured beside it come before the others."""
    family = family_of(catalog, model.own, model.extra, alone=model.alone)
    using = [entry for entry in family if model.extra & {part.name for part in entry.components}]
    return InputBindings(model.config.name, (*using, *(entry for entry in family if entry not in using)))


def _of_kind(entry: PipelineEntry, kind: ParameterKind) -> Iterable[Parameter]:
    """Return the parameters of a kind that are no adapter's and no last image's."""
    return (
        each
        for each in entry.media()
        if each.kind == kind and not ADAPTER.search(each.name) and not LAST.search(each.name)
    )


def _plainest(parameters: Iterable[Parameter], *, many: bool) -> Parameter | None:
    """Return the parameter for a single medium of its kind, or for a list: one that is needed, else the plainest."""

    def rank(each: Parameter) -> tuple[bool, ...]:
        return (
            many and not each.many,
            not each.required,
            each.name != each.kind,
            bool(CONTROL_PARAMETERS.search(each.name)),
        )

    return min(parameters, key=rank, default=None)
