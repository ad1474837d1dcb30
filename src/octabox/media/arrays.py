"""Read arrays that clients send, and write those that models make."""

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

#: How an .npy file begins.
MAGIC = b"\x93NUMPY"

#: Struct formats of the header's length, by the file's major version (numpy's format description, NEP 1).
LENGTHS = {1: "<H", 2: "<I", 3: "<I"}

#: Bytes of the longest header that is read; that of an array of numbers has a hundred.
LONGEST_HEADER = 10_000

#: Kinds of values that are numbers: booleans, integers with and without a sign, floats.
NUMBERS = "biuf"

#: What to do about numbers that nothing can be made of.
SENSE = "Send finite numbers, at least one."

HINT = "Send an .npy file of numbers, as numpy.save writes it."


def decode(data: bytes, *, parameter: str, limits: MediaLimits) -> npt.NDArray[Any]:
    """Return the array of an .npy file; what its header claims is checked before anything is allocated.

    Raises:
        MediaError: The file is no .npy file of numbers, is damaged or too large, or its numbers are none.
    """
    limits.check_bytes(data, parameter)
    try:
        kind, shape, fortran, begin = _header(data)
    except (ValueError, SyntaxError, TypeError, LookupError, struct.error, RecursionError, MemoryError) as error:
        raise _unreadable(parameter, "is no .npy file, or is damaged") from error
    if kind.kind not in NUMBERS:
        raise _unreadable(parameter, f"holds values of type '{kind}', which are no real numbers")
    count = math.prod(shape)
    if count * kind.itemsize != len(data) - begin:
        size = "x".join(map(str, shape)) or "1"
        why = f"claims {size} values of {kind.itemsize} bytes, and has {len(data) - begin} bytes"
        raise _unreadable(parameter, why)
    try:
        flat = np.frombuffer(data, kind, count, begin)
        # A copy: what is passed on may be written to, and has the byte order of the machine.
        array = flat.reshape(shape, order="F" if fortran else "C").astype(kind.newbyteorder("="))
    except (ValueError, OverflowError, MemoryError) as error:
        raise _unreadable(parameter, f"cannot be read: {error}") from error
    if problem := _senseless(array):
        raise MediaError(f"The file for '{parameter}' {problem}.", hint=SENSE, parameter=parameter)
    return array


def _header(data: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Return what the header of an .npy file says: the type, the shape, the order, and where the values begin."""
    if not data.startswith(MAGIC):
        raise ValueError("no magic")
    layout, at = LENGTHS[data[len(MAGIC)]], len(MAGIC) + 2
    (length,) = struct.unpack_from(layout, data, at)
    begin = at + struct.calcsize(layout)
    if length > min(LONGEST_HEADER, len(data) - begin):
        raise ValueError("header is too long")
    said = ast.literal_eval(data[begin : begin + length].decode("utf-8").strip())
    shape, fortran, name = said["shape"], said["fortran_order"], said["descr"]
    sides = isinstance(shape, tuple) and all(type(side) is int and side >= 0 for side in shape)
    if not sides or not isinstance(fortran, bool):
        raise ValueError("wrong header")
    # A list describes records, whose fields are no numbers; such a type is refused by its kind.
    return np.dtype(name), shape, fortran, begin + length


def _senseless(array: npt.NDArray[Any]) -> str | None:
    """Return why nothing can be made of an array; None where something can."""
    if not array.size:
        return f"holds no numbers: its shape is {list(array.shape)}"
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        return f"holds numbers that are none (NaN) or infinite: {int((~np.isfinite(array)).sum())} of {array.size}"
    return None


def _unreadable(parameter: str, why: str) -> MediaError:
    return MediaError(f"The file for '{parameter}' {why}.", hint=HINT, parameter=parameter)


def from_lists(value: Any, *, parameter: str) -> npt.NDArray[Any]:
    """Return nested lists of numbers as an array: integers as int64, else float32, as models take them.

    Raises:
        InvalidParameterError: The lists are not of one length on each level, or hold something else than finite numbers.
    """
    try:
        found = np.asarray(value)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InvalidParameterError(
            f"'{parameter}' has lists of several lengths on one level.",
            hint="Every list must have as many items as those beside it.",
            parameter=parameter,
        ) from error
    if found.dtype.kind not in NUMBERS:
        raise InvalidParameterError(f"'{parameter}' must hold numbers only.", parameter=parameter)
    if problem := _senseless(found):
        raise InvalidParameterError(f"'{parameter}' {problem}.", hint=SENSE, parameter=parameter)
    return found.astype(np.float32) if found.dtype.kind == "f" else found


def encode(arrays: Mapping[str, npt.NDArray[Any]], output: OutputFormat) -> tuple[bytes, str]:
    """Return arrays as a file, and the file's media type: NPZ under their names, or the one array alone as NPY.

    Raises:
        InvalidParameterError: The format is none that is written, or NPY is to hold several arrays.
        GenerationError: An array holds something else than numbers.
    """
    check_output_format(output, "array")
    name, file = select_format("array", output), io.BytesIO()
    if any(array.dtype.hasobject for array in arrays.values()):
        raise GenerationError("The model made an array that holds no numbers.")
    if name == "npz":
        fields: dict[str, Any] = {_field(field): array for field, array in arrays.items()}
        np.savez(file, **fields)
        return file.getvalue(), media_type_of(name)
    if len(arrays) != 1:
        raise InvalidParameterError(
            f"{len(arrays)} arrays cannot be one file of npy.", hint="Ask for npz.", parameter="output_format"
        )
    np.save(file, next(iter(arrays.values())), allow_pickle=False)
    return file.getvalue(), media_type_of(name)


def _field(name: str) -> str:
    """Return a name that `savez` does not take for an argument of its own."""
    return f"{name}_" if name in {"file", "allow_pickle"} else name
