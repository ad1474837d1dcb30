"""Names and shapes in files that torch pickled, without running what they bring."""

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from octabox.errors import IncompatibleWeightsError, RemoteCodeError
from octabox.hub.checkpoints.pickles import read_pickle

WEIGHTS = {"a.weight": torch.zeros(2, 3), "half": torch.zeros(4, dtype=torch.float16)}
SHAPES = {"a.weight": (2, 3), "half": (4,)}


class Evil:
    """Leaves a trace if it is run."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("content", [WEIGHTS, {"state_dict": WEIGHTS, "epoch": 3}])
def test_weights_are_read_as_torch_saves_them(tmp_path: Path, content: Any, zipped: bool) -> None:
    """In a zip archive or as it was before, with or without the wrapping of trainers."""
    file = tmp_path / "x.ckpt"
    torch.save(content, file, _use_new_zipfile_serialization=zipped)

    assert SHAPES == read_pickle(file)


def test_parameters_are_tensors(tmp_path: Path) -> None:
    """What a module's parameters save is read as well."""
    torch.save({"p": torch.nn.Parameter(torch.zeros(5))}, tmp_path / "x.pt")

    assert {"p": (5,)} == read_pickle(tmp_path / "x.pt")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_refused_and_not_run(tmp_path: Path, zipped: bool) -> None:
    """The error names the function and says how to come by the weights."""
    trace = tmp_path / "trace"
    torch.save({"state_dict": WEIGHTS, "evil": Evil(trace)}, tmp_path / "x.ckpt", _use_new_zipfile_serialization=zipped)

    with pytest.raises(RemoteCodeError, match="mkdir") as caught:
        read_pickle(tmp_path / "x.ckpt")

    assert ".safetensors" in caught.value.hint
    assert not trace.exists()


@pytest.mark.parametrize("content", [b"", b"\x80", b"PK\x03\x04", b"hello", pickle.dumps([1]), pickle.dumps({"a": 1})])
def test_other_files_are_told(tmp_path: Path, content: bytes) -> None:
    """Broken ones, and those that hold no tensors by name."""
    (tmp_path / "x.pt").write_bytes(content)

    with pytest.raises(IncompatibleWeightsError, match=r"x\.pt"):
        read_pickle(tmp_path / "x.pt")
