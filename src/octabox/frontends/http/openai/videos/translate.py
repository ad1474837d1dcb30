"""Translate requests of the videos API to generation requests."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from octabox.errors import InvalidParameterError, MissingParameterError
from octabox.frontends.http.multipart import REFERENCE
from octabox.frontends.http.openai.responses import requested_size_of
from octabox.frontends.http.openai.videos.schema import VideoRequest
from octabox.frontends.naming.parameters import Inputs, call_parameters, requested_size
from octabox.frontends.naming.prompts import place_prompts
from octabox.frontends.naming.video import TEMPORAL_COMPRESSION, frame_count, frame_rate, reference_type
from octabox.media.formats import check_output_format
from octabox.schedulers.names import parse_scheduler_choice
from octabox.service.jobs import Job
from octabox.service.planning import parse_seed
from octabox.service.protocols import Models
from octabox.service.selection.inputs import FRAMES
from octabox.service.selection.models import PipelineMatch, first_model_for, select_pipeline
from octabox.types import GenerationRequest, OutputFormat, Source


@dataclass(frozen=True)
class VideoNote:
    """What a video's job keeps of its request.

    Args:
        prompt: The prompt.
        seconds: Requested length; None if it is not known.
        size: Requested size as WIDTHxHEIGHT; None if it is not known.
        warnings: Fields without effect.
        client_names: The client's names of parameters that diffusers names differently.
    """

    prompt: str
    seconds: float | None
    size: str | None
    warnings: tuple[str, ...] = ()
    client_names: Mapping[str, str] = field(default_factory=dict)


def parse_note(job: Job) -> VideoNote:
    """Return what a video's job keeps of its request, which is stored as JSON."""
    note: dict[str, Any] = job.note if isinstance(job.note, dict) else {}
    return VideoNote(**{**note, "warnings": tuple(note["warnings"])})


def match_pipeline(models: Models, body: VideoRequest, media: Inputs) -> tuple[PipelineMatch, Inputs]:
    """Return the pipeline for a video, and the media by its parameters.

    Raises:
        InvalidParameterError: No pipeline of the model takes the reference, or it is given twice.
    """
    model = body.model or first_model_for(models, "video")
    inputs = dict(media)
    references = inputs.pop(REFERENCE, ())
    if len(references) > 1:
        raise InvalidParameterError(f"'{REFERENCE}' is given twice.", parameter=REFERENCE)
    reference = (REFERENCE, reference_type(references[0])) if references else None
    match = select_pipeline(models, model, "video", body.task, reference)
    if match.reference is not None:
        if match.reference in inputs or match.reference in body.extra_fields:
            message = f"'{REFERENCE}' and '{match.reference}' are the same parameter."
            raise InvalidParameterError(message, hint="Send one of them.", parameter=REFERENCE)
        inputs[match.reference] = references
    return match, inputs


def to_request(
    body: VideoRequest, match: PipelineMatch, inputs: Mapping[str, tuple[Source, ...]]
) -> tuple[GenerationRequest, VideoNote]:
    """Return the generation request for a body, and what the job keeps of it.

    Args:
        body: The body.
        match: The pipeline that generates the video.
        inputs: Media by call parameter.

    Raises:
        RequestError: A field is missing, or has an invalid value.
    """
    if not (body.prompt or "").strip() and match.entry.parameter("prompt"):
        raise MissingParameterError("'prompt' is missing or empty.", hint="Describe the video.", parameter="prompt")
    params, client_names = call_parameters(body.extra_fields, inputs, match.entry)
    prompts, optional_prompts = place_prompts({"prompt": body.prompt} if body.prompt else {}, match.entry)
    params |= prompts
    optional_params = requested_size(body.size, params)
    client_names = {"width": "size", "height": "size", **client_names} if optional_params else client_names
    rate = frame_rate(body.fps, match, params)
    warnings: list[str] = []
    if body.seconds is not None:
        frames = frame_count(body.seconds, match, rate, params, warnings)
        optional_params |= frames
        client_names = {**dict.fromkeys(frames, "seconds"), **client_names}
    request = GenerationRequest(
        model=match.model,
        task=body.task or match.task,
        params=params,
        optional_params={**body.null_fields, **optional_params, **optional_prompts},
        inputs=dict(inputs),
        seed=parse_seed(body.seed),
        scheduler=parse_scheduler_choice(body.scheduler),
        output=OutputFormat(body.output_format, body.output_compression, body.fps),
        id=f"video_{uuid.uuid4().hex}",
    )
    check_output_format(request.output, "video", one_file=True)
    values = {**match.defaults, **optional_params, **params}
    note = VideoNote(
        body.prompt or "", _length(values, match, rate), requested_size_of(values), tuple(warnings), client_names
    )
    return request, note


def _length(values: Mapping[str, Any], match: PipelineMatch, rate: float) -> float | None:
    """Return the requested length in seconds, rounded to hundredths; None if the number of frames is not known."""
    frames = values.get(match.number_parameter(*FRAMES) or "")
    if not isinstance(frames, int):
        return None
    # Of 4k + 1 frames, the first is shown at 0 seconds and 4k cover the length.
    return round((frames - 1 if frames % TEMPORAL_COMPRESSION == 1 and frames > 1 else frames) / rate, 2)
