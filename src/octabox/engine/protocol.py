"""What the service asks of an engine, whatever runs the models."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from PIL.Image import Image

from octabox.config.model import ModelConfig
from octabox.media.audio import Audio
from octabox.media.video import Video
from octabox.types import AdapterChoice, Event, ModelStatus, OutputFormat, SchedulerChoice, Variation

#: A decoded input: an image upright and in RGB (a mask in L), a video, an audio, or an array of numbers; where a pipeline
#: takes lists of them, also a list, in which None leaves a place open.
Medium = Image | Video | Audio | np.ndarray | list[Any]


@dataclass(frozen=True)
class Run:
    """One call of the pipeline, for one seed.

    Args:
        params: Call parameters that are no media, checked and complete.
        inputs: Media by call parameter; several where the pipeline takes a list.
        seed: Seed of its generator.
        written: Prompts as the caller wrote them, by call parameter, where wildcards or styles made others of them.
        adapters: LoRAs to apply, by file or Hub id; None are those of the model's configuration.
        variation: Noise of another seed to mix in.
    """

    params: Mapping[str, Any]
    inputs: Mapping[str, tuple[Medium, ...]] = field(default_factory=dict)
    seed: int = 0
    written: Mapping[str, str] = field(default_factory=dict)
    adapters: tuple[AdapterChoice, ...] | None = None
    variation: Variation | None = None


@dataclass(frozen=True)
class Call:
    """A request as an engine takes it: everything resolved, checked and fetched.

    Args:
        id: Name of the request.
        model: The model's configuration; ``model.model`` is a folder or file that is there, or a Hub id.
        pipeline: Diffusers class that the model's files are for.
        runs_as: Diffusers class to call; where it is another one, it shares the loaded components.
        task: Hub task tag that it serves.
        runs: The calls to make, in the order of their outputs.
        scheduler: Noise scheduler for this request; None is the model's own.
        output: How artifacts are to be written.
        partial_images: How many unfinished images to send of each run.
        prompt_syntax: How the prompts are to be read; one of `octabox.prompts.names.SYNTAXES`.
        brought: What its inputs are, as metadata tell of them; those of the client, before anything was made of them.
        warnings: What the service already has to say.
        continues: Whether it is the next request of a workflow: it is queued in front of others, even if the queue is full.
    """

    id: str
    model: ModelConfig
    pipeline: str
    runs_as: str
    task: str
    runs: tuple[Run, ...]
    scheduler: SchedulerChoice | None = None
    output: OutputFormat = field(default_factory=OutputFormat)
    partial_images: int = 0
    prompt_syntax: str = "plain"
    brought: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    continues: bool = False


class Engine(Protocol):
    """Holds models and runs calls on them."""

    async def start(self, models: Iterable[ModelConfig]) -> None:
        """Get ready to load models; returns at once, and warms up for these models in the background."""

    def generate(self, call: Call) -> AsyncGenerator[Event, None]:
        """Run a call, loading its model if need be; closing the iterator cancels it.

        Raises:
            QueueFullError: Too many calls wait for this model.
            LoadError: The model cannot be loaded.
            GenerationError: The call did not end well.
        """

    async def load(self, model: ModelConfig, pipeline: str) -> ModelStatus:
        """Bring a model into memory, if it is not there yet."""

    async def unload(self, name: str) -> bool:
        """End a model's worker, after the call it runs; return whether it was in memory."""

    def status(self) -> list[ModelStatus]:
        """Return all models in memory or on their way there."""

    async def close(self) -> None:
        """Cancel everything, end all workers and wait for them."""
