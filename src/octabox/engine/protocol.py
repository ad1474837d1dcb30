"""The interface of an engine, and the calls that it runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from PIL.Image import Image

from octabox.config.model import ModelConfig
from octabox.media.audio import Audio
from octabox.media.video import Video
from octabox.noise import InitialNoise, LatentFill, Variation
from octabox.types import AdapterChoice, Event, ModelStatus, OutputFormat, SchedulerChoice

#: A decoded input: an upright image in RGB (a mask in L), a video, audio, or an array; where a pipeline takes lists of
#: them, also a list, in which None is a missing item.
Medium = Image | Video | Audio | np.ndarray | list[Any]


@dataclass(frozen=True)
class Run:
    """One call of the pipeline, for one seed.

    Args:
        params: Call parameters that are not media, checked and complete.
        inputs: Media by call parameter; several where the pipeline takes a list.
        seed: Seed of the generator.
        written: Prompts as the caller wrote them, by call parameter, where wildcards or styles have changed them.
        adapters: LoRAs to apply, by file or Hub id; None applies those of the model's configuration.
        variation: Noise of another seed to mix in.
        noise: Size and scale of the initial noise.
        seamless: Axes, of ``xy``, along which convolutions continue at the opposite edge.
        latent_fill: Content of the latents under its mask.
        earlier: Metadata of the earlier stages of the cascade whose last stage this is; the first has the cascade's name.
    """

    params: Mapping[str, Any]
    inputs: Mapping[str, tuple[Medium, ...]] = field(default_factory=dict)
    seed: int = 0
    written: Mapping[str, str] = field(default_factory=dict)
    adapters: tuple[AdapterChoice, ...] | None = None
    variation: Variation | None = None
    noise: InitialNoise | None = None
    seamless: str = ""
    latent_fill: LatentFill | None = None
    earlier: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Call:
    """A request in the form that an engine runs: resolved, checked, and with all inputs fetched.

    Args:
        id: Id of the request.
        model: Configuration of the model; ``model.model`` is an existing folder or file, or a Hub id.
        pipeline: Diffusers class of the model's files.
        runs_as: Diffusers class to call; where it is another one, it shares the loaded components.
        task: Hub task tag of the request.
        runs: The pipeline calls, in the order of their outputs.
        scheduler: Noise scheduler of this request; None uses that of the model.
        output: Format of the outputs.
        partial_images: How many unfinished images of each run to send.
        prompt_syntax: Syntax of the prompts; one of `octabox.prompts.names.SYNTAXES`.
        input_digests: Digests of the client's inputs for the metadata, as they were before any change.
        warnings: Warnings of the service.
        client: Who sent the request; calls of several clients take turns.
        deterministic: Whether it never shares a batch, whose outputs may differ in their low bits.
        continues: Whether it is the next call of a workflow: it runs before the calls that wait, however many.
        priority: Of the calls that wait, those of the highest priority run first; clients take turns among equals.
        keep_alive: Seconds without requests after which the model is unloaded; None leaves that as it is.
        background: Whether it is of a background job: it may run again after the end of its worker, whatever was sent of it.
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
    input_digests: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    client: str = ""
    deterministic: bool = False
    continues: bool = False
    priority: int = 0
    keep_alive: float | None = None
    background: bool = False


class Engine(Protocol):
    """Loads models and runs calls on them."""

    async def start(self, models: Iterable[ModelConfig]) -> None:
        """Prepare to load these models, in the background."""

    def check_room(self, name: str, client: str) -> None:
        """Check that a call of a client may wait for a model, before the call is prepared.

        Raises:
            QueueFullError: Too many calls wait for this model.
            ServerStoppingError: The engine is closed.
        """

    def generate(self, call: Call) -> AsyncGenerator[Event, None]:
        """Run a call, loading its model if need be; closing the iterator cancels it.

        Raises:
            QueueFullError: Too many calls wait for this model.
            LoadError: The model cannot be loaded.
            GenerationError: The call has failed.
        """

    async def load(self, model: ModelConfig, pipeline: str) -> ModelStatus:
        """Load a model, unless it is in memory."""

    async def unload(self, name: str) -> bool:
        """Unload a model, after the call that it runs; return whether it was in memory."""

    def retain(self, name: str, keep_alive: float | None, pin: bool | None) -> None:
        """Change how long a model in memory stays there, until it is unloaded.

        Args:
            name: Name of the model.
            keep_alive: Seconds without requests after which it is unloaded; None leaves it as it is.
            pin: Whether it is never unloaded for another model; None leaves it as it is.
        """

    def status(self) -> list[ModelStatus]:
        """Return all models in memory or being loaded."""

    def waiting(self) -> Mapping[str, int]:
        """Return how many requests wait by model, also of models that have no place in memory yet."""

    async def close(self) -> None:
        """Fail all requests, unload all models, and refuse new requests."""
