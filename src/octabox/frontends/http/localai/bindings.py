"""Bind the media of LocalAI's requests to a pipeline and its parameters."""

from __future__ import annotations

from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError
from octabox.frontends.http.context import AppContext
from octabox.frontends.http.localai.schema import UpscaleForm, VideoRequest
from octabox.frontends.http.localai.translate import ParsedRequest, to_video
from octabox.frontends.http.multipart import REFERENCE
from octabox.frontends.http.responses import effective_syntax
from octabox.frontends.naming.video import reference_type
from octabox.service.protocols import Models
from octabox.service.selection.models import PipelineMatch, first_model_for, select_pipeline
from octabox.service.workflows.upscale import check_enlarges
from octabox.types import Kind, Source

#: Field of the first image of a video.
START = "start_image"


def parse_video(ctx: AppContext, models: Models, body: VideoRequest) -> ParsedRequest:
    """Return the generation request for a video's body.

    Raises:
        RequestError: A field is missing, or has an invalid value, or no pipeline of the model takes it.
    """
    references = {name: source for name in (START, REFERENCE) if (source := getattr(body, name))}
    if len(references) > 1:
        message = f"'{START}' and '{REFERENCE}' are the same parameter."
        raise InvalidParameterError(message, hint="Send one of them.", parameter=REFERENCE)
    model = body.model or first_model_for(models, "video")
    match = select_pipeline(models, model, "video", body.task, _reference(body, references))
    media = media_parameters(body, match)
    inputs: dict[str, tuple[Source, ...]] = {name: (getattr(body, field),) for field, name in media.items()}
    if references and match.reference is not None:
        inputs[match.reference] = tuple(references.values())
        media |= dict.fromkeys(references, match.reference)
    syntax = effective_syntax(ctx, models, model)
    return to_video(body, match, inputs, {name: field for field, name in media.items()}, syntax)


def media_parameters(body: VideoRequest, match: PipelineMatch) -> dict[str, str]:
    """Return the parameters for the last image and the audio of a video, by the client's fields.

    Raises:
        InvalidParameterError: The pipeline takes none.
    """
    parameters = {}
    if body.end_image:
        parameters["end_image"] = match.bindings.last_image("end_image")
    if body.audio:
        parameters["audio"] = match.bindings.medium("audio", "audio")
    return parameters


def _reference(body: VideoRequest, references: dict[str, str]) -> tuple[str, Kind] | None:
    """Return the field and the media type of the reference that selects the pipeline."""
    for name, source in references.items():
        return name, reference_type(source)
    return ("audio", "audio") if body.audio else None


def find_upscaler(models: Models, form: UpscaleForm) -> PipelineEntry | None:
    """Return the pipeline that upscales an image, if it is known before the model is downloaded.

    Raises:
        InvalidParameterError: The pipeline does not upscale.
    """
    if not form.model:
        return None
    entry = models.pipeline(form.model, form.task or "image-to-image")
    check_enlarges(entry, form.model)
    return entry
