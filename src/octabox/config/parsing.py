"""Parse a file of model configurations, in Octabox's format or in LocalAI's, and report its problems."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from octabox.config import localai
from octabox.config.aliases import Alias, AliasConfig
from octabox.config.document import Document, read_document
from octabox.config.model import ModelConfig, key_path
from octabox.config.problems import (
    KeyPath,
    Location,
    Problem,
    Severity,
    describe_problem,
    did_you_mean,
    file_problem,
    format_value,
    join_key,
    nearest_location,
)
from octabox.hub.checkpoints.predictions import has_weights, is_training_config

#: Keys of Octabox's format; ``path`` is set by the reader.
MODEL_KEYS = frozenset(ModelConfig.model_fields) - {"path"}


@dataclass(frozen=True)
class Entry:
    """A configuration with the location of each of its fields.

    Args:
        config: The configuration.
        file: Its file.
        locations: Locations by field.
        start: Its field in the file, if it is a part of another model.
    """

    config: ModelConfig
    file: Path
    locations: Mapping[KeyPath, Location] = field(default_factory=dict)
    start: KeyPath = ()

    def problem(self, path: KeyPath, message: str, hint: str = "", severity: Severity = "error") -> Problem:
        """Return a problem of a field."""
        location = nearest_location(path, self.locations)
        key = join_key((*self.start, *path))
        return Problem(self.file, location.line, location.column, key, message, hint, severity)

    def aliases(self) -> Iterator[Alias]:
        """Yield the aliases in the configuration."""
        for index, name in enumerate(self.config.aliases):
            yield Alias(name, self.config.name, self.file, ("aliases", index), locations=self.locations)


@dataclass(frozen=True)
class ParsedConfig:
    """The models of a file that can be served, the aliases, and the file's problems."""

    file: Path
    entries: tuple[Entry, ...] = ()
    aliases: tuple[Alias, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def models(self) -> tuple[ModelConfig, ...]:
        """Configurations of the models that can be served."""
        return tuple(entry.config for entry in self.entries)


def read_models(file: Path) -> ParsedConfig:
    """Read all models of a YAML file; an invalid one does not affect the others, and no error is raised.

    The training configuration next to a single file configures no model; it is read when the file is loaded.
    """
    document = read_document(file)
    if is_training_config(document.data) and has_weights(file):
        return ParsedConfig(file)
    problems = list(document.problems)
    entries: list[Entry | Alias] = []
    if document.data is None and not problems:
        problems.append(_no_model(document, ()))
    items = document.data if isinstance(document.data, list) else [] if document.data is None else [document.data]
    for index, item in enumerate(items):
        root = (index,) if isinstance(document.data, list) else ()
        entry, found = _read_one(document, item, root)
        problems += found
        # Which of two duplicate keys is meant is not known, so that model is not served.
        has_duplicates = any(problem.key.startswith(f"{index}." if root else "") for problem in document.problems)
        entries += [entry] if entry and not has_duplicates else []
    return ParsedConfig(
        file,
        tuple(entry for entry in entries if isinstance(entry, Entry)),
        tuple(entry for entry in entries if isinstance(entry, Alias)),
        tuple(sorted(problems, key=lambda problem: (problem.line, problem.column))),
    )


def _read_one(document: Document, item: Any, root: KeyPath) -> tuple[Entry | Alias | None, list[Problem]]:
    """Parse one configuration of a file."""
    if not isinstance(item, dict) or not (item.keys() & (MODEL_KEYS | localai.top_keys())):
        return None, [_no_model(document, root)]
    problems: list[Problem] = []
    if item.get("alias"):
        return _read_alias(document, item, root)
    if is_localai(item):
        translation = localai.translate(item, document.file, document.locations, root)
        fields, locations, problems = translation.fields, translation.field_locations(), translation.problems
        if not translation.served or any(problem.severity == "error" for problem in problems):
            return None, problems
    else:
        fields, locations = dict(item), _locations(document, root)
    if not root:
        fields.setdefault("name", document.file.stem)
    config, invalid = _validate(fields, locations, document.file)
    return (Entry(config, document.file, locations) if config else None), [*problems, *invalid]


def _read_alias(document: Document, item: Mapping[str, Any], root: KeyPath) -> tuple[Alias | None, list[Problem]]:
    """Parse the configuration of an alias, in either format; everything but its name is the model's."""
    fields = item if root else {"name": document.file.stem, **item}
    file, locations = document.file, _locations(document, root)
    try:
        config = AliasConfig.model_validate(fields)
    except ValidationError as error:
        return None, [_problem(details, locations, file) for details in error.errors()]
    alias = Alias(config.name, config.alias, file, (), config.description, locations)
    if item.get("disabled"):
        return None, [alias.problem("disabled", "The alias is disabled.", "remove `disabled` to serve it", "warning")]
    hint = f"set it in the configuration of {alias.model!r}, or write `model` instead of `alias`"
    message = f"has no effect: {alias.name!r} is an alias of {alias.model!r}, whose settings apply."
    unused = [key for key in item if item[key] and key not in AliasConfig.model_fields]
    ignored = localai.top_keys() - MODEL_KEYS  # LocalAI ignores them as well.
    problems = [
        alias.problem(key, f"`{key}` {message}", hint, "warning" if key in ignored else "error") for key in unused
    ]
    return (None if set(unused) - ignored else alias), problems


def _locations(document: Document, root: KeyPath) -> dict[KeyPath, Location]:
    """Return the locations of the values of one configuration of a file."""
    return {path[len(root) :]: location for path, location in document.locations.items() if path[: len(root)] == root}


def is_localai(item: Mapping[str, Any]) -> bool:
    """Return whether a configuration is in LocalAI's format: more of its keys are LocalAI's alone than ours alone."""
    known = localai.top_keys()
    theirs, ours = item.keys() & (known - MODEL_KEYS), item.keys() & (MODEL_KEYS - known)
    return len(theirs) > len(ours) or (len(theirs) == len(ours) and "parameters" in theirs and "model" not in ours)


#: Part of the names that other programs have for `parallel`.
PARALLEL = "parallel"


def _no_model(document: Document, root: KeyPath) -> Problem:
    """Return the problem of a file, or of an item of one, that configures no model."""
    what = f"Item {root[0]}" if root else "The file"
    location = nearest_location(root, document.locations)
    hint = "a model has at least `model`, or `parameters.model` in LocalAI's format; keep other files elsewhere"
    return file_problem(document.file, f"{what} is not the configuration of a model.", hint, "warning", location)


def _validate(
    fields: dict[str, Any], locations: Mapping[KeyPath, Location], file: Path
) -> tuple[ModelConfig | None, list[Problem]]:
    """Return a configuration, or a problem for each invalid field."""
    problems = []
    if "path" in fields:
        problems.append(_unknown(("path",), locations, file))
    try:
        config = ModelConfig.model_validate(fields | {"path": file})
    except ValidationError as error:
        return None, [*problems, *(_problem(details, locations, file) for details in error.errors())]
    return (None, problems) if problems else (config, [])


def _problem(error: ErrorDetails, locations: Mapping[KeyPath, Location], file: Path) -> Problem:
    """Return the problem of an error that pydantic found."""
    path: KeyPath = key_path(error["loc"])
    if error["type"] == "extra_forbidden":
        return _unknown(path, locations, file)
    location = nearest_location(path, locations)
    hint = "" if error["type"] == "missing" else _hint(error)
    return Problem(file, location.line, location.column, join_key(path), describe_problem(path, error), hint)


def _hint(error: ErrorDetails) -> str:
    """Return how to fix a value, if that is known."""
    value = error["input"]
    if error["type"] == "string_type" and isinstance(value, int | float):
        return f'write "{format_value(value)}" in quotes'
    if error["type"] == "literal_error" and isinstance(value, str):
        choices = error["ctx"]["expected"].replace("'", "").replace(" or ", ", ").split(", ")
        words = localai.table()["dtypes"]
        return f"did you mean {words[value]}?" if words.get(value) in choices else did_you_mean(value, choices)
    return ""


def _unknown(path: KeyPath, locations: Mapping[KeyPath, Location], file: Path) -> Problem:
    """Return the problem of an unknown key, with the most similar known one."""
    key = str(path[-1])
    location = nearest_location(path, locations)
    ours = localai.octabox_key(key) if len(path) == 1 else None
    hint = f"it is LocalAI's; here it is `{ours}`" if ours else did_you_mean(key, fields_at(path[:-1]))
    if len(path) == 1 and PARALLEL in key.lower():
        hint = f"here it is `{PARALLEL}`: over how many devices the model is split"
    return Problem(file, location.line, location.column, join_key(path), f"There is no key `{join_key(path)}`.", hint)


def fields_at(path: KeyPath) -> frozenset[str]:
    """Return the keys of the mapping at a key path of a configuration."""
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
    """Return the first pydantic model in an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_inside(inner))), None)
