"""Limits of the files of a model that libraries read as a whole: JSON, and the headers of weights."""

from __future__ import annotations

import struct
from pathlib import Path

from octabox.errors import IncompatibleWeightsError
from octabox.security.filesystem import open_file, read_file
from octabox.security.json_files import JsonLimitError, check_json

#: Largest JSON file of a model in bytes: that of a tokenizer with its merges.
MAX_JSON_BYTES = 128 * 2**20

#: Largest header of a .safetensors file in bytes; that of a model with 10,000 tensors has a million.
MAX_HEADER_BYTES = 32 * 2**20

_HINT = "The files of a model do not; delete it, or download it again."


def check_model_files(source: str) -> None:
    """Check the JSON files and the headers of weights of a model or component folder; a Hub id and a missing folder have none.

    Raises:
        IncompatibleWeightsError: One exceeds a limit.
    """
    folder = Path(source)
    if not folder.is_dir():
        return
    for path in _files(folder, ".json"):
        if path.is_file():
            try:
                check_json(read_file(path, MAX_JSON_BYTES + 1), MAX_JSON_BYTES)
            except JsonLimitError as error:
                raise _limit_error(path, str(error)) from error
    for path in _files(folder, ".safetensors"):
        if path.is_file():
            check_header(path)


def check_size(name: str, size: int) -> None:
    """Check the size of a file before it is downloaded, if it is a JSON file.

    Raises:
        IncompatibleWeightsError: It exceeds the limit.
    """
    if name.lower().endswith(".json") and size > MAX_JSON_BYTES:
        raise _limit_error(name, f"it has more than {MAX_JSON_BYTES} bytes")


def _files(folder: Path, suffix: str) -> list[Path]:
    """Return the paths with a suffix in a folder and two levels below, as deep as the parts of adapters are."""
    return sorted(path for level in ("", "*/", "*/*/") for path in folder.glob(f"{level}*{suffix}"))


def check_header(file: Path) -> None:
    """Check the size, nesting and number of values of the header of a .safetensors file; a damaged one is not reported.

    Raises:
        OSError: The file cannot be read.
        IncompatibleWeightsError: The header exceeds a limit.
    """
    with open_file(file) as stream:
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0  # noqa: PLR2004 (the size of the number)
        if length > file.stat().st_size:
            return
        try:
            check_json(stream.read(min(length, MAX_HEADER_BYTES + 1)), MAX_HEADER_BYTES)
        except JsonLimitError as error:
            raise _limit_error(file, f"its header exceeds a limit: {error}") from error


def _limit_error(path: Path | str, reason: str) -> IncompatibleWeightsError:
    return IncompatibleWeightsError(f"{path} is refused: {reason}, so that it would take too much memory.", hint=_HINT)
