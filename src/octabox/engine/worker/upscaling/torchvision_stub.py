"""Import spandrel without torchvision, which may be missing or incompatible with the installed torch.

Two of its forty architectures import torchvision: LaMa for inpainting, which is not supported, and RestoreFormer for face
restoration, which needs `normalize` alone.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType

import torch

from octabox.catalog.dependencies import install_command
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
    sys.modules[TORCHVISION].normalize = normalize  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules |= before


def normalize(image: torch.Tensor, mean: Sequence[float], std: Sequence[float]) -> torch.Tensor:
    """Return an image minus a mean, divided by a standard deviation, each by channel."""
    centre, scale = (torch.tensor(each, dtype=image.dtype, device=image.device)[:, None, None] for each in (mean, std))
    return (image - centre) / scale


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
                hint=f"Install the build for the installed torch: `{install_command(['torchvision'])}`.",
            )

        return missing
