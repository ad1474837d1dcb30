"""Request bodies of the routes for background jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from octabox.errors import InvalidParameterError, UnknownParameterError, nearest
from octabox.frontends.http.bodies import Body, check_fields
from octabox.frontends.http.native.generations.schema import body_schema
from octabox.frontends.naming.fields import StrictNumber
from octabox.service.jobs.output_changes import OutputId
from octabox.service.jobs.record import MAX_PRIORITY, MAX_TAG, MAX_TAGS, MarkChange

#: Maximum number of requests of a batch.
MAX_REQUESTS = 1000

#: Maximum number of outputs of a request that marks or deletes them.
MAX_OUTPUTS = 1000


class Batch(BaseModel):
    """Several requests, which are accepted together or not at all."""

    model_config = ConfigDict(extra="forbid")

    requests: list[dict[str, Any]] = Field(
        min_length=1, max_length=MAX_REQUESTS, description="The requests, each as for one job."
    )
    priority: StrictNumber[int] | None = Field(
        None, ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="Priority of the requests that have none."
    )
    webhook: str | None = Field(None, description="URL that is notified of the ends of the jobs and of the batch.")


class JobChange(BaseModel):
    """Change of a job that waits."""

    model_config = ConfigDict(extra="forbid")

    priority: StrictNumber[int] | None = Field(
        None, ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="The priority; the highest runs first."
    )
    position: Literal["first", "last"] | None = Field(None, description="New place among the client's jobs that wait.")
    before: str | None = Field(None, description="Id of the job to run before.")
    after: str | None = Field(None, description="Id of the job to run after.")


#: The tags of an output.
Tags = Annotated[list[Annotated[str, Field(min_length=1, max_length=MAX_TAG)]], Field(max_length=MAX_TAGS)]


class OutputChange(BaseModel):
    """Change of the marks of an output."""

    model_config = ConfigDict(extra="forbid")

    star: bool | None = Field(None, description="Whether the output has a star.")
    tags: Tags | None = Field(None, description="The tags of the output; an empty list removes all.")
    add_tags: Tags | None = Field(None, description="Tags that the output has in addition.")

    def change(self) -> MarkChange:
        """Return the change.

        Raises:
            InvalidParameterError: It changes nothing.
        """
        if self.star is None and self.tags is None and self.add_tags is None:
            raise InvalidParameterError("The body changes nothing.", hint="Send 'star', 'tags' or 'add_tags'.")
        tags = None if self.tags is None else tuple(dict.fromkeys(self.tags))
        return MarkChange(self.star, tags, tuple(self.add_tags or ()))


class OutputReference(BaseModel):
    """An output of a job."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(description="Id of the job.")
    index: StrictNumber[int] = Field(ge=0, description="Index of the output, from 0.")


class OutputSelection(BaseModel):
    """Outputs of any jobs."""

    model_config = ConfigDict(extra="forbid")

    outputs: list[OutputReference] = Field(min_length=1, max_length=MAX_OUTPUTS, description="The outputs.")

    @classmethod
    def schema_of_body(cls) -> dict[str, Any]:
        """Return the JSON Schema of the body, for the OpenAPI description."""
        schema = cls.model_json_schema()
        schema["properties"]["outputs"]["items"] = schema.pop("$defs")["OutputReference"]
        return schema

    def ids(self) -> list[OutputId]:
        """Return the outputs, each once."""
        return list(dict.fromkeys(OutputId(each.id, each.index) for each in self.outputs))


class OutputsChange(OutputChange, OutputSelection):
    """Change of the marks of outputs."""


class Pause(BaseModel):
    """What is paused or resumed."""

    model_config = ConfigDict(extra="forbid")

    model: str | None = Field(None, description="Name of a model; default: all.")


class Prune(BaseModel):
    """Which ended jobs are deleted."""

    model_config = ConfigDict(extra="forbid")

    status: list[Literal["completed", "failed", "cancelled"]] = Field(
        default_factory=list, description="Statuses; default: all three."
    )
    model: str | None = Field(None, description="Name of a model; default: all.")
    older_than: StrictNumber[float] | None = Field(None, ge=0, description="Seconds since the end; default: all.")


def parse_body(model: type[Body], fields: Mapping[str, Any]) -> Body:
    """Return the fields of a body, validated.

    Raises:
        RequestError: A field is unknown, or has an invalid value.
    """
    fields = {name: value for name, value in fields.items() if value is not None}
    for name in fields:
        if name not in model.model_fields:
            similar, known = nearest(name, model.model_fields), ", ".join(model.model_fields)
            hint = f"Did you mean {' or '.join(similar)}? " if similar else ""
            message, hint = f"There is no field '{name}'.", f"{hint}Known fields are {known}."
            raise UnknownParameterError(message, hint=hint, parameter=name, choices=similar or model.model_fields)
    return check_fields(model, fields)


def parse_change(fields: Mapping[str, Any]) -> JobChange:
    """Return the change of a job.

    Raises:
        RequestError: It changes nothing, names several places, or has an invalid field.
    """
    change = parse_body(JobChange, fields)
    places = [name for name in ("position", "before", "after") if getattr(change, name) is not None]
    if len(places) > 1:
        message = f"'{places[0]}' and '{places[1]}' are both given."
        raise InvalidParameterError(message, hint="Send one of them.", parameter=places[1])
    if not places and change.priority is None:
        message, hint = "The body changes nothing.", "Send 'priority', 'position', 'before' or 'after'."
        raise InvalidParameterError(message, hint=hint)
    return change


def submission_schema() -> dict[str, Any]:
    """Return the JSON Schema of the body for new jobs: a request, a list of them, or a batch."""
    request = body_schema()
    batch = Batch.model_json_schema()
    batch["properties"]["requests"]["items"] = request
    return {"oneOf": [request, {"type": "array", "items": request, "maxItems": MAX_REQUESTS}, batch]}
