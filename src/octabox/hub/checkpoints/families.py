"""Detect the model family of a single file by its tensor names and shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from octabox.errors import IncompatibleWeightsError
from octabox.hub.checkpoints.tensors import Shapes, read_shapes, summarize_names

#: Prefixes of the tensor names of a denoiser.
DENOISER = ("", "model.diffusion_model.")

#: A condition on a tensor: that it exists or not, or its shape, where None is any size.
Condition = bool | Sequence[int | None]


@dataclass(frozen=True)
class Family:
    """A family of models that are published as single files.

    Args:
        name: Its name.
        title: Its name by its authors.
        when: Rules; a file that meets any of them is of the family.
        pipeline: Pipeline class; empty if the file is not a model.
        repository: Hub repository of the complete model.
        parts: Prefixes of the tensors of each component, for files that may hold all components.
        part: The component in the file, for files with one component.
        configs: Bundle with the configurations of the components.
        note: Remark about what the tensors do not show.
        not_a_model: Kind of the file and a hint, if it is not a model.
    """

    name: str
    when: Sequence[Mapping[str, Condition]]
    title: str = ""
    pipeline: str = ""
    repository: str = ""
    parts: Mapping[str, Sequence[str]] | None = None
    part: str = ""
    configs: str = ""
    note: str = ""
    not_a_model: Sequence[str] = ()

    def missing(self, shapes: Shapes) -> tuple[str, ...]:
        """Return the components without tensors in the file."""
        return tuple(
            part
            for part, prefixes in (self.parts or {}).items()
            if "" not in prefixes and not any(name.startswith(tuple(prefixes)) for name in shapes)
        )


def holds_denoiser_only(family: Family, shapes: Shapes, file: str, *, completed: bool) -> bool:
    """Return whether a file holds only the denoiser of a model, so that the other components come from another one.

    Args:
        family: The family of the file.
        shapes: Its tensors.
        file: The file.
        completed: Whether another model is named that completes it.
    """
    if family.part or file.lower().endswith(".gguf"):
        return True
    return completed and len(family.missing(shapes)) == len(family.parts or ()) - 1


@cache
def families() -> tuple[Family, ...]:
    """Return all families, in the order in which they are matched."""
    data = yaml.safe_load((files("octabox.hub.checkpoints") / "families.yaml").read_text(encoding="utf-8"))
    return tuple(Family(**entry) for entry in data["families"])


def match_family(shapes: Shapes) -> Family | None:
    """Return the family of a file by its tensor names and shapes; None if it is unknown."""
    return next((each for each in families() if any(_matches(rule, shapes) for rule in each.when)), None)


def detect_family(file: Path) -> Family:
    """Return the family of a single-file model.

    Raises:
        ModelNotFoundError: The file does not exist.
        IncompatibleWeightsError: The file cannot be read, its family is unknown, or it is not a model.
        RemoteCodeError: The file is a pickle that would run code.
    """
    shapes = read_shapes(file)
    family = match_family(shapes)
    if family is None:
        raise IncompatibleWeightsError(
            f"The model family of {file} is unknown: its tensors are {summarize_names(shapes)}.",
            hint="Write a configuration with `pipeline:` and `config:`.",
        )
    if family.not_a_model:
        kind, hint = family.not_a_model
        raise IncompatibleWeightsError(f"{file} is {kind}, not a model.", hint=hint)
    return family


def _matches(rule: Mapping[str, Condition], shapes: Shapes) -> bool:
    """Return whether tensors meet all conditions of a rule."""
    return all(_meets(name, condition, shapes) for name, condition in rule.items())


def _meets(name: str, condition: Condition, shapes: Shapes) -> bool:
    names = [f"{prefix}{name[1:]}" for prefix in DENOISER] if name.startswith("~") else [name]
    found: list[Any]
    if "*" in name:
        found = [shapes[other] for other in shapes if any(fnmatchcase(other, each) for each in names)]
    else:
        found = [shapes[each] for each in names if each in shapes]
    if isinstance(condition, bool):
        return bool(found) == condition
    return any(_has_shape(shape, condition) for shape in found)


def _has_shape(shape: Sequence[int], expected: Sequence[int | None]) -> bool:
    return len(shape) == len(expected) and all(size in (None, own) for own, size in zip(shape, expected, strict=True))
