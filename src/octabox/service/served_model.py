"""A model with its pipeline class, as requests are planned for it."""

from __future__ import annotations

from dataclasses import dataclass

from octabox.catalog.entries import PipelineEntry
from octabox.catalog.pipelines import Catalog
from octabox.config.model import ModelConfig


@dataclass(frozen=True)
class ServedModel:
    """A model whose pipeline class is known.

    Args:
        config: Its configuration.
        pipeline: Its pipeline class.
        alone: Whether no other class runs on its weights, since they take an additional input.
    """

    config: ModelConfig
    pipeline: PipelineEntry
    alone: bool = False

    @property
    def extra(self) -> frozenset[str]:
        """Components of its configuration that its class does not have."""
        return frozenset(self.config.components) - {part.name for part in self.pipeline.components}

    def family(self, catalog: Catalog) -> tuple[PipelineEntry, ...]:
        """Return its class and all others that run on its weights."""
        return (self.pipeline,) if self.alone else (self.pipeline, *catalog.siblings(self.pipeline.name, self.extra))

    def tasks(self, catalog: Catalog) -> tuple[str, ...]:
        """Return all tasks that it serves, those of its class first."""
        return tuple(dict.fromkeys(task for entry in self.family(catalog) for task in entry.tasks))
