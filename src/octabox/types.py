"""What travels between the rooms: a request on its way down, progress and a generation on their way up."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

#: What an artifact or an input is, whatever format it is written in.
Kind = Literal["image", "video", "audio", "mesh", "text", "array"]

#: Where a request is: waiting, waiting for its model, compiling it, in the denoising loop, turning latents into media, writing
#: the file.
Phase = Literal["queued", "loading", "compiling", "running", "decoding", "encoding"]

#: Largest seed: torch takes 64 bits, but clients keep numbers as doubles, which are exact only up to here.
MAX_SEED = 2**53 - 1

#: Device of a model's configuration that stands for the best accelerator, of whatever type; without one, the load fails.
ACCELERATOR = "accelerator"

#: An input as a client gives it: the bytes of a file, or text that is raw base64, a data URI or an http(s) URL.
Source = bytes | str


@dataclass(frozen=True)
class SchedulerChoice:
    """A noise scheduler.

    Args:
        name: Its class, or another name for it.
        settings: Settings of its constructor; in a request, ``schedule`` among them names a schedule.
        schedule: Name of the schedule that was asked for with it, which the settings or the timesteps stand for.
        timesteps: Timesteps of a schedule that is written out; for another number of steps they are interpolated.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    schedule: str = ""
    timesteps: tuple[int, ...] = ()


@dataclass(frozen=True)
class AdapterChoice:
    """A LoRA, and how strongly it is applied.

    Args:
        lora: Its name, or, once that has been looked up, its file or Hub id.
        weight: Its strength: 1 is as it was trained, 0 is without it.
        weights: Strength by component, such as ``unet`` or ``text_encoder``, where it is not ``weight``.
        name: What the caller called it, where ``lora`` no longer says so.
    """

    lora: str
    weight: float = 1.0
    weights: Mapping[str, float] = field(default_factory=dict)
    name: str = ""

    @property
    def called(self) -> str:
        """The name that the caller knows it by."""
        return self.name or self.lora


@dataclass(frozen=True)
class AdapterReport:
    """What became of a LoRA in a call.

    Args:
        lora: The name that the caller knows it by.
        weight: Its strength.
        weights: Strength by component, where that is another.
        keys: How many tensors with weights its file has.
        used: How many of them the model took.
    """

    lora: str
    weight: float
    weights: Mapping[str, float]
    keys: int
    used: int


@dataclass(frozen=True)
class Variation:
    """Noise of another seed that is mixed into that of a request's own.

    Args:
        seed: The other seed; that of the next outputs is one higher each, while their own seed stays.
        strength: How much of it, from 0 to 1: 0 is the request's own seed alone, 1 the other alone.
    """

    seed: int
    strength: float


@dataclass(frozen=True)
class OutputFormat:
    """How artifacts are to be written.

    Args:
        format: A format such as ``png``, ``jpeg`` or ``webp``; None means the best lossless one for the kind.
        quality: 0 to 100 for lossy formats; None means the format's usual one.
        fps: Frames a second of a video; None means the request's own, the pipeline's, or 16.
        latents: Whether to stop before the latents are decoded, and to give them as an array.
    """

    format: str | None = None
    quality: int | None = None
    fps: float | None = None
    latents: bool = False


@dataclass(frozen=True)
class GenerationRequest:
    """One wish of a client, in diffusers' own words.

    Args:
        model: Name of a configured model.
        task: Hub task tag such as ``image-to-image``; None lets the model and the inputs decide.
        params: Call parameters of the pipeline by their own names. Media may stand here too, as text (`Source`).
        wishes: Call parameters that are honoured where the pipeline has them; where it has not, that is a warning, no error.
        inputs: Media for call parameters, by the parameter's name.
        seed: Seed of the first output; the next ones have seed + 1, seed + 2 and so on. None draws one at random.
        num_outputs: How many outputs to make of each prompt.
        scheduler: The noise scheduler of this request; None is the model's own.
        adapters: LoRAs of this request, by name, beside those of the model's configuration; one that is there too has the
            strength that is given here.
        output: How artifacts are to be written.
        partial_images: How many unfinished images to send while the request runs.
        prompt_syntax: How its prompts are to be read; one of `octabox.prompts.names.SYNTAXES`. None is the model's own.
        styles: Names of styles that are laid over its prompts, in this order.
        written: What its prompts were before they were written out, where that has been done: for the metadata alone.
        variation: Noise of another seed to mix in.
        workflow: What is done before and after, by its name, with its settings; see `octabox.service.workflows.settings`.
        id: Name of the request, by which it can be cancelled.
    """

    model: str
    task: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    wishes: Mapping[str, Any] = field(default_factory=dict)
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
    workflow: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Artifact:
    """One finished thing.

    Args:
        kind: What it is.
        media_type: Its media type, such as ``image/png``.
        content: The bytes of the file.
        seed: The seed it was made with; None where the pipeline takes no generator.
        metadata: What it was made from, enough to make it again.
        name: The field of the pipeline's output that it comes from, such as ``depth``.
    """

    kind: Kind
    media_type: str
    content: bytes
    seed: int | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    name: str = ""


