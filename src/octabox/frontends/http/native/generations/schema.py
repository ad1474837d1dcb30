"""Request body of the native API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from octabox.errors import InvalidParameterError, InvalidRequestError, RequestError, UnknownParameterError, nearest
from octabox.frontends.http.bodies import check_fields
from octabox.frontends.naming.aliases import ControlAliases, inline_schema
from octabox.frontends.naming.fields import StrictNumber
from octabox.frontends.naming.parameters import REQUEST_ALIASES
from octabox.media.formats import MAX_FPS
from octabox.service.jobs.record import MAX_PRIORITY

#: Aliases of fields.
ALIASES = {"previews": "partial_images", **REQUEST_ALIASES}

#: An id is a part of URLs, from which clients remove "." and "..".
_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,128}")


class Output(BaseModel):
    """Format of the outputs."""

    model_config = ConfigDict(extra="forbid")

    format: str | None = Field(
        None, description="A format such as png, webp, mp4, wav; default: the best lossless format."
    )
    quality: StrictNumber[int] | None = Field(None, ge=0, le=100, description="Quality of lossy formats.")
    fps: StrictNumber[float] | None = Field(None, gt=0, le=MAX_FPS, description="Frames per second of a video.")
    response: Literal["url", "b64_json"] = Field("url", description="Whether the response has links or content.")


class NativeRequest(ControlAliases):
    """Body of a request for any output of a pipeline."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: str = Field(min_length=1, description="Name of a model.")
    task: str | None = Field(
        None, description="Task of the Hub, such as image-to-image; default: selected by the inputs."
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="Call parameters of the pipeline, by diffusers' names."
    )
    seed: StrictNumber[int] | None = Field(
        None, description="Seed of the first output; -1 selects one at random; default: at random."
    )
    num_outputs: StrictNumber[int] = Field(1, ge=1, description="Number of outputs for each prompt.")
    output: Output = Field(
        default_factory=lambda: Output.model_validate({}), description="Format of the outputs, and of the response."
    )
    partial_images: StrictNumber[int] = Field(0, ge=0, le=100, description="Number of previews in a stream.")
    stream: bool = Field(default=False, description="Whether to respond with server-sent events.")
    background: bool = Field(default=False, description="Whether to store the request and run it in the background.")
    priority: StrictNumber[int] = Field(
        0, ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="Priority of a background job; the highest runs first."
    )
    webhook: str | None = Field(None, description="URL that is notified of the end of a background job.")
    id: str | None = Field(None, description="Name of the request, for its status and to cancel it.")

    @field_validator("id")
    @classmethod
    def _check_id(cls, value: str | None) -> str | None:
        """Raise an error for an id that cannot be part of a URL."""
        if value is not None and not _ID.fullmatch(value):
            raise ValueError("must be 1 to 128 letters, digits, dots, hyphens or underscores, not only one or two dots")
        return value


def parse_fields(fields: Mapping[str, Any]) -> NativeRequest:
    """Return the fields of a request, validated. An error names all invalid fields.

    Raises:
        RequestError: A field is unknown, or has an invalid value.
    """
    fields = {name: value for name, value in fields.items() if value is not None}
    problems = _unknown_fields(fields, NativeRequest)
    for alias, name in ALIASES.items():
        if alias in fields and name in fields:
            message = f"'{alias}' and '{name}' are the same parameter."
            problems.append(InvalidParameterError(message, parameter=alias))
        elif alias in fields:
            fields[name] = fields.pop(alias)
    output = fields.get("output")
    if isinstance(output, Mapping):
        output = {name: value for name, value in output.items() if value is not None}
        problems += _unknown_fields(output, Output, "output.")
        problems += _invalid_fields(Output, output, "output.")
        del fields["output"]
    problems += _invalid_fields(NativeRequest, fields)
    if len(problems) > 1:
        raise InvalidRequestError(problems)
    if problems:
        raise problems[0]
    body = NativeRequest.model_validate(fields)
    return body.model_copy(update={"output": Output.model_validate(output)}) if output else body


def body_schema() -> dict[str, Any]:
    """Return the JSON Schema of a request, for the OpenAPI description."""
    schema = inline_schema(NativeRequest.model_json_schema())
    schema["properties"]["output"] = schema.pop("$defs")["Output"]
    return schema


def _unknown_fields(fields: Mapping[str, Any], model: type[BaseModel], prefix: str = "") -> list[RequestError]:
    """Return an error for each unknown field."""
    known = [*model.model_fields, *(ALIASES if model is NativeRequest else ())]
    problems: list[RequestError] = []
    for name in sorted(set(fields) - set(known)):
        similar = nearest(name, known)
        hint = f"Did you mean {' or '.join(prefix + each for each in similar)}? " if similar else ""
        hint += f"Known fields are {', '.join(Output.model_fields)}." if prefix else "Call parameters go into 'params'."
        message = f"There is no field '{prefix}{name}'."
        problems.append(UnknownParameterError(message, hint=hint, parameter=prefix + name, choices=similar or known))
    return problems


def _invalid_fields(model: type[BaseModel], fields: Mapping[str, Any], prefix: str = "") -> list[RequestError]:
    """Return an error for each known field with an invalid value."""
    known = {name: value for name, value in fields.items() if name in model.model_fields}
    try:
        check_fields(model, known, prefix)
    except InvalidRequestError as error:
        return list(error.problems)
    except RequestError as error:
        return [error]
    return []
