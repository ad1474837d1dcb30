"""Data types shared by all layers: requests, progress events and generations."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from octabox.memory_state import MemoryState
from octabox.noise import InitialNoise as InitialNoise  # noqa: PLC0414 (part of the public API)
from octabox.noise import LatentFill as LatentFill  # noqa: PLC0414 (likewise)
from octabox.noise import Variation as Variation  # noqa: PLC0414 (likewise)

#: Modality of an artifact or an input, whatever its format.
Kind = Literal["image", "video", "audio", "mesh", "text", "array"]

#: Phase of a request: its model is downloaded, it is queued, its model is loaded or compiled, it runs and is encoded.
Phase = Literal["downloading", "queued", "loading", "compiling", "running", "decoding", "encoding"]

#: An input as the client sends it: the bytes of a file, or text with base64, a data URI or an http(s) URL.
Source = bytes | str


@dataclass(frozen=True)
class SchedulerChoice:
    """A noise scheduler.

    Args:
        name: Class or alias.
        settings: Settings of its constructor and its steps; in a request, ``schedule`` among them names a schedule.
        schedule: Name of the requested schedule, which the settings or the timesteps implement.
        timesteps: Timesteps of an explicit schedule; they are interpolated for another number of steps.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = ""
    timesteps: tuple[int, ...] = ()


@dataclass(frozen=True)
class AdapterChoice:
    """A LoRA and its weight.

    Args:
        lora: Name, or the file or Hub id that the name resolves to.
        weight: Weight: 1 is as trained, 0 is without it.
        weights: Weight by component, such as ``unet`` or ``text_encoder``, if it differs from ``weight``.
        name: Name in the request, if ``lora`` is no longer that name.
    """

    lora: str
    weight: float = 1.0
    weights: Mapping[str, float] = field(default_factory=dict)
    name: str = ""

    @property
    def display_name(self) -> str:
        """Name of the LoRA in the request."""
        return self.name or self.lora


@dataclass(frozen=True)
class AdapterReport:
    """Result of applying a LoRA in a call.

    Args:
        lora: Name of the LoRA in the request.
        weight: Weight.
        weights: Weight by component, if it differs.
        keys: Number of weight tensors in its file.
        used: Number of tensors that the model loaded.
    """

    lora: str
    weight: float
    weights: Mapping[str, float]
    keys: int
    used: int


@dataclass(frozen=True)
class OutputFormat:
    """Format of the artifacts.

    Args:
        format: A format such as ``png``, ``jpeg`` or ``webp``; None selects the default lossless format.
        quality: 0 to 100 for lossy formats; None selects the format's default.
        fps: Frames per second of a video; None selects the request's, the pipeline's, or 16.
        latents: Whether to return the latents as an array instead of decoding them.
    """

    format: str | None = None
    quality: int | None = None
    fps: float | None = None
    latents: bool = False


@dataclass(frozen=True)
class GenerationRequest:
    """A generation request, with diffusers' parameter names.

    Args:
        model: Name of a configured model.
        task: Hub task tag such as ``image-to-image``; None selects it by the model and the inputs.
        params: Call parameters of the pipeline. They may include media as text (`Source`).
        optional_params: Call parameters that are ignored with a warning if the pipeline does not have them.
        inputs: Media by call parameter.
        seed: Seed of the first output; it increases by one for each further output. None selects a random seed.
        num_outputs: Number of outputs of each prompt.
        scheduler: Noise scheduler of this request; None is the model's.
        adapters: LoRAs of this request by name, in addition to those of the model's configuration or in their place.
        output: Format of the artifacts.
        partial_images: Number of unfinished images to send while the request runs.
        prompt_syntax: Syntax of the prompts, one of `octabox.prompts.names.SYNTAXES`; None is the model's.
        styles: Names of styles to apply to the prompts, in this order.
        written: The original prompts, if wildcards or styles have changed them; only used in the metadata.
        variation: Variation noise.
        noise: Size and scale of the initial noise; None leaves it as it is.
        seamless: Axes, of ``xy``, along which the edges of an image continue at the opposite ones.
        latent_fill: Content of the latents under its mask; None leaves those of the image.
        workflow: Settings by workflow step, before and after the call; see `octabox.service.workflows.settings`.
        deterministic: Whether its outputs must not depend on what else the server runs: it never shares a batch.
        keep_alive: Seconds without requests after which its model is unloaded; None leaves that as it is.
        id: Id of the request, by which it can be cancelled.
    """

    model: str
    task: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    optional_params: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, tuple[Source, ...]] = field(default_factory=dict)
    seed: int | None = None
    num_outputs: int = 1
    scheduler: SchedulerChoice | None = None
    adapters: tuple[AdapterChoice, ...] = ()
    output: OutputFormat = field(default_factory=OutputFormat)
    partial_images: int = 0
    prompt_syntax: str | None = None
    styles: tuple[str, ...] = ()
    written: Mapping[str, str] = field(default_factory=dict)
    variation: Variation | None = None
    noise: InitialNoise | None = None
    seamless: str = ""
    latent_fill: LatentFill | None = None
    workflow: Mapping[str, Any] = field(default_factory=dict)
    deterministic: bool = False
    keep_alive: float | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Artifact:
    """An encoded output.

    Args:
        kind: Modality.
        media_type: Media type, such as ``image/png``.
        content: The bytes of the file.
        seed: The seed; None if the pipeline takes no generator.
        metadata: Request parameters, sufficient to reproduce it.
        name: Field of the pipeline's output, such as ``depth``.
    """

    kind: Kind
    media_type: str
    content: bytes
    seed: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True)
