"""The public Python API as users call it; `make types` checks that these examples type-check, nothing runs them.

Public are the functions of `octabox`, the types of `octabox.types`, the errors of `octabox.errors`, and the attributes that a
pipeline class of a plugin may define.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from typing_extensions import assert_never, assert_type

import octabox
from octabox.errors import InvalidRequestError, NotFoundError, OctaboxError, QueueFullError, RequestError
from octabox.types import (
    AdapterChoice,
    Artifact,
    Event,
    Generation,
    GenerationRequest,
    ModelInfo,
    ModelStatus,
    OutputFormat,
    Progress,
    SchedulerChoice,
    Source,
    Variation,
)


def list_pipelines() -> None:
    """List the names of pipelines, tasks and classes."""
    assert_type(octabox.get_available_pipelines(), list[str])
    assert_type(octabox.get_available_tasks(), list[str])
    assert_type(octabox.get_available_classes("SchedulerMixin"), list[str])
    assert_type(octabox.discover_diffusers_classes("SchedulerMixin"), dict[str, type])


def load_pipeline(folder: Path) -> Any:
    """Load a pipeline by class, by task or by model."""
    assert_type(octabox.resolve_pipeline_class(task="text-to-image"), type)
    octabox.load_diffusers_pipeline("StableDiffusionPipeline", model_id=str(folder), torch_dtype="float16")
    return octabox.load_diffusers_pipeline(task="text-to-image", model_id=str(folder), from_single_file=True)


def build_request(image: bytes) -> GenerationRequest:
    """Build a request with all of its parts."""
    inputs: Mapping[str, tuple[Source, ...]] = {"image": (image, "https://example.org/mask.png")}
    return GenerationRequest(
        model="demo",
        task="image-to-image",
        params={"prompt": "a red star", "num_inference_steps": 20},
        optional_params={"clip_skip": 1},
        inputs=inputs,
        seed=7,
        num_outputs=2,
        scheduler=SchedulerChoice("euler_a", {"use_karras_sigmas": True}),
        adapters=(AdapterChoice("frame", 0.5, weights={"unet": 1.0}),),
        output=OutputFormat("webp", quality=90),
        styles=("sketch",),
        variation=Variation(seed=8, strength=0.1),
    )


async def read_events(events: AsyncIterator[Event]) -> Generation | None:
    """Handle every kind of event."""
    async for event in events:
        if isinstance(event, Progress):
            assert_type((event.step, event.steps), tuple[int, int])
            assert_type(event.preview, Artifact | None)
        elif isinstance(event, Generation):
            assert_type(event.artifacts, tuple[Artifact, ...])
            return event
        else:
            assert_never(event)
    return None


def save_artifacts(generation: Generation, folder: Path) -> list[int | None]:
    """Write the files of a generation, and return their seeds."""
    for number, artifact in enumerate(generation.artifacts):
        assert_type(artifact.metadata, Mapping[str, Any])
        folder.joinpath(f"{number}.{artifact.media_type.rpartition('/')[2]}").write_bytes(artifact.content)
    return [artifact.seed for artifact in generation.artifacts]


def describe_models(models: Sequence[ModelInfo], resident: Sequence[ModelStatus]) -> dict[str, str]:
    """Return the pipeline of each model, or its state."""
    names = {model.name: model.pipeline or "" for model in models}
    return names | {status.model: status.state for status in resident}


def describe_error(error: OctaboxError) -> str:
    """Return the message of an error, by class."""
    if isinstance(error, InvalidRequestError):
        assert_type(error.problems, tuple[RequestError, ...])
    if isinstance(error, QueueFullError):
        assert_type(error.retry_after, float)
    if isinstance(error, NotFoundError):
        assert_type(error.choices, tuple[str, ...])
    assert_type((error.message, error.hint), tuple[str, str])
    assert_type((error.model, error.parameter), tuple[str | None, str | None])
    return str(error)


class PluginPipeline:
    """The optional attributes of a plugin's pipeline class, which inherits from a class of diffusers."""

    preferred_dtypes: ClassVar[Sequence[torch.dtype]] = (torch.bfloat16,)

    @classmethod
    def from_single_file(cls, file: str, *, dtype: torch.dtype) -> PluginPipeline:
        """Load a model from a single file."""
        del file, dtype
        return cls()
