"""Messages of LocalAI's contract with fields of any value: each call ends with a typed status, and the next one is served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from hypothesis import strategies as st

from fuzz.budget import fuzz
from localai_backend import Client, messages, running_backend
from octabox import demo

pytestmark = pytest.mark.slow

#: Seconds that any call may take.
LIMIT = 60

#: Status of a fault of the program.
FAULTS = {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL, grpc.StatusCode.DEADLINE_EXCEEDED}

SERVICE = messages.DESCRIPTOR.services_by_name["Backend"]

#: Numbers at the edges of what fields hold; images stay small.
NUMBERS = st.sampled_from([0, 1, 2, -1, -5, 7, 64, 127])

TEXTS = st.sampled_from(
    ["", "a", "x|y", "(((", "\0", "euler", "../..", "{", "__x__", "cfg:1e999", "a:b", "prompt:[1"]
) | st.text(max_size=20)


#: Values by the type of a field; other types are integers.
VALUES: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_FLOAT: NUMBERS.map(float) | st.floats(width=32),
    FieldDescriptor.TYPE_DOUBLE: NUMBERS.map(float) | st.floats(),
    FieldDescriptor.TYPE_STRING: TEXTS,
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=20),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
}


def values(field: Any) -> st.SearchStrategy[Any]:
    """Return values of a field of a message."""
    if field.message_type is not None:
        return drawn(field.message_type)
    if field.enum_type is not None:
        return st.sampled_from([each.number for each in field.enum_type.values])
    unsigned = field.cpp_type in (FieldDescriptor.CPPTYPE_UINT32, FieldDescriptor.CPPTYPE_UINT64)
    return VALUES.get(field.type, NUMBERS.map(abs) if unsigned else NUMBERS)


def is_map(field: Any) -> bool:
    """Return whether a field is a map."""
    return field.message_type is not None and field.message_type.GetOptions().map_entry


@st.composite
def drawn(draw: st.DrawFn, kind: Any) -> dict[str, Any]:
    """Draw fields of a message, as arguments of its class."""
    found: dict[str, Any] = {}
    if not kind.fields:
        return found
    for field in draw(st.lists(st.sampled_from(list(kind.fields)), max_size=4, unique_by=lambda each: each.name)):
        if is_map(field):
            key, value = (field.message_type.fields_by_name[name] for name in ("key", "value"))
            found[field.name] = draw(st.dictionaries(values(key), values(value), max_size=2))
        elif field.is_repeated:
            found[field.name] = draw(st.lists(values(field), max_size=2))
        else:
            found[field.name] = draw(values(field))
    return found


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Return a client of a backend that has loaded the embedded model."""
    with running_backend("--allow-path", str(tmp_path_factory.getbasetemp())) as client:
        assert client.load(demo.FOLDER).success
        yield client


def status_of(client: Client, method: Any, fields: dict[str, Any]) -> tuple[grpc.StatusCode, str]:
    """Call a method, and return its status and details."""
    request = getattr(messages, method.input_type.name)(**fields)
    try:
        answer = getattr(client.stub, method.name)(request, timeout=LIMIT)
        if method.server_streaming:
            list(answer)
    except grpc.RpcError as error:
        return error.code(), error.details()
    return grpc.StatusCode.OK, ""


@pytest.mark.parametrize("name", [each.name for each in SERVICE.methods if not each.client_streaming])
def test_messages_of_any_values(backend: Client, name: str, tmp_path: Path) -> None:
    """A status that says whose fault it is; afterwards an image is made as before."""
    method = SERVICE.methods_by_name[name]
    backend.load(demo.FOLDER)

    known = {"dst": str(tmp_path / "made"), "positive_prompt": "a red circle", "prompt": "x", "text": "x", "step": 2}
    complete = {key: value for key, value in known.items() if key in method.input_type.fields_by_name}

    def check(fields: dict[str, Any]) -> None:
        code, details = status_of(backend, method, {**complete, **fields})
        assert code not in FAULTS, details
        assert "Traceback" not in details

    fuzz(check, drawn(method.input_type), 0.2 / len(SERVICE.methods))

    backend.load(demo.FOLDER)
    assert backend.image(tmp_path / "x.png", width=64, height=64).success
