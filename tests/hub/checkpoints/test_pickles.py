"""Names and shapes in files that torch pickled, without running what they bring."""

import io
import os
import pickle
import resource
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from octabox.errors import IncompatibleWeightsError, RemoteCodeError
from octabox.hub.checkpoints.pickles import read_grouped_pickle, read_pickle

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


def test_groups_of_tensors(tmp_path: Path) -> None:
    """As IP-Adapters are saved: a dictionary for each part."""
    torch.save({"image_proj": WEIGHTS, "ip_adapter": {"1.to_k_ip.weight": torch.zeros(1)}}, tmp_path / "x.bin")
    found = {f"image_proj.{name}": shape for name, shape in SHAPES.items()}

    assert found | {"ip_adapter.1.to_k_ip.weight": (1,)} == read_grouped_pickle(tmp_path / "x.bin")


def archive(pickled: bytes = b"", *, data: int = 0, compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    """Return a zip archive with a pickle, and zeros as the data of a tensor."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", compression) as opened:
        opened.writestr("x/data.pkl", pickled)
        opened.writestr("x/data/0", bytes(data))
    return written.getvalue()


def large_directory() -> bytes:
    """Return the end of an archive whose directory would take a gigabyte."""
    return b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, 2**30, 0, 0)


def expanded() -> bytes:
    """Return a file with a tensor of few numbers, which is expanded to many."""
    written = io.BytesIO()
    torch.save({"a": torch.zeros(1, 1).expand(2**20, 2**20)}, written)
    return written.getvalue()


#: Files of few bytes that announce gigabytes, by what they announce.
BOMBS = {
    "a string": b"\x80\x04\x8d" + struct.pack("<Q", 2**33),
    "a short string": b"\x80\x04X" + struct.pack("<I", 2**32 - 1),
    "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**33),
    "a buffer": b"\x80\x05\x96" + struct.pack("<Q", 2**33) + b".",
    "a frame": b"\x80\x04\x95" + struct.pack("<Q", 2**33) + b"N.",
    "a number": b"\x80\x04\x8b" + struct.pack("<i", 2**31 - 1),
    "a memo": b"\x80\x04Nr" + struct.pack("<I", 2**32 - 1) + b".",
    "a memo in text": b"Np4294967295\n.",
    "operations": b"\x80\x04" + b"}0" * 600_000 + b"N.",
    "a pickle in an archive": archive(b"\x80\x04\x8d" + struct.pack("<Q", 2**33)),
    "an archive": archive(pickle.dumps(1), data=2**23),
    "a directory": large_directory(),
    "a tensor": expanded(),
}


@pytest.fixture
def limited_memory() -> Iterator[None]:
    """Let a test take no more memory than it has, and half a gigabyte."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    held = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + 2**29, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.usefixtures("limited_memory")
@pytest.mark.parametrize("kind", BOMBS)
def test_more_than_a_file_can_hold_is_refused(tmp_path: Path, kind: str) -> None:
    """No memory is taken for what the bytes announce; the error names the file and says what to do."""
    (tmp_path / "x.pt").write_bytes(BOMBS[kind])

    with pytest.raises(IncompatibleWeightsError, match=r"x\.pt is refused: .* far more memory") as caught:
        read_pickle(tmp_path / "x.pt")
    assert caught.value.hint


def test_many_tensors_are_within_the_limits(tmp_path: Path) -> None:
    """A training state of two thousand tensors is read, in both formats."""
    many = OrderedDict((f"layers.{number}.weight", torch.zeros(1)) for number in range(2_000))
    for zipped in (True, False):
        torch.save({"state_dict": many}, tmp_path / "x.ckpt", _use_new_zipfile_serialization=zipped)

        assert len(many) == len(read_pickle(tmp_path / "x.ckpt"))
