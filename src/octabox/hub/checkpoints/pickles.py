"""Read the names and shapes of the tensors in a file that torch pickled, and run nothing that the file names.

A pickle is a program: it may call any function that it names. Here every name leads to an inert stand-in or to a refusal, as
with torch's own ``weights_only``, by which such a file is loaded later.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from octabox.errors import IncompatibleWeightsError, RemoteCodeError

_DAMAGED = "The file is damaged or was cut short; fetch it again."

#: First number of a file that torch wrote before it took to zip archives, and how many pickles follow before the content.
_OLD_MAGIC, _OLD_PREFACE = 0x1950A86A20F9469CFC6C, 2

#: Modules whose names are only dtypes and of storages.
_NAMES_ONLY = ("torch", "torch.storage")

#: Entries in which trainers put the weights: of models, of upscalers (the better ones first), and of an embedding.
_WRAPPERS = ("state_dict", "model_state_dict", "params_ema", "params-ema", "params", "string_to_param")


class _Name:
    """Stands for a class that is only named: a dtype, or of a storage."""


class _Tensor:
    """Stands for a tensor: its shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape


def _tensor(_storage: object, _offset: object, shape: tuple[int, ...], *_: object) -> _Tensor:
    return _Tensor(tuple(map(int, shape)))


def _same(content: object, *_: object) -> object:
    return content


#: What a file of weights may call, and what stands for it here.
_ALLOWED: Mapping[tuple[str, str], Callable[..., object]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _same,
}


class _Reader(pickle.Unpickler):
    """Reads a pickle of tensors."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name; refuse one that is not for weights."""
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module in _NAMES_ONLY and (name.endswith("Storage") or name.islower() or name[-1].isdigit()):
            return _Name
        raise RemoteCodeError(f"it would call {module}.{name}")

    def persistent_load(self, pid: object) -> object:  # noqa: ARG002 (the storage is of no interest)
        """Return what stands for a storage."""
        return None


def read_pickle(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor, by its name.

    Raises:
        RemoteCodeError: The file names a function that is not for rebuilding tensors.
        IncompatibleWeightsError: It is damaged, or holds no tensors by name.
    """
    try:
        content = _content(file)
    except RemoteCodeError as error:
        raise RemoteCodeError(
            f"{file} holds more than weights, and loading it would run code of its own: {error.message}.",
            hint="Load it where you trust it and save its weights as .safetensors; Octabox does not run what a pickle brings.",
        ) from error
    except OSError:
        raise
    except Exception as error:  # a broken pickle may raise anything
        raise IncompatibleWeightsError(f"{file} cannot be read as weights of torch.", hint=_DAMAGED) from error
    for wrapper in _WRAPPERS:
        while isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    tensors = content.items() if isinstance(content, dict) else ()
    shapes = {name: tensor.shape for name, tensor in tensors if isinstance(name, str) and isinstance(tensor, _Tensor)}
    if not shapes:
        raise IncompatibleWeightsError(f"{file} holds no tensors by name.", hint="Octabox reads files of weights.")
    return shapes


def _content(file: Path) -> Any:
    """Return what the pickle inside a file holds."""
    with file.open("rb") as stream:
        if not zipfile.is_zipfile(stream):
            stream.seek(0)
            return _old(stream)
        with zipfile.ZipFile(stream) as archive:
            name = next(name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl")
            with archive.open(name) as pickled:
                return _Reader(pickled).load()


def _old(stream: BinaryIO) -> Any:
    """Return what a file from before zip archives holds, or a plain pickle."""
    first = _Reader(stream).load()
    if first != _OLD_MAGIC:
        return first
    for _ in range(_OLD_PREFACE):
        _Reader(stream).load()
    return _Reader(stream).load()
