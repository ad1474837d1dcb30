"""The configurations of a server's models, by their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from octabox import demo
from octabox.config.aliases import Alias
from octabox.config.discovery import ModelFolder
from octabox.config.model import ModelConfig
from octabox.config.problems import Problem
from octabox.errors import ModelNotFoundError
from octabox.hub.folder import is_hub_id


class Registry(Protocol):
    """The models of a folder."""

    def current(self) -> ModelFolder:
        """Return the current models."""


class ConfiguredModels:
    """The models of a folder, and those that were added to them.

    Args:
        registry: The models folder.
        extra: Models in addition to those of the folder; they take precedence over those with the same name.
        allow_hub: Whether a Hub id without a configuration is a model too.
    """

    def __init__(self, registry: Registry, extra: Mapping[str, ModelConfig], *, allow_hub: bool) -> None:
        self._registry, self._extra, self._allow_hub = registry, dict(extra), allow_hub

    def configurations(self) -> Sequence[ModelConfig]:
        """Return the configurations of all listed models, by name."""
        return [config for _, config in sorted({**self._registry.current().models, **self._extra}.items())]

    def aliases(self) -> Mapping[str, Alias]:
        """Return the aliases of the models by name."""
        current = self._registry.current()
        known = {**current.named, **self._extra}
        return {each.name: each for each in current.aliases if each.model in known and each.name not in self._extra}

    def problems(self) -> tuple[Problem, ...]:
        """Return the problems of the configurations; models with a problem are not served."""
        return self._registry.current().problems

    def only_embedded(self) -> bool:
        """Return whether the embedded model is the only one."""
        return [config.name for config in self.configurations()] == [demo.NAME]

    def sources(self, name: str) -> Sequence[ModelConfig]:
        """Return the configurations of all that is loaded for a model: itself, or the stages of a cascade."""
        return [self.config(name)]

    def config(self, name: str) -> ModelConfig:
        """Return a model's configuration, by its name or by an alias.

        Raises:
            ModelNotFoundError: There is none with this name.
        """
        if (alias := self.aliases().get(name)) is not None:
            name = alias.model
        if name in self._extra:
            return self._extra[name]
        try:
            return self._registry.current().find(name)
        except ModelNotFoundError as error:
            if not is_hub_id(name):
                raise
            if not self._allow_hub:
                error.hint = "Start the server with --allow-hub, or write a configuration for it."
                raise
            return ModelConfig(name=name, model=name)
