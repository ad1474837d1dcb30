"""Read the tensor names and shapes in a file that torch pickled, without running its code.

A pickle may call any function that it names. Here every name is mapped to an inert placeholder or refused, as by
``weights_only`` of torch, with which such a file is loaded later.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from octabox.errors import IncompatibleWeightsError, RemoteCodeError
from octabox.security.filesystem import open_file

_DAMAGED = "The file is damaged or truncated; download it again."

#: Magic number of the legacy format of torch, and the number of pickles between it and the content.
_LEGACY_MAGIC, _LEGACY_HEADERS = 0x1950A86A20F9469CFC6C, 2

#: Modules whose names are only dtypes and storages.
_NAMES_ONLY = ("torch", "torch.storage")

#: Keys under which files hold the weights: of models, of upscalers (EMA weights first), and of an embedding.
_WRAPPERS = ("state_dict", "model_state_dict", "params_ema", "params-ema", "params", "string_to_param")


class _Name:
    """Placeholder for a dtype or a storage class."""


class _Tensor:
    """Placeholder for a tensor, with its shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape


def _tensor(_storage: object, _offset: object, shape: tuple[int, ...], *_: object) -> _Tensor:
    return _Tensor(tuple(map(int, shape)))


def _same(content: object, *_: object) -> object:
    return content


#: Allowed functions and classes, with their placeholders.
_ALLOWED: Mapping[tuple[str, str], Callable[..., object]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _same,
}


class _Unpickler(pickle.Unpickler):
    """Unpickles tensors as placeholders."""

    def find_class(self, module: str, name: str) -> Any:
        """Return the placeholder for a name; refuse all names that are not for weights."""
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module in _NAMES_ONLY and (name.endswith("Storage") or name.islower() or name[-1].isdigit()):
            return _Name
        raise RemoteCodeError(f"it would call {module}.{name}")

    def persistent_load(self, pid: object) -> object:  # noqa: ARG002 (the storage is not read)
        """Return the placeholder for a storage."""
        return None


def read_pickle(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors by name.

    Raises:
        RemoteCodeError: The file names a function that does not rebuild tensors.
        IncompatibleWeightsError: The file is damaged, or has no named tensors.
    """
    try:
        content = _content(file)
    except RemoteCodeError as error:
        raise RemoteCodeError(
            f"{file} contains more than weights, and loading it would run code: {error.message}.",
            hint="Load it where you trust it and save the weights as .safetensors; Octabox does not run code in pickles.",
        ) from error
    except OSError:
        raise
    except Exception as error:  # a broken pickle may raise anything
        raise IncompatibleWeightsError(f"{file} cannot be read as torch weights.", hint=_DAMAGED) from error
    for wrapper in _WRAPPERS:
        while isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    tensors = content.items() if isinstance(content, dict) else ()
    shapes = {name: tensor.shape for name, tensor in tensors if isinstance(name, str) and isinstance(tensor, _Tensor)}
    if not shapes:
        raise IncompatibleWeightsError(f"{file} contains no named tensors.", hint="Choose a file of weights.")
    return shapes


def _content(file: Path) -> Any:
    """Return the content of the pickle in a file."""
    with open_file(file) as stream:
        if not zipfile.is_zipfile(stream):
            stream.seek(0)
            return _legacy_content(stream)
        with zipfile.ZipFile(stream) as archive:
            name = next(name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl")
            with archive.open(name) as pickled:
                return _Unpickler(pickled).load()


def _legacy_content(stream: BinaryIO) -> Any:
    """Return the content of a file in the legacy format of torch, or of a pickle."""
    first = _Unpickler(stream).load()
    if first != _LEGACY_MAGIC:
        return first
    for _ in range(_LEGACY_HEADERS):
        _Unpickler(stream).load()
    return _Unpickler(stream).load()
