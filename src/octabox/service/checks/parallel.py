"""Find the models that cannot be split over devices, since diffusers has no plan for any of their components."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.reading.annotations import parse_annotation
from octabox.config.parsing import Entry
from octabox.config.problems import Problem
from octabox.errors import OctaboxError
from octabox.hub.folder import folder_index, index_components


def find_parallel_problems(entry: Entry, pipeline: PipelineEntry, catalog: Catalog) -> Iterator[Problem]:
    """Yield the problem of a model with `parallel` of which no component has a plan.

    Args:
        entry: The configuration.
        pipeline: The class of the model.
        catalog: All classes.
    """
    if entry.config.parallel is None or any(part.model for _, part in entry.config.parts()):
        return
    known = catalog.metadata.ancestors
    classes = [name for name in _component_classes(entry, pipeline) if name in known]
    if classes and not any(name in catalog.metadata.plans for name in classes):
        message = f"{pipeline.name} cannot be split over devices: diffusers has no plan for any of its components."
        hint = f"remove `parallel`; there are plans for {', '.join(sorted(catalog.metadata.plans))}"
        yield entry.problem(("parallel",), message, hint)


def _component_classes(entry: Entry, pipeline: PipelineEntry) -> list[str]:
    """Return the classes of components by the index of the model; where that is not here, those that its class takes."""
    try:
        index = index_components(folder_index(Path(entry.config.model)))
    except OctaboxError:
        return [name for each in pipeline.components for name in parse_annotation(each.annotation).leaves]
    return [cls for _, cls in index.values() if cls]
