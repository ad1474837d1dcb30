"""The weights of a single file by component, and those of the model that completes it, by the headers of their files."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from octabox.config.model import ModelConfig
from octabox.engine.memory.places import component_path
from octabox.errors import OctaboxError
from octabox.hub.checkpoints import bundles
from octabox.hub.checkpoints.families import Family, holds_denoiser_only, match_family
from octabox.hub.checkpoints.tensors import Shapes, read_shapes
from octabox.hub.folder import folder_index, index_components, index_file
from octabox.hub.weights import component_elements, file_elements

#: Name of the weights of a file whose components are not known.
SINGLE_FILE = "model"


def single_file_elements(config: ModelConfig, file: Path) -> dict[str, Mapping[str, int]]:
    """Return the number of weights of a model that is a single file, by component and dtype.

    Args:
        config: The model's configuration; what the file lacks is that of the model that its `config` names.
        file: The file.
    """
    family, shapes = _read_family(file)
    if family is None:
        return {SINGLE_FILE: file_elements(file)}
    source = component_path(config.config) if config.config else None
    completing = component_elements(source, config.variant) if source is not None and source.is_dir() else {}
    completing.pop("", None)
    if holds_denoiser_only(family, shapes, str(file), completed=bool(config.config)):
        part = family.part or next(iter(family.parts or ()), SINGLE_FILE)
        return {**completing, part: file_elements(file)}
    missing = set(family.missing(shapes))
    found = {name: counts for name, counts in completing.items() if name in missing}
    return {**found, **_split(file_elements(file), shapes, family)}


def single_file_libraries(config: ModelConfig, file: Path) -> dict[str, str]:
    """Return the library of each component of a model that is a single file, such as ``transformers``, where it is known.

    Args:
        config: The model's configuration.
        file: The file.
    """
    source = component_path(config.config) if config.config else None
    if source is not None and source.is_dir() and index_file(source) is not None:
        return {name: library for name, (library, _) in index_components(folder_index(source)).items() if library}
    family, _ = _read_family(file)
    return bundles.component_libraries(family.configs) if family and family.configs else {}


def _read_family(file: Path) -> tuple[Family | None, Shapes]:
    """Return the family of a file, and its tensors; None where it is not a model, or cannot be read, as its load reports."""
    try:
        shapes = read_shapes(file)
    except OctaboxError:
        return None, {}
    family = match_family(shapes)
    return (None, shapes) if family is None or family.not_a_model else (family, shapes)


def _split(counts: Mapping[str, int], shapes: Shapes, family: Family) -> dict[str, Mapping[str, int]]:
    """Return the weights of a file by component, in proportion to the sizes of their tensors.

    Args:
        counts: The number of all weights by dtype.
        shapes: The tensors.
        family: The family of the file.
    """
    # Of several prefixes the longest is meant: the denoiser of some files has all names that no other component has.
    prefixes = [(prefix, name) for name, all_of_it in (family.parts or {}).items() for prefix in all_of_it]
    prefixes.sort(key=lambda each: -len(each[0]))
    sizes: Counter[str] = Counter()
    for tensor, shape in shapes.items():
        sizes[next((name for prefix, name in prefixes if tensor.startswith(prefix)), SINGLE_FILE)] += math.prod(shape)
    total = max(1, sum(sizes.values()))
    return {
        name: {dtype: round(count * size / total) for dtype, count in counts.items()}
        for name, size in sizes.items()
        if size
    }
