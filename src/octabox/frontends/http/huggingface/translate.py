"""Translate requests of the inference API to generation requests."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import product
from typing import Any, get_args

from octabox.errors import InvalidParameterError, MissingParameterError
from octabox.frontends.http.huggingface.payloads import Payload
from octabox.frontends.naming.parameters import call_parameters
from octabox.frontends.naming.renaming import rename_error_params, rename_warnings
from octabox.media.formats import FORMATS, check_output_format
from octabox.service.planning import parse_seed
from octabox.service.protocols import Models
from octabox.service.selection.inputs import bindings_for
from octabox.service.selection.models import PipelineMatch, first_model_for, select_pipeline
from octabox.types import Generation, GenerationRequest, Kind, OutputFormat, Source

#: Field of the prompt or the file.
INPUTS = "inputs"


@dataclass(frozen=True)
class ParsedRequest:
    """A generation request, and which of its outputs is the response.

    Args:
        request: The request, by diffusers' names.
        kind: Media type that the client accepts; None for any.
        client_names: The client's names of parameters that diffusers names differently.
        unused: Fields of the body that have no effect.
    """

    request: GenerationRequest
    kind: Kind | None
    client_names: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()

    def rename_error_params(self) -> AbstractContextManager[None]:
        """Replace the parameter of an error by the client's name of it."""
        return rename_error_params(self.client_names)

    def warnings_of(self, generation: Generation) -> list[str]:
        """Return the warnings of the result, by the client's names."""
        unused = [f"'{name}' has no effect: it is an option of the Hub's own servers." for name in self.unused]
        return [*unused, *rename_warnings(generation.warnings, self.client_names)]


def accepted_output(header: str | None) -> tuple[Kind | None, str | None]:
    """Return the media type and the format that an Accept header names first; None for those that it leaves open."""
    for accepted in (header or "").split(","):
        media_type = accepted.partition(";")[0].strip().lower()
        format_ = next((name for name, each in FORMATS.items() if each.media_type == media_type), None)
        kinds: tuple[Kind, ...] = get_args(Kind)
        # Formats whose media type is not registered under their kind, such as `application/x-npz`, have one kind.
        kind = next((each for each in kinds if media_type.startswith(f"{each}/")), None)
        kind = kind or (FORMATS[format_].kinds[0] if format_ else None)
        if kind is not None:
            return kind, format_
    return None, None


def to_request(
    models: Models, payload: Payload, model: str | None, task: str | None, accept: str | None
) -> ParsedRequest:
    """Return the generation request for a body.

    Args:
        models: The models of this server.
        payload: The body.
        model: Name of the model; None for the first that makes what the client accepts.
        task: The requested task; None if the inputs decide.
        accept: The Accept header.

    Raises:
        RequestError: A field has an invalid value, or the model does not take the inputs or make the output.
    """
    kind, format_ = accepted_output(accept)
    model = model or first_model_for(models, kind, task or _default_task(payload, kind))
    body = payload.parameters
    output = OutputFormat(body.output_format or format_, body.output_compression)
    match = _match_pipeline(models, payload, model, task, kind)
    if body.output_format and match.entry.output_kind:
        check_output_format(output, match.entry.output_kind)
    inputs: dict[str, tuple[Source, ...]] = {match.reference: payload.inputs} if match.reference else {}
    params, client_names = call_parameters(body.extra_fields, inputs, match.entry)
    prompts, optional_params = _prompts(payload, match)
    if body.target_size is not None:
        size = {"width": body.target_size.width, "height": body.target_size.height}
        if twice := [name for name in size if name in params]:
            message = f"'target_size' and '{client_names.get(twice[0], twice[0])}' set the same value."
            raise InvalidParameterError(message, hint="Send one of them.", parameter=twice[0])
        optional_params |= size
        client_names = {**dict.fromkeys(size, "target_size"), **client_names}
    request = GenerationRequest(
        model=model,
        task=task or _task(models, match, params),
        params={**params, **prompts},
        optional_params={**body.null_fields, **optional_params},
        inputs=inputs,
        seed=parse_seed(body.seed),
        output=output,
    )
    client_names = {match.reference or "prompt": INPUTS, **client_names}
    return ParsedRequest(body.control_from_aliases(request), kind, client_names, payload.unused)


def _default_task(payload: Payload, kind: Kind | None) -> str | None:
    """Return the task of a request whose output has a media type, such as ``text-to-image``."""
    source = payload.kinds[0] if payload.are_files else "text"
    return f"{source}-to-{kind}" if kind else None


def _match_pipeline(models: Models, payload: Payload, model: str, task: str | None, kind: Kind | None) -> PipelineMatch:
    """Return the pipeline that takes the inputs and makes the output.

    Raises:
        InvalidParameterError: The model has no such pipeline.
    """
    references = [(INPUTS, each) for each in payload.kinds] if payload.are_files else [None]
    # Maps such as depth are arrays, which are returned as images too.
    kinds: tuple[Kind | None, ...] = ("image", "array") if kind == "image" else (kind,)
    refusals = []
    for made, reference in product(kinds, references):
        try:
            return select_pipeline(models, model, made, task, reference)
        except InvalidParameterError as refusal:
            refusals.append(refusal)
    raise refusals[0]


def _prompts(payload: Payload, match: PipelineMatch) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the prompt as a call parameter, and the prompt of a pipeline that may have none.

    Raises:
        MissingParameterError: The prompt is missing or empty.
        InvalidParameterError: The inputs are text, and the model takes no prompt.
    """
    takes_prompt = match.entry.parameter("prompt") is not None
    if payload.are_files:
        prompt = payload.parameters.prompt or ""
        if takes_prompt:
            return {"prompt": prompt}, {}
        return {}, {"prompt": prompt} if prompt else {}
    texts = [text for text in payload.inputs if isinstance(text, str)]
    is_empty = not all(text.strip() for text in texts)
    if takes_prompt and is_empty:
        hint = "Send the prompt, or a file in base64."
        raise MissingParameterError(f"'{INPUTS}' is missing or empty.", hint=hint, parameter=INPUTS)
    if not takes_prompt and not is_empty:
        message = f"Model '{match.model}' takes no prompt."
        hint = "Send a file in base64, or as the body."
        raise InvalidParameterError(message, hint=hint, model=match.model, parameter=INPUTS)
    return {"prompt": texts[0] if len(texts) == 1 else texts} if takes_prompt else {}, {}


def _task(models: Models, match: PipelineMatch, params: Mapping[str, Any]) -> str | None:
    """Return the task of the pipeline; None if there are other files, such as a mask, which select the pipeline."""
    bindings = bindings_for(models.resolve(match.model), models.catalog)
    files = {each.name for entry in bindings.entries for each in entry.media()}
    return None if files & params.keys() else match.task
