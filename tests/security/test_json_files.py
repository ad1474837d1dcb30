"""JSON of files from anywhere is read within limits."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from octabox.security.json_files import (
    MAX_BYTES,
    MAX_DEPTH,
    JsonLimitError,
    check_json,
    parse_json,
    read_json,
    write_json,
)


@pytest.mark.parametrize(
    "value",
    [{"a": [1, 2.5, None, True]}, "a [[[ string", 'quotes " and \\\\', [], 5, {"\ud800": "[" * 200}, [[[]]] * 1000],
)
def test_values(tmp_path: Path, value: Any) -> None:
    """They are returned as json returns them; brackets in strings do not count."""
    (tmp_path / "x.json").write_text(json.dumps(value))

    assert value == read_json(tmp_path / "x.json")
    assert value == parse_json(json.dumps(value))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested more than 64 levels"),
        ('{"a":' * 100_000, "nested more than 64 levels"),
        ("[" * 64 + "1" + "]" * 64, ""),
        (" " * (MAX_BYTES + 1), "more than 1048576 bytes"),
    ],
)
def test_limits(content: str, reason: str) -> None:
    """A text that exceeds one is refused before it is parsed."""
    if reason:
        with pytest.raises(JsonLimitError, match=reason):
            parse_json(content)
    else:
        parse_json(content)


def test_the_number_of_values() -> None:
    """A large file of small values would take many times its size."""
    with pytest.raises(JsonLimitError, match="more than 8000000 values"):
        check_json(b"[" + b"0," * 8_000_001, 2**25)


@pytest.mark.parametrize("text", [b'"' + b'\\"' * 100_000, b'["' * 30_000, b'"' * 99_999, b"\\" * 200_000])
def test_texts_that_end_in_a_string(text: bytes) -> None:
    """They take no more time than others."""
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"\w"):
        parse_json(text)

    assert time.perf_counter() - start < 10


def test_other_files(tmp_path: Path) -> None:
    """A large file is not read as a whole; a folder is an error of the system."""
    with (tmp_path / "x.json").open("wb") as file:
        file.truncate(2**34)
    with pytest.raises(JsonLimitError):
        read_json(tmp_path / "x.json")
    with pytest.raises(OSError, match=r"folder|directory"):
        read_json(tmp_path)


def test_a_value_is_written_whole(tmp_path: Path) -> None:
    """The folder is created, the value is read again, and no other file is left."""
    file = tmp_path / "folder" / "value.json"
    write_json(file, {"a": 1})
    write_json(file, {"a": [2]})

    assert {"a": [2]} == read_json(file)
    assert [file] == list(file.parent.iterdir())