class Generation:
    """The result of a request.

    Args:
        id: Id of the request.
        model: Name of the model.
        pipeline: The diffusers class that ran.
        task: The Hub task tag.
        artifacts: All outputs, in the order of their seeds.
        warnings: Sentences about parts of the request that were not honoured.
        timings: Seconds by phase: ``queue``, ``load``, ``run``, ``encode``.
        adapters: Result of each LoRA, including those of the model's configuration.
    """

    id: str
    model: str
    pipeline: str
    task: str
    artifacts: tuple[Artifact, ...]
    warnings: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    adapters: tuple[AdapterReport, ...] = ()


@dataclass(frozen=True)
class Progress:
    """Progress of a request.

    Args:
        phase: Current phase.
        step: Completed denoising steps, over all outputs; received bytes while ``phase`` is ``downloading``.
        steps: Total denoising steps: the actual number of timesteps, not the requested number; or total bytes. 0 if not known.
        preview: An unfinished image, if requested.
        output: Index of the output that the preview belongs to.
        position: Number of requests ahead, while ``phase`` is ``queued``.
        part: Part of a workflow, from 1.
        parts: Number of parts.
    """

    phase: Phase
    step: int = 0
    steps: int = 0
    preview: Artifact | None = None
    output: int = 0
    position: int = 0
    part: int = 1
    parts: int = 1


#: Event of a running request: any number of `Progress`, then one `Generation`.
Event = Progress | Generation


@dataclass(frozen=True)
class PerformanceReport:
    """Result of applying a model's performance settings.

    Args:
        profile: The profile in use.
        applied: Effect of each applied setting, by name.
        skipped: Reason for each setting of the profile that is not applied, by name.
        lossy: Whether results differ visibly from diffusers'.
        attention: By denoiser, the classes that compute its attention, each with the backend in effect.
    """

    profile: str = "exact"
    applied: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    lossy: bool = False
    attention: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelStatus(MemoryState):
    """Status of a model that is loading or in memory.

    Args:
        model: Name of the model.
        state: ``loading``, ``ready`` (idle), ``busy`` or ``sleeping`` (the weights are on the host).
        pipeline: The loaded diffusers class; None while loading.
        device: Device, such as ``cpu`` or ``cuda:0``.
        memory: Memory of its process in bytes: resident memory of the ``host``, reserved memory of an accelerator.
        waiting: Number of requests in its queue.
        pid: Id of its process.
        since: Time of the load, in seconds since the epoch.
        performance: Result of its performance settings; None while loading.
    """

    model: str
    state: Literal["loading", "ready", "busy", "sleeping"]
    pipeline: str | None = None
    device: str | None = None
    memory: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0
    pid: int | None = None
    since: float | None = None
    performance: PerformanceReport | None = None


@dataclass(frozen=True)
class ModelInfo:
    """Information about an available model.

    Args:
        name: Name for clients.
        source: Hub id, folder or file that it is loaded from.
        pipeline: The diffusers class; None if that is known only after the download.
        tasks: Hub task tags that it serves, the default first.
        created: Time of the last change of its configuration, in seconds since the epoch.
        description: Description in its configuration.
        alias_of: Name of the model that this is another name of.
        response_format: Format of images in responses, if its configuration sets one.
    """

    name: str
    source: str
    pipeline: str | None = None
    tasks: tuple[str, ...] = ()
    created: float = 0.0
    description: str = ""
    alias_of: str | None = None
    response_format: str | None = None
