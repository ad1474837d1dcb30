"""Which pipeline of a model makes what a route is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError, ModelNotFoundError
from octabox.service.protocols import ModelService
from octabox.types import Kind

#: How a sentence calls what is made.
WORDS: Mapping[Kind | None, str] = {
    "image": "pictures",
    "video": "videos",
    "audio": "sound",
    "mesh": "meshes",
    "text": "text",
    "array": "arrays",
}


@dataclass(frozen=True)
class PipelineMatch:
    """A pipeline that makes what is wanted of a model.

    Args:
        model: Name of the model.
        entry: The pipeline.
        task: The task to ask for; None where the model's own pipeline is the one.
        defaults: Defaults of its parameters, those of the model's configuration before its own.
        reference: The parameter that takes a reference, where one was asked for.
    """

    model: str
    entry: PipelineEntry
    task: str | None = None
    defaults: Mapping[str, Any] = field(default_factory=dict)
    reference: str | None = None

    def named(self, *names: str) -> str | None:
        """Return the first of these names that the pipeline has a parameter of which takes a number."""
        numbers = {each.name for each in self.entry.parameters if each.kind in ("integer", "number")}
        return next((name for name in names if name in numbers), None)


def first_model_for(models: ModelService, kind: Kind) -> str:
    """Return the first model of the list that makes things of a kind.

    Raises:
        ModelNotFoundError: There is none.
    """
    pipelines = models.catalog.pipelines
    for info in models.list():
        entry = pipelines.get(info.pipeline or "")
        if entry is not None and entry.output_kind == kind:
            return info.name
    hint = "Put one into the server's folder of models, or name one that makes them."
    raise ModelNotFoundError(f"There is no model that makes {WORDS[kind]}.", hint=hint, parameter="model")


def select_pipeline(
    models: ModelService, model: str, kind: Kind, task: str | None = None, reference: tuple[str, Kind] | None = None
) -> PipelineMatch:
    """Return the pipeline of a model that makes things of a kind: its own before its siblings.

    Args:
        models: The models of this server.
        model: Name of the model.
        kind: What is to be made.
        task: The task that the client names, if it does.
        reference: The client's field of a medium that the pipeline must take, and its kind.

    Raises:
        InvalidParameterError: The model has no such pipeline.
    """
    own = models.schema(model, task)
    tasks = [task] if task is not None else [None, *own.get("x-tasks", ())]
    makes_it = False
    for tag in tasks:
        schema = own if tag == task else models.schema(model, tag)
        entry = models.catalog.pipelines.get(schema.get("x-pipeline", ""))
        if entry is None or entry.output_kind != kind:
            continue
        makes_it = True
        taker = _taker(entry, reference[1]) if reference else None
        if reference is None or taker is not None:
            defaults = {name: each["default"] for name, each in schema["properties"].items() if "default" in each}
            return PipelineMatch(model, entry, tag, defaults, taker)
    if makes_it and reference:
        raise InvalidParameterError(f"Model '{model}' takes no {reference[1]}.", model=model, parameter=reference[0])
    raise _cannot(models, model, own, kind)


def _cannot(models: ModelService, model: str, own: Mapping[str, Any], kind: Kind) -> InvalidParameterError:
    """Return the error for a model that makes other things."""
    entry = models.catalog.pipelines.get(own.get("x-pipeline", ""))
    made = WORDS.get(entry.output_kind if entry else None, "other things")
    hint = f"Its tasks are {', '.join(own.get('x-tasks', ()))}. `GET /v1/models` lists the tasks of all models."
    return InvalidParameterError(
        f"Model '{model}' makes {made}, no {WORDS[kind]}.", hint=hint, model=model, parameter="model"
    )


def _taker(entry: PipelineEntry, kind: Kind) -> str | None:
    """Return the parameter for a reference: one that is needed, else the plainest."""
    # What goes into an adapter is no reference: without the adapter nobody reads it.
    media = [each for each in entry.media() if each.kind == kind and "adapter" not in each.name]
    ranked = sorted(media, key=lambda each: (not each.required, each.name != kind, "ref" not in each.name))
    return ranked[0].name if ranked else None
