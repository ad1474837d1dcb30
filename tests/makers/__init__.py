"""Tiny pipelines with random weights: real classes of diffusers over real components, a few thousand numbers each.

Each file of a folder below makes one family. It ends in a tuple ``PIPELINES``.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
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
        if issubclass(kind, diffusers.ModularPipeline):
            pipe = kind()
            pipe.update_components(**self.parts())
        else:
            pipe = kind(**self.parts())
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval()
        return pipe


@cache
def pipelines() -> dict[str, Tiny]:
    """Return every tiny pipeline, by the name of its class."""
    found: dict[str, Tiny] = {}
    for module in pkgutil.walk_packages([str(Path(__file__).parent)], f"{__name__}."):
        for tiny in getattr(importlib.import_module(module.name), "PIPELINES", ()):
            assert tiny.name not in found, f"{tiny.name} is made twice"
            found[tiny.name] = tiny
    return dict(sorted(found.items()))
