"""Translate requests of the images API to generation requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from octabox.catalog.entries import PipelineEntry
from octabox.errors import MissingParameterError
from octabox.frontends.http.openai.images.schema import ImageRequest
from octabox.frontends.http.responses import parse_response_format
from octabox.frontends.naming.parameters import ALIASES, Inputs, call_parameters, requested_size
from octabox.frontends.naming.prompts import find_negative, parse_prompts, place_prompts
from octabox.frontends.naming.renaming import rename_error_params, rename_warnings
from octabox.media.formats import check_output_format, select_format
from octabox.service.planning import parse_seed
from octabox.shortening import shorten_message
from octabox.types import Generation, GenerationRequest, OutputFormat

#: Fields that are accepted for compatibility and have no effect.
WITHOUT_EFFECT = ("background", "complexity", "moderation", "style", "input_fidelity")


@dataclass(frozen=True)
class ParsedRequest:
    """A generation request, and the format of its response.

    Args:
        request: The request, by diffusers' names.
        response_format: ``url`` or ``b64_json``; None if the client names none.
        quality: The client's value.
        warnings: Fields without effect.
        client_names: The client's names of parameters that diffusers names differently.
    """

    request: GenerationRequest
    response_format: str | None
    quality: str | None = None
    warnings: tuple[str, ...] = ()
    client_names: Mapping[str, str] = field(default_factory=dict)

    def rename_error_params(self) -> AbstractContextManager[None]:
        """Replace the parameter of an error by the client's name of it."""
        return rename_error_params(self.client_names)

    def warnings_of(self, generation: Generation) -> list[str]:
        """Return the warnings of the request and of its result, by the client's names."""
        return rename_warnings([*self.warnings, *generation.warnings], self.client_names)


def to_request(
    body: ImageRequest,
    model: str,
    inputs: Inputs | None = None,
    task: str | None = None,
    entry: PipelineEntry | None = None,
    syntax: str | None = None,
) -> ParsedRequest:
    """Return the generation request for a body.

    Args:
        body: The body.
        model: Name of the model.
        inputs: Media that were sent as files.
        task: Default of the task.
        entry: The pipeline; None if it is not known.
        syntax: The prompt syntax of the body, or of its model or the server; None for that of the body.

    Raises:
        RequestError: A field has an invalid value.
    """
    warnings: list[str] = []
    inputs = _bind_images(inputs or {}, entry)
    params, client_names = call_parameters(body.extra_fields, inputs, entry)
    negative = find_negative(body.negative_prompt, params, client_names)
    prompts = parse_prompts(body.prompt, negative, warnings, syntax or body.prompt_syntax, entry)
    prompt_params, optional_prompts = place_prompts(prompts, entry)
    params |= prompt_params
    size, steps = requested_size(body.size, params), _parse_quality(body.quality, params, warnings)
    client_names = {**dict.fromkeys(size, "size"), **dict.fromkeys(steps, "quality"), **client_names}
    optional_params = {**body.null_fields, **size, **steps, **optional_prompts}
    output = OutputFormat(body.output_format, body.output_compression)
    check_output_format(output, "image")
    warnings += _warnings(body, output)
    request = GenerationRequest(
        model=model,
        task=body.task or task,
        params=params,
        optional_params=optional_params,
        inputs=dict(inputs),
        seed=parse_seed(body.seed),
        num_outputs=body.n,
        output=output,
        partial_images=body.partial_images if body.stream else 0,
    )
    quality = None if body.quality is None else shorten_message(str(body.quality))
    mask = "mask" if "mask_image" in inputs else "mask_image"
    client_names = {"num_outputs": "n", "mask_image": mask, **client_names}
    response_format = parse_response_format(body.response_format)
    return ParsedRequest(body.control_from_aliases(request), response_format, quality, tuple(warnings), client_names)


def _warnings(body: ImageRequest, output: OutputFormat) -> list[str]:
    """Return a warning for each field without effect."""
    warnings = []
    if select_format("image", output) == "png" and body.output_compression not in (None, 100):
        warnings.append("'output_compression' has no effect on png.")
    if body.partial_images and not body.stream:
        warnings.append("'partial_images' has no effect without 'stream'.")
    if body.stream and parse_response_format(body.response_format) == "url":
        warnings.append("'response_format' has no effect with 'stream', whose events have b64_json.")
    ignored = [name for name in WITHOUT_EFFECT if getattr(body, name) not in (None, "", "auto")]
    warnings += [f"'{name}' has no effect." for name in ignored]
    warnings += ["'backend' has no effect: all models have the same backend."] if body.backend else []
    return warnings


def require_prompt(body: ImageRequest) -> None:
    """Raise an error if the prompt is missing or empty.

    Raises:
        MissingParameterError: It is.
    """
    prompts = body.prompt if isinstance(body.prompt, list) else [body.prompt or ""]
    if not prompts or not all(prompt.strip() for prompt in prompts):
        hint = "Describe the image."
        raise MissingParameterError("'prompt' is missing or empty.", hint=hint, parameter="prompt")


def needs_prompt(body: ImageRequest) -> bool:
    """Return whether a body has neither an image nor embeddings in place of a prompt."""
    names = {ALIASES.get(name, name) for name in body.extra_fields}
    return "image" not in names and "prompt_embeds" not in names and body.task in (None, "text-to-image")


def _bind_images(inputs: Inputs, entry: PipelineEntry | None) -> Inputs:
    """Return media whose images have the name of the pipeline's parameter, where that is ``images``."""
    if entry is None or "image" not in inputs or entry.parameter("image") or not entry.parameter("images"):
        return inputs
    return {("images" if name == "image" else name): sources for name, sources in inputs.items()}


def _parse_quality(quality: str | int | None, params: Mapping[str, Any], warnings: list[str]) -> dict[str, Any]:
    """Return the number of steps for a numeric quality, as in LocalAI; add a warning for other values."""
    text = "" if quality is None else str(quality).strip().lower()
    if text in ("", "auto", "standard"):
        return {}
    if re.fullmatch(r"\d{1,6}", text) and "num_inference_steps" not in params:
        return {"num_inference_steps": int(text)}
    warnings.append(f"'quality' has no effect as '{text[:50]}'.")
    return {}
