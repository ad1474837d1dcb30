"""What clients send to our own API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from octabox.errors import InvalidParameterError, InvalidRequestError, RequestError, UnknownParameterError, nearest
from octabox.frontends.http.bodies import check_fields
from octabox.frontends.naming.aliases import ControlAliases, documented
from octabox.media.formats import MAX_FPS

#: Another word for a field.
PREVIEWS = {"previews": "partial_images"}

_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")


class Output(BaseModel):
    """How a client wants its outputs."""

    model_config = ConfigDict(extra="forbid")

    format: str | None = Field(
        None, description="A format such as png, webp, mp4, wav; the best lossless, if not given."
    )
    quality: int | None = Field(None, ge=0, le=100, description="Quality of lossy formats.")
    fps: float | None = Field(None, gt=0, le=MAX_FPS, description="Frames a second of a video.")
    response: Literal["url", "b64_json"] = Field("url", description="Whether to answer with links or with content.")


class NativeRequest(ControlAliases):
    """A request for anything that a pipeline makes."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())

    model: str = Field(min_length=1, description="Name of a model.")
    task: str | None = Field(
        None, description="Task of the Hub, such as image-to-image; the inputs decide, if not given."
    )
    params: dict[str, Any] = Field(
        default_factory=dict, description="Call parameters of the pipeline by their own names."
    )
    seed: int | None = Field(None, description="Seed of the first output; -1 draws one at random, as none does.")
    num_outputs: int = Field(1, ge=1, description="How many outputs to make of each prompt.")
    output: Output = Field(
        default_factory=lambda: Output.model_validate({}), description="How the outputs are written and answered."
    )
    partial_images: int = Field(0, ge=0, le=100, description="How many unfinished images to send in a stream.")
    stream: bool = Field(default=False, description="Whether to answer with server-sent events.")
    id: str | None = Field(None, description="Name of the request, by which it can be looked at and cancelled.")

    @field_validator("seed", "num_outputs", "partial_images", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: Any) -> Any:
        """Take no true for 1."""
        if isinstance(value, bool):
            raise ValueError("must be a whole number")  # noqa: TRY004 (pydantic's way to refuse)
        return value

    @field_validator("id")
    @classmethod
    def _plain_name(cls, value: str | None) -> str | None:
        """Take only ids that can stand in an address."""
        if value is not None and not _ID.fullmatch(value):
            raise ValueError("must be 1 to 128 letters, digits, dots, hyphens or underscores")
        return value


def from_fields(fields: Mapping[str, Any]) -> NativeRequest:
    """Check the fields of a request; all that is wrong is named at once.

    Raises:
        RequestError: A field is unknown, or has a wrong value.
    """
    fields = {name: value for name, value in fields.items() if value is not None}
    problems = _unknown(fields, NativeRequest)
    for other, name in PREVIEWS.items():
        if other in fields and name in fields:
            problems.append(InvalidParameterError(f"'{other}' and '{name}' are the same.", parameter=other))
        elif other in fields:
            fields[name] = fields.pop(other)
    output = fields.get("output")
    if isinstance(output, Mapping):
        output = {name: value for name, value in output.items() if value is not None}
        problems += _unknown(output, Output, "output.")
        problems += _wrong(Output, output, "output.")
        del fields["output"]
    problems += _wrong(NativeRequest, fields)
    if len(problems) > 1:
        raise InvalidRequestError(problems)
    if problems:
        raise problems[0]
    checked = NativeRequest.model_validate(fields)
    return checked.model_copy(update={"output": Output.model_validate(output)}) if output else checked


def body_schema() -> dict[str, Any]:
    """Return the JSON Schema of a request, for the server's own documentation."""
    schema = documented(NativeRequest.model_json_schema())
    schema["properties"]["output"] = schema.pop("$defs")["Output"]
    return schema


def _unknown(fields: Mapping[str, Any], shape: type[BaseModel], prefix: str = "") -> list[RequestError]:
    """Return an error for each field that there is none of."""
    known = [*shape.model_fields, *(PREVIEWS if shape is NativeRequest else ())]
    problems: list[RequestError] = []
    for name in sorted(set(fields) - set(known)):
        like = nearest(name, known)
        hint = f"Did you mean {' or '.join(prefix + each for each in like)}? " if like else ""
        hint += _where(prefix)
        message = f"There is no field '{prefix}{name}'."
        problems.append(UnknownParameterError(message, hint=hint, parameter=prefix + name, choices=like or known))
    return problems


def _where(prefix: str) -> str:
    return f"Known are {', '.join(Output.model_fields)}." if prefix else "Call parameters go into 'params'."


def _wrong(shape: type[BaseModel], fields: Mapping[str, Any], prefix: str = "") -> list[RequestError]:
    """Return an error for each known field that has a wrong value."""
    known = {name: value for name, value in fields.items() if name in shape.model_fields}
    try:
        check_fields(shape, known, prefix)
    except InvalidRequestError as error:
        return list(error.problems)
    except RequestError as error:
        return [error]
    return []
