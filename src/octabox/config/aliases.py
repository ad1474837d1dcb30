"""Other names of models: configurations that only have a name and an alias, and the aliases in a model's configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from octabox.config.model import ModelName
from octabox.config.problems import KeyPath, Location, Problem, Severity, did_you_mean, join_key, nearest_location
from octabox.hub.folder import is_hub_id


class AliasConfig(BaseModel):
    """The configuration of an alias."""

    model_config = ConfigDict(frozen=True)

    name: ModelName = Field(description="Name for clients.")
    alias: str = Field(description="Name of the model that serves it.", min_length=1)
    description: str = Field(default="", description="A sentence for users who choose a model.")


@dataclass(frozen=True)
class Alias:
    """Another name of a model, which is served by the same process.

    Args:
        name: The name.
        model: Name of the model.
        file: The configuration file.
        key: Key path of the name in a model's own configuration; empty if the alias has its own configuration.
        description: Description; empty for that of the model.
        locations: Locations of the fields of its configuration, or of the model's.
    """

    name: str
    model: str
    file: Path
    key: KeyPath = ()
    description: str = ""
    locations: Mapping[KeyPath, Location] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name, with the model if the configuration is not the model's own."""
        return self.name if self.key else f"{self.name}: alias of {self.model}"

    def problem(self, key: str, message: str, hint: str, severity: Severity = "error") -> Problem:
        """Return a problem of a key of its configuration."""
        path = self.key or (key,)
        location = nearest_location(path, self.locations)
        return Problem(self.file, location.line, location.column, join_key(path), message, hint, severity)


def resolve_aliases(aliases: Sequence[Alias], models: Mapping[str, Path | None]) -> tuple[list[Alias], list[Problem]]:
    """Return the aliases that can be served, and a problem for each of the others.

    Args:
        aliases: The aliases, those that take precedence first.
        models: The configuration file of each model by name; None for a model without one.
    """
    declared = {alias.name: alias for alias in reversed(aliases)}
    checked = [(alias, _problem(alias, declared, models)) for alias in aliases]
    return [alias for alias, problem in checked if not problem], [problem for _, problem in checked if problem]


def names_of(aliases: Iterable[Alias]) -> frozenset[str]:
    """Return the names that aliases have in addition to the models."""
    return frozenset(alias.name for alias in aliases if alias.name != alias.model)


def _problem(alias: Alias, declared: Mapping[str, Alias], models: Mapping[str, Path | None]) -> Problem | None:
    """Return why an alias cannot be served; None if it can."""
    name, model, first = f"The name {alias.name!r}", alias.model, declared[alias.name]
    if alias.name == model:
        return alias.problem("alias", f"{model!r} is an alias of itself.", "set the name of another model")
    if (file := models.get(alias.name)) is not None:
        return alias.problem("name", f"{name} is used by {file.name}; this alias is not served.", "choose another name")
    if first is not alias:
        message = f"{name} is used by {first.file.name}; this alias is not served."
        return alias.problem("name", message, "choose another name")
    if model in models:
        return None
    if model in declared:
        return alias.problem("alias", f"{model!r} is an alias itself.", f"set its model, {declared[model].model!r}")
    hint = f"write `model: {model}` for a model of the Hub" if is_hub_id(model) else ""
    hint = did_you_mean(model, models) or hint or f"there are {', '.join(sorted(models))}"
    return alias.problem("alias", f"There is no model {model!r}.", hint)
