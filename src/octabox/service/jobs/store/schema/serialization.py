"""Requests, results and errors as JSON."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

from octabox.errors import OctaboxError
from octabox.service.jobs import errors as job_errors
from octabox.types import Generation, GenerationRequest

#: Length of a text from which on it is a file: an image in base64 would slow down every scan of the table.
LONG_TEXT = 16 * 1024

#: How the content of a file in a text begins (RFC 2397), and what stands for it.
CONTENT, PLACEHOLDER = re.compile(r"data:[^\s,]*,", re.IGNORECASE), b"data:,"

#: Where a file belongs in a request: the keys that lead to it, its name, and whether it is text.
FilePlace = tuple[list[str | int], str, bool]


def encode_request(request: GenerationRequest, write: Callable[[bytes], str]) -> tuple[str, list[FilePlace]]:
    """Return a request as JSON without its files, and the place of each file.

    Args:
        request: The request.
        write: Writes a file and returns its name.
    """
    places: list[FilePlace] = []

    def extract(value: Any, keys: list[str | int]) -> Any:
        if isinstance(value, bytes):
            places.append((keys, write(value), False))
            return None
        if isinstance(value, str) and len(value) > LONG_TEXT:
            places.append((keys, write(value.encode("utf-8", "surrogatepass")), True))
            return None
        if isinstance(value, Mapping):
            return {key: extract(each, [*keys, key]) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [extract(each, [*keys, index]) for index, each in enumerate(value)]
        return value

    return json.dumps(extract(_fields(request), [])), places


def decode_request(text: str, places: list[FilePlace], read: Callable[[str], bytes]) -> GenerationRequest:
    """Return the request that `encode_request` has encoded.

    Args:
        text: The JSON.
        places: The place of each file.
        read: Returns the content of a file.
    """
    fields = json.loads(text)
    for keys, name, is_text in places:
        target = fields
        for key in keys[:-1]:
            target = target[key]
        content = read(name)
        target[keys[-1]] = content.decode("utf-8", "surrogatepass") if is_text else content
    # The types of media are those that were stored; pydantic would convert bytes to text.
    inputs = {name: tuple(sources) for name, sources in fields.pop("inputs").items()}
    request: GenerationRequest = _adapter(GenerationRequest).validate_python(fields)
    return dataclasses.replace(request, inputs=inputs)


def without_content(request: GenerationRequest) -> GenerationRequest:
    """Return a request as a job shows it: its media have names and no content, and no value is longer than `LONG_TEXT`."""
    params, optional, workflow = map(_without_long_values, (request.params, request.optional_params, request.workflow))
    left_out = {
        *(request.params.keys() - params.keys()),
        *(request.optional_params.keys() - optional.keys()),
        *(f"workflow.{name}" for name in request.workflow.keys() - workflow.keys()),
    }
    return dataclasses.replace(
        request,
        params=params,
        optional_params=optional,
        inputs=dict.fromkeys([*request.inputs, *sorted(left_out)], ()),
        workflow=workflow,
        written={},
    )


def describe_row(text: str, places: list[FilePlace]) -> GenerationRequest | None:
    """Return the request that `encode_request` has encoded, as a job shows it; None if it cannot be read."""
    try:
        return without_content(decode_request(text, places, lambda _: PLACEHOLDER))
    except (ValueError, TypeError, LookupError, AttributeError):
        return None


def _without_long_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that are no longer than `LONG_TEXT`."""
    return {name: value for name, value in values.items() if _length(value) <= LONG_TEXT}


def _length(value: Any) -> int:
    """Return the characters of a value, about as in JSON; the content of a file has more than any value that is shown."""
    if isinstance(value, bytes) or (isinstance(value, str) and CONTENT.match(value)):
        return LONG_TEXT + 1
    if isinstance(value, Mapping):
        return sum(len(str(name)) + _length(each) for name, each in value.items())
    if isinstance(value, list | tuple):
        return sum(map(_length, value))
    return len(value) if isinstance(value, str) else len(str(value))


def hash_requests(requests: list[GenerationRequest]) -> str:
    """Return a hash of requests without their ids, which identifies a repeated submission."""
    digest = hashlib.sha256()
    for request in requests:
        names: list[str] = []

        def name_of(content: bytes, names: list[str] = names) -> str:
            names.append(hashlib.sha256(content).hexdigest())
            return names[-1]

        digest.update(encode_request(dataclasses.replace(request, id=""), name_of)[0].encode())
        digest.update(json.dumps(names).encode())
    return digest.hexdigest()


def encode_result(generation: Generation) -> str:
    """Return a result as JSON, without the content of its artifacts."""
    fields = _fields(generation)
    for artifact in fields["artifacts"]:
        del artifact["content"]
    return json.dumps(fields, default=str)


def decode_result(text: str) -> Generation:
    """Return the result that `encode_result` has encoded."""
    fields = json.loads(text)
    for artifact in fields["artifacts"]:
        artifact["content"] = b""
    result: Generation = _adapter(Generation).validate_python(fields)
    return result


def encode_error(error: OctaboxError) -> str:
    """Return an error as JSON."""
    return json.dumps(_error_fields(error), default=str)


def decode_error(text: str) -> OctaboxError:
    """Return the error that `encode_error` has encoded."""
    return _error(json.loads(text))


def _fields(value: Any) -> dict[str, Any]:
    """Return the fields of a data class and of those in it; mappings and bytes are not copied."""
    return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}


def _plain(value: Any) -> Any:
    """Return the fields of a data class, or the value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _fields(value)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value


@functools.cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    """Return what validates a data class; making it takes some milliseconds."""
    return TypeAdapter(kind)


def _error_fields(error: OctaboxError) -> dict[str, Any]:
    """Return the class and the attributes of an error."""
    fields = {name: value for name, value in vars(error).items() if name != "problems"}
    problems = getattr(error, "problems", ())
    return {"class": type(error).__name__, **fields, "problems": [_error_fields(each) for each in problems]}


def _error(fields: dict[str, Any]) -> OctaboxError:
    """Return the error of a class with these attributes; of a class that no longer exists, a general one."""
    kind = next((each for each in _classes(OctaboxError) if each.__name__ == fields["class"]), OctaboxError)
    state = {name: value for name, value in fields.items() if name not in {"class", "problems"}}
    if problems := fields["problems"]:
        state["problems"] = tuple(_error(each) for each in problems)
    error = kind.__new__(kind)
    Exception.__init__(error, state["message"])
    vars(error).update(state, choices=tuple(state["choices"]))
    return error


def _classes(kind: type[OctaboxError]) -> Iterator[type[OctaboxError]]:
    """Yield a class of errors and all that are derived from it."""
    yield kind
    for derived in kind.__subclasses__():
        yield from _classes(derived)


#: The errors of jobs are looked up by their names, so that their module has to be imported.
ERRORS = (job_errors.WorkerLostError,)
