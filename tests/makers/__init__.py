"""Tiny pipelines with random weights: real classes of diffusers over real components, a few thousand numbers each.

Each file of a folder below makes one family. It ends in a tuple ``PIPELINES``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import diffusers
import torch


@dataclass(frozen=True)
class Tiny:
    """A pipeline that is made on the spot.

    Args:
        name: Its class.
        parts: Returns what its constructor takes.
        params: Call parameters that it cannot do without or that keep a call small, as a request would say them. Those that a
            class or its sibling does not have are left out; media that are needed come by themselves.
        own: Returns the class, where it is not of diffusers.
        needs: Packages that must be there, beside those that Octabox installs.
        leaves_out: Tasks that a tiny one cannot do, with the reason.
        unsteady: Why the same seed does not make the same again; empty where it does.
    """

    name: str
    parts: Callable[[], dict[str, Any]]
    params: Mapping[str, Any] = field(default_factory=dict)
    own: Callable[[], type] | None = None
    needs: tuple[str, ...] = ()
    leaves_out: Mapping[str, str] = field(default_factory=dict)
    unsteady: str = ""

    @property
    def missing(self) -> list[str]:
        """Packages that must be there and are not."""
        return [name for name in self.needs if find_spec(name) is None]

    def make(self) -> Any:
        """Return the pipeline, the same one each time."""
        torch.manual_seed(0)
        kind: Any = self.own() if self.own else getattr(diffusers, self.name)
        with _free_memory_marked():
            if issubclass(kind, diffusers.ModularPipeline):
                pipe = kind()
                pipe.update_components(**self.parts())
            else:
                pipe = kind(**self.parts())
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                _initialise_rest(part)
                part.eval()
        return pipe


@contextmanager
def _free_memory_marked() -> Iterator[None]:
    """Within the context, let the weights that a class does not initialise be NaN, and not what the memory held before."""
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(mode=False)


def _initialise_rest(module: torch.nn.Module) -> None:
    """Set the weights that a class leaves to the file of a model: some of diffusers' do."""
    generator = torch.Generator().manual_seed(0)
    for weight in module.parameters():
        if weight.is_floating_point() and weight.isnan().any():
            drawn = torch.randn(weight.shape, generator=generator) * 0.1
            # One with one dimension scales a norm, or is a token.
            weight.data.copy_(drawn if weight.ndim > 1 else torch.ones_like(drawn))


@cache
def pipelines() -> dict[str, Tiny]:
    """Return every tiny pipeline, by the name of its class."""
    found: dict[str, Tiny] = {}
    for module in pkgutil.walk_packages([str(Path(__file__).parent)], f"{__name__}."):
        for tiny in getattr(importlib.import_module(module.name), "PIPELINES", ()):
            assert tiny.name not in found, f"{tiny.name} is made twice"
            found[tiny.name] = tiny
    return dict(sorted(found.items()))
