"""Let spandrel be imported where torchvision is not there, or does not fit the installed torch.

Two of its forty architectures import torchvision: LaMa, which fills holes, and RestoreFormer, which mends faces. Neither
makes an image larger, so neither is served; but spandrel imports them all, and would fail with them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

from octabox.errors import MissingDependencyError

#: What those two import.
WANTED = "torchvision.transforms.functional"


@contextmanager
def torchvision_or_stand_in() -> Iterator[None]:
    """Let something stand in for torchvision while this lasts, where it cannot be imported."""
    if _imports(WANTED):
        yield
        return
    parts = WANTED.split(".")
    names = [".".join(parts[: count + 1]) for count in range(len(parts))]
    before = {name: sys.modules[name] for name in names if name in sys.modules}
    sys.modules |= {name: StandIn(name) for name in names}
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules |= before


def _imports(module: str) -> bool:
    """Return whether a module can be imported."""
    try:
        importlib.import_module(module)
    except Exception:  # noqa: BLE001 (a build for another torch fails in any way)
        return False
    return True


class StandIn(ModuleType):
    """A module that has every name; what is behind it only says that the package is missing."""

    #: By this it is a package, whose modules stand beside it.
    __path__: list[str] = []  # noqa: RUF012 (the import system wants a list)

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_: object, **__: object) -> None:
            raise MissingDependencyError(
                f"{self.__name__}.{name} is needed, and torchvision cannot be imported here.",
                hint="Install the build of torchvision that is made for the installed torch.",
            )

        return missing
