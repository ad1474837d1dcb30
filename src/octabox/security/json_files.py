"""Read JSON of files that come from anywhere, within limits of its size, nesting and number of values, and write JSON files."""

from __future__ import annotations

import json
import re
from itertools import accumulate
from pathlib import Path
from typing import Any

from octabox.security.filesystem import read_file, write_file

#: Largest configuration in bytes; that of a model has a few thousand.
MAX_BYTES = 2**20

#: Maximum nesting of lists and objects.
MAX_DEPTH = 64

#: Maximum number of commas, and so of values: the largest vocabularies of tokenizers have a million words.
MAX_VALUES = 8_000_000

#: A string, or one that is not terminated; so that no part of the text is read twice.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"?', re.DOTALL)

#: All bytes but brackets and commas, and the change of the nesting by each byte.
_OTHERS = bytes(set(range(256)) - set(b"[]{},"))
_STEPS = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class JsonLimitError(ValueError):
    """A JSON text would take too much memory or too many nested calls; the message is the reason, as a part of a sentence."""


def read_json(path: Path, limit: int = MAX_BYTES) -> Any:
    """Return the content of a JSON file.

    Args:
        path: The file.
        limit: Largest size in bytes.

    Raises:
        OSError: It cannot be read, or is not a regular file.
        ValueError: It is not valid JSON, or exceeds a limit.
    """
    return parse_json(read_file(path, limit + 1), limit)


def write_json(path: Path, value: Any) -> None:
    """Write a value to a JSON file, whose folder is created; readers see the previous content or all of the new one.

    Raises:
        OSError: It cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, json.dumps(value, indent=1).encode())


def parse_json(content: str | bytes, limit: int = MAX_BYTES) -> Any:
    """Return the value of a JSON text.

    Raises:
        ValueError: It is not valid JSON, or exceeds a limit.
    """
    encoded = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    check_json(encoded, limit)
    try:
        return json.loads(content)
    except RecursionError as error:
        raise JsonLimitError("it is nested too deeply") from error


def check_json(content: bytes, limit: int = MAX_BYTES) -> None:
    """Check the size, nesting and number of values of a JSON text, without parsing it.

    Raises:
        JsonLimitError: It exceeds a limit.
    """
    if len(content) > limit:
        raise JsonLimitError(f"it has more than {limit} bytes")
    structure = _STRING.sub(b"", content).translate(None, _OTHERS)
    if structure.count(b",") > MAX_VALUES:
        raise JsonLimitError(f"it has more than {MAX_VALUES} values")
    brackets = structure.translate(None, b",")
    if max(accumulate(map(_STEPS.__getitem__, brackets)), default=0) > MAX_DEPTH:
        raise JsonLimitError(f"it is nested more than {MAX_DEPTH} levels deep")
