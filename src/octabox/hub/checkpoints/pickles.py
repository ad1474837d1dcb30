"""Read the tensor names and shapes in a file that torch pickled, without running its code.

A pickle may call any function that it names. Here every name is mapped to an inert placeholder or refused, as by
``weights_only`` of torch, with which such a file is loaded later. The classes that trainers name get the stand-ins of
`stand_ins`.
"""

from __future__ import annotations

import io
import math
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from octabox.errors import IncompatibleWeightsError, RemoteCodeError
from octabox.hub.checkpoints.archives import FileLimitError, is_archive, read_archive_member
from octabox.hub.checkpoints.pickle_limits import MAX_BYTES, LimitedStream, check_opcodes
from octabox.hub.checkpoints.stand_ins import Form, StandIn, StandIns
from octabox.security.filesystem import open_file

_DAMAGED = "The file is damaged or truncated; download it again."

#: Magic number of the legacy format of torch, and the number of pickles between it and the content.
_LEGACY_MAGIC, _LEGACY_HEADERS = 0x1950A86A20F9469CFC6C, 2

#: Modules whose names are only dtypes and storages.
_NAMES_ONLY = ("torch", "torch.storage")

#: Keys under which files hold the weights: of models, of upscalers (EMA weights first), and of an embedding.
_WRAPPERS = ("state_dict", "model_state_dict", "params_ema", "params-ema", "params", "string_to_param")


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
    """Unpickles tensors as placeholders.

    Args:
        stream: The pickle.
        stand_ins: The stand-ins of the file.
    """

    def __init__(self, stream: LimitedStream, stand_ins: StandIns) -> None:
        super().__init__(stream)
        self._stand_ins = stand_ins

    def find_class(self, module: str, name: str) -> Any:
        """Return the placeholder for a name; refuse all names that are not for weights."""
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        if module in _NAMES_ONLY and (name.endswith("Storage") or name.islower() or name[-1].isdigit()):
            return StandIn
        if (stand_in := self._stand_ins.find(module, name)) is not None:
            return stand_in
        raise RemoteCodeError(f"it would call {module}.{name}")

    def persistent_load(self, pid: object) -> object:  # noqa: ARG002 (the storage is not read)
        """Return the placeholder for a storage."""
        return None


def read_pickle(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors by name.

    Raises:
        RemoteCodeError: The file names a function that does not rebuild tensors.
        IncompatibleWeightsError: The file is damaged, has no named tensors, or would take more memory than its size.
    """
    content = _checked_content(file)
    for wrapper in _WRAPPERS:
        while isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    tensors = content.items() if isinstance(content, dict) else ()
    return _shapes(file, ((name, tensor) for name, tensor in tensors))


def read_grouped_pickle(file: Path) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all tensors in groups, as ``group.name``; as `read_pickle` does."""
    content = _checked_content(file)
    groups = content.items() if isinstance(content, dict) else ()
    inner = (
        (f"{group}.{name}", tensor) for group, part in groups if isinstance(part, dict) for name, tensor in part.items()
    )
    return _shapes(file, inner)


def read_stand_ins(file: Path) -> dict[str, Form]:
    """Return the full names of the classes of a trainer in a file, and how the pickle fills their objects.

    Raises:
        RemoteCodeError: The file names a function or a class that is not for weights and may not be replaced.
        IncompatibleWeightsError: The file is damaged, or would take more memory than its size.
    """
    stand_ins = StandIns()
    _checked_content(file, stand_ins)
    return dict(stand_ins.forms())


def _shapes(file: Path, tensors: Iterator[tuple[object, object]]) -> dict[str, tuple[int, ...]]:
    """Return the shapes of named tensors.

    Raises:
        IncompatibleWeightsError: There are none, or one has more numbers than the file has bits.
    """
    shapes = {name: tensor.shape for name, tensor in tensors if isinstance(name, str) and isinstance(tensor, _Tensor)}
    if not shapes:
        raise IncompatibleWeightsError(f"{file} contains no named tensors.", hint="Choose a file of weights.")
    limit = 8 * file.stat().st_size
    name = next((name for name, shape in shapes.items() if math.prod(shape) > limit), None)
    if name is not None:
        raise _limit_error(file, f"the tensor {name} has more numbers than the file")
    return shapes


def _limit_error(file: Path, reason: str) -> IncompatibleWeightsError:
    message = f"{file} is refused: {reason}, so that it would take far more memory than its size."
    return IncompatibleWeightsError(message, hint="Files of weights do not; delete it, or download it again.")


def _checked_content(file: Path, stand_ins: StandIns | None = None) -> Any:
    """Return the content of the pickle in a file.

    Raises:
        RemoteCodeError: The file names a function that does not rebuild tensors.
        IncompatibleWeightsError: The file is damaged, or exceeds a limit.
    """
    try:
        return _content(file, stand_ins or StandIns())
    except RemoteCodeError as error:
        raise RemoteCodeError(
            f"{file} contains more than weights, and loading it would run code: {error.message}.",
            hint="Load it where you trust it and save the weights as .safetensors; Octabox does not run code in pickles.",
        ) from error
    except FileLimitError as error:
        raise _limit_error(file, str(error)) from error
    except OSError:
        raise
    except Exception as error:  # a broken pickle may raise anything
        raise IncompatibleWeightsError(f"{file} cannot be read as torch weights.", hint=_DAMAGED) from error


def _content(file: Path, stand_ins: StandIns) -> Any:
    """Return the content of the pickle in a file."""
    size = file.stat().st_size
    with open_file(file) as stream:
        if is_archive(stream):
            pickled = read_archive_member(stream, size, "data.pkl", MAX_BYTES)
            return _unpickle(LimitedStream(io.BytesIO(pickled), len(pickled)), stand_ins)
        stream.seek(0)
        return _legacy_content(stream, size, stand_ins)


def _unpickle(stream: LimitedStream, stand_ins: StandIns) -> Any:
    """Return the content of the next pickle of a stream, after its opcodes have been checked."""
    start = stream.tell()
    check_opcodes(stream)
    stream.seek(start)
    return _Unpickler(stream, stand_ins).load()


def _legacy_content(stream: BinaryIO, size: int, stand_ins: StandIns) -> Any:
    """Return the content of a file in the legacy format of torch, or of a pickle."""
    limited = LimitedStream(stream, size)
    first = _unpickle(limited, stand_ins)
    if first != _LEGACY_MAGIC:
        return first
    for _ in range(_LEGACY_HEADERS):
        _unpickle(limited, stand_ins)
    return _unpickle(limited, stand_ins)
