"""The errors of loads that there is no room for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from octabox.engine.local.resident.budget import Shortage
from octabox.engine.memory.units import format_bytes
from octabox.errors import CapacityError, OutOfMemoryError

#: Seconds after which a load is worth another try that models in use had no room for.
RETRY_SECONDS = 10.0


def no_room(model: str, limit: int) -> CapacityError:
    """Return the error of a load for which no model has become idle in time."""
    message = f"There was no room for model '{model}': the {limit} models in memory did not become idle in time."
    error = CapacityError(message, hint="Try again later, or raise `max_resident`.", model=model)
    error.retry_after = RETRY_SECONDS
    return error


def all_pinned(model: str, those: str) -> CapacityError:
    """Return the error of a load that only pinned models could make room for."""
    message = f"There is no room for model '{model}': the {those} are pinned."
    return CapacityError(message, hint="Unload one of them, or set `pin: false` in its configuration.", model=model)


def check_possible(model: str, required: Iterable[Shortage], pinned: Sequence[Mapping[str, int]]) -> None:
    """Check that a model exceeds neither the limits alone, nor what pinned models leave of them.

    Args:
        model: Name of the model.
        required: The places where it needs more than other models leave of their limits.
        pinned: The bytes that each pinned model holds by place.

    Raises:
        OutOfMemoryError: It alone exceeds a limit.
        CapacityError: It exceeds what pinned models leave of one.
    """
    for each in required:
        if each.needed > each.limit:
            raise too_large(model, each)
        if each.needed > each.limit - sum(held.get(each.place, 0) for held in pinned):
            raise all_pinned(model, f"models that hold the memory it needs on {each.place}")


def describe(model: str, shortage: Shortage) -> str:
    """Return what a model lacks, as a sentence without its end."""
    needed, available = format_bytes(shortage.needed), format_bytes(shortage.available)
    rest = "`max_memory` leaves it" if shortage.limited else "there are"
    return f"Model '{model}' needs {needed} on {shortage.place}, and {rest} {available}"


def no_memory(model: str, shortage: Shortage) -> OutOfMemoryError:
    """Return the error of a load for which no memory was freed in time."""
    reason = (
        "another model is being loaded there" if shortage.loading else "the models there did not become idle in time"
    )
    message = f"{describe(model, shortage)}: {reason}."
    hint = "Try again later, or raise `max_memory`." if shortage.limited else "Try again later."
    error = OutOfMemoryError(message, hint=hint, model=model, requested=shortage.needed, free=shortage.available)
    error.retry_after = RETRY_SECONDS
    return error


def too_large(model: str, shortage: Shortage) -> OutOfMemoryError:
    """Return the error of a model that alone exceeds a limit."""
    return OutOfMemoryError(
        f"Model '{model}' needs {format_bytes(shortage.needed)} on {shortage.place}, and `max_memory` allows "
        f"{format_bytes(shortage.limit)}.",
        hint="Raise `max_memory`, or set `memory: auto`, a half-precision `dtype`, `storage: float8_e4m3fn` or a "
        "`quantization` for its largest component.",
        model=model,
        requested=shortage.needed,
        free=shortage.limit,
    )
