"""Translate LocalAI's requests to generation requests."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError, MissingParameterError
from octabox.frontends.http.localai.schema import InpaintingForm, LocalAIRequest, UpscaleForm, VideoRequest
from octabox.frontends.http.responses import parse_response_format
from octabox.frontends.naming.json_values import parse_json_or_text
from octabox.frontends.naming.parameters import Inputs, call_parameters, requested_size
from octabox.frontends.naming.prompts import find_negative, parse_prompts, place_prompts
from octabox.frontends.naming.renaming import rename_error_params, rename_warnings
from octabox.frontends.naming.video import frame_count, frame_rate
from octabox.media.formats import check_output_format
from octabox.schedulers.names import parse_scheduler_choice
from octabox.service.planning import parse_seed
from octabox.service.selection.inputs import FRAMES
from octabox.service.selection.models import PipelineMatch
from octabox.types import Generation, GenerationRequest, OutputFormat

#: Task of the route for inpainting.
INPAINTING = "inpainting"


@dataclass(frozen=True)
class ParsedRequest:
    """A generation request, and the format of its response.

    Args:
        request: The request, by diffusers' names.
        response_format: ``url`` or ``b64_json``; None if the client names none.
        warnings: Fields without effect.
        client_names: The client's names of parameters that diffusers names differently.
    """

    request: GenerationRequest
    response_format: str | None
    warnings: tuple[str, ...] = ()
    client_names: Mapping[str, str] = field(default_factory=dict)

    def rename_error_params(self) -> AbstractContextManager[None]:
        """Replace the parameter of an error by the client's name of it."""
        return rename_error_params(self.client_names)

    def warnings_of(self, generation: Generation) -> list[str]:
        """Return the warnings of the request and of its result, by the client's names."""
        return rename_warnings([*self.warnings, *generation.warnings], self.client_names)


def to_inpainting(
    form: InpaintingForm, inputs: Inputs, entry: PipelineEntry | None = None, syntax: str | None = None
) -> ParsedRequest:
    """Return the generation request for a form; the mask is white or transparent where the image is inpainted.

    Args:
        form: The form.
        inputs: Media by call parameter.
        entry: Pipeline of the model, if it is known.
        syntax: The prompt syntax of the model or the server.

    Raises:
        RequestError: A field is missing, or has an invalid value.
    """
    for name in ("image", "mask_image"):
        if name not in inputs:
            client_name = "mask" if name == "mask_image" else name
            raise MissingParameterError(
                f"'{client_name}' is missing.", hint="Send it as a file.", parameter=client_name
            )
    if not (form.prompt or "").strip() and (entry is None or entry.parameter("prompt") is not None):
        raise MissingParameterError("'prompt' is missing or empty.", hint="Describe the image.", parameter="prompt")
    warnings: list[str] = []
    params, client_names = call_parameters(form.extra_fields, inputs, entry)
    negative = find_negative(form.negative_prompt, params, client_names)
    parsed_prompts = parse_prompts(form.prompt, negative, warnings, syntax, entry)
    prompts, optional_prompts = place_prompts(parsed_prompts, entry)
    params |= prompts
    size = requested_size(form.size, params)
    optional_params = {**size, **optional_prompts}
    client_names = {"num_outputs": "n", "mask_image": "mask", **_size_names(size), **client_names}
    request = _build_request(
        form, params, INPAINTING, optional_params=optional_params, inputs=dict(inputs), num_outputs=form.n
    )
    check_output_format(request.output, "image")
    return ParsedRequest(request, parse_response_format(form.response_format), tuple(warnings), client_names)


def to_upscaling(
    form: UpscaleForm, inputs: Inputs, entry: PipelineEntry | None, syntax: str | None = None
) -> ParsedRequest:
    """Return the generation request for a form. The upscaling workflow applies the scale.

    Args:
        form: The form.
        inputs: Media by call parameter.
        entry: Pipeline of the model, if it is known.
        syntax: The prompt syntax of the model or the server.

    Raises:
        RequestError: A field is missing, or has an invalid value.
    """
    if "image" not in inputs:
        raise MissingParameterError("'image' is missing.", hint="Send it as a file.", parameter="image")
    warnings: list[str] = []
    params, client_names = call_parameters(form.extra_fields, inputs, entry)
    negative = find_negative(form.negative_prompt, params, client_names)
    parsed_prompts = parse_prompts(form.prompt, negative, warnings, syntax, entry)
    prompts, optional_prompts = place_prompts(parsed_prompts, entry)
    params |= prompts
    # Upscaling needs no prompt, but some pipelines require one.
    if "prompt" not in params and entry is not None and entry.parameter("prompt") is not None:
        params["prompt"] = ""
    request = _build_request(form, params, "image-to-image", optional_params=optional_prompts, inputs=dict(inputs))
    check_output_format(request.output, "image")
    return ParsedRequest(request, parse_response_format(form.response_format), tuple(warnings), client_names)


