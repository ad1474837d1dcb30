"""Arrays in and out."""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from octabox.errors import GenerationError, InvalidParameterError, MediaError
from octabox.media.arrays import decode, encode, from_lists
from octabox.media.limits import MediaLimits
from octabox.types import OutputFormat

LIMITS = MediaLimits(max_bytes=100_000)


def file_of(array: npt.NDArray[Any], **options: Any) -> bytes:
    """Return an array as an .npy file."""
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def with_header(said: str, values: bytes = b"", version: int = 1) -> bytes:
    """Return an .npy file with a header of our own."""
    length = len(said).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + said.encode() + values


def read(data: bytes) -> npt.NDArray[Any]:
    """Decode a file as the parameter ``latents``."""
    return decode(data, parameter="latents", limits=LIMITS)


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f2", "<f8", "|u1", "<i8", "|b1"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3, 4), (1, 4)])
def test_what_is_read(kind: str, shape: tuple[int, ...]) -> None:
    """Every array of numbers comes back as it was, in this machine's byte order."""
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(kind)
    found = read(file_of(array))

    assert (shape, array.dtype.newbyteorder("="), True) == (found.shape, found.dtype, found.flags.writeable)
    assert np.array_equal(array, found)


def test_columns_first() -> None:
    """An array that stands in Fortran's order in its file has the same values."""
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))

    assert np.array_equal(array, read(file_of(array)))


@pytest.mark.parametrize("version", [2, 3])
def test_later_versions(version: int) -> None:
    """Files of all versions of the format are read."""
    data = with_header("{'descr': '<f4', 'fortran_order': False, 'shape': (1,)}\n", b"\0\0\x80\x3f", version)

    assert [1.0] == read(data).tolist()


SHAPE = "{{'descr': '{}', 'fortran_order': False, 'shape': {}}}\n"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "is empty"),
        (b"\x93NUMPY", "or not an .npy file"),
        (b"\x93NUMPY\x01\0", "or not an .npy file"),
        (b"\x93NUMPY\x09\0\0\0", "or not an .npy file"),
        (b"PK\x03\x04" + b"\0" * 50, "or not an .npy file"),
        (file_of(np.zeros(100))[:90], "or not an .npy file"),
        (file_of(np.zeros(100))[:-1], "declares 100 values of 8 bytes, but has 799 bytes"),
        (file_of(np.zeros(100)) + b"x", "has 801 bytes"),
        (with_header(SHAPE.format("<f8", (10**6, 10**6))), "declares 1000000x1000000 values"),
        (with_header(SHAPE.format("<f8", (10**30, 0))), "cannot be read"),
        (with_header(SHAPE.format("<f8", (-1,)), bytes(8)), "or not an .npy file"),
        (with_header(SHAPE.format("<f8", "9" * 9000), bytes(8)), "or not an .npy file"),
        (with_header("(" * 5000, bytes(8)), "or not an .npy file"),
        (with_header("__import__('os').abort()"), "or not an .npy file"),
        (with_header(SHAPE.format("nonsense", (1,)), bytes(8)), "or not an .npy file"),
        (file_of(np.array([{"a": 1}]), allow_pickle=True), "type 'object'"),
        (file_of(np.array(["text"])), "not a real number type"),
        (file_of(np.array([1j])), "not a real number type"),
        (file_of(np.zeros(3, [("a", "<f4"), ("b", "<i4")])), "not a real number type"),
        (file_of(np.zeros((0, 4))), r"has no values: its shape is \[0, 4\]"),
        (file_of(np.array([1, np.nan, np.inf])), "infinite: 2 of 3"),
        (b"x" * 100_001, "100001 bytes"),
    ],
)
def test_what_cannot_be_read(data: bytes, says: str) -> None:
    """Each file that is no array of numbers is an error that names the parameter; nothing is run or allocated for it."""
    with pytest.raises(MediaError, match=says) as caught:
        read(data)

    assert "latents" == caught.value.parameter


@pytest.mark.parametrize(("value", "kind"), [([[1, 2], [3, 4]], np.int64), ([0.5], np.float32), (3, np.int64)])
def test_lists(value: Any, kind: type) -> None:
    """Nested lists of numbers are an array."""
    found = from_lists(value, parameter="timesteps")

    assert (np.dtype(kind), value) == (found.dtype, found.tolist())


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([[1, 2], [3]], "different lengths"),
        ([1, [2]], "different lengths"),
        ([1, "a"], "only numbers"),
        (["1"], "only numbers"),
        ([None], "only numbers"),
        ({"a": 1}, "only numbers"),
        ([10**40], "only numbers"),
        ([], r"has no values: its shape is \[0\]"),
        ([[1.0, float("inf")]], "infinite: 1 of 2"),
    ],
)
def test_lists_that_are_no_array(value: Any, says: str) -> None:
    """What is no array of numbers names the parameter."""
    with pytest.raises(InvalidParameterError, match=says) as caught:
        from_lists(value, parameter="timesteps")

    assert "timesteps" == caught.value.parameter


def test_several_arrays_are_one_file() -> None:
    """An NPZ holds every array under its name, even under one that numpy uses itself."""
    arrays: dict[str, npt.NDArray[Any]] = {"depth": np.ones((2, 3), np.float32), "file": np.arange(3)}
    content, media_type = encode(arrays, OutputFormat())
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        assert {"depth", "file_"} == set(found)
        assert np.array_equal(arrays["depth"], found["depth"])

    assert "application/x-npz" == media_type


def test_one_array() -> None:
    """An NPY holds one array, and can be sent back."""
    content, media_type = encode({"depth": np.ones((2, 3))}, OutputFormat("npy"))

    assert "application/x-npy" == media_type
    assert np.array_equal(np.ones((2, 3)), read(content))


def test_several_arrays_are_no_npy() -> None:
    """An NPY for two arrays is refused, with the format that could hold them."""
    with pytest.raises(InvalidParameterError, match="Request npz") as caught:
        encode({"a": np.ones(1), "b": np.ones(1)}, OutputFormat("npy"))

    assert "output_format" == caught.value.parameter


def test_objects_are_not_written() -> None:
    """Nothing is written that would have to be unpickled."""
    with pytest.raises(GenerationError, match="array of objects"):
        encode({"a": np.array([{}])}, OutputFormat())
