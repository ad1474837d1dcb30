"""Options, events and errors of `octabox run` as JSON, for another process of the same user."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from octabox import errors
from octabox.cli.requests.events import Checked, DownloadProgress, Message, Prepared, RunEvent
from octabox.cli.requests.run_options import RunOptions
from octabox.errors import OctaboxError
from octabox.types import AdapterReport, Artifact, Generation, Progress

#: Key of an object that stands for bytes.
_BYTES = "base64"

_EVENTS: dict[str, type[RunEvent]] = {
    each.__name__: each for each in (Message, Checked, DownloadProgress, Prepared, Progress, Generation)
}


def encode_options(options: RunOptions) -> bytes:
    """Return options as JSON."""
    return _encode(options).encode()


def decode_options(data: bytes) -> RunOptions:
    """Return the options that `encode_options` has encoded."""
    fields = _decode(data)
    fields["params"] = tuple((name, text) for name, text in fields["params"])
    fields["inputs"] = {name: tuple(media) for name, media in fields["inputs"].items()}
    values: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in fields.items()}
    return RunOptions(**values)


def encode_event(event: RunEvent) -> str:
    """Return an event as a line of JSON."""
    return _encode({"type": type(event).__name__, "fields": event}) + "\n"


def encode_error(error: OctaboxError) -> str:
    """Return an error as a line of JSON, as the class of `octabox.errors` that it is."""
    known = next(cls.__name__ for cls in type(error).__mro__ if cls.__module__ == errors.__name__)
    details = {"message": error.message, "hint": error.hint, "model": error.model, "parameter": error.parameter}
    return _encode({"type": "error", "class": known, "fields": {**details, "choices": error.choices}}) + "\n"


def decode_event(line: bytes) -> RunEvent:
    """Return the event of a line; an error is raised.

    Raises:
        OctaboxError: The line is an error.
    """
    data = _decode(line)
    fields = data["fields"]
    if data["type"] == "error":
        cls = getattr(errors, data["class"], OctaboxError)
        error = cls.__new__(cls)  # Some constructors have other parameters.
        OctaboxError.__init__(error, fields.pop("message"), **fields)
        raise error
    if data["type"] == Generation.__name__:
        fields["artifacts"] = tuple(Artifact(**each) for each in fields["artifacts"])
        fields["adapters"] = tuple(AdapterReport(**each) for each in fields["adapters"])
        fields["warnings"] = tuple(fields["warnings"])
    elif fields.get("preview"):
        fields["preview"] = Artifact(**fields["preview"])
    return _EVENTS[data["type"]](**fields)


def _encode(value: Any) -> str:
    return json.dumps(value, default=_to_json)


def _to_json(value: Any) -> Any:
    """Return a value that JSON does not have as one that it has."""
    if isinstance(value, bytes):
        return {_BYTES: base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return dict(value)
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "__iter__"):
        return list(value)
    return str(value)


def _decode(data: bytes) -> dict[str, Any]:
    decoded: dict[str, Any] = json.loads(data, object_hook=_from_json)
    return decoded


def _from_json(value: dict[str, Any]) -> Any:
    return base64.b64decode(value[_BYTES]) if value.keys() == {_BYTES} else value
