"""Names and shapes, read from the header of a single file."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from octabox.errors import IncompatibleWeightsError, ModelNotFoundError
from octabox.hub.checkpoints import tensors
from octabox.hub.checkpoints.tensors import read_shapes, summarize_names


def test_names_and_shapes_are_read_and_metadata_is_not_a_tensor(tmp_path: Path) -> None:
    """A number without dimensions has the empty shape."""
    file = tmp_path / "x.safetensors"
    save_file({"a.weight": torch.zeros(2, 3), "b": torch.zeros(())}, file, metadata={"format": "pt"})

    assert {"a.weight": (2, 3), "b": ()} == read_shapes(file)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 7,
        b"\x00" * 64,
        b"\xff" * 64,
        (1000).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{]",
        (7).to_bytes(8, "little") + b'{"a":1}',
        (8).to_bytes(8, "little") + b'{"a":{}}',
        (5000).to_bytes(8, "little") + b"[" * 5000,
        (50_000).to_bytes(8, "little") + b"[" * 50_000,
    ],
)
def test_a_header_that_is_none_is_told(tmp_path: Path, content: bytes) -> None:
    """However the file begins, the error names it."""
    file = tmp_path / "x.safetensors"
    file.write_bytes(content)

    with pytest.raises(IncompatibleWeightsError, match=r"x\.safetensors"):
        read_shapes(file)


def test_a_header_is_read_once_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is planned asks for it several times; another content has another size or time."""
    file, opened = tmp_path / "x.safetensors", list[str]()
    save_file({"a": torch.zeros(2)}, file)
    monkeypatch.setattr(tensors, "check_header", lambda path: opened.append(path.name))
    first = [read_shapes(file), read_shapes(file), tensors.read_header(file)[0]]
    assert [{"a": (2,)}] * 3 == first
    assert ["x.safetensors"] == opened

    save_file({"b": torch.zeros(3)}, file)
    os.utime(file, ns=(1, 1))
    assert {"b": (3,)} == read_shapes(file)
    assert 2 == len(opened)


def test_tensors_that_were_cut_off_are_told(tmp_path: Path) -> None:
    """The header says how long the file must be."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}).encode()
    file = tmp_path / "x.safetensors"
    file.write_bytes(len(header).to_bytes(8, "little") + header + b"\x00" * 10)

    with pytest.raises(
        IncompatibleWeightsError, match=r"not a valid safetensors file, or truncated: .*not fully covered"
    ):
        read_shapes(file)


@pytest.mark.parametrize("name", ["x.safetensors", "x.gguf", "x.ckpt"])
def test_a_file_that_is_not_there_is_told(tmp_path: Path, name: str) -> None:
    """It is an error of the model's name, whatever the ending."""
    with pytest.raises(ModelNotFoundError, match="no file"):
        read_shapes(tmp_path / name)


def test_a_folder_under_such_a_name_is_no_file(tmp_path: Path) -> None:
    """It cannot be read."""
    (tmp_path / "x.safetensors").mkdir()

    with pytest.raises(IncompatibleWeightsError, match="cannot be read"):
        read_shapes(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("names", "words"),
    [([], "none"), (["b", "a"], "a, b"), (list("fedcba"), "a, b, c, d and 2 more")],
)
def test_an_error_lists_a_few_names(names: list[str], words: str) -> None:
    """The first four, and how many more there are."""
    assert words == summarize_names(dict.fromkeys(names))
