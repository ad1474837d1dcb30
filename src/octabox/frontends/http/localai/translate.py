"""From LocalAI's words to a generation request."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from octabox.catalog.entries import PipelineEntry
from octabox.errors import InvalidParameterError, MissingParameterError
from octabox.frontends.http.errors import rename_error_params
from octabox.frontends.http.localai.schema import InpaintingForm, LocalAIRequest, UpscaleForm, VideoRequest
from octabox.frontends.http.responses import response_format_of
from octabox.frontends.naming.json_values import parse_json_or_text
from octabox.frontends.naming.parameters import Inputs, call_parameters, requested_size
from octabox.frontends.naming.prompts import prompts_of
from octabox.frontends.naming.video import FRAMES, frame_rate, frames_of
from octabox.media.formats import check
from octabox.schedulers.names import scheduler_choice
from octabox.service.selection.models import PipelineMatch
from octabox.types import GenerationRequest, Kind, OutputFormat

#: How parameters for the image that a video ends with are named.
LAST = re.compile(r"(^|_)(last|end|tail)(_|$)")


@dataclass(frozen=True)
class ParsedRequest:
    """What a client wants, and how it wants to be answered.

    Args:
        request: The wish, in diffusers' words.
        response_format: ``url`` or ``b64_json``.
        warnings: What has no effect.
        spelled: The client's names of parameters that the core calls otherwise.
    """

    request: GenerationRequest
    response_format: str
    warnings: tuple[str, ...] = ()
    spelled: Mapping[str, str] = field(default_factory=dict)

    def rename_error_params(self) -> AbstractContextManager[None]:
        """Name parameters in errors as the client named them."""
        return rename_error_params(self.spelled)


def to_inpainting(form: InpaintingForm, inputs: Inputs) -> ParsedRequest:
    """Return what a form wants: where its mask is white, or transparent, the image is painted again.

    Raises:
        RequestError: A field is missing, or has a wrong value.
    """
    for name in ("image", "mask_image"):
        if name not in inputs:
            given = "mask" if name == "mask_image" else name
            raise MissingParameterError(f"'{given}' is missing.", hint="Send it as a file.", parameter=given)
    if not (form.prompt or "").strip():
        raise MissingParameterError("'prompt' is missing or empty.", hint="Say what to paint.", parameter="prompt")
    params, spelled = call_parameters(form.others, inputs)
    params |= prompts_of(form.prompt, form.negative_prompt)
    wishes = requested_size(form.size, params)
    spelled = {"num_outputs": "n", "mask_image": "mask", **_size_of(wishes), **spelled}
    request = _request(form, params, "inpainting", wishes=wishes, inputs=dict(inputs), num_outputs=form.n)
    check(request.output, "image")
    return ParsedRequest(request, response_format_of(form.response_format), (), spelled)


def to_upscaling(form: UpscaleForm, inputs: Inputs, entry: PipelineEntry | None) -> ParsedRequest:
    """Return what a form wants of a model, whose pipeline is known or not; how much larger is for `upscaling` to see to.

    Raises:
        RequestError: A field is missing, or has a wrong value.
    """
    if "image" not in inputs:
        raise MissingParameterError("'image' is missing.", hint="Send it as a file.", parameter="image")
    params, spelled = call_parameters(form.others, inputs)
    params |= prompts_of(form.prompt, form.negative_prompt)
    # Words say nothing of an image that is only to be larger, but a pipeline of words needs some.
    if "prompt" not in params and entry is not None and entry.parameter("prompt") is not None:
        params["prompt"] = ""
    request = _request(form, params, "image-to-image", inputs=dict(inputs))
    check(request.output, "image")
    return ParsedRequest(request, response_format_of(form.response_format), (), spelled)


def to_video(body: VideoRequest, maker: PipelineMatch, inputs: Inputs, spelled: Mapping[str, str]) -> ParsedRequest:
    """Return what a client wants of the pipeline that makes it.

    Args:
        body: The fields of its request.
        maker: The pipeline.
        inputs: Media by call parameter.
        spelled: The client's names of those media.

    Raises:
        RequestError: A field is missing, or has a wrong value.
    """
    numbers = {"width": body.width, "height": body.height, "step": body.step, "cfg_scale": body.cfg_scale}
    given = {name: value for name, value in numbers.items() if value is not None and (value or name == "cfg_scale")}
    params, spelling = call_parameters({**given, **_further(body, given)}, inputs)
    spelled = {**spelled, **spelling}
    wishes = requested_size(body.size, params)
    spelled = {**_size_of(wishes), **spelled}
    prompts = prompts_of(body.prompt or None, body.negative_prompt or None)
    # LocalAI's clients always send a prompt, also to a model that knows no words.
    words = {name for name in prompts if maker.entry.parameter(name) is not None}
    params |= {name: prompts[name] for name in words}
    wishes |= {name: prompts[name] for name in prompts.keys() - words}
    if "prompt" not in params and (parameter := maker.entry.parameter("prompt")) is not None and parameter.required:
        raise MissingParameterError("'prompt' is missing or empty.", hint="Say what to show.", parameter="prompt")
    rate = frame_rate(body.fps or None, maker, params)
    warnings: list[str] = []
    if body.num_frames:
        name = maker.named(*FRAMES) or FRAMES[0]
        params[name], spelled[name] = body.num_frames, "num_frames"
    if body.seconds:
        frames = frames_of(body.seconds, maker, rate, params, warnings)
        wishes |= frames
        spelled = {**dict.fromkeys(frames, "seconds"), **spelled}
    request = _request(
        body.model_copy(update={"model": maker.model}),
        params,
        maker.task,
        wishes=wishes,
        inputs=dict(inputs),
        fps=body.fps or None,
    )
    check(request.output, "video")
    return ParsedRequest(request, response_format_of(body.response_format), tuple(warnings), spelled)


def media_of(body: VideoRequest, maker: PipelineMatch) -> dict[str, str]:
    """Return the parameters of a pipeline for a video's other media, by the client's names: its last image and its audio.

    Raises:
        InvalidParameterError: The pipeline takes none.
    """
    wanted: dict[str, tuple[Kind, re.Pattern[str]]] = {
        "end_image": ("image", LAST),
        "audio": ("audio", re.compile("")),
    }
    found = {}
    for given, (kind, name) in wanted.items():
        if not getattr(body, given):
            continue
        fitting = [each.name for each in maker.entry.media() if each.kind == kind and name.search(each.name)]
        if not fitting:
            message = f"{maker.entry.name} of model '{maker.model}' takes no '{given}'."
            raise InvalidParameterError(message, hint="Leave it out.", model=maker.model, parameter=given)
        found[given] = fitting[0]
    return found


def _further(body: VideoRequest, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that stand among ``params`` or have no field of their own.

    Raises:
        InvalidParameterError: One is given in two places.
    """
    params = {
        name: parse_json_or_text(value) if isinstance(value, str) else value for name, value in body.params.items()
    }
    if twice := [name for name in params if name in given or name in body.others]:
        raise InvalidParameterError(f"'{twice[0]}' is given twice.", hint="Give one of them.", parameter=twice[0])
    return {**body.others, **params}


def _size_of(wishes: Mapping[str, Any]) -> dict[str, str]:
    """Return how a client spells what a size means."""
    return {"width": "size", "height": "size"} if "width" in wishes else {}


def _request(
    body: LocalAIRequest, params: Mapping[str, Any], task: str | None, fps: float | None = None, **fields: Any
) -> GenerationRequest:
    """Return a request with what all of them have.

    Raises:
        MissingParameterError: It names no model.
    """
    if not body.model:
        raise MissingParameterError("'model' is missing.", hint="`GET /v1/models` lists them all.", parameter="model")
    return GenerationRequest(
        model=body.model,
        task=body.task or task,
        params=params,
        seed=None if body.seed == -1 else body.seed,
        scheduler=scheduler_choice(body.scheduler),
        output=OutputFormat(body.output_format, None, fps),
        **fields,
    )
