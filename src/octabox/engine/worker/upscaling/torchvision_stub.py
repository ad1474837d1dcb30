"""Import spandrel without torchvision, which may be missing or incompatible with the installed torch.

Two of its forty architectures import torchvision: LaMa for inpainting, and RestoreFormer for face restoration. Neither upscales
images, so that neither is supported, but spandrel imports all architectures.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType

from octabox.errors import MissingDependencyError

#: The module that they import.
TORCHVISION = "torchvision.transforms.functional"


@contextmanager
def torchvision_or_stub() -> Iterator[None]:
    """Provide a stub of torchvision within the context if it cannot be imported."""
    if _is_importable(TORCHVISION):
        yield
        return
    parts = TORCHVISION.split(".")
    names = [".".join(parts[: count + 1]) for count in range(len(parts))]
    before = {name: sys.modules[name] for name in names if name in sys.modules}
    sys.modules |= {name: ModuleStub(name) for name in names}
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules |= before


def _is_importable(module: str) -> bool:
    """Return whether a module can be imported."""
    try:
        importlib.import_module(module)
    except Exception:  # noqa: BLE001 (a build for another torch may raise anything)
        return False
    return True


class ModuleStub(ModuleType):
    """A module with every name; each is a function that raises an error for the missing package."""

    #: Makes the module a package, so that its submodules can be imported.
    __path__: list[str] = []  # noqa: RUF012 (the import system wants a list)

    def __getattr__(self, name: str) -> Callable[..., None]:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_: object, **__: object) -> None:
            raise MissingDependencyError(
                f"{self.__name__}.{name} is needed, and torchvision cannot be imported here.",
                hint="Install the build of torchvision for the installed torch.",
            )

        return missing
