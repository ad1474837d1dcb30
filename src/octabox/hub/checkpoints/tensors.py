"""Read tensor names and shapes from a single file, without loading its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors import SafetensorError, safe_open

from octabox.errors import IncompatibleWeightsError, ModelNotFoundError
from octabox.hub.checkpoints.gguf import read_gguf
from octabox.hub.checkpoints.pickles import read_pickle
from octabox.hub.folder import PICKLE_SUFFIXES
from octabox.hub.limits import check_header

#: Shapes of tensors by name.
Shapes = Mapping[str, tuple[int, ...]]

#: Shapes of the tensors of a file, and its metadata.
Header = tuple[Shapes, Mapping[str, str]]

#: How many headers are kept; one of a large checkpoint takes about a megabyte.
KEPT_HEADERS = 32

_DAMAGED = "The file is damaged or truncated; download it again."


def read_shapes(file: Path) -> Shapes:
    """Return the shapes of all tensors in a .safetensors, .gguf, .ckpt, .pt or .pth file, by name.

    Raises:
        ModelNotFoundError: The file does not exist.
        IncompatibleWeightsError: The file is damaged, truncated, or not of the format of its suffix.
        RemoteCodeError: The file is a pickle that would run code.
    """
    suffix = file.suffix.lower()
    try:
        if suffix == ".gguf":
            return _kept(read_gguf, file)[0]
        return _kept(read_pickle, file)[0] if suffix in PICKLE_SUFFIXES else read_safetensors(file)
    except FileNotFoundError as error:
        raise ModelNotFoundError(f"There is no file {file}.", hint="Check the path.") from error
    except OSError as error:
        raise IncompatibleWeightsError(f"{file} cannot be read: {error.strerror or error}.", hint=_DAMAGED) from error


def read_safetensors(file: Path) -> Shapes:
    """Return the shapes of all tensors in a .safetensors file, by name.

    Raises:
        IncompatibleWeightsError: The file is damaged or truncated.
    """
    return read_header(file)[0]


def read_header(file: Path) -> Header:
    """Return the shapes of all tensors in a .safetensors file by name, and its metadata.

    A file is read again only where its size or its time of modification has changed.

    Raises:
        OSError: The file cannot be read.
        IncompatibleWeightsError: The file is damaged or truncated, or its header is too large.
    """
    return _kept(_read_header, file)


def _kept(reader: Callable[[Path], Shapes | Header], file: Path) -> Header:
    """Return what a reader has returned for a file that has not changed since."""
    stat = file.stat()
    return _read_kept(reader, file, stat.st_size, stat.st_mtime_ns)


@lru_cache(KEPT_HEADERS)
def _read_kept(reader: Callable[[Path], Shapes | Header], file: Path, _size: int, _modified: int) -> Header:
    """Read the header of a file; errors are not kept."""
    found = reader(file)
    shapes, metadata = found if isinstance(found, tuple) else (found, {})
    return MappingProxyType(dict(shapes)), MappingProxyType(dict(metadata))


def _read_header(file: Path) -> Header:
    """Read the header of a .safetensors file."""
    check_header(file)
    try:
        with safe_open(file, framework="np") as opened:
            shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118 (a method)
            return shapes, opened.metadata() or {}
    except SafetensorError as error:
        raise IncompatibleWeightsError(
            f"{file} is not a valid safetensors file, or truncated: {error}.", hint=_DAMAGED
        ) from error


def read_numbers(file: Path, names: Mapping[str, str]) -> dict[str, float]:
    """Return single numbers that are stored as tensors of a .safetensors file; those that it lacks are left out.

    Args:
        file: The file.
        names: Names of the tensors, by the names of the numbers.
    """
    if file.suffix.lower() != ".safetensors":
        return {}
    found: dict[str, float] = {}
    with safe_open(file, framework="np") as opened:
        for key in set(opened.keys()) & set(names.values()):
            # NumPy has no type for bfloat16 and smaller ones.
            with suppress(SafetensorError, TypeError):
                if (tensor := opened.get_tensor(key)).size == 1:
                    found[key] = float(tensor.reshape(-1)[0])
    return {name: found[key] for name, key in names.items() if key in found}


def summarize_names(shapes: Mapping[str, Any], count: int = 4) -> str:
    """Return the first names and the number of the others, for a message."""
    names = sorted(shapes)
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more if names else "none"
