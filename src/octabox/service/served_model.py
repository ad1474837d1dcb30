"""A model as requests are planned for it."""

from __future__ import annotations

from dataclasses import dataclass

from octabox.catalog.entries import PipelineEntry
from octabox.config.model import ModelConfig


@dataclass(frozen=True)
class ServedModel:
    """A model whose pipeline class is known.

    Args:
        config: Its configuration.
        own: Its pipeline class.
        alone: Whether its weights take an input of their own, so that no other class runs on them.
    """

    config: ModelConfig
    own: PipelineEntry
    alone: bool = False

    @property
    def extra(self) -> frozenset[str]:
        """Components that its configuration brings beside those of its class."""
        return frozenset(self.config.components) - {part.name for part in self.own.components}
