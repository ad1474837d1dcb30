"""The pipelines over the components of one model."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from diffusers import DiffusionPipeline

from octabox.catalog.conditions.control import control_inputs
from octabox.catalog.entries import PipelineEntry
from octabox.catalog.loading import import_class
from octabox.catalog.pipelines import load_catalog
from octabox.engine.worker.component_types import group_components
from octabox.engine.worker.loading.models import LoadedModel
from octabox.errors import IncompatibleWeightsError


@dataclass(frozen=True)
class Target:
    """A pipeline to call, with its catalog entry, and whether it has components such as ControlNets."""

    pipe: DiffusionPipeline
    entry: PipelineEntry
    has_control: bool


class Targets(dict[str, Target]):
    """The pipelines over the components of one model by class, created when they are first called.

    Args:
        model: The model.
    """

    def __init__(self, model: LoadedModel) -> None:
        super().__init__()
        self._model = model
        name = type(model.pipeline).__name__
        self._pipelines: dict[str, DiffusionPipeline] = {name: model.pipeline}
        if name in load_catalog().pipelines:
            self.__missing__(name)

    @property
    def pipelines(self) -> list[DiffusionPipeline]:
        """All pipelines."""
        return list(self._pipelines.values())

    def __missing__(self, name: str) -> Target:
        """Create the pipeline of a class.

        Raises:
            IncompatibleWeightsError: The model lacks components of the class.
        """
        if name not in self._pipelines:
            self._pipelines[name] = self._create(name)
        entry = load_catalog().pipeline(name)
        target = self[name] = Target(self._pipelines[name], entry, control_inputs(entry).component is not None)
        return target

    def _create(self, name: str) -> DiffusionPipeline:
        cls: Any = import_class(name)
        pipeline = self._model.pipeline
        available = {**pipeline.config, **pipeline.components, **self._model.extra_components}
        names = [each for each in inspect.signature(cls.__init__).parameters if each in available]
        try:
            pipe: DiffusionPipeline = cls(**{each: group_components(cls, each, available[each]) for each in names})
        except TypeError as error:
            raise IncompatibleWeightsError(f"{name} needs more than this model has: {error}.") from error
        pipe.set_progress_bar_config(disable=True)
        return pipe
