"""Read a file of model configurations, in our own shape or in LocalAI's, and say what is wrong with it and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from octabox.config import localai
from octabox.config.document import Document, read_document
from octabox.config.model import ModelConfig, way
from octabox.config.problems import (
    KeyPath,
    Place,
    Problem,
    Severity,
    did_you_mean,
    dotted,
    expectation,
    nearest_place,
    shown,
    whole_file,
)

#: Keys of our own shape; ``path`` is for us to fill in.
OWN_KEYS = frozenset(ModelConfig.model_fields) - {"path"}


@dataclass(frozen=True)
class Entry:
    """A configuration, and where in its file each of its fields comes from."""

    config: ModelConfig
    file: Path
    places: Mapping[KeyPath, Place] = field(default_factory=dict)

    def problem(self, path: KeyPath, message: str, hint: str = "", severity: Severity = "error") -> Problem:
        """Return a problem with one of the fields."""
        place = nearest_place(path, self.places)
        return Problem(self.file, place.line, place.column, dotted(path), message, hint, severity)


@dataclass(frozen=True)
class ParsedConfig:
    """What a file gave: the models that can be served, and all that is wrong."""

    file: Path
    entries: tuple[Entry, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def models(self) -> tuple[ModelConfig, ...]:
        """The models that can be served."""
        return tuple(entry.config for entry in self.entries)


def read_models(file: Path) -> ParsedConfig:
    """Read all models of a YAML file; one that is wrong keeps none of the others back, and nothing is raised."""
    document = read_document(file)
    problems = list(document.problems)
    entries: list[Entry] = []
    if document.data is None and not problems:
        problems.append(_no_model(document, ()))
    items = document.data if isinstance(document.data, list) else [] if document.data is None else [document.data]
    for index, item in enumerate(items):
        root = (index,) if isinstance(document.data, list) else ()
        entry, found = _read_one(document, item, root)
        problems += found
        # What stands twice may be meant either way, so that model is not served.
        twice = any(problem.key.startswith(f"{index}." if root else "") for problem in document.problems)
        entries += [entry] if entry and not twice else []
    return ParsedConfig(
        file, tuple(entries), tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    )


def _read_one(document: Document, item: Any, root: KeyPath) -> tuple[Entry | None, list[Problem]]:
    """Read one configuration of a file."""
    if not isinstance(item, dict) or not (item.keys() & (OWN_KEYS | localai.top_keys())):
        return None, [_no_model(document, root)]
    problems: list[Problem] = []
    if is_localai(item):
        translation = localai.translate(item, document.file, document.places, root)
        fields, places, problems = translation.fields, translation.own_places(), translation.problems
        if not translation.served or any(problem.severity == "error" for problem in problems):
            return None, problems
    else:
        fields = dict(item)
        places = {path[len(root) :]: place for path, place in document.places.items() if path[: len(root)] == root}
    if not root:
        fields.setdefault("name", document.file.stem)
    config, wrong = _validate(fields, places, document.file)
    return (Entry(config, document.file, places) if config else None), [*problems, *wrong]


def is_localai(item: Mapping[str, Any]) -> bool:
    """Tell whether a configuration is in LocalAI's shape: it has more keys that only LocalAI knows than only we do."""
    known = localai.top_keys()
    theirs, ours = item.keys() & (known - OWN_KEYS), item.keys() & (OWN_KEYS - known)
    return len(theirs) > len(ours) or (len(theirs) == len(ours) and "parameters" in theirs and "model" not in ours)


def _no_model(document: Document, root: KeyPath) -> Problem:
    """Return what to say of a file, or a part of one, that configures no model."""
    what = f"Item {root[0]}" if root else "The file"
    place = nearest_place(root, document.places)
    hint = "a model has at least `model`, or `parameters.model` in LocalAI's shape; keep other files elsewhere"
    return whole_file(document.file, f"{what} is no model's configuration.", hint, "warning", place)


def _validate(
    fields: dict[str, Any], places: Mapping[KeyPath, Place], file: Path
) -> tuple[ModelConfig | None, list[Problem]]:
    """Build a configuration, or say what is wrong with each of its fields."""
    problems = []
    if "path" in fields:
        problems.append(_unknown(("path",), places, file))
    try:
        config = ModelConfig.model_validate(fields | {"path": file})
    except ValidationError as error:
        return None, [*problems, *(_problem(details, places, file) for details in error.errors())]
    return (None, problems) if problems else (config, [])


def _problem(error: ErrorDetails, places: Mapping[KeyPath, Place], file: Path) -> Problem:
    """Turn a mistake that pydantic found into a problem."""
    path: KeyPath = way(error["loc"])
    if error["type"] == "extra_forbidden":
        return _unknown(path, places, file)
    place = nearest_place(path, places)
    if error["type"] == "missing":
        message, hint = f"`{dotted(path)}` is missing.", ""
    else:
        message, hint = f"`{dotted(path)}` {expectation(error)}, not {shown(error['input'])}.", _hint(error)
    return Problem(file, place.line, place.column, dotted(path), message, hint)


def _hint(error: ErrorDetails) -> str:
    """Say how to put a value right, where that can be told."""
    value = error["input"]
    if error["type"] == "string_type" and isinstance(value, int | float):
        return f'write "{shown(value)}" in quotes'
    if error["type"] == "literal_error" and isinstance(value, str):
        choices = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        words = localai.table()["dtypes"]
        return f"did you mean {words[value]}?" if words.get(value) in choices else did_you_mean(value, choices)
    return ""


def _unknown(path: KeyPath, places: Mapping[KeyPath, Place], file: Path) -> Problem:
    """Return the problem of a key that does not exist, with the nearest that does."""
    key = str(path[-1])
    place = nearest_place(path, places)
    ours = localai.own_key(key) if len(path) == 1 else None
    hint = f"it is LocalAI's; here it is `{ours}`" if ours else did_you_mean(key, fields_at(path[:-1]))
    return Problem(file, place.line, place.column, dotted(path), f"There is no key `{dotted(path)}`.", hint)


def fields_at(path: KeyPath) -> frozenset[str]:
    """Return the keys that may stand in the mapping at the end of this way into a configuration."""
    model: type[BaseModel] = ModelConfig
    inside_container = False
    for part in path:
        if inside_container or isinstance(part, int):
            inside_container = False
            continue
        annotation = model.model_fields[str(part)].annotation if part in model.model_fields else None
        inner = _model_inside(annotation)
        if inner is None:
            return frozenset()
        model, inside_container = inner, get_origin(annotation) not in {None, Union, UnionType}
    return frozenset(model.model_fields) - {"path"}


def _model_inside(annotation: Any) -> type[BaseModel] | None:
    """Return the model that an annotation is made of, if it is."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_inside(inner))), None)
