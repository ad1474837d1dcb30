"""Change the steps of a scheduler, and of the copies that a pipeline makes of it during a call."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import MethodType
from typing import Any


def changed_step(scheduler: Any, change: Callable[..., Any]) -> MethodType:
    """Return a step for a scheduler that a copy of the scheduler takes as its own.

    Args:
        scheduler: The scheduler.
        change: The new step. It is called with the previous one, bound to the scheduler or to its copy, and with the arguments.
    """
    own = vars(scheduler).get("step")
    inner: Callable[..., Any] = own.__func__ if isinstance(own, MethodType) else type(scheduler).step

    @functools.wraps(inner)
    def step(self: Any, *args: Any, **options: Any) -> Any:
        return change(MethodType(inner, self), *args, **options)

    return MethodType(step, scheduler)
