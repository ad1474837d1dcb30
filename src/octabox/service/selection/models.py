"""Select the model and the pipeline that make an output of a media type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from octabox import demo
from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError, ModelNotFoundError, OctaboxError
from octabox.service.protocols import Models
from octabox.service.selection.inputs import ARTICLES, PLURALS, InputBindings, bindings_for, number_parameter
from octabox.service.selection.pipelines import default_pipeline
from octabox.types import Kind


@dataclass(frozen=True)
class PipelineMatch:
    """A pipeline of a model that makes the requested output.

    Args:
        model: Name of the model.
        entry: The pipeline.
        task: The task to request; None for the class of the model.
        defaults: Defaults of its parameters, those of the model's configuration first.
        reference: The parameter that takes the reference, if there is one.
    """

    model: str
    entry: PipelineEntry
    task: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    reference: str | None = None

    @property
    def bindings(self) -> InputBindings:
        """The parameters of the pipeline for inputs."""
        return InputBindings(self.model, (self.entry,))

    def number_parameter(self, *names: str) -> str | None:
        """Return the first of these names that is a parameter for a number."""
        return number_parameter(self.entry, *names)


def find_pipeline(models: Models, model: str, task: str | None) -> PipelineEntry | None:
    """Return the pipeline of a model for a task; None if there is none, which the call itself reports, and counts as failed."""
    try:
        return models.pipeline(model, task)
    except OctaboxError:
        return None


def first_model_for(models: Models, kind: Kind | None, task: str | None = None) -> str:
    """Return the first model that makes a media type, the embedded model after all others.

    Args:
        models: The models of this server.
        kind: Media type of the output; None for any.
        task: Task that the model should serve. If none does, a model that makes the media type is returned; if there is none
            either, one whose class is not known yet.

    Raises:
        ModelNotFoundError: There is none.
    """
    pipelines = models.catalog.pipelines
    making: list[tuple[tuple[bool, ...], str]] = []
    for info in models.list():
        if info.alias_of:
            continue
        entry = pipelines.get(info.pipeline or "")
        # The class of a model that is downloaded when it is first used is not known before.
        if kind in (None, entry.output_kind) if entry else task is not None:
            order = (entry is None, task is not None and task not in info.tasks, info.name == demo.NAME)
            making.append((order, info.name))
    if making:
        return min(making, key=itemgetter(0))[1]
    hint = "Add one to the models folder of the server, or name one that makes them."
    raise ModelNotFoundError(
        f"There is no model that makes {PLURALS.get(kind, 'outputs')}.", hint=hint, parameter="model"
    )


def select_pipeline(
    models: Models,
    model: str,
    kind: Kind | None,
    task: str | None = None,
    reference: tuple[str, Kind] | None = None,
) -> PipelineMatch:
    """Return the pipeline of a model that makes a media type; the class of the model is preferred.

    Args:
        models: The models of this server.
        model: Name of the model.
        kind: Media type of the output; None for that of the model's class, or of its pipeline for the task.
        task: The requested task.
        reference: Name in the request of an input that the pipeline must take, and its media type.

    Raises:
        InvalidParameterError: The model has no such pipeline.
    """
    served, catalog = models.resolve(model), models.catalog
    default = default_pipeline(catalog, served, task)[0]
    kind = kind or default.output_kind
    bindings = bindings_for(served, catalog)
    if task is not None:
        bindings = bindings.serving(catalog.task(task))
    entries = [default, *(entry for entry in bindings.entries if entry.name != default.name)]
    making = InputBindings(model, tuple(entry for entry in entries if entry.output_kind == kind))
    if not making.entries:
        hint = f"Its tasks are {', '.join(served.tasks(catalog))}. `GET /v1/models` lists the tasks of all models."
        made = PLURALS[default.output_kind or "array"]
        message = f"Model '{model}' makes {made}, not {PLURALS[kind]}."
        raise InvalidParameterError(message, hint=hint, model=model, parameter="model")
    if reference is None:
        entry, parameter = making.preferred, None
    elif (bound := making.bind(reference[1])) is not None:
        entry, parameter = bound[0], bound[1].name
    else:
        message = f"Model '{model}' does not take {ARTICLES[reference[1]]}."
        raise InvalidParameterError(message, model=model, parameter=reference[0])
    tag = task if task is not None or entry.name == served.pipeline.name else next(iter(entry.tasks), None)
    defaults = {
        each.name: each.default
        for each in entry.parameters
        if each.literal and not each.required and each.default is not None
    }
    configured = {name: value for name, value in served.config.defaults.items() if entry.parameter(name)}
    return PipelineMatch(model, entry, tag, {**defaults, **configured}, parameter)
