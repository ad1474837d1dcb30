"""Replace an attribute of an object for some time, such as a method of a component of a pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Set an attribute of an object itself within the context; afterwards it has what it had before, or that of its class.

    Args:
        owner: The object.
        name: Name of the attribute.
        value: What it is within the context.
    """
    had_own = name in vars(owner)
    before = vars(owner).get(name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        if had_own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)
