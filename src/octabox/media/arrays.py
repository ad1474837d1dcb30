"""Decode input arrays and encode output arrays."""

from __future__ import annotations

import ast
import io
import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from octabox.errors import GenerationError, InvalidParameterError, MediaError
from octabox.media.formats import check_output_format, media_type_of, select_format
from octabox.media.limits import MediaLimits
from octabox.types import OutputFormat

#: Magic bytes of an .npy file.
MAGIC = b"\x93NUMPY"

#: Struct formats of the header's length, by the file's major version (numpy's format description, NEP 1).
LENGTHS = {1: "<H", 2: "<I", 3: "<I"}

#: Maximum size of a header in bytes; typical headers have a hundred.
MAX_HEADER = 10_000

#: Kinds of numeric dtypes: booleans, signed and unsigned integers, floats.
NUMBERS = "biuf"

#: Hint for empty arrays and for values that are not finite.
FINITE_HINT = "Send at least one number, and only finite ones."

NPY_HINT = "Send an .npy file of numbers, as numpy.save writes it."


def decode(data: bytes, *, parameter: str, limits: MediaLimits) -> npt.NDArray[Any]:
    """Decode an .npy file; its header is validated before memory is allocated.

    Raises:
        MediaError: The file is not a numeric .npy file, is damaged or too large, or has values that are not finite.
    """
    limits.check_bytes(data, parameter)
    try:
        dtype, shape, fortran, begin = _header(data)
    except (ValueError, SyntaxError, TypeError, LookupError, struct.error, RecursionError, MemoryError) as error:
        raise _unreadable(parameter, "is damaged, or not an .npy file") from error
    if dtype.kind not in NUMBERS:
        raise _unreadable(parameter, f"has the dtype '{dtype}', which is not a real number type")
    count = math.prod(shape)
    if count * dtype.itemsize != len(data) - begin:
        size = "x".join(map(str, shape)) or "1"
        why = f"declares {size} values of {dtype.itemsize} bytes, but has {len(data) - begin} bytes"
        raise _unreadable(parameter, why)
    try:
        flat = np.frombuffer(data, dtype, count, begin)
        # A copy, which is writable and in native byte order.
        array = flat.reshape(shape, order="F" if fortran else "C").astype(dtype.newbyteorder("="))
    except (ValueError, OverflowError, MemoryError) as error:
        raise _unreadable(parameter, f"cannot be read: {error}") from error
    if problem := _value_problem(array):
        raise MediaError(f"The file for '{parameter}' {problem}.", hint=FINITE_HINT, parameter=parameter)
    return array


def _header(data: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Return the dtype, shape, Fortran order flag and data offset in the header of an .npy file."""
    if not data.startswith(MAGIC):
        raise ValueError("no magic")
    layout, at = LENGTHS[data[len(MAGIC)]], len(MAGIC) + 2
    (length,) = struct.unpack_from(layout, data, at)
    begin = at + struct.calcsize(layout)
    if length > min(MAX_HEADER, len(data) - begin):
        raise ValueError("header is too long")
    header = ast.literal_eval(data[begin : begin + length].decode("utf-8").strip())
    shape, fortran, name = header["shape"], header["fortran_order"], header["descr"]
    is_valid = isinstance(shape, tuple) and all(type(size) is int and size >= 0 for size in shape)
    if not is_valid or not isinstance(fortran, bool):
        raise ValueError("wrong header")
    # A list describes a structured dtype, which is refused by its kind.
    return np.dtype(name), shape, fortran, begin + length


def _value_problem(array: npt.NDArray[Any]) -> str | None:
    """Return why the values of an array are invalid; None if they are valid."""
    if not array.size:
        return f"has no values: its shape is {list(array.shape)}"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return f"has values that are NaN or infinite: {int((~np.isfinite(array)).sum())} of {array.size}"
    return None


def _unreadable(parameter: str, why: str) -> MediaError:
    return MediaError(f"The file for '{parameter}' {why}.", hint=NPY_HINT, parameter=parameter)


def from_lists(value: Any, *, parameter: str) -> npt.NDArray[Any]:
    """Convert nested lists of numbers to an array: int64 for integers, float32 otherwise.

    Raises:
        InvalidParameterError: The lists of one level differ in length, or have values other than finite numbers.
    """
    try:
        found = np.asarray(value)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidParameterError(
            f"'{parameter}' has lists of different lengths on one level.",
            hint="All lists of one level must have the same length.",
            parameter=parameter,
        ) from error
    if found.dtype.kind not in NUMBERS:
        raise InvalidParameterError(f"'{parameter}' must contain only numbers.", parameter=parameter)
    if problem := _value_problem(found):
        raise InvalidParameterError(f"'{parameter}' {problem}.", hint=FINITE_HINT, parameter=parameter)
    return found.astype(np.float32) if found.dtype.kind == "f" else found


def encode(arrays: Mapping[str, npt.NDArray[Any]], output: OutputFormat) -> tuple[bytes, str]:
    """Encode arrays to a file, and return it with its media type: NPZ, or NPY for a single array.

    Raises:
        InvalidParameterError: The format is not supported, or NPY is requested for several arrays.
        GenerationError: An array has values other than numbers.
    """
    check_output_format(output, "array")
    name, file = select_format("array", output), io.BytesIO()
    if any(array.dtype.hasobject for array in arrays.values()):
        raise GenerationError("The model returned an array of objects.")
    if name == "npz":
        fields: dict[str, Any] = {_field(field): array for field, array in arrays.items()}
        np.savez(file, **fields)
        return file.getvalue(), media_type_of(name)
    if len(arrays) != 1:
        raise InvalidParameterError(
            f"{len(arrays)} arrays cannot be written to one npy file.", hint="Request npz.", parameter="output_format"
        )
    np.save(file, next(iter(arrays.values())), allow_pickle=False)
    return file.getvalue(), media_type_of(name)


def _field(name: str) -> str:
    """Return a name that is not an argument of `savez`."""
    return f"{name}_" if name in {"file", "allow_pickle"} else name
