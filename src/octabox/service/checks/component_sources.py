"""Find the components in single files that cannot be loaded: those of another class, and those without a configuration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from octabox.catalog.components.faults import PACKAGE
from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.catalog.reading.annotations import parse_annotation
from octabox.catalog.tasks import CONTROL_COMPONENTS
from octabox.config.model import ModelConfig
from octabox.config.parsing import Entry
from octabox.config.problems import Problem
from octabox.errors import LoadError, OctaboxError
from octabox.hub.checkpoints import bundles
from octabox.hub.checkpoints.families import match_family
from octabox.hub.checkpoints.tensors import read_shapes
from octabox.hub.component_configs import (
    SINGLE_FILE,
    denoiser_config,
    find_config,
    no_config_error,
    not_from_file_error,
)
from octabox.hub.folder import CHECKPOINT_SUFFIXES


def find_single_file_problems(entry: Entry, pipeline: PipelineEntry, catalog: Catalog) -> Iterator[Problem]:
    """Yield the problems of components whose source is a file on this machine.

    Args:
        entry: The configuration of a model, with absolute sources.
        pipeline: The class that it is loaded as.
        catalog: All pipelines.
    """
    config = entry.config
    for name, part in config.parts():
        if part.model and Path(part.model).suffix.lower() in CHECKPOINT_SUFFIXES and Path(part.model).is_file():
            error = _find_error(config, name, part.model, part.subfolder or name, pipeline, catalog)
            if error is not None:
                message = error.message.removeprefix(f"Model '{config.name}': ")
                yield entry.problem(("components", name, "model"), message, error.hint)


def _find_error(
    config: ModelConfig, name: str, file: str, subfolder: str, pipeline: PipelineEntry, catalog: Catalog
) -> LoadError | None:
    """Return the error that loading a component would raise; None if nothing is known to be wrong."""
    known = {each.name for each in pipeline.components}
    is_extra = name not in known
    classes = _classes(name, catalog.siblings(pipeline.name, frozenset({name})) if is_extra else (pipeline,))
    if pipeline.modular:
        return not_from_file_error(config.name, name)
    if classes and not any(SINGLE_FILE in catalog.metadata.ancestors.get(each, ()) for each in classes):
        return not_from_file_error(config.name, name)
    if find_config(file, config.config or config.model, subfolder):
        return None
    if CONTROL_COMPONENTS.search(name) and denoiser_config(config.config or config.model):
        return None  # It follows from that of the denoiser, and from the shapes of the tensors.
    if not is_extra and name in _bundled_components(config):
        return None
    return no_config_error(config.name, name, file)


def _classes(name: str, pipelines: tuple[PipelineEntry, ...]) -> set[str]:
    """Return the classes that pipelines of diffusers take for a component; empty if one of them states none."""
    found = [each.annotation for entry in pipelines for each in entry.components if each.name == name]
    if not all(found) or not all(entry.package == PACKAGE for entry in pipelines):
        return set()
    return {leaf for annotation in found for leaf in parse_annotation(annotation).leaves}


def _bundled_components(config: ModelConfig) -> frozenset[str]:
    """Return the components whose configurations are known for the family of a model in a single file."""
    file = Path(config.model)
    if config.config or not file.is_file():
        return frozenset()
    try:
        family = match_family(read_shapes(file))
    except (OctaboxError, OSError):
        return frozenset()  # It is a problem of that file.
    return frozenset(bundles.component_libraries(family.configs)) if family and family.configs else frozenset()
