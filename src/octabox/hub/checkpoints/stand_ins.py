"""Stand-ins without behaviour for the classes that trainers pickle together with weights.

A trainer saves its callbacks, hyperparameters and statistics in the file of a model. None of them is needed to load the
weights, so their classes are never imported: an object of a stand-in discards what it is built from.
"""

from __future__ import annotations

from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator, Mapping
from typing import Any, Literal

#: How a pickle fills the objects of a class: by their state, as a mapping, or as a list.
Form = Literal["object", "mapping", "list"]

#: Packages of trainers and their configurations, whose classes may be replaced.
PACKAGES = frozenset(
    {"pytorch_lightning", "lightning", "lightning_fabric", "lightning_utilities", "torchmetrics", "omegaconf"}
)

#: Data types of other modules that may be replaced, by module.
_ARRAY_NAMES = frozenset({"scalar", "_reconstruct"})
_TYPES = frozenset(
    {
        "bool",
        "bytearray",
        "bytes",
        "complex",
        "dict",
        "float",
        "frozenset",
        "int",
        "list",
        "object",
        "set",
        "slice",
        "str",
    }
    | {"tuple", "type"}
)
NAMES: Mapping[str, frozenset[str]] = {
    "builtins": _TYPES,
    "_codecs": frozenset({"encode"}),
    "argparse": frozenset({"Namespace"}),
    "collections": frozenset({"Counter", "defaultdict", "deque"}),
    "datetime": frozenset({"date", "datetime", "time", "timedelta", "timezone"}),
    "numpy": frozenset({"dtype", "ndarray", "bool_", "float16", "float32", "float64", "int32", "int64"}),
    "numpy.core.multiarray": _ARRAY_NAMES,
    "numpy._core.multiarray": _ARRAY_NAMES,
    "numpy.dtypes": frozenset(
        {"BoolDType", "Float16DType", "Float32DType", "Float64DType", "Int32DType", "Int64DType"}
    ),
    "pathlib": frozenset({"Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"}),
    "torch": frozenset({"Size", "device"}),
    "torch.torch_version": frozenset({"TorchVersion"}),
    "typing": frozenset({"Any", "Dict", "List", "Optional", "Tuple", "Union"}),
    "uuid": frozenset({"UUID"}),
}


class StandIn:
    """An object that discards its arguments and its content; the class notes how its objects are filled."""

    form: Form = "object"

    def __new__(cls, *_: object, **__: object) -> Any:
        """Return an object whatever the arguments are."""
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        """Discard the arguments."""

    def __setstate__(self, _: object) -> None:
        """Discard the state."""

    def __setitem__(self, _: object, __: object) -> None:
        """Discard an item of a mapping."""
        type(self).form = "mapping"

    def append(self, _: object) -> None:
        """Discard an item of a list."""
        type(self).form = "list"


class StandIns:
    """The stand-ins of one file."""

    def __init__(self) -> None:
        self._classes: dict[tuple[str, str], type[StandIn]] = {}

    def find(self, module: str, name: str) -> type[StandIn] | None:
        """Return the stand-in of a class; None if it may not be replaced. Names of Python 2 are those of Python 3."""
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        if not _is_replaceable(module, name):
            return None
        return self._classes.setdefault((module, name), type("StandIn", (StandIn,), {}))

    def forms(self) -> Iterator[tuple[str, Form]]:
        """Yield the full name of each class that was replaced, and how its objects were filled."""
        for (module, name), cls in self._classes.items():
            yield f"{module}.{name}", cls.form


def _is_replaceable(module: str, name: str) -> bool:
    """Return whether a name is a class of a trainer, which starts with a capital letter, or a data type."""
    is_class = name.isidentifier() and name.lstrip("_")[:1].isupper()
    return name in NAMES.get(module, ()) or (is_class and module.partition(".")[0] in PACKAGES)
