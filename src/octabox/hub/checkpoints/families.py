"""Tell which family of models a single file belongs to, by the names and shapes of its tensors."""

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

#: What may stand before the names of a denoiser's tensors.
DENOISER = ("", "model.diffusion_model.")

#: What must be true of a tensor: that it is there, that it is not, or its shape, where None is any size.
Condition = bool | Sequence[int | None]


@dataclass(frozen=True)
class Family:
    """A family of models that are published as single files.

    Args:
        name: What it is called here.
        title: What its authors call it.
        when: Rules, any of which makes a file one of the family.
        pipeline: Class of diffusers that it is for; empty where the file is no model.
        repository: Where the whole model is published.
        parts: Prefixes of each component's tensors, in a file that may hold them all.
        part: The one component that the file holds, where it holds one alone.
        configs: Bundle that says how the components are built.
        note: What the tensors do not tell.
        not_a_model: What the file is and what to do with it, where it is no model.
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
        """Return the components that have no tensors in the file, of those that such a file may hold."""
        return tuple(
            part
            for part, prefixes in (self.parts or {}).items()
            if "" not in prefixes and not any(name.startswith(tuple(prefixes)) for name in shapes)
        )


@cache
def families() -> tuple[Family, ...]:
    """Return all families, in the order in which they are tried."""
    data = yaml.safe_load((files("octabox.hub.checkpoints") / "families.yaml").read_text(encoding="utf-8"))
    return tuple(Family(**entry) for entry in data["families"])


def match_family(shapes: Shapes) -> Family | None:
    """Return the family that tensors of these names and shapes belong to; None where none is known."""
    return next((each for each in families() if any(_holds(rule, shapes) for rule in each.when)), None)


def detect_family(file: Path) -> Family:
    """Return the family of a single file that is a model.

    Raises:
        ModelNotFoundError: There is no such file.
        IncompatibleWeightsError: It cannot be read, belongs to no family that is known, or is no model.
        RemoteCodeError: It is a pickle that would run code.
    """
    shapes = read_shapes(file)
    family = match_family(shapes)
    if family is None:
        raise IncompatibleWeightsError(
            f"{file} is not of a family that is known: its tensors are {summarize_names(shapes)}.",
            hint="Write a configuration with `pipeline:`, such as the class that its author names, and `config:`.",
        )
    if family.not_a_model:
        kind, advice = family.not_a_model
        raise IncompatibleWeightsError(f"{file} is {kind} and no model.", hint=advice)
    return family


def _holds(rule: Mapping[str, Condition], shapes: Shapes) -> bool:
    """Tell whether all that a rule says is true of these tensors."""
    return all(_is_so(name, condition, shapes) for name, condition in rule.items())


def _is_so(name: str, condition: Condition, shapes: Shapes) -> bool:
    names = [f"{prefix}{name[1:]}" for prefix in DENOISER] if name.startswith("~") else [name]
    found: list[Any]
    if "*" in name:
        found = [shapes[other] for other in shapes if any(fnmatchcase(other, each) for each in names)]
    else:
        found = [shapes[each] for each in names if each in shapes]
    if isinstance(condition, bool):
        return bool(found) == condition
    return any(_fits(shape, condition) for shape in found)


def _fits(shape: Sequence[int], wanted: Sequence[int | None]) -> bool:
    return len(shape) == len(wanted) and all(size in (None, own) for own, size in zip(shape, wanted, strict=True))