@dataclass(frozen=True)
class Generation:
    """The answer to a request.

    Args:
        id: The request's.
        model: Name of the model that served it.
        pipeline: The diffusers class that ran.
        task: The Hub task tag that was served.
        artifacts: All outputs, in the order of their seeds.
        warnings: What was honoured only in part, one sentence each.
        timings: Seconds by phase: ``queue``, ``load``, ``run``, ``encode``.
        adapters: What became of each LoRA, the model's own included.
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
    """How far a request is.

    Args:
        phase: What it does now.
        step: Denoising steps taken, over all outputs.
        steps: Denoising steps in all: the true number of timesteps, not the number asked for. 0 while it is not known.
        preview: An unfinished image, where one was asked for.
        output: Index of the output that the preview belongs to.
        position: How many requests are ahead, while ``phase`` is ``queued``.
        part: Which part of a workflow this is of, from 1.
        parts: How many it has.
    """

    phase: Phase
    step: int = 0
    steps: int = 0
    preview: Artifact | None = None
    output: int = 0
    position: int = 0
    part: int = 1
    parts: int = 1


#: What a running request yields: any number of `Progress`, then one `Generation`.
Event = Progress | Generation


@dataclass(frozen=True)
class PerformanceReport:
    """What became of a model's performance settings.

    Args:
        profile: The profile in use.
        applied: What each setting that is in effect did, by the setting's name.
        skipped: Why each setting of the profile that is not in effect is not, by its name.
        lossy: Whether results differ visibly from those of diffusers itself.
    """

    profile: str = "exact"
    applied: Mapping[str, str] = field(default_factory=dict)
    skipped: Mapping[str, str] = field(default_factory=dict)
    lossy: bool = False


@dataclass(frozen=True)
class ModelStatus:
    """A model in memory, or on its way there or out.

    Args:
        model: Its name.
        state: ``loading``, ``ready`` (idle) or ``busy``.
        pipeline: The diffusers class that was loaded; None while loading.
        device: Where it runs, such as ``cpu`` or ``cuda:0``.
        memory: Bytes that its process holds, by place: resident memory on the ``host``, reserved memory on an accelerator.
        waiting: Requests in its queue.
        pid: Its process.
        since: Time of its load, in seconds since the epoch.
        allocated: Bytes of the reserved memory that tensors use, by accelerator; the rest is kept for reuse.
        performance: What became of its performance settings; None while loading.
    """

    model: str
    state: Literal["loading", "ready", "busy"]
    pipeline: str | None = None
    device: str | None = None
    memory: Mapping[str, int] = field(default_factory=dict)
    waiting: int = 0
    pid: int | None = None
    since: float | None = None
    allocated: Mapping[str, int] = field(default_factory=dict)
    performance: PerformanceReport | None = None


@dataclass(frozen=True)
class ModelInfo:
    """A model that can be asked for.

    Args:
        name: What a client calls it.
        source: Hub id, folder or file that it is loaded from.
        pipeline: Its diffusers class; None where that is known only once it has been fetched.
        tasks: Hub task tags that it serves, its own first.
        created: When its configuration was last changed, in seconds since the epoch.
        description: A sentence of its configuration's author.
    """

    name: str
    source: str
    pipeline: str | None = None
    tasks: tuple[str, ...] = ()
    created: float = 0.0
    description: str = ""
