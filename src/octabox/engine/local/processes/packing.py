"""Messages to a worker as bytes."""

from __future__ import annotations

from multiprocessing.reduction import ForkingPickler
from typing import Any

from octabox.engine.messages import RunCall, ToWorker
from octabox.errors import InvalidParameterError


def pack(message: ToWorker) -> Any:
    """Return a message as bytes.

    Raises:
        InvalidParameterError: A parameter of the call cannot be sent.
    """
    try:
        return ForkingPickler.dumps(message)
    except Exception as error:
        if not isinstance(message, RunCall):
            raise
        params = [item for run in message.call.runs for item in run.params.items()]
        name = next((name for name, value in params if not _can_pack(value)), None)
        reason = "is nested too deeply" if isinstance(error, RecursionError) else f"cannot be sent to a worker: {error}"
        raise InvalidParameterError(
            f"{f'`{name}`' if name else 'The request'} {reason}.",
            hint="Send plain values, in few levels.",
            model=message.call.model.name,
            parameter=name,
        ) from error


def _can_pack(value: Any) -> bool:
    """Return whether a value can be sent."""
    try:
        ForkingPickler.dumps(value)
    except Exception:  # noqa: BLE001 (a class may raise anything)
        return False
    return True
