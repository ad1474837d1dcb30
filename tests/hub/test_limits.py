"""Files that libraries read as a whole are checked before."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from octabox import demo
from octabox.errors import IncompatibleWeightsError
from octabox.hub.checkpoints.tensors import read_header
from octabox.hub.limits import MAX_HEADER_BYTES, MAX_JSON_BYTES, check_header, check_model_files


def test_a_model() -> None:
    """The embedded one passes, as do a Hub id and a missing folder."""
    check_model_files(str(demo.FOLDER))
    check_model_files("owner/name")
    check_model_files("/nowhere")


@pytest.mark.parametrize("name", ["model_index.json", "unet/config.json", "text_encoder/model.safetensors.index.json"])
@pytest.mark.parametrize("content", [b"[" * 5000, None])
def test_json_of_a_folder(tmp_path: Path, name: str, content: bytes | None) -> None:
    """Nested too deeply, or too large: the error names the file."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    with (tmp_path / name).open("wb") as file:
        file.write(content or b"")
        file.truncate(len(content) if content else MAX_JSON_BYTES + 1)

    with pytest.raises(IncompatibleWeightsError, match=f"{name} is refused: it "):
        check_model_files(str(tmp_path))


def with_header(file: Path, length: int, header: bytes, size: int) -> Path:
    """Write a .safetensors file that announces a header of a length."""
    file.parent.mkdir(exist_ok=True)
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", length) + header)
        stream.truncate(size)
    return file


@pytest.mark.parametrize(
    ("length", "header", "size"),
    [(MAX_HEADER_BYTES + 1, b"{", MAX_HEADER_BYTES + 100), (5000, b'{"__metadata__":' + b'{"a":' * 900, 5008)],
)
def test_headers(tmp_path: Path, length: int, header: bytes, size: int) -> None:
    """Too large, or nested: the same error for a folder and for a single file."""
    file = with_header(tmp_path / "unet/x.safetensors", length, header, size)

    with pytest.raises(IncompatibleWeightsError, match=r"x\.safetensors is refused: its header"):
        check_model_files(str(tmp_path))
    with pytest.raises(IncompatibleWeightsError, match="its header exceeds a limit"):
        read_header(file)


def test_headers_that_are_damaged_or_valid(tmp_path: Path) -> None:
    """A file that is shorter than its header, or empty, is reported where it is loaded."""
    check_header(with_header(tmp_path / "x.safetensors", 2**60, b"", 20))
    (tmp_path / "empty.safetensors").touch()
    check_header(tmp_path / "empty.safetensors")
    save_file({"a": np.zeros(1)}, tmp_path / "valid.safetensors", {"note": "[{" * 500})

    check_header(tmp_path / "valid.safetensors")