def to_video(
    body: VideoRequest, match: PipelineMatch, inputs: Inputs, media_names: Mapping[str, str], syntax: str | None = None
) -> ParsedRequest:
    """Return the generation request for a body.

    Args:
        body: The body.
        match: The pipeline that generates the video.
        inputs: Media by call parameter.
        media_names: The client's names of those media.
        syntax: The prompt syntax of the model or the server.

    Raises:
        RequestError: A field is missing, or has an invalid value.
    """
    numbers = {"width": body.width, "height": body.height, "step": body.step, "cfg_scale": body.cfg_scale}
    values = {name: value for name, value in numbers.items() if value is not None and (value or name == "cfg_scale")}
    params, client_names = call_parameters({**values, **_other_parameters(body, values)}, inputs, match.entry)
    optional_params = requested_size(body.size, params)
    client_names = {**_size_names(optional_params), **media_names, **client_names}
    warnings: list[str] = []
    negative = find_negative(body.negative_prompt or None, params, client_names)
    prompts = parse_prompts(body.prompt or None, negative, warnings, syntax, match.entry)
    supported, unsupported = _split_supported(prompts, match.entry)
    params, optional_params = params | supported, optional_params | unsupported
    if "prompt" not in params and (parameter := match.entry.parameter("prompt")) is not None and parameter.required:
        raise MissingParameterError("'prompt' is missing or empty.", hint="Describe the video.", parameter="prompt")
    rate = frame_rate(body.fps or None, match, params)
    if body.num_frames:
        name = match.number_parameter(*FRAMES) or FRAMES[0]
        if name in params:
            message = f"'num_frames' and '{name}' set the same value."
            raise InvalidParameterError(message, hint="Send one of them.", parameter=name)
        params[name], client_names[name] = body.num_frames, "num_frames"
    if body.seconds:
        with rename_error_params(client_names):
            frames = frame_count(body.seconds, match, rate, params, warnings)
        optional_params |= frames
        client_names = {**dict.fromkeys(frames, "seconds"), **client_names}
    request = _build_request(
        body.model_copy(update={"model": match.model}),
        params,
        match.task,
        optional_params=optional_params,
        inputs=dict(inputs),
        fps=body.fps or None,
    )
    check_output_format(request.output, "video")
    return ParsedRequest(request, parse_response_format(body.response_format), tuple(warnings), client_names)


def _split_supported(prompts: Mapping[str, Any], entry: PipelineEntry) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the prompts that a pipeline takes, and the others: LocalAI's clients send a prompt also to a model without one."""
    supported = {name: prompt for name, prompt in prompts.items() if entry.parameter(name) is not None}
    return supported, {name: prompt for name, prompt in prompts.items() if name not in supported}


def _other_parameters(body: VideoRequest, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the call parameters of ``params`` and of fields that are not declared.

    Raises:
        InvalidParameterError: A parameter is given twice.
    """
    params = {
        name: parse_json_or_text(value) if isinstance(value, str) else value for name, value in body.params.items()
    }
    declared = {name for name in type(body).model_fields if getattr(body, name)} - {"params"}
    if duplicates := [name for name in params if name in declared or name in values or name in body.extra_fields]:
        message = f"'{duplicates[0]}' is given twice."
        raise InvalidParameterError(message, hint="Send one of them.", parameter=duplicates[0])
    return {**body.extra_fields, **params}


def _size_names(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the client's name of the width and height, if its size sets them."""
    return {"width": "size", "height": "size"} if "width" in options else {}


def _build_request(
    body: LocalAIRequest,
    params: Mapping[str, Any],
    task: str | None,
    fps: float | None = None,
    optional_params: Mapping[str, Any] = MappingProxyType({}),
    **fields: Any,
) -> GenerationRequest:
    """Return a generation request with the fields of all bodies.

    Raises:
        MissingParameterError: The body names no model.
    """
    if not body.model:
        raise MissingParameterError("'model' is missing.", hint="`GET /v1/models` lists them all.", parameter="model")
    return GenerationRequest(
        model=body.model,
        task=body.task or task,
        params=params,
        seed=parse_seed(body.seed),
        scheduler=parse_scheduler_choice(body.scheduler),
        output=OutputFormat(body.output_format, None, fps),
        optional_params={**body.null_fields, **optional_params},
        **fields,
    )
