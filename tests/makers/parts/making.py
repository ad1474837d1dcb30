"""How the members of a family say in one line what they are made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def maker(base: Mapping[str, Any], *without: str, **other: Any) -> Callable[[], dict[str, Any]]:
    """Return a function that makes the parts of a pipeline.

    Args:
        base: What all of the family are made of, by name: a function that makes a part, or a plain value.
        *without: Parts of the family that this one has not.
        **other: Parts that this one has beside or instead.
    """
    recipe = {name: part for name, part in {**base, **other}.items() if name not in without}
    return lambda: {name: part() if callable(part) else part for name, part in recipe.items()}
