"""Names and shapes in files of the format GGUF."""

import struct
from pathlib import Path

import pytest

from octabox.errors import IncompatibleWeightsError
from octabox.hub.checkpoints.gguf import read_gguf


def text(words: str) -> bytes:
    """Return a text as the format writes it."""
    return struct.pack("<Q", len(words.encode())) + words.encode()


#: Metadata of every kind: a number, a text, a list of numbers, a list of texts.
PAIRS = (
    text("a") + struct.pack("<II", 4, 7)
    + text("b") + struct.pack("<I", 8) + text("flux")
    + text("c") + struct.pack("<IIQ", 9, 5, 2) + struct.pack("<ii", 1, 2)
    + text("d") + struct.pack("<IIQ", 9, 8, 2) + text("x") + text("yz")
)  # fmt: skip


def made(version: int = 3, tensors: int = 1, pairs: int = 4, data: bytes = b"\x00" * 128) -> bytes:
    """Return a file with one tensor of 2 rows and 3 columns."""
    infos = text("w.weight") + struct.pack("<IQQIQ", 2, 3, 2, 0, 0)
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs) + PAIRS + infos + data


@pytest.mark.parametrize("version", [2, 3])
def test_shapes_are_in_the_order_of_torch(tmp_path: Path, version: int) -> None:
    """The format has the innermost dimension first; metadata of any kind are passed over."""
    (tmp_path / "x.gguf").write_bytes(made(version))

    assert {"w.weight": (2, 3)} == read_gguf(tmp_path / "x.gguf")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"GGML" + made()[4:],
        made(version=1),
        made(tensors=2, data=b""),
        made(tensors=2**60),
        made(pairs=2**60),
        made(pairs=5),
        made(data=b""),
        made()[:40],
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<I", 99),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 5, 2**40),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + struct.pack("<Q", 1) + b"\xff" + struct.pack("<I", 4),
    ],
)
def test_a_broken_file_is_told(tmp_path: Path, content: bytes) -> None:
    """Counts that the file cannot hold are not believed, and nothing is read past its end."""
    (tmp_path / "x.gguf").write_bytes(content)

    with pytest.raises(IncompatibleWeightsError, match=r"x\.gguf"):
        read_gguf(tmp_path / "x.gguf")
