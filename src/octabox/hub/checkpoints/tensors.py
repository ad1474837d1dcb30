"""Read the names and shapes of a single file's tensors, and none of its numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from octabox.errors import IncompatibleWeightsError, ModelNotFoundError
from octabox.hub.checkpoints.gguf import read_gguf
from octabox.hub.checkpoints.pickles import read_pickle
from octabox.hub.folder import PICKLE_SUFFIXES

#: Names and shapes of tensors.
Shapes = Mapping[str, tuple[int, ...]]

#: Longest header that the format allows, in bytes.
_LONGEST_HEADER = 100_000_000

_DAMAGED = "The file is damaged or was cut short; fetch it again."


def read_shapes(file: Path) -> Shapes:
    """Return the shape of every tensor in a .safetensors, .gguf, .ckpt, .pt or .pth file, by name.

    Raises:
        ModelNotFoundError: There is no such file.
        IncompatibleWeightsError: It is damaged, cut short, or not what its ending says.
        RemoteCodeError: It is a pickle that would run code.
    """
    suffix = file.suffix.lower()
    reader: Callable[[Path], Shapes] = read_safetensors
    if suffix == ".gguf":
        reader = read_gguf
    elif suffix in PICKLE_SUFFIXES:
        reader = read_pickle
    try:
        return reader(file)
    except FileNotFoundError as error:
        raise ModelNotFoundError(f"There is no file {file}.", hint="Check the path.") from error
    except OSError as error:
        raise IncompatibleWeightsError(f"{file} cannot be read: {error.strerror or error}.", hint=_DAMAGED) from error


def read_safetensors(file: Path) -> Shapes:
    """Return the shape of every tensor in a .safetensors file.

    Raises:
        IncompatibleWeightsError: Its header is broken, or tells of more bytes than the file has.
    """
    return read_header(file)[0]


def read_header(file: Path) -> tuple[Shapes, Mapping[str, str]]:
    """Return the shape of every tensor in a .safetensors file, and what its author noted in it.

    Raises:
        IncompatibleWeightsError: Its header is broken, or tells of more bytes than the file has.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or not 2 <= length <= min(_LONGEST_HEADER, size - 8):  # noqa: PLR2004 (the header's own length)
            raise IncompatibleWeightsError(f"{file} is no safetensors file, or was cut short.", hint=_DAMAGED)
        text = stream.read(length)
    try:
        header = json.loads(text)
        noted = header.pop("__metadata__", None) or {}
        notes = {str(name): value for name, value in noted.items() if isinstance(value, str)}
        shapes = {name: tuple(map(int, entry["shape"])) for name, entry in header.items()}
        end = max((int(entry["data_offsets"][1]) for entry in header.values()), default=0)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise IncompatibleWeightsError(f"{file} has a header that cannot be read.", hint=_DAMAGED) from error
    if 8 + length + end > size:
        missing = 8 + length + end - size
        raise IncompatibleWeightsError(
            f"{file} was cut short: {missing} bytes of its tensors are missing.", hint=_DAMAGED
        )
    return shapes, notes


def summarize_names(shapes: Mapping[str, Any], count: int = 4) -> str:
    """Return a few of the names, for an error."""
    names = sorted(shapes)
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more if names else "none"
