"""From a client's words to a video, and from a job to what OpenAI's clients read of it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator

from octabox.errors import MissingParameterError
from octabox.frontends.http import errors
from octabox.frontends.http.openai.responses import size_of
from octabox.frontends.naming.parameters import call_parameters, requested_size
from octabox.frontends.naming.video import FRAMES, PACKED, frame_rate, frames_of
from octabox.media.formats import MAX_FPS, check
from octabox.schedulers.names import scheduler_choice
from octabox.service.jobs import Job
from octabox.service.selection.models import PipelineMatch
from octabox.types import Artifact, GenerationRequest, OutputFormat, Source

#: OpenAI's words for where a job is.
STATUSES = {"cancelled": "failed"}


class VideoRequest(BaseModel):
    """A request for a video. Fields that are not listed are call parameters of the pipeline, by their own names."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    model: str | None = Field(None, description="Name of a model; the first that makes videos, if not given.")
    prompt: str | None = Field(None, description="What to show.")
    seconds: float | None = Field(None, gt=0, le=3600, description="How long it is; the model's own, if not given.")
    size: str | None = Field(None, description='"WIDTHxHEIGHT", or "auto" for what the model is best at.')
    input_reference: str | dict[str, Any] | None = Field(None, description="An image or a video to start from.")
    fps: float | None = Field(None, gt=0, le=MAX_FPS, description="Frames a second.")
    output_format: str | None = Field(None, description="mp4, webm or gif.")
    output_compression: int | None = Field(None, ge=0, le=100, description="Quality of lossy formats.")
    user: str | None = Field(None, description="Taken for compatibility.")
    seed: int | None = Field(None, description="Seed; -1 draws one at random.")
    task: str | None = Field(None, description="Task of the Hub, such as image-to-video.")
    scheduler: str | dict[str, Any] | None = Field(None, description='A name, or {"name": ..., settings}.')

    @field_validator("seconds", "fps", "seed", "output_compression", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: Any) -> Any:
        """Take no true for 1."""
        if isinstance(value, bool):
            raise ValueError("is no number")  # noqa: TRY004 (pydantic's way to refuse)
        return value

    @property
    def others(self) -> dict[str, Any]:
        """The fields that are not listed; null stands for not given."""
        return {name: value for name, value in (self.model_extra or {}).items() if value is not None}


@dataclass(frozen=True)
class VideoNote:
    """What is remembered of a video's request.

    Args:
        prompt: What it shows.
        seconds: How long it is to be; None where that is not known.
        size: Its size as WIDTHxHEIGHT; None where that is not known.
        warnings: What has no effect.
        spelled: The client's names of parameters that the core calls otherwise.
    """

    prompt: str
    seconds: float | None
    size: str | None
    warnings: tuple[str, ...] = ()
    spelled: Mapping[str, str] = field(default_factory=dict)


def to_request(
    body: VideoRequest, maker: PipelineMatch, inputs: Mapping[str, tuple[Source, ...]]
) -> tuple[GenerationRequest, VideoNote]:
    """Return what a client wants, and what is to be remembered of it.

    Args:
        body: The fields of its request.
        maker: The pipeline that makes it.
        inputs: Media by call parameter.

    Raises:
        RequestError: A field is missing, or has a wrong value.
    """
    if not (body.prompt or "").strip() and maker.entry.parameter("prompt"):
        raise MissingParameterError("'prompt' is missing or empty.", hint="Say what to show.", parameter="prompt")
    params, spelled = call_parameters(body.others, inputs)
    params |= {"prompt": body.prompt} if body.prompt else {}
    wishes = requested_size(body.size, params)
    spelled = {"width": "size", "height": "size", **spelled} if wishes else spelled
    rate = frame_rate(body.fps, maker, params)
    warnings: list[str] = []
    if body.seconds is not None:
        frames = frames_of(body.seconds, maker, rate, params, warnings)
        wishes |= frames
        spelled = {**dict.fromkeys(frames, "seconds"), **spelled}
    request = GenerationRequest(
        model=maker.model,
        task=body.task or maker.task,
        params=params,
        wishes=wishes,
        inputs=dict(inputs),
        seed=None if body.seed == -1 else body.seed,
        scheduler=scheduler_choice(body.scheduler),
        output=OutputFormat(body.output_format, body.output_compression, body.fps),
        id=f"video_{uuid.uuid4().hex}",
    )
    check(request.output, "video")
    whole = {**maker.defaults, **wishes, **params}
    note = VideoNote(body.prompt or "", _length(whole, maker, rate), _size(whole), tuple(warnings), spelled)
    return request, note


def told(job: Job, note: VideoNote) -> dict[str, Any]:
    """Return a job as OpenAI's clients read it."""
    artifacts = job.result.artifacts if job.result else ()
    made = next((artifact for artifact in artifacts if artifact.kind == "video"), None)
    seconds = note.seconds if note.seconds is not None else made and _shown_length(made)
    error = None
    if job.error is not None:
        body = errors.body(job.error)["error"]
        param = note.spelled.get(body["param"], body["param"])
        error = {"code": body["code"], "message": body["message"], "type": body["type"], "param": param}
    return {
        "id": job.id,
        "object": "video",
        "model": job.request.model,
        "status": STATUSES.get(job.status, job.status),
        "progress": _percent(job),
        "created_at": int(job.created),
        "completed_at": int(job.ended) if job.ended is not None and job.result else None,
        "expires_at": int(job.expires) if job.expires is not None else None,
        "prompt": note.prompt,
        "seconds": "auto" if seconds is None else f"{seconds:g}",
        "size": (made and size_of(made)) or note.size or "auto",
        "seed": made.seed if made else job.request.seed,
        "error": error,
        "remixed_from_video_id": None,
        "warnings": [*note.warnings, *(job.result.warnings if job.result else ())],
    }


def _percent(job: Job) -> int:
    """Return how far a job is; a hundred is for those that are over."""
    if job.status == "completed":
        return 100
    return 99 * job.progress.step // job.progress.steps if job.progress.steps else 0


def _length(params: Mapping[str, Any], maker: PipelineMatch, rate: float) -> float | None:
    """Return how many seconds a video lasts, to a hundredth; None where its frames are not known."""
    frames = params.get(maker.named(*FRAMES) or "")
    if not isinstance(frames, int):
        return None
    # Of 4k + 1 frames the first stands at the beginning, and the others fill the time.
    return round((frames - 1 if frames % PACKED == 1 and frames > 1 else frames) / rate, 2)


def _shown_length(made: Artifact) -> float | None:
    """Return how many seconds a finished video lasts, to a hundredth, where its metadata say."""
    frames, rate = made.metadata.get("num_frames"), made.metadata.get("fps")
    return round(frames / rate, 2) if frames and rate else None


def _size(params: Mapping[str, Any]) -> str | None:
    """Return the size of a video, where it is known."""
    width, height = params.get("width"), params.get("height")
    return f"{width}x{height}" if isinstance(width, int) and isinstance(height, int) else None
